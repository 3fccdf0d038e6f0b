"""Several runs of one preset (seeds) read as one experiment: tables over the rows of all runs.

Pairs stay within a run, so that luck of one seed's tasks never sets two variants apart; the unit of every interval is
the scenario template, however many runs drew tasks from it, so that more seeds do not make an interval look surer than
its templates allow.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from sotopia_pi.analysis.colours import EXPERT, FIXED, TRIVIAL, in_order
from sotopia_pi.analysis.comparisons import comparisons_table, ratio_table, trivial_check
from sotopia_pi.analysis.goal_tables import (
    both_sides_table,
    family_table,
    goal_table,
    no_zone_table,
    parts_table,
    select_side,
    select_tasks,
    ungated_table,
)
from sotopia_pi.analysis.partner_table import partner_table
from sotopia_pi.analysis.tables import failure_table, interval_text, length_table

SHARES_OF = ("BC", "SR", "BC+SR")
"""Variants whose goal is given as a share of the expert's."""
FINAL = "BC+SR"
ASKED = (("BC", "base"), (FINAL, "BC"), (FINAL, EXPERT), *((FINAL, policy) for policy in (*TRIVIAL, *FIXED)))
"""The paired comparisons of pooled runs: what each step of the method adds, then the end of it against all else."""
OWN_TO_A_RUN = ("run", "seed")
"""Parameters in which pooled runs differ by design."""
NO_REASON = "not played; the run's social evaluation gives no reason"


@dataclass(frozen=True)
class Behind:
    """What an answer rests on. tasks, hard, templates: of gated families, with a zone of agreement, each task once.

    episodes: played on those tasks by all variants together; rated: those with a goal. apart: episodes on tasks that
    are reported apart (no zone of agreement, or a family seen in evaluation only).
    """

    runs: int
    tasks: int
    hard: int
    templates: int
    episodes: int
    rated: int
    apart: int


def behind(frame: pd.DataFrame) -> Behind:
    """The counts behind the goal tables of these rows."""
    agents = select_side(frame, "agent")
    rows = select_tasks(agents)
    return Behind(
        runs=frame["run"].nunique(),
        tasks=rows["task_id"].nunique(),
        hard=rows.loc[rows["hard"], "task_id"].nunique(),
        templates=rows["template"].nunique(),
        episodes=len(rows),
        rated=int(rows["goal"].notna().sum()),
        apart=len(agents) - len(rows),
    )


def pooled_tables(frame: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Every table of pooled runs, by the name of its file. frame: `tables.pooled` of the runs' frames."""
    return {
        "runs": runs_table(frame),
        "goal": _all_and_hard(goal_table, frame),
        "share_of_expert": share_table(frame),
        "share_of_expert_by_run": shares_by(frame, "run"),
        "share_of_expert_by_family": shares_by(frame, "family"),
        "trivial_check": _all_and_hard(trivial_check, frame),
        "paired": comparisons_table(frame, ASKED),
        "paired_hard": comparisons_table(frame, ASKED, "hard"),
        "families": family_table(frame),
        "partners": partner_table(frame),
        "parts": parts_table(frame),
        "both_sides": both_sides_table(frame),
        "held_out_family": ungated_table(frame),
        "no_zone": no_zone_table(frame),
        "lengths": length_table(frame),
        "failures": failure_table(frame),
    }


def runs_table(frame: pd.DataFrame) -> pd.DataFrame:
    """One row a run: what it brings (the counts of Behind)."""
    names = sorted(frame["run"].unique())
    counts = [asdict(behind(frame[frame["run"] == name])) for name in names]
    table = pd.DataFrame(counts, columns=list(Behind.__dataclass_fields__)).drop(columns="runs")
    table.insert(0, "run", names)
    return table


def share_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Goal as a share of the expert's over the same tasks, for all and for hard tasks (1 = as good as the expert)."""
    return _all_and_hard(lambda rows, tasks: ratio_table(rows, EXPERT, tasks, SHARES_OF), frame)


def shares_by(frame: pd.DataFrame, column: str) -> pd.DataFrame:
    """`share_table` for each value of a column on its own: per run, or per gated family."""
    rows = select_tasks(frame)
    parts = [share_table(rows[rows[column] == value]).assign(**{column: value}) for value in sorted(set(rows[column]))]
    table = pd.concat(parts, ignore_index=True) if parts else share_table(frame).assign(**{column: ""})
    table.insert(0, column, table.pop(column))
    return table


def shares_shown(table: pd.DataFrame) -> pd.DataFrame:
    """A table of `shares_by` for reading: one row a value, one column a variant and kind of tasks."""
    by = table.columns[0]
    cells = [interval_text(*bounds) for bounds in zip(table["ratio"], table["low"], table["high"], strict=True)]
    head = [f"{variant}, {tasks} tasks" for variant, tasks in zip(table["variant"], table["tasks"], strict=True)]
    wide = pd.DataFrame({by: table[by], "head": head, "cell": cells}).pivot(index=by, columns="head", values="cell")
    return wide[list(dict.fromkeys(head))].fillna("not played").rename_axis(None, axis=1).reset_index()


def missing_variants(frame: pd.DataFrame, told: Mapping[str, Iterable[Mapping[str, Any]]]) -> pd.DataFrame:
    """Columns run, variant, reason: what was not evaluated in which run.

    told: run -> items of its `variants.jsonl` (id, trained, reason). A variant that another run played and this one
    neither played nor explained is listed all the same.
    """
    lines = []
    for run in told:
        played = set(frame.loc[frame["run"] == run, "variant"])
        reasons = {v["id"]: f"not trained: {v['reason']}" for v in told[run] if not v["trained"]}
        absent = in_order([*reasons, *(set(frame["variant"]) - played)])
        lines += [{"run": run, "variant": v, "reason": reasons.get(v, NO_REASON)} for v in absent if v not in played]
    return pd.DataFrame(lines, columns=["run", "variant", "reason"])


def notes_on_missing(missing: pd.DataFrame, n_runs: int) -> dict[str, str]:
    """Variant -> where and why it is missing; says so where its mean is over fewer runs than the others'."""
    notes = {}
    for variant, rows in missing.groupby("variant"):
        where = "; ".join(f"{row['run']}: {row['reason']}" for row in rows.to_dict("records"))
        left = n_runs - len(rows)
        other_tasks = f" Its mean is over {left} of {n_runs} runs; shares and pairs use common tasks only."
        notes[str(variant)] = f"missing in {len(rows)} of {n_runs} runs ({where})." + (other_tasks if left else "")
    return notes


def differing_parameters(params: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> list[str]:
    """What pooled runs do not have in common besides their seed, one line a parameter.

    params: run -> stage -> parameters that stage ran with.
    """
    seen: dict[str, dict[str, Any]] = {}
    for run, stages in params.items():
        for stage, values in stages.items():
            for name, value in values.items():
                if name not in OWN_TO_A_RUN:
                    seen.setdefault(f"{stage}.{name}", {})[run] = value
    return [
        f"{name}: {', '.join(f'{value!r} in {run}' for run, value in values.items())}"
        for name, values in seen.items()
        if len({repr(value) for value in values.values()}) > 1 or len(values) < len(params)
    ]


def _all_and_hard(build: Callable[[pd.DataFrame, Any], pd.DataFrame], frame: pd.DataFrame) -> pd.DataFrame:
    """A table over all tasks, followed by the same over hard ones."""
    both = [build(frame, tasks) for tasks in ("all", "hard")]
    filled = [table for table in both if len(table)]
    return pd.concat(filled, ignore_index=True) if filled else both[0]
