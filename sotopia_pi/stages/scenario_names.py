"""Personal names in a text that must name nobody.

There is no list of all names, so capitals are the sign: in English running text a capital letter within a sentence
marks a name, apart from `I`, abbreviations, days, months, holidays and peoples. The check therefore leans towards
refusing; a false alarm costs one more attempt ("say it without a name"), a name that slips through would call a
character by a name that is not its own. At the beginning of a sentence, where every word has a capital, a word
counts as a name when it is a frequent given name, belongs to one of the characters, or stands as a subject without
an article ("Thandiwe wants") and is no word that our own texts write in lower case.
"""

import json
import re
from collections.abc import Iterable, Set
from functools import cache
from importlib.resources import files

from sotopia_pi.world.characters import Character
from sotopia_pi.world.population import inspirational_prompts, scenario_templates

_ALWAYS_CAPITAL = """
    Monday Tuesday Wednesday Thursday Friday Saturday Sunday January February March April May June July August
    September October November December Christmas Easter Thanksgiving Halloween Hanukkah Ramadan Diwali Eid Passover
    Valentine New Year Eve Day English French German Spanish Italian Portuguese Dutch Greek Polish Russian Ukrainian
    Turkish Arabic Arab Hebrew Hindi Urdu Bengali Tamil Chinese Mandarin Cantonese Japanese Korean Vietnamese Thai
    Indian American British Irish Scottish Welsh Canadian Australian African Asian European Mexican Brazilian Latin
    Swedish Norwegian Danish Finnish Swiss Austrian Hungarian Czech Catholic Christian Protestant Muslim Jewish Hindu
    Buddhist Internet Wi Fi Sundays Mondays Tuesdays Wednesdays Thursdays Fridays Saturdays
"""
_COMMON_CAPITALS = frozenset(_ALWAYS_CAPITAL.split())
"""Words of English that always have a capital and name no person."""
_PLAIN_SUBJECTS = (
    "one each either neither both it this that he she they who what nobody everybody somebody someone everyone anyone "
    "nothing something everything there here today tomorrow yesterday i you we"
)
_SUBJECTS = frozenset(_PLAIN_SUBJECTS.split())
"""Words that may begin a sentence as its subject without an article."""
_VERBS = "is|was|has|had|wants|needs|hopes|thinks|feels|believes|works|lives|says|asks|likes|plans|tries|knows"
_TITLE = re.compile(r"\b(?:Mr|Mrs|Ms|Miss|Mx|Dr|Prof|Professor|Doctor|Aunt|Uncle|Sir|Madam)\.?\s+[A-Z][\w'’-]*")
_BREAK = re.compile(r"(?:[.!?:;()\"“”\n]|<[^>]*>|[‘']\B|\B[‘'])+\s*")
_WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")
_SUBJECT = re.compile(rf"([^\W\d_][\w'’-]*) (?:{_VERBS})\b")


def names_in(text: str, characters: Iterable[Character] = ()) -> list[str]:
    """What looks like a personal name in a text, each once, in order. characters: whose names must not occur."""
    known = _frequent_names() | {name for person in characters for name in (person.first_name, person.last_name)}
    found = [match[0] for match in _TITLE.finditer(text)]
    for sentence in _BREAK.split(_TITLE.sub("somebody", text)):
        found += _in_sentence(sentence, known)
    return list(dict.fromkeys(found))


def _in_sentence(sentence: str, known: Set[str]) -> list[str]:
    words = [match[0] for match in _WORD.finditer(sentence)]
    if not words:
        return []
    found = [words[0]] if _bare(words[0]) in known or _bare_subject(sentence) else []
    return found + [word for word in words[1:] if _bare(word) in known or _has_telling_capital(word)]


def _has_telling_capital(word: str) -> bool:
    stem = _bare(word)
    parts = stem.split("-")
    return (
        stem[0].isupper()
        and not stem.isupper()
        and not all(p in _COMMON_CAPITALS or p.islower() for p in parts)
        and (stem.split("'")[0].split("’")[0] != "I")
    )


def _bare_subject(sentence: str) -> bool:
    match = _SUBJECT.match(sentence.strip())
    return bool(match) and match[1][0].isupper() and _bare(match[1]).lower() not in _plain_words() | _SUBJECTS


def _bare(word: str) -> str:
    """A word without its possessive ending."""
    return re.sub(r"['’]s?$", "", word)


@cache
def _frequent_names() -> frozenset[str]:
    return frozenset(json.loads(files("sotopia_pi.stages").joinpath("data", "given_names.json").read_text("utf-8")))


@cache
def _plain_words() -> frozenset[str]:
    """Words that the product's own situations and prompts write in lower case."""
    texts = [template.text for template in scenario_templates()] + [prompt.text for prompt in inspirational_prompts()]
    return frozenset(word for text in texts for word in re.findall(r"\b[a-z]+\b", text))
