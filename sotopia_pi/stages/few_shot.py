"""Example conversations for the few-shot base: expert episodes told from one side."""

from collections.abc import Sequence

from sotopia_pi.models.prompts import chat_text
from sotopia_pi.stages.played import Played
from sotopia_pi.world.episode import Episode
from sotopia_pi.world.tasks import shown_goal

FEWEST_TURNS = 6
"""Shorter conversations show no concession and answer."""


def few_shot_examples(played: Played, n: int) -> tuple[tuple[str, ...], ...]:
    """The n expert conversations shown to the few-shot base, as lines: the goal, then what You and the Other said.

    Short ones with a deal, of n different families; which ones depends on the episodes alone.
    """
    agreed = {r.episode_id for r in played.ratings if r.parts.get("deal") and r.parts["has_zone"]}
    by_family: dict[str, Episode] = {}
    for episode in sorted(played.episodes, key=lambda e: (len(e.turns), e.id)):
        if episode.id in agreed and len(episode.turns) >= FEWEST_TURNS:
            by_family.setdefault(episode.family, episode)
    return tuple(_lines(played, by_family[family]) for family in sorted(by_family)[:n])


def _lines(played: Played, episode: Episode) -> Sequence[str]:
    """The talk as the expert had it; where it played both sides, as side 0 had it."""
    side = episode.agent_side or 0
    goal = shown_goal(played.tasks[episode.task_id].scenario.goals[side])
    speakers = {side: "You", 1 - side: "Other"}
    return (f"Your goal: {goal}", *(f"{speakers[t.side]}: {chat_text(t.action)}" for t in episode.turns))
