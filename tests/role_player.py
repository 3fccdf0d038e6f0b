"""A server's words for every role, valid in form: players, judge and task writer, told apart by what they are asked."""

import json
import re
from typing import Any

import numpy as np

from sotopia_pi.store.items import content_id

TURNS_SPOKEN = 5
"""A player leaves after this many turns of the scene."""


def in_role(body: dict[str, Any]) -> str:
    """What a server answers to a request; the same words for the same request."""
    rng = np.random.default_rng(int(content_id("answer", body).rsplit("-", 1)[1], 16))
    fields = body.get("response_format", {}).get("json_schema", {}).get("schema", {}).get("properties", {})
    if "side_0" in fields:
        return json.dumps(_judged(fields, rng))
    if "injury_intent" in fields:
        return json.dumps(_safety(rng))
    if "goals" in fields:
        return json.dumps(_scenario(rng))
    return _turn(body["messages"][-1]["content"], rng)


def _judged(fields: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
    """Scores drawn from what the schema allows."""
    answer = {}
    for label, side in fields.items():
        properties = side["properties"]
        answer[label] = {"who": properties["who"]["enum"][0]}
        for dimension in (name for name in properties if name != "who"):
            allowed = properties[dimension]["properties"]["score"]["enum"]
            answer[label][dimension] = {"reasoning": f"It went so for {dimension}.", "score": int(rng.choice(allowed))}
    return answer


def _safety(rng: np.random.Generator) -> dict[str, Any]:
    verdicts = {
        name: {"reasoning": "So it was.", "value": bool(rng.integers(2))} for name in ("injury_intent", "prevented")
    }
    return verdicts | {"solutions": {"reasoning": "Some.", "named": ["write", "wait"][: int(rng.integers(3))]}}


def _scenario(rng: np.random.Generator) -> dict[str, Any]:
    thing = str(rng.choice(["kayak", "piano", "greenhouse", "tandem", "loft", "telescope", "allotment", "kiln"]))
    place, time = str(rng.choice(["harbour", "hall", "garden", "station"])), int(rng.integers(2, 60))
    return {
        "disagreement": f"who may use the {thing} first",
        "scenario": f"Two people share a {thing} near a {place} and meet there after {time} days of rain. Both have "
        f"plans for the coming weekend, and only one of the plans can come first this time.",
        "goals": [
            f"You want to use the {thing} on Saturday. <extra_info>You promised it to a guest.</extra_info>",
            f"You want to repair the {thing} first. <extra_info>You have the parts only this week.</extra_info>",
        ],
        "relationship": int(rng.integers(0, 6)),
        "youngest": 21,
        "oldest": 65,
        "occupations": [],
    }


def _turn(asked: str, rng: np.random.Generator) -> str:
    """An action in JSON where that is asked for, else plain speech; leaving when the scene is old enough."""
    said = f"I could wait until day {int(rng.integers(2, 30))}, if that helps you."
    turn = re.search(r"This is turn (\d+)", asked)
    if turn is None:
        return said
    if int(turn[1]) >= TURNS_SPOKEN:
        return json.dumps({"action_type": "leave", "argument": ""})
    return json.dumps({"action_type": "speak", "argument": said})
