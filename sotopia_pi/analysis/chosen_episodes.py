"""Episodes that a report shows, each with the reasons why: the best and the worst, the typical, failures, disputes."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from sotopia_pi.analysis.colours import EXPERT, LEARNED, in_order
from sotopia_pi.analysis.episode_index import EpisodeIndex, anchor
from sotopia_pi.analysis.escaping import STANDS_ALONE, escaped
from sotopia_pi.analysis.goal_tables import studied
from sotopia_pi.analysis.tables import EVALUATION_STAGE, UNGATED_FAMILIES
from sotopia_pi.analysis.transcript_style import PAIR_STYLE, STYLE
from sotopia_pi.analysis.transcripts import telling

COLUMNS = ("episode_id", "address", "variant", "task", "goal", "reasons")


@dataclass(frozen=True)
class Chosen:
    """One episode to show. row: in the index; reasons: in words, without the variant's name."""

    row: int
    variant: str
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Pair:
    """One task from one side, played by two variants. first, second: rows of the index; reason: why this one."""

    first: int
    second: int
    reason: str


def choose(index: EpisodeIndex, stage: str = EVALUATION_STAGE, n_gaps: int = 3) -> list[Chosen]:
    """Per variant (trivial policies left out) its best, typical and worst episode and a failed one, then disputes.

    Best, typical and worst go by the agent's goal over gated tasks with a zone of agreement. Disputes: the n_gaps
    episodes on which a judge's goal is furthest from the rule's. An episode picked twice is shown once with both
    reasons. Equal data give equal choices.
    """
    rows = studied(index.frame[index.frame["stage"] == stage]).sort_values("id")
    picked: dict[int, list[str]] = {}
    for variant in in_order(rows["variant"]):
        for row, why in [*_telling(rows[rows["variant"] == variant]), *_failures(rows[rows["variant"] == variant])]:
            picked.setdefault(row, []).append(why)
    for row, why in _disputes(index, rows, n_gaps):
        picked.setdefault(row, []).append(why)
    variants = index.frame["variant"]
    return [Chosen(row, variants.iat[row], tuple(reasons)) for row, reasons in picked.items()]


def widest_pairs(index: EpisodeIndex, stage: str = EVALUATION_STAGE) -> list[Pair]:
    """The task that the last trained variant did most better than the base, and the one it did most worse.

    Same task, side and repeat, by the agent's goal; where nothing was trained, the expert is held beside the base.
    """
    rows = index.frame[index.frame["stage"] == stage]
    rows = rows.dropna(subset=["agent_goal"]).assign(row=lambda found: found.index).sort_values("id")
    played = set(rows["variant"])
    last = next((name for name in (*reversed(LEARNED[2:]), EXPERT) if name in played), None)
    if last is None or "base" not in played:
        return []
    keys = ["task", "side", "repeat"]
    first, second = (rows[rows["variant"] == name][[*keys, "row", "agent_goal"]] for name in ("base", last))
    both = first.merge(second, on=keys, suffixes=("_first", "_second"))
    gain = both["agent_goal_second"] - both["agent_goal_first"]
    ends = [both.loc[gain.idxmax()], both.loc[gain.idxmin()]] if len(both) else []
    found = []
    for one, sign in zip(ends, (1, -1), strict=False):
        apart = one["agent_goal_second"] - one["agent_goal_first"]
        if apart * sign > 0:
            told = f"{abs(apart):.1f} points of goal {'better' if sign > 0 else 'worse'} than base"
            reason = f"{last} did {told}, the most of {len(both)} plays of both."
            found.append(Pair(int(one["row_first"]), int(one["row_second"]), reason))
    return found


def chosen_table(index: EpisodeIndex, chosen: Iterable[Chosen]) -> pd.DataFrame:
    """One row an episode: COLUMNS, with the reasons joined."""
    frame = index.frame
    lines = [
        {
            "episode_id": frame["id"].iat[one.row],
            "address": index.address(one.row),
            "variant": one.variant,
            "task": frame["codename"].iat[one.row],
            "goal": float(frame["agent_goal"].iat[one.row]),
            "reasons": "; ".join(one.reasons),
        }
        for one in chosen
    ]
    return pd.DataFrame(lines, columns=list(COLUMNS))


def chosen_html(index: EpisodeIndex, chosen: Sequence[Chosen]) -> str:
    """A static page part: a list of contents, then every transcript with its anchor `#episode-<id>`. No script."""
    if not chosen:
        return f"<p>No episode to choose from. {escaped(index.words())}</p>"
    table = chosen_table(index, chosen).to_dict("records")
    listed = "".join(
        f'<li><a href="#{anchor(line["episode_id"])}">{escaped(line["variant"])} · {escaped(line["task"])}</a>: '
        f"{escaped(line['reasons'])}</li>"
        for line in table
    )
    shown = "".join(
        index.transcript(one.row, f"{one.variant}: {'; '.join(one.reasons)}. {line['address']}").html(
            anchor(line["episode_id"]), styled=False
        )
        for one, line in zip(chosen, table, strict=True)
    )
    undisputed = (
        "" if len(index.gaps()) else "<p>No side was rated by the rule and by a judge, so none is disputed.</p>"
    )
    return f'<style>{STYLE}</style><ol class="{STANDS_ALONE}">{listed}</ol>{undisputed}{shown}'


def pairs_html(index: EpisodeIndex, pairs: Sequence[Pair]) -> str:
    """The pairs, each with two transcripts beside each other."""
    parts = (
        [f"<style>{STYLE}{PAIR_STYLE}</style>"]
        if pairs
        else ["<p>No task on which base and a trained variant both played and differ.</p>"]
    )
    for pair in pairs:
        sides = "".join(f"<div>{_named(index, row)}</div>" for row in (pair.first, pair.second))
        parts.append(f'<p class="{STANDS_ALONE}">{escaped(pair.reason)}</p><div class="sotopia-pair">{sides}</div>')
    return "".join(parts)


def _named(index: EpisodeIndex, row: int) -> str:
    return index.transcript(row, f"{index.frame['variant'].iat[row]}, {index.address(row)}").html(styled=False)


def _telling(rows: pd.DataFrame) -> list[tuple[int, str]]:
    """Best, typical, worst of one variant, as (row, why)."""
    counted = rows[rows["has_zone"] & ~rows["family"].isin(UNGATED_FAMILIES)]
    rated = counted.rename(columns={"agent_goal": "goal"}).dropna(subset=["goal"])
    return [(int(one.name), f"{why} (goal {one['goal']:.1f})") for one, why in telling(rated)]


def _failures(rows: pd.DataFrame) -> list[tuple[int, str]]:
    """The first episode that failed, and the one with most turns that could not be read."""
    found = []
    failed = rows[rows["outcome"] != "completed"]
    if len(failed):
        why = f"one of {len(failed)} that failed ({failed['outcome'].iat[0].replace('_', ' ')}), not rated"
        found.append((int(failed.index[0]), why))
    unreadable = rows[(rows["n_failed"] > 0) & (rows["outcome"] == "completed")]
    if len(unreadable):
        worst = unreadable["n_failed"].idxmax()
        told = f"{unreadable['n_failed'][worst]} of its {unreadable['n_turns'][worst]} turns could not be read"
        found.append((int(worst), f"{told}, the most of {len(unreadable)} episodes with such turns"))
    return found


def _disputes(index: EpisodeIndex, rows: pd.DataFrame, n: int) -> list[tuple[int, str]]:
    """The episodes with the largest gap between a judge and the rule, of those rows."""
    gaps = index.gaps()
    gaps = gaps[gaps["row"].isin(rows.index)].assign(size=np.abs(gaps["gap"]))
    gaps = gaps.assign(id=index.frame["id"].to_numpy()[gaps["row"].astype(int)]).sort_values(
        ["size", "id"], ascending=[False, True]
    )
    return [
        (
            int(one["row"]),
            f"{one['judge']} gives goal {one['judge_goal']:.1f}, the rule {one['rule_goal']:.1f}: {place} largest gap",
        )
        for place, one in zip(
            ("the", *(f"the {k}." for k in range(2, n + 1))), gaps.head(n).to_dict("records"), strict=False
        )
    ]
