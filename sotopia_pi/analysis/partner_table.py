"""Goal by the partner that was met: kinds that training episodes show, and kinds that occur in evaluation only."""

from collections.abc import Iterable
from typing import Any

import pandas as pd

from sotopia_pi.analysis.goal_tables import by_variant, estimate_row, select_side, select_tasks
from sotopia_pi.models.partner import evaluation_partner

SEEN, HELD_OUT = "kinds met in training", "kinds met in evaluation only"


def partner_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Goal of the agent per variant, apart by whether training episodes may show the partner's kind.

    frame: of runs whose social evaluation played `evaluation_partner(seed)`; which kind it was on a task follows from
    the run's seed and the task's id.
    """
    rows = select_side(select_tasks(frame), "agent")
    kinds = [
        evaluation_partner(seed).habits(task).kind for seed, task in zip(rows["seed"], rows["task_id"], strict=True)
    ]
    rows = rows.assign(partner=[HELD_OUT if kind.held_out else SEEN for kind in kinds])

    def lines(group: pd.DataFrame) -> Iterable[dict[str, Any]]:
        for partner in (SEEN, HELD_OUT):
            met = group[group["partner"] == partner]
            if len(met):
                yield {"partner": partner, "dimension": "goal", **estimate_row(met)}

    return by_variant(rows, lines)
