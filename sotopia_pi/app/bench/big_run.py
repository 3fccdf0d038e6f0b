"""A big run, made up: tasks as the workbench draws them, episodes and ratings in the form in which play leaves them."""

import json
from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path
from typing import Any

import numpy as np

from sotopia_pi.analysis.tables import EVALUATION_STAGE, TASKS_STAGE
from sotopia_pi.store.items import content_id, write_items
from sotopia_pi.world.actions import Action, Turn
from sotopia_pi.world.episode import Episode, Rules
from sotopia_pi.world.ratings import Rating
from sotopia_pi.world.scoring import JUDGE
from sotopia_pi.world.tasks import SocialTask

VARIANTS = ("base", "BC", "SR", "BC+SR")
TURNS, WORDS, TOKENS = 20, 15, 20
_WORDS = [
    "I",
    "could",
    "offer",
    "you",
    "a",
    "fair",
    "price",
    "of",
    "forty",
    "dollars",
    "for",
    "this",
    "old",
    "lamp",
    "if",
    "we",
    "can",
    "agree",
    "today",
    "because",
    "my",
    "friend",
    "would",
    "rather",
    "split",
    "it",
    "evenly",
    "than",
    "wait",
    "until",
    "Sunday",
    "thanks",
]


def write_big_run(run_dir: Path, tasks: list[SocialTask], n_episodes: int, seed: int = 0) -> Path:
    """A run's tasks, `n_episodes` episodes of 20 turns and two ratings each; every tenth episode failed, unrated.

    The agent's turns carry the record of a call to a model (text, ids of 20 tokens, usage), the partner's none.
    """
    write_items(run_dir / TASKS_STAGE / "tasks.jsonl", [task.to_dict() for task in tasks])
    folder = run_dir / EVALUATION_STAGE
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    with (folder / "episodes.jsonl").open("w") as episodes, (folder / "ratings.jsonl").open("w") as ratings:
        for episode in islice(_episodes(tasks, rng), n_episodes):
            episodes.write(json.dumps(episode.to_dict(), ensure_ascii=False) + "\n")
            for rating in _ratings(episode, rng):
                ratings.write(json.dumps(rating.to_dict(), ensure_ascii=False) + "\n")
    return run_dir


def _episodes(tasks: list[SocialTask], rng: np.random.Generator) -> Iterator[Episode]:
    rules, ids = Rules().to_dict(), [task.id for task in tasks]
    for number in count():
        variant, side = VARIANTS[number % len(VARIANTS)], number // len(VARIANTS) % 2
        repeat, place = divmod(number // (2 * len(VARIANTS)), len(tasks))
        task, failed = tasks[place], number % 10 == 9
        policies = [{"name": variant, "digest": f"policy-{variant}"}, {"name": "partner", "digest": "policy-partner"}]
        yield Episode(
            id=content_id("episode", [ids[place], number]),
            task_id=ids[place],
            template=task.template,
            family=task.family,
            policies=tuple(policies if side == 0 else reversed(policies)),
            agent_side=side,
            rules=rules,
            seed=0,
            repeat=repeat,
            turns=tuple(_turn(index, index % 2 == side, rng) for index in range(TURNS)),
            ending="failed" if failed else "turn_limit",
            outcome="policy_failed" if failed else "completed",
            failure="no end within the limit" if failed else "",
            tag=variant,
            timing={"wall_s": 1.5},
        )


def _turn(index: int, asked: bool, rng: np.random.Generator) -> Turn:
    said = " ".join(_WORDS[i] for i in rng.integers(len(_WORDS), size=WORDS))
    call: dict[str, Any] = {
        "text": said,
        "outcome": "ok",
        "finish_reason": "stop",
        "usage": {"prompt_tokens": 300 + 25 * index, "cached_tokens": 280 + 25 * index, "completion_tokens": TOKENS},
        "model": "smollm2-135m-instruct",
        "prompt_hash": f"{int(rng.integers(2**63)):016x}",
        "token_ids": rng.integers(49_152, size=TOKENS).tolist(),
    }
    timing = {"latency_s": 0.25} if asked else {}
    return Turn(index, index % 2, Action("speak", said), calls=(call,) if asked else (), timing=timing)


def _ratings(episode: Episode, rng: np.random.Generator) -> Iterator[Rating]:
    if episode.outcome != "completed":
        return
    for side in (0, 1):
        goal = float(rng.integers(0, 101)) / 10
        yield Rating(
            id=content_id("rating", [episode.id, side]),
            episode_id=episode.id,
            side=side,
            judge=JUDGE,
            outcome="ok",
            scores={"goal": goal, "financial_and_material_benefits": goal / 2, "secret": 0.0},
            reasons={"goal": "payoff 30 of at most 42, with 0 for walking away"},
            parts={"deal": goal > 0, "bad_deal": False, "joint_surplus": goal / 10, "has_zone": True},
        )
