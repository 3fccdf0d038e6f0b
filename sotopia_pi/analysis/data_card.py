"""The data card of a training set: how many sides every filter left, by whatever one wants to know."""

from collections.abc import Sequence

import pandas as pd

from sotopia_pi.stages.selection import Selection

BY = ("tag", "model", "family", "group", "task")
"""What a card can be drawn up by; `group` is what the recipe ranked within, `model` the policy that spoke."""


def data_card(selections: Sequence[Selection], by: Sequence[str] = ("tag", "model")) -> pd.DataFrame:
    """Sides before and after each filter, a row per value and a column per filter, in the filters' order.

    The first row counts everything; `by` names what the further rows tell apart (see BY). Counts of several
    selections (one a variant) add up. Raises ValueError for another name, or when there is no selection.
    """
    unknown = [name for name in by if name not in BY]
    if unknown or not selections:
        raise ValueError(
            f"a data card by {list(by)} of {len(selections)} selections; allowed: at least one selection, and any of "
            f"{', '.join(BY)}"
        )
    rows = pd.DataFrame([row for selection in selections for row in selection.rows])
    rows = rows[rows["by"].isin(["all", *by])]
    steps = list(selections[0].counts)
    table = rows.pivot_table("n_sides", ["by", "value"], "step", aggfunc="sum")[steps]
    order = {name: place for place, name in enumerate(["all", *by])}
    return table.sort_index(level="by", key=lambda level: level.map(order), sort_remaining=False)


def task_summary(selections: Sequence[Selection]) -> pd.DataFrame:
    """How the filters thin out the tasks: by filter, tasks with at least one side left, and the sides a task has.

    Columns `n_tasks`, `n_without` (tasks with no side left), `least`, `median` and `most` sides of a task that has
    any. The counts of every single task: `data_card(selections, ["task"])`.
    """
    card = data_card(selections, ["task"]).loc[["task"]]
    rows = []
    for step in card:
        left = card[step][card[step] > 0]
        spread = {"least": left.min(), "median": left.median(), "most": left.max()} if len(left) else {}
        rows.append({"step": step, "n_tasks": len(left), "n_without": len(card) - len(left), **spread})
    return pd.DataFrame(rows).set_index("step")
