"""Made-up records in Sotopia's formats, and a folder of them."""

import json
import os
from pathlib import Path

import pytest

PUBLISHED = os.environ.get("SOTOPIA_PI_DATA", "")
needs_published = pytest.mark.skipif(
    not (PUBLISHED and Path(PUBLISHED, "sotopia").is_dir()),
    reason="set SOTOPIA_PI_DATA to a folder that holds sotopia/ (published profiles) to check against real data",
)


def published() -> Path:
    return Path(PUBLISHED, "sotopia")


def agent(agent_id="a-ida", first="Ida", last="Holm", **more):
    return {
        "agent_id": agent_id,
        "first_name": first,
        "last_name": last,
        "age": 44,
        "occupation": "Beekeeper",
        "gender": "Woman",
        "gender_pronoun": "She/her",
        "public_info": f"{first} sells honey at the harbour.",
        "big_five": "Openness - High",
        "moral_values": ["Care", " Loyalty"],
        "schwartz_personal_values": ["Security", " Tradition"],
        "personality_and_values": f"{first} plans ahead and forgives late.",
        "decision_making_style": "Analytical",
        "secret": f"{first} once lost a boat at cards.",
        "mbti": "ISTJ",
        **more,
    }


def environment(env_id="e-oars", codename="borrow_oars", **more):
    return {
        "env_id": env_id,
        "codename": codename,
        "source": "normbank",
        "scenario": "Two neighbours meet on a pier before a regatta.",
        "agent_goals": [
            "Borrow the good oars (<extra_info>Extra information: yours broke yesterday</extra_info>)",
            "Keep the oars dry (<strategy_hint>Hint: offer the old pair</strategy_hint>)",
        ],
        "relationship": "3",
        "age_constraint": "[(18, 70), (18, 70)]",
        "occupation_constraint": "nan",
        "agent_constraint": "none",
        **more,
    }


def relationship(first="a-ida", second="a-bo", level="3", **more):
    return {
        "relationship_id": f"r-{first}-{second}-{level}",
        "agent1_id": first,
        "agent2_id": second,
        "relationship": level,
        "background_story": "They rowed together as students.",
        **more,
    }


def combination(combo_id="c-1", env_id="e-oars", agents=("a-ida", "a-bo"), **more):
    return {"combo_id": combo_id, "env_id": env_id, "agent_ids": list(agents), **more}


BO = agent("a-bo", "Bo", "Lind", age=38, occupation="Sailor", gender="Man", gender_pronoun="He/him")
NAMES = ("Ida Holm", "Bo Lind")


def jsonl(path: Path, records) -> Path:
    path.write_text("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records), encoding="utf-8")
    return path


def lines_of(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def folder(tmp_path: Path, agents=None, environments=None, relationships=None, combinations=None) -> Path:
    """A folder of profiles; two characters, one scenario, one relationship and one combination unless told."""
    place = tmp_path / "profiles"
    place.mkdir(parents=True, exist_ok=True)
    jsonl(place / "agent_profiles.jsonl", [agent(), BO] if agents is None else agents)
    jsonl(place / "environment_profiles.jsonl", [environment()] if environments is None else environments)
    jsonl(place / "relationship_profiles.jsonl", [relationship()] if relationships is None else relationships)
    jsonl(place / "env_agent_combo_storages.jsonl", [combination()] if combinations is None else combinations)
    return place


SCORES = {
    "believability": 8,
    "relationship": 2,
    "knowledge": 3,
    "secret": -1,
    "social_rules": 0,
    "financial_and_material_benefits": 1,
    "goal": 8,
}
"""Their mean is 3."""


def reward(**more):
    scores = SCORES | more
    overall = sum(scores.values()) / len(scores)
    return [overall, {**scores, "overall_score": overall}]


def groups(*acts, names=NAMES):
    """Messages of a log: acts[i] is what the side whose turn it is does, in the log's words."""
    told = [[["Environment", name, f"opening for {name}"] for name in names]]
    for number, act in enumerate(acts):
        by_side = [act if number % 2 == side else "did nothing" for side in (0, 1)]
        told[-1] += [[name, "Environment", by_side[side]] for side, name in enumerate(names)]
        told.append([["Environment", name, f"Turn #{number}: {names[number % 2]} {act}\n"] for name in names])
    return told


ACTS = ('said: "May I have the oars?"', "[action] holds them up", "did nothing", 'said: "Take the old pair."')


def log(*acts, **more):
    return {
        "pk": "log-1",
        "environment": "e-oars",
        "agents": ["a-ida", "a-bo"],
        "tag": "trial",
        "models": ["judge-x", "model-y", "model-z"],
        "messages": groups(*(acts or ACTS)),
        "reasoning": "Agent 1 comments:\ngoal: She asked.\nAgent 2 comments:\ngoal: He kept them.\n",
        "rewards": [reward(), reward(goal=1)],
        "rewards_prompt": "Please judge.",
        **more,
    }
