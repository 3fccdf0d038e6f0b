"""How the scripted negotiators sound: phrase banks, and the voice a character speaks with."""

import json
import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np

from sotopia_pi.world.characters import Character
from sotopia_pi.world.payoffs import Deal, Issue
from sotopia_pi.world.wording import spoken_terms

VOICES = ("formal", "warm", "blunt", "playful", "anxious", "terse")
TRAITS = ("openness", "conscientiousness", "extraversion", "agreeableness", "neuroticism")
_WORDS = {"very high": 2.0, "very low": -2.0, "high": 1.0, "low": -1.0}


@cache
def expert_phrases() -> Mapping[str, Mapping[str, Sequence[str]]]:
    """Intent -> voice -> phrasings of the expert."""
    return _bank("expert_phrases.json")


@cache
def partner_phrases() -> Mapping[str, Sequence[str]]:
    """Intent -> phrasings of the evaluation partner; none of them is the expert's."""
    return _bank("partner_phrases.json")


def voice_of(character: Character) -> str:
    """One of VOICES, from the character's Big Five and ways of deciding."""
    level = {name: trait_level(character.big_five, name) for name in TRAITS}
    scores = {
        "anxious": level["neuroticism"] * 1.2,
        "warm": level["agreeableness"],
        "blunt": -level["agreeableness"],
        "playful": (level["extraversion"] + level["openness"]) / 2,
        "formal": level["conscientiousness"] * 0.9,
        "terse": -level["extraversion"],
    }
    return max(VOICES, key=lambda voice: (scores[voice], -VOICES.index(voice)))


def trait_level(big_five: str, trait: str) -> float:
    """Level of a trait in [-2, 2] as a profile's text tells it ("Openness: high; …"); 0 where it says nothing."""
    for part in re.split(r"[;,.\n]", big_five.lower()):
        if trait[:8] in part:
            return next((value for word, value in _WORDS.items() if word in part), 0.0)
    return 0.0


def speak(
    phrase: str, issues: Sequence[Issue], deal: Deal | None, side: int, clause: bool = False, **words: str
) -> str:
    """A phrasing with its placeholders filled: `{terms}`, and what else `words` brings. Begins with a capital.

    clause: items and shares as short sentences ("I take the lamp, you take the clock").
    """
    return filled(phrase, terms=spoken_terms(issues, deal, side, clause=clause) if deal else "", **words)


def filled(phrase: str, **words: str) -> str:
    """A phrasing with its placeholders filled, beginning with a capital."""
    text = phrase.format(**words)
    return re.sub(r"^\W*[a-z]", lambda match: match.group().upper(), text)


def pick(phrases: Sequence[str], rng: np.random.Generator) -> str:
    return phrases[int(rng.integers(len(phrases)))]


def _bank(name: str) -> Any:
    return json.loads(files("sotopia_pi.models").joinpath("data", name).read_text(encoding="utf-8"))
