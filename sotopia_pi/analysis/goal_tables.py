"""Tables of what each variant reached: goal completion, its parts, and what is reported apart.

Every table is tidy (one estimate a row) and built by one function from the frame of `tables.results_frame`. Each row
carries its interval, the numbers behind it, how many episodes were attempted and why the others are missing.
"""

from collections.abc import Callable, Iterable
from typing import Any, Literal

import pandas as pd

from sotopia_pi.analysis.colours import FIXED, TRIVIAL, in_order
from sotopia_pi.analysis.statistics import Estimate, cluster_mean

Tasks = Literal["all", "hard"]
Side = Literal["agent", "partner"]

PARTS: dict[str, tuple[str, str]] = {
    "deal rate": ("deal", "share of rated episodes that end in a deal, 0 to 1"),
    "bad-deal rate": ("bad_deal", "share of rated episodes that end in a deal worse than walking away, 0 to 1"),
    "goal given a deal": ("goal", "mean goal of the episodes with a deal, 0 to 10"),
    "joint surplus": ("joint_surplus", "both sides' gain as a share of the best possible, 0 to 1"),
}
"""Part of goal completion -> (column, what it is)."""

ESTIMATE_COLUMNS = ("mean", "low", "high", "n_tasks", "n_episodes", "n_templates", "attempted", "missing", "method")


def select_tasks(frame: pd.DataFrame, tasks: Tasks = "all") -> pd.DataFrame:
    """Rows that goal completion is computed over: gated families, tasks with a zone of agreement."""
    if tasks not in ("all", "hard"):
        raise ValueError(f"tasks = {tasks!r}; allowed: 'all' and 'hard'")
    kept = frame[frame["gated"] & frame["has_zone"]]
    return kept[kept["hard"]] if tasks == "hard" else kept


def select_side(frame: pd.DataFrame, side: Side = "agent") -> pd.DataFrame:
    """Rows of the agent (the policy under study) or of its partner."""
    if side not in ("agent", "partner"):
        raise ValueError(f"side = {side!r}; allowed: 'agent' and 'partner'")
    return frame[frame["role"] == side]


def studied(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of a frame or table without trivial policies and fixed rules: what was trained, the bases, the expert."""
    return rows[~rows["variant"].isin([*TRIVIAL, *FIXED])]


def missing_counts(rows: pd.DataFrame, column: str = "goal") -> dict[str, int]:
    """Why scores of this column are missing: reason -> rows. A reason of its own where the rule leaves it out."""
    gone = rows[rows[column].isna()]
    reasons = gone["missing"].where(gone["missing"] != "", "not checked by the rule")
    return {str(reason): int(n) for reason, n in reasons.value_counts().sort_index().items()}


def estimate_row(rows: pd.DataFrame, column: str = "goal", seed: int = 0) -> dict[str, Any]:
    """One estimate over these rows, as table columns."""
    estimate = cluster_mean(rows[column], rows["template"].tolist(), rows["task_id"].tolist(), seed)
    return estimate_columns(estimate, attempted=len(rows), missing=missing_counts(rows, column))


def estimate_columns(estimate: Estimate, attempted: int, missing: dict[str, int]) -> dict[str, Any]:
    fields = {name: getattr(estimate, name) for name in ESTIMATE_COLUMNS if hasattr(estimate, name)}
    return {**fields, "attempted": attempted, "missing": missing}


def by_variant(rows: pd.DataFrame, row_of: Callable[[pd.DataFrame], Iterable[dict[str, Any]]]) -> pd.DataFrame:
    """One or more table rows per variant, variants in their fixed order."""
    lines = [{"variant": v, **line} for v in in_order(rows["variant"]) for line in row_of(rows[rows["variant"] == v])]
    return pd.DataFrame(lines, columns=None if lines else ["variant", *ESTIMATE_COLUMNS])


def goal_table(
    frame: pd.DataFrame, tasks: Tasks = "all", side: Side = "agent", dimension: str = "goal"
) -> pd.DataFrame:
    """Mean of one dimension per variant. goal: [0, 10]; financial_and_material_benefits: [-5, 5]; secret: [-10, 0].

    `missing` maps a reason (`policy_failed`, `not_rated`, a judge's outcome) to a count; those episodes are in
    `attempted` and not in `n_episodes`.
    """
    rows = select_side(select_tasks(frame, tasks), side)
    head = {"tasks": tasks, "side": side, "dimension": dimension}
    return by_variant(rows, lambda group: [{**head, **estimate_row(group, dimension)}])


def both_sides_table(frame: pd.DataFrame, tasks: Tasks = "all") -> pd.DataFrame:
    """Goal of the agent and of the partner it met, per variant."""
    rows = select_tasks(frame, tasks)

    def lines(group: pd.DataFrame) -> Iterable[dict[str, Any]]:
        for side in ("agent", "partner"):
            yield {"tasks": tasks, "side": side, "dimension": "goal", **estimate_row(select_side(group, side))}

    return by_variant(rows, lines)


def parts_table(frame: pd.DataFrame, tasks: Tasks = "all", side: Side = "agent") -> pd.DataFrame:
    """What goal completion is made of: deal rate, bad-deal rate, goal given a deal, joint surplus (see PARTS)."""
    rows = select_side(select_tasks(frame, tasks), side)

    def lines(group: pd.DataFrame) -> Iterable[dict[str, Any]]:
        for part, (column, _) in PARTS.items():
            counted = group[group["deal"] == 1] if part == "goal given a deal" else group
            yield {"tasks": tasks, "side": side, "part": part, **estimate_row(counted, column)}

    return by_variant(rows, lines)


def no_zone_table(frame: pd.DataFrame, side: Side = "agent") -> pd.DataFrame:
    """Tasks without any zone of agreement (gated families): share of episodes that rightly end without a deal."""
    rows = select_side(frame[frame["gated"] & ~frame["has_zone"]], side)
    rows = rows.assign(right=1 - rows["deal"])
    return by_variant(rows, lambda group: [{"measure": "rightly no deal", **estimate_row(group, "right")}])


def family_table(frame: pd.DataFrame, tasks: Tasks = "all", side: Side = "agent") -> pd.DataFrame:
    """Goal per variant and gated family."""
    rows = select_side(select_tasks(frame, tasks), side)
    return by_variant(rows, lambda group: _per_family(group, tasks, side))


def ungated_table(frame: pd.DataFrame, side: Side = "agent") -> pd.DataFrame:
    """Goal per variant in families that are seen in evaluation only: reported apart, never part of a goal table."""
    rows = select_side(frame[~frame["gated"] & frame["has_zone"]], side)
    return by_variant(rows, lambda group: _per_family(group, "all", side))


def _per_family(group: pd.DataFrame, tasks: str, side: str) -> Iterable[dict[str, Any]]:
    for family, rows in group.groupby("family", sort=True):
        yield {"family": family, "tasks": tasks, "side": side, "dimension": "goal", **estimate_row(rows)}
