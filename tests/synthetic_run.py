"""Small made-up runs: tasks, episodes and ratings written with the core's own classes, scores chosen by the test."""

import json
from collections.abc import Callable
from pathlib import Path

from sotopia_pi.store.items import ItemFile, content_id, write_items
from sotopia_pi.store.manifest import describe_files, result_digests, write_manifest
from sotopia_pi.world.actions import Action, Turn
from sotopia_pi.world.characters import Character, Relationship
from sotopia_pi.world.episode import Episode, Rules
from sotopia_pi.world.payoffs import Issue, Payoff, SidePayoff
from sotopia_pi.world.ratings import Rating
from sotopia_pi.world.tasks import Scenario, SocialTask

FAMILIES = ("bargaining", "division", "meeting", "favour")


def character(first: str, last: str, secret: str) -> Character:
    return Character(
        id=f"c-{first.lower()}",
        first_name=first,
        last_name=last,
        age=34,
        gender="woman",
        gender_pronoun="she/her",
        occupation="baker",
        public_info=f"{first} bakes bread and sings on Sundays.",
        big_five="open, agreeable",
        moral_values=("care", "fairness"),
        schwartz_personal_values=("benevolence",),
        personality_and_values=f"{first} is warm and keeps her word.",
        decision_making_style="intuitive",
        secret=secret,
        mbti="INFP",
    )


def task(
    number: int, template: str, family: str = "bargaining", hard: bool = False, has_zone: bool = True, level: int = 2
) -> SocialTask:
    prices = Issue("price", "amount", tuple(range(40, 121)), unit="$")
    sides = (SidePayoff({"price": -1}, walk_away=-100, best=-60), SidePayoff({"price": 1}, walk_away=70, best=110))
    return SocialTask(
        scenario=Scenario(
            template=template,
            codename=f"{template}-{number}",
            source="test",
            text=f"Two people meet at stall number {number} of the flea market; one sells a lamp.",
            goals=(
                "Buy the lamp. <extra_info>You would pay $100 at most.</extra_info>",
                "Sell the lamp. <extra_info>It must bring $70 at least.</extra_info>",
            ),
            relationship=Relationship(level),
        ),
        characters=(character("Mia", "Davis", "Mia failed her exam."), character("Ava", "Moreno", "Ava sells copies.")),
        background="They sing in the same choir.",
        payoff=Payoff(family, (prices,), sides, material=True),
        split="eval",
        hard=hard,
        has_zone=has_zone,
    )


def turns(price: int | None, failed: bool = False) -> tuple[Turn, ...]:
    """Four turns that end in a deal, four that end in walking away, or two that end in a failure."""
    said = [Action("speak", "Hello! I would give $80 for it."), Action("non-verbal communication", "shakes her head")]
    if failed:
        return (Turn(0, 0, said[0]), Turn(1, 1, Action("none"), failed=True))
    last = Action("speak", f"Deal, ${price}.") if price else Action("leave", "walks on")
    return tuple(Turn(i, i % 2, a) for i, a in enumerate([*said, Action("action", "counts coins"), last]))


def episode(of: SocialTask, variant: str, agent_side: int, failed: bool = False, deal: bool = True, seed: int = 0):
    body = {"task": of.id, "variant": variant, "side": agent_side, "seed": seed}
    played = turns(80 if deal else None, failed)
    names = [variant, "partner"] if agent_side == 0 else ["partner", variant]
    return Episode(
        id=content_id("episode", body),
        task_id=of.id,
        template=of.template,
        family=of.family,
        policies=tuple({"name": n, "digest": n} for n in names),
        agent_side=agent_side,
        rules=Rules().to_dict(),
        seed=seed,
        repeat=0,
        turns=played,
        ending="failed" if failed else ("turn_limit" if deal else "left"),
        outcome="policy_failed" if failed else "completed",
        failure="side 1, turn 1: no end within the limit" if failed else "",
        tag=variant,
    )


def rating(of: Episode, side: int, goal: float, deal: bool = True, outcome: str = "ok", judge: str = "payoff"):
    return Rating(
        id=content_id("rating", [of.id, side, judge]),
        episode_id=of.id,
        side=side,
        judge=judge,
        outcome=outcome,
        scores={"goal": goal, "financial_and_material_benefits": goal / 2, "secret": 0.0} if outcome == "ok" else {},
        parts={"deal": deal, "bad_deal": deal and goal == 0, "joint_surplus": goal / 10, "terms": {"price": 80}}
        if outcome == "ok"
        else {},
    )


Score = Callable[[str, int, int], float | None]
"""(variant, task number, agent side) -> the agent's goal in [0, 10], or None: its policy failed."""


def write_run(
    run_dir: Path,
    tasks: list[SocialTask],
    variants: tuple[str, ...],
    score: Score,
    seed: int = 0,
    manifest: bool = True,
) -> Path:
    """A run in which every variant played every task from both sides; the partner gets 10 minus the agent's goal."""
    episodes, ratings = [], []
    for variant in variants:
        for number, one in enumerate(tasks):
            for side in (0, 1):
                goal = score(variant, number, side)
                played = episode(one, variant, side, failed=goal is None, deal=goal != 0, seed=seed)
                episodes.append(played)
                if goal is not None:
                    ratings += [
                        rating(played, side, goal, deal=goal != 0),
                        rating(played, 1 - side, 10 - goal if goal else 0.0, deal=goal != 0),
                    ]
    write_items(run_dir / "01_social_tasks" / "tasks.jsonl", [t.to_dict() for t in tasks])
    folder = run_dir / "06_social_evaluation"
    write_items(folder / "episodes.jsonl", [e.to_dict() for e in episodes])
    write_items(folder / "ratings.jsonl", [r.to_dict() for r in ratings])
    if manifest:
        write_items(folder / "judge_ratings.jsonl", [])
        named = {
            "judge_ratings.jsonl": [],
            "episodes.jsonl": [e.id for e in episodes],
            "ratings.jsonl": [r.id for r in ratings],
        }
        (folder / "manifest.json").write_text(json.dumps({"schema": "manifest/1", "items": named}))
    return run_dir


def complete(stage_dir: Path, **params: object) -> Path:
    """Give a stage's folder the manifest it would have: all its items files are its results."""
    items = {path.name: [item["id"] for item in ItemFile(path).read()] for path in sorted(stage_dir.glob("*.jsonl"))}
    files = describe_files(stage_dir, items)
    manifest = {"schema": "manifest/1", "stage": stage_dir.name, "params": params, "inputs": {}, "files": files}
    digests = result_digests(stage_dir, files)
    rest = {"unanswered": {}, "counts": {}, "notes": {}, "key": None, "wall_s": 0.0, "peak_rss_mib": 0}
    write_manifest(stage_dir, {**manifest, "items": items, "digests": digests, **rest})
    return stage_dir


def many_tasks(n_templates: int = 8, per_template: int = 4) -> list[SocialTask]:
    """Tasks over all four gated families, the last of each template hard."""
    return [
        task(10 * t + i, f"{FAMILIES[t % 4]}-{t}", FAMILIES[t % 4], hard=i == per_template - 1)
        for t in range(n_templates)
        for i in range(per_template)
    ]
