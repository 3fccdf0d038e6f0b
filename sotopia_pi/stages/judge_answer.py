"""How a judge's answer is read: strictly, the same way for the first time and for any later reading of the raw text."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sotopia_pi.stages.judge_prompt import LABELS, allowed_scores
from sotopia_pi.store.digest import source_digest
from sotopia_pi.store.items import content_id
from sotopia_pi.world.ratings import DIMENSIONS

MAX_CHARACTERS = 100_000
"""Longest text that is read, in characters: ten times a wordy answer, while a server gone wild sends megabytes."""
MAX_PROBLEMS = 8
_FENCE = re.compile(r"^```[a-zA-Z]*\s*\n(.*?)\n?```$", re.DOTALL)
_THOUGHT = re.compile(r"^\s*<think>.*?</think>", re.DOTALL)


class UnreadableAnswer(ValueError):
    """A judge's words are no answer; the message lists what is wrong and what is allowed, for the judge to read."""


@dataclass(frozen=True)
class SideAnswer:
    """What a judge said about one side. scores: dimension -> int in its range; reasons: dimension -> sentences."""

    scores: Mapping[str, int]
    reasons: Mapping[str, str]


def read_answer(text: str, sides: tuple[str, str]) -> tuple[SideAnswer, SideAnswer]:
    """Both sides' scores and reasons. sides: label and name of each, as the prompt wrote them.

    Raises UnreadableAnswer for anything but one object with exactly the fields asked for.
    """
    answer = object_in(text, LABELS)
    problems = _field_problems("the answer", answer, LABELS)
    for label, name in zip(LABELS, sides, strict=True):
        problems += _side_problems(label, answer[label], name, sides) if label in answer else []
    if problems:
        more = f" (and {len(problems) - MAX_PROBLEMS} more)" if len(problems) > MAX_PROBLEMS else ""
        raise UnreadableAnswer("; ".join(problems[:MAX_PROBLEMS]) + more)
    first, second = (_side_answer(answer[label]) for label in LABELS)
    return first, second


def object_in(text: str, first: Sequence[str]) -> dict[str, Any]:
    """The one JSON object in a reply. first: the fields it may begin with.

    It may stand alone, in a code fence, after a `<think>` block, or once within other words. Raises UnreadableAnswer
    where there is none or more than one, and where its JSON is broken.
    """
    if len(text) > MAX_CHARACTERS:
        raise UnreadableAnswer(f"it is longer than {MAX_CHARACTERS} characters; keep each reasoning to a few sentences")
    body = _THOUGHT.sub("", text).strip()
    if not body:
        raise UnreadableAnswer("it is empty; one JSON object is asked for")
    if fenced := _FENCE.match(body):
        body = fenced.group(1).strip()
    begins = [match.start() for match in re.finditer(rf'\{{\s*"(?:{"|".join(first)})"\s*:', body)]
    if len(begins) > 1:
        raise UnreadableAnswer(f"it holds {len(begins)} JSON objects that look like answers; give exactly one")
    if body.startswith("{"):
        begins = [0]
    if not begins:
        named = " or ".join(f'"{field}"' for field in first)
        raise UnreadableAnswer(f"it holds no JSON object that begins with {named}")
    return _decode(body[begins[0] :], may_go_on=True)


def stands_alone(text: str) -> bool:
    """True when a text is one JSON object and nothing else, as a server that enforces a schema sends it."""
    try:
        return isinstance(_decode(text), dict)
    except UnreadableAnswer:
        return False


def kept_text(text: str) -> str:
    """What is kept of a reply: as much as is read and one character more, so that a cut text stays too long."""
    return storable(text[: MAX_CHARACTERS + 1])


def storable(text: str) -> str:
    """The text without lone surrogates, which JSON can spell and no file can hold."""
    return text.encode("utf-8", "replace").decode()


def judge_reader_digest() -> str:
    """Hash of the rules by which answers are read."""
    return content_id("reader", {"format": "judge", "code": source_digest("sotopia_pi.stages.judge_answer")})


def _decode(text: str, may_go_on: bool = False) -> Any:
    """The JSON value a text begins with. may_go_on: whether other words may follow it."""
    decoder = json.JSONDecoder(object_pairs_hook=_without_repeats, parse_constant=_no_constant)
    body = text.strip()
    try:
        value, end = decoder.raw_decode(body)
    except RecursionError:
        raise UnreadableAnswer("its JSON is nested too deeply; use the form asked for") from None
    except ValueError as error:
        raise UnreadableAnswer(f"its JSON is broken: {error}") from None
    if end < len(body) and not may_go_on:
        raise UnreadableAnswer("words follow the JSON object; give the object alone")
    return value


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) < len(pairs):
        names = [name for name, _ in pairs]
        twice = sorted({name for name in names if names.count(name) > 1})
        raise ValueError(f"field {', '.join(map(repr, twice))} is given twice in one object")
    return record


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number that JSON allows")


def _side_problems(label: str, said: Any, name: str, sides: tuple[str, str]) -> list[str]:
    problems = _field_problems(label, said, ("who", *DIMENSIONS))
    if not isinstance(said, dict):
        return problems
    if "who" in said and said["who"] != name:
        what = "the other side; the two are swapped" if said["who"] in sides else "nobody in the scene"
        problems.append(f"{label}.who is {_brief(said['who'])}, {what}; it must be {name!r}")
    for dimension in DIMENSIONS:
        if dimension in said:
            problems += _dimension_problems(f"{label}.{dimension}", said[dimension], allowed_scores(dimension))
    return problems


def _dimension_problems(place: str, said: Any, allowed: list[int]) -> list[str]:
    problems = _field_problems(place, said, ("reasoning", "score"))
    if problems:
        return problems
    if list(said) != ["reasoning", "score"]:
        problems.append(f"{place} gives the score before the reasoning; reason first")
    if not isinstance(said["reasoning"], str) or not said["reasoning"].strip():
        problems.append(f"{place}.reasoning is {_brief(said['reasoning'])}; it must be a sentence or more")
    if type(said["score"]) is not int or said["score"] not in allowed:
        whole = f"a whole number from {allowed[0]} to {allowed[-1]}"
        problems.append(f"{place}.score is {_brief(said['score'])}; it must be {whole}")
    return problems


def _field_problems(place: str, said: Any, wanted: tuple[str, ...]) -> list[str]:
    """What is wrong with the fields of an object: it is none, some are missing, some are not asked for."""
    if not isinstance(said, dict):
        return [f"{place} is {_brief(said)}; it must be an object with {', '.join(wanted)}"]
    missing = [name for name in wanted if name not in said]
    unknown = [name for name in said if name not in wanted]
    problems = [f"{place} lacks {', '.join(missing)}"] if missing else []
    if unknown:
        named = ", ".join(map(_brief, unknown[:3]))
        problems.append(f"{place} has {len(unknown)} unknown fields ({named}); allowed: {', '.join(wanted)}")
    return problems


def _side_answer(said: dict[str, Any]) -> SideAnswer:
    return SideAnswer(
        {dimension: said[dimension]["score"] for dimension in DIMENSIONS},
        {dimension: storable(said[dimension]["reasoning"]).strip() for dimension in DIMENSIONS},
    )


def _brief(value: Any) -> str:
    shown = storable(json.dumps(value, ensure_ascii=False))
    return shown if len(shown) <= 60 else f"{shown[:57]}..."
