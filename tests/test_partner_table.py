"""The partner table tells kinds that training met from kinds that occur in evaluation only."""

import pandas as pd
import pytest
from synthetic_run import many_tasks, write_run

from sotopia_pi.analysis.partner_table import HELD_OUT, SEEN, partner_table
from sotopia_pi.analysis.tables import pooled, results_frame
from sotopia_pi.models.partner import evaluation_partner

TASKS = many_tasks(n_templates=8, per_template=6)


def run(folder, seed):
    """The variant gets 8 against kinds it may know and 2 against the others."""
    held_out = [evaluation_partner(seed).habits(task.id).kind.held_out for task in TASKS]
    goals = [2.0 if unknown else 8.0 for unknown in held_out]
    frame = results_frame(write_run(folder / f"s{seed}", TASKS, ("BC",), lambda v, n, side: goals[n], seed=seed))
    return frame, held_out


def test_known_and_unknown_kinds_stand_apart_in_one_run_and_in_a_pool(tmp_path):
    (first, unknown), (second, unknown_too) = run(tmp_path, 0), run(tmp_path, 1)
    assert unknown != unknown_too
    for frame, n_unknown in ((first, sum(unknown)), (pooled([first, second]), sum(unknown) + sum(unknown_too))):
        table = partner_table(frame).set_index("partner")
        assert table.loc[SEEN, "mean"] == pytest.approx(8.0) and table.loc[HELD_OUT, "mean"] == pytest.approx(2.0)
        assert table.loc[HELD_OUT, "n_episodes"] == 2 * n_unknown
        assert table["n_episodes"].sum() == len(frame) / 2


def test_no_rows_give_an_empty_table(tmp_path):
    frame, _ = run(tmp_path, 0)
    assert isinstance(partner_table(frame[:0]), pd.DataFrame) and not len(partner_table(frame[:0]))
