"""Engagement by rule: whether an agent took part in an episode, or unknown where failures could decide it."""

from collections.abc import Sequence

from sotopia_pi.world.actions import Turn
from sotopia_pi.world.episode import Episode

LEAST_TURNS = 4
SILENT_SHARE = 0.5
"""Engaged: more turns than LEAST_TURNS, and less than this share of `none` (Sotopia-π, section 5 and Table 3)."""


def engaged(episode: Episode, side: int) -> bool | None:
    """True when the episode has more than 4 turns (both sides together) and under half of the side's are `none`.

    A `none` that stands in for output nobody could read is no behaviour: where reading it as silence and reading it as
    speech lead to different answers, or where it ended the episode early, the answer is None. So it is for an episode
    that did not complete.
    """
    if episode.outcome != "completed":
        return None
    if len(episode.turns) <= LEAST_TURNS:
        return None if _ended_by_failures(episode) else False
    own = [turn for turn in episode.turns if turn.side == side]
    worst, best = (_silent_share(own, failed_too) < SILENT_SHARE for failed_too in (True, False))
    return worst if worst == best else None


def own_words(episode: Episode, side: int) -> list[str]:
    """What a side said, showed or did in words, turn by turn; nothing of what could not be read."""
    return [t.action.argument for t in episode.turns if t.side == side and not t.failed and t.action.argument.strip()]


def _silent_share(turns: Sequence[Turn], failed_too: bool) -> float:
    return sum(turn.action.type == "none" and (failed_too or not turn.failed) for turn in turns) / max(1, len(turns))


def _ended_by_failures(episode: Episode) -> bool:
    """Whether one of the silent turns that ended the episode was a failure."""
    silent = episode.turns[-(episode.rules["silence_limit"] + 1) :]
    return episode.ending == "silence" and any(turn.failed for turn in silent)
