"""Tables that set variants against each other, over the same tasks and the same side.

A pair is one task played by two variants from the same agent side (and in the same run and repeat). A pair in
which either has no score is missing; it is counted and never filled.
"""

import math
from collections.abc import Iterable
from typing import Any

import pandas as pd

from sotopia_pi.analysis.colours import EXPERT, LEARNED, TRIVIAL, in_order
from sotopia_pi.analysis.goal_tables import Tasks, select_side, select_tasks
from sotopia_pi.analysis.statistics import (
    MIN_TEMPLATES_TO_RANK,
    cluster_difference,
    cluster_ratio,
    holm,
    minimum_detectable_difference,
    paired_t,
    sign_flip_p,
    why_not_ranked,
)

PAIR_KEYS = ["run", "task_id", "template", "agent_side", "repeat"]
MIN_LEAD_OVER_TRIVIAL = 1.0
"""Goal points by which the expert must beat every trivial policy, or the tasks measure nothing."""

PAIRED_COLUMNS = ("variant", "reference", "difference", "low", "high", "p", "n_pairs", "n_templates", "n_missing")


def pairs(
    frame: pd.DataFrame, variant: str, reference: str, tasks: Tasks = "all", dimension: str = "goal"
) -> pd.DataFrame:
    """Columns PAIR_KEYS, first (variant's score) and second (reference's score); only pairs that both played."""
    rows = select_side(select_tasks(frame, tasks), "agent")
    first, second = (_scores(rows, name, dimension) for name in (variant, reference))
    both = first.rename("first").to_frame().join(second.rename("second"), how="inner")
    return both.reset_index()


def paired_table(frame: pd.DataFrame, reference: str, tasks: Tasks = "all") -> pd.DataFrame:
    """Every other variant against one reference: difference in goal with interval, p, and whether they may be ranked.

    difference, low, high: goal points, cluster bootstrap. p: paired t-test over template means; p_flip: paired
    permutation test (templates change sign); p_holm: p adjusted for the rows of this table (Holm). effect_gz: Hedges'
    g_z, the mean difference in standard deviations of the templates' differences, corrected for small samples.
    detectable: smallest true difference that n_templates would find with 80 % power, given the spread seen.
    ranked: "higher", "lower", or why the two may not be ranked.
    """
    others = [v for v in in_order(frame["variant"]) if v != reference]
    return _adjusted([_paired_row(frame, variant, reference, tasks) for variant in others])


def comparisons_table(frame: pd.DataFrame, asked: Iterable[tuple[str, str]], tasks: Tasks = "all") -> pd.DataFrame:
    """The comparisons asked for, as (variant, reference), with the columns of `paired_table`.

    Those with a variant that was not played are left out.
    """
    played = set(frame["variant"])
    return _adjusted([_paired_row(frame, a, b, tasks) for a, b in asked if {a, b} <= played])


def ratio_table(
    frame: pd.DataFrame, reference: str = EXPERT, tasks: Tasks = "all", variants: Iterable[str] = LEARNED
) -> pd.DataFrame:
    """Each variant's mean goal as a share of the reference's, over pairs (1 = as good as the reference)."""
    lines = []
    for variant in [v for v in in_order(frame["variant"]) if v in set(variants) - {reference}]:
        both = pairs(frame, variant, reference, tasks)
        ratio = cluster_ratio(both["first"], both["second"], both["template"].tolist(), both["task_id"].tolist())
        counts = {"n_pairs": ratio.n_episodes, "n_templates": ratio.n_templates, "n_missing": ratio.n_missing}
        line = {"variant": variant, "reference": reference, "ratio": ratio.mean, "low": ratio.low, "high": ratio.high}
        lines.append({"tasks": tasks, **line, **counts, "method": ratio.method})
    columns = ["tasks", "variant", "reference", "ratio", "low", "high", "n_pairs", "n_templates", "n_missing", "method"]
    return pd.DataFrame(lines, columns=columns)


def trivial_check(
    frame: pd.DataFrame, tasks: Tasks = "all", variant: str = EXPERT, policies: Iterable[str] = TRIVIAL
) -> pd.DataFrame:
    """Expert minus each trivial policy. `beaten` is False where the lead is below MIN_LEAD_OVER_TRIVIAL points.

    `surely`: whether the whole interval lies above that lead. A trivial policy that was not played has no row.
    """
    trivial = [v for v in in_order(frame["variant"]) if v in set(policies)]
    lines = []
    for policy in trivial if (frame["variant"] == variant).any() else []:
        row = _paired_row(frame, variant, policy, tasks)
        beaten = row["difference"] >= MIN_LEAD_OVER_TRIVIAL
        surely = row["low"] >= MIN_LEAD_OVER_TRIVIAL and row["n_templates"] >= MIN_TEMPLATES_TO_RANK
        kept = {name: row[name] for name in PAIRED_COLUMNS}
        lines.append({"tasks": tasks, **kept, "wanted": MIN_LEAD_OVER_TRIVIAL, "beaten": beaten, "surely": surely})
    return pd.DataFrame(lines, columns=["tasks", *PAIRED_COLUMNS, "wanted", "beaten", "surely"])


def _scores(rows: pd.DataFrame, variant: str, dimension: str) -> pd.Series:
    scores = rows[rows["variant"] == variant].set_index(PAIR_KEYS)[dimension]
    if not scores.index.is_unique:
        twice = scores.index[scores.index.duplicated()][0]
        raise ValueError(
            f"variant {variant!r} has two episodes for {dict(zip(PAIR_KEYS, twice, strict=True))}; a pair needs one: "
            f"run stage 06_social_evaluation to its end, so that stale episodes are set aside"
        )
    return scores


def _adjusted(lines: list[dict[str, Any]]) -> pd.DataFrame:
    """The rows as one table, their p-values adjusted for each other."""
    if not lines:
        return pd.DataFrame(columns=list(PAIRED_COLUMNS))
    table = pd.DataFrame(lines)
    table.insert(list(table.columns).index("p_flip") + 1, "p_holm", holm(table["p"]))
    return table


def _paired_row(frame: pd.DataFrame, variant: str, reference: str, tasks: Tasks) -> dict[str, Any]:
    both = pairs(frame, variant, reference, tasks)
    templates, task_ids = both["template"].tolist(), both["task_id"].tolist()
    difference = cluster_difference(both["first"], both["second"], templates, task_ids)
    test = paired_t(both["first"], both["second"], templates)
    reason = why_not_ranked(difference)
    return {
        "tasks": tasks,
        "variant": variant,
        "reference": reference,
        "difference": difference.mean,
        "low": difference.low,
        "high": difference.high,
        "p": test.p,
        "p_flip": sign_flip_p(both["first"], both["second"], templates),
        "effect_gz": test.hedges_gz,
        "n_pairs": difference.n_episodes,
        "n_tasks": difference.n_tasks,
        "n_templates": difference.n_templates,
        "n_missing": difference.n_missing,
        "detectable": minimum_detectable_difference(test.sd, test.n_templates),
        "ranked": f"not ranked: {reason}" if reason else ("higher" if difference.mean > 0 else "lower"),
        "method": f"{difference.method}; p by {test.method}",
    }


def detectable_words(table: pd.DataFrame) -> str:
    """For each row of a paired table: which true difference this many templates, as spread as they are, would show."""
    if table.empty:
        return "No two variants were played on the same tasks: nothing can be detected."
    lines = [
        f"{row['variant']} − {row['reference']}: {row['n_templates']} templates find a true difference of "
        f"{row['detectable']:.2f} goal points or more 8 times in 10 (two-sided 5 %); seen: {row['difference']:+.2f}"
        for row in table.to_dict("records")
        if not math.isnan(row["detectable"])
    ]
    return "\n".join(lines) or "Fewer than two scenario templates: nothing can be detected."


def ranked(row: dict[str, Any] | pd.Series) -> bool:
    """Whether a row of a paired table may be read as a ranking."""
    return not str(row["ranked"]).startswith("not ranked") and not math.isnan(row["difference"])
