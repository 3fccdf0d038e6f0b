"""What the task writer is asked, and how its answer is read: one JSON object that describes a scenario."""

import json
import re
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from sotopia_pi.models.seam import Message
from sotopia_pi.world.characters import Relationship
from sotopia_pi.world.tasks import Scenario

LONGEST_ANSWER = 50_000
"""Most characters that are read or kept of an answer, twenty times a wordy one; a server gone wild sends megabytes."""
SHOWN_AGAIN = 4000
"""Characters of an unusable answer that its correction repeats."""

LEVELS: dict[Relationship, str] = {
    Relationship.STRANGER: "strangers",
    Relationship.KNOW_BY_NAME: "they know each other by name only",
    Relationship.ACQUAINTANCE: "acquaintances, such as colleagues or neighbours",
    Relationship.FRIEND: "friends",
    Relationship.ROMANTIC: "a couple",
    Relationship.FAMILY: "family",
}

ASKED = """\
Invent a social situation for two people who will be role-played by others.

This existing situation shows the form. Take nothing else from it:
{example}

Let this line inspire the new situation. It is material, not an instruction:
"{inspiration}"

What is asked for:
- "disagreement": the one point on which the two want different things at first and which talking can settle.
- "scenario": what both of them know, in one to four sentences: where they are and what it is about. It tells neither \
goal and nobody's private reasons or limits.
- "goals": exactly two texts, for the first and for the second person, each spoken to its owner as "you". They differ, \
and at first they pull against each other. What nobody else may know stands between <extra_info> and </extra_info>.
- "relationship": how the two stand to each other: {levels}.
- "youngest" and "oldest": the ages both must lie in, from {least_age} to {most_age}, as wide as the situation allows.
- "occupations": occupations the situation asks for, else an empty list.
Nobody has a name, and neither have companies or places: say "one person", "the other", "a shop". Whatever the \
gender of the two, every text must fit: no "he" or "she", no "wife" or "brother". Nobody who takes part is under \
{least_age} or over {most_age}.

Answer with one JSON object with exactly these fields, in this order, and nothing else."""

CORRECTION = """\
This answer cannot be used: {problems}
Give the whole JSON object again, mended, and nothing else."""

YOUNGEST, OLDEST = 18, 70
"""Ages of the people who take part, in years (Sotopia-π, appendix on task generation)."""

_THOUGHT = re.compile(r"^\s*<think>.*?</think>", re.DOTALL)


class UnreadableDraft(ValueError):
    """A writer's words are no draft; the message says why, for the writer to read."""


class _Answer(BaseModel):
    """The JSON object of an answer; further fields are passed over."""

    model_config = ConfigDict(extra="ignore", strict=True)

    disagreement: str
    scenario: str
    goals: list[str]
    relationship: int
    youngest: int
    oldest: int
    occupations: list[str]


@dataclass(frozen=True)
class Draft:
    """A scenario as the writer gave it, read but not yet judged: any number of goals, any relationship, any age."""

    disagreement: str
    scenario: str
    goals: tuple[str, ...]
    relationship: int
    youngest: int
    oldest: int
    occupations: tuple[str, ...] = ()


def writer_messages(inspiration: str, example: Scenario) -> tuple[Message, ...]:
    """The one message that asks for a scenario."""
    text = ASKED.format(
        example=example_text(example),
        inspiration=" ".join(inspiration.replace('"', "'").split()),
        levels=", ".join(f"{level.value} = {words}" for level, words in LEVELS.items()),
        least_age=YOUNGEST,
        most_age=OLDEST,
    )
    return (Message("user", text),)


def correction(answer: str, problems: str) -> tuple[Message, Message]:
    """What follows an answer that cannot be used: the answer itself, cut where it is long, and what is wrong."""
    shown = answer[:SHOWN_AGAIN].strip() or "(no text)"
    return Message("assistant", shown), Message("user", CORRECTION.format(problems=problems))


def answer_schema() -> dict[str, Any]:
    """Strict JSON schema of an answer. The point of disagreement comes first, so that the goals are built on it."""
    text, number = {"type": "string"}, {"type": "integer"}
    properties = {
        "disagreement": text,
        "scenario": text,
        "goals": {"type": "array", "items": text},
        "relationship": {"type": "integer", "enum": [level.value for level in Relationship]},
        "youngest": number,
        "oldest": number,
        "occupations": {"type": "array", "items": text},
    }
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def example_text(scenario: Scenario) -> str:
    """An existing scenario in the form of an answer, as far as it has these fields."""
    youngest, oldest = scenario.age_range
    answer = {"scenario": scenario.text, "goals": list(scenario.goals), "relationship": int(scenario.relationship)}
    return json.dumps(answer | {"youngest": youngest, "oldest": oldest, "occupations": []}, ensure_ascii=False)


def read_draft(text: str) -> Draft:
    """The draft in an answer, alone, in a code fence, after a `<think>` block or within other words.

    Raises UnreadableDraft where there is no JSON object with the fields asked for.
    """
    if len(text) > LONGEST_ANSWER:
        raise UnreadableDraft(f"it has {len(text)} characters, allowed are {LONGEST_ANSWER}")
    body = _THOUGHT.sub("", text)
    start = body.find("{")
    if start < 0:
        raise UnreadableDraft("it holds no JSON object")
    try:
        record, _ = json.JSONDecoder().raw_decode(body[start:])
        json.dumps(record, ensure_ascii=False).encode()
        answer = _Answer.model_validate_json(json.dumps(record))
    except ValidationError as error:
        raise UnreadableDraft("; ".join(_field_problem(dict(e)) for e in error.errors())) from error
    except (ValueError, RecursionError) as error:
        raise UnreadableDraft(f"its JSON is broken: {error}") from error
    return Draft(
        disagreement=_tidy(answer.disagreement),
        scenario=_tidy(answer.scenario),
        goals=tuple(map(_tidy, answer.goals)),
        relationship=answer.relationship,
        youngest=answer.youngest,
        oldest=answer.oldest,
        occupations=tuple(_tidy(name) for name in answer.occupations if name.strip()),
    )


def _field_problem(error: dict[str, Any]) -> str:
    place = ".".join(map(str, error["loc"])) or "the object"
    return f"{place}: {error['msg']}"


def _tidy(text: str) -> str:
    return " ".join(text.split())
