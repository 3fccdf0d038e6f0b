"""The paper's Table 6 for a run: the last trained variant against every other, dimension by dimension."""

from typing import Any

import pandas as pd

from sotopia_pi.analysis.colours import in_order
from sotopia_pi.analysis.comparisons import pairs
from sotopia_pi.analysis.goal_tables import Tasks, studied
from sotopia_pi.analysis.raters import raters_of
from sotopia_pi.analysis.statistics import holm, minimum_detectable_difference, paired_t, sign_flip_p
from sotopia_pi.analysis.tables import SCORES

COLUMNS = ["rater", "tasks", "variant", "reference", "dimension", "difference", "low", "high", "t", "df", "p", "p_flip"]
COLUMNS += ["p_holm", "effect_gz", "detectable", "n_pairs", "n_templates", "n_missing", "method"]
TRAINED = ("SR", "BC", "BC+SR")


def dimension_tests(frame: pd.DataFrame, tasks: Tasks = "all") -> pd.DataFrame:
    """Paired t-tests over scenario templates of the last trained variant played, by rater, reference and dimension.

    difference, low, high: in points, t interval over template means; p_flip: paired permutation test; p_holm:
    p adjusted for all rows of the same rater; effect_gz: Hedges' g_z. Dimensions a rater leaves out have no row.
    """
    played = in_order(frame["variant"])
    final = [variant for variant in played if variant in TRAINED][-1:]
    tables = []
    for rater in raters_of(frame) if final else ():
        rows = frame[frame["rater"] == rater]
        others = [v for v in in_order(studied(rows)["variant"]) if v != final[0]]
        lines = [_test(rows, final[0], other, d, tasks) for other in others for d in SCORES if rows[d].notna().any()]
        if lines:
            table = pd.DataFrame(lines).assign(rater=rater, tasks=tasks)
            tables.append(table.assign(p_holm=holm(table["p"])))
    return pd.concat(tables, ignore_index=True)[COLUMNS] if tables else pd.DataFrame(columns=COLUMNS)


def _test(rows: pd.DataFrame, variant: str, reference: str, dimension: str, tasks: Tasks) -> dict[str, Any]:
    both = pairs(rows, variant, reference, tasks, dimension)
    templates = both["template"].tolist()
    test = paired_t(both["first"], both["second"], templates)
    return {
        "variant": variant,
        "reference": reference,
        "dimension": dimension,
        "difference": test.difference,
        "low": test.low,
        "high": test.high,
        "t": test.t,
        "df": test.degrees_of_freedom,
        "p": test.p,
        "p_flip": sign_flip_p(both["first"], both["second"], templates),
        "effect_gz": test.hedges_gz,
        "detectable": minimum_detectable_difference(test.sd, test.n_templates),
        "n_pairs": test.n_pairs,
        "n_templates": test.n_templates,
        "n_missing": test.n_missing,
        "method": f"95 % t interval over template means; p by {test.method}",
    }
