"""A task writer's answer for tests: one that breaks no rule, as text, as a draft, and as a scenario."""

import json

from sotopia_pi.stages.writer_prompt import read_draft
from sotopia_pi.world.tasks import Scenario

GOOD = {
    "disagreement": "who replaces the plants",
    "scenario": "Two neighbours meet in the stairwell. One of them looked after the plants of the other, and several "
    "have withered.",
    "goals": [
        "Get the other to pay for new plants. <extra_info>You paid $60 for the orchid and would take $30.</extra_info>",
        "Keep your peace with the other without paying much. <extra_info>You forgot the plants twice.</extra_info>",
    ],
    "relationship": 2,
    "youngest": 18,
    "oldest": 70,
    "occupations": [],
}
DRAFT = read_draft(json.dumps(GOOD))
TEXT = GOOD["scenario"]


def scenario(name: str, level: int = 2, ages=(18, 70), text: str = TEXT) -> Scenario:
    """A scenario with the goals of GOOD."""
    return Scenario(name, name, "normbank", text, tuple(GOOD["goals"]), level, ages)
