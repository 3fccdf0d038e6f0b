"""The paper's figures as the product carries them: what can be recomputed is recomputed."""

import pandas as pd
import pytest
from scipy import stats

from sotopia_pi.analysis import published
from sotopia_pi.world.ratings import DIMENSIONS

HALF_A_CENT = 0.005
"""Means, t and gaps are printed with two decimals, p with three."""


def test_every_published_row_names_its_table_its_rater_and_its_n():
    frames = {
        "n_episodes": [published.social_scores(), published.social_scores("partner"), published.safety()],
        "n_scenarios": [published.paired_tests()],
    }
    for n, found in frames.items():
        for rows in found:
            assert len(rows) and rows[["variant", "source", "rater", n]].notna().all().all()
    agreement = published.judge_human()
    assert agreement["rater"].notna().all() and agreement["value"].notna().all()
    assert set(agreement.loc[agreement["n_episodes"].isna(), "source"]) == {"Table 8"}
    assert (published.mmlu()["n_subjects"] == 57).all()


def test_the_counts_of_episodes_are_those_of_the_design():
    """90 tasks in both speaking orders, 14 hard ones ten times, 14 hard ones in both orders for people."""
    scores = published.social_scores()
    assert set(zip(scores["tasks"], scores["n_episodes"], strict=True)) == {
        ("all", 90 * 2),
        ("hard", 14 * 10),
        ("hard", 14 * 2),
    }


@pytest.mark.parametrize("row", published.paired_tests().to_dict("records"), ids=lambda r: f"{r['compared_with']}")
def test_the_printed_p_comes_from_the_printed_t(row):
    """p falls as |t| grows, so the printed p lies between those of the two ends t may be rounded from."""
    ends = [2 * stats.t.sf(max(0.0, abs(row["t"]) + half), row["df"]) for half in (HALF_A_CENT, -HALF_A_CENT)]
    assert ends[0] - 0.00051 <= row["p"] <= ends[1] + 0.00051


def test_thirteen_degrees_of_freedom_stand_behind_all_tests_but_those_against_gpt_3_5():
    tests = published.paired_tests()
    assert set(tests.groupby("compared_with")["df"].agg("unique").map(list).map(tuple).items()) == {
        ("GPT-4", (13,)),
        ("Mistral-7B", (13,)),
        ("BC", (13,)),
        ("SR", (13,)),
        ("GPT-3.5-turbo", (11,)),
    }
    relationship = tests[(tests["compared_with"] == "GPT-3.5-turbo") & (tests["dimension"] == "relationship")].iloc[0]
    with_13 = [2 * stats.t.sf(abs(relationship["t"]) + half, 13) for half in (HALF_A_CENT, -HALF_A_CENT)]
    assert not with_13[0] - 0.0005 <= relationship["p"] <= with_13[1] + 0.0005


def test_the_gaps_of_figure_4_are_judge_minus_human_in_table_5():
    scores = published.goal_by_rater().pivot(index="variant", columns="rater", values="score")
    gaps = published.judge_human()
    gaps = gaps[gaps["statistic"] == "goal_judge_minus_human"].set_index("variant")["value"]
    assert set(gaps.index) == {"base", "SR", "BC", "BC+SR", "expert"}
    for variant, gap in gaps.items():
        assert scores.loc[variant, "gpt-4"] - scores.loc[variant, "human"] == pytest.approx(gap, abs=1e-9)


def test_overall_is_the_mean_of_the_seven_dimensions():
    for side, tolerance in (("agent", 0.0101), ("partner", 0.012)):
        rows = published.social_scores(side)
        by = ["source", "rater", "tasks", "n_episodes", "variant"]
        wide = rows.pivot(index=by, columns="dimension", values="score")
        assert set(wide.columns) == {*DIMENSIONS, "overall"}
        assert (wide[list(DIMENSIONS)].mean(axis=1) - wide["overall"]).abs().max() <= tolerance


def test_scores_lie_in_their_ranges():
    for side in ("agent", "partner"):
        rows = published.social_scores(side)
        for dimension, (low, high) in DIMENSIONS.items():
            assert rows.loc[rows["dimension"] == dimension, "score"].between(low, high).all()


def test_what_self_reinforcement_alone_costs_is_told():
    """SR loses 5.75 points of MMLU and says more toxic words than the base (5.5 an episode against 3.6)."""
    changes = published.changes().set_index(["measure", "variant"])
    mmlu = changes.loc[("MMLU accuracy", "SR")]
    assert (mmlu["base"], mmlu["value"], mmlu["change"], mmlu["better"]) == (49.21, 43.46, -5.75, False)
    toxic = changes.loc[("aggressor: toxic words per episode", "SR")]
    assert (toxic["base"], toxic["value"], toxic["change"], toxic["better"]) == (3.6, 5.5, 1.9, False)
    final = changes.loc[("aggressor: toxic words per episode", "BC+SR")]
    assert final["change"] == -2.7 and final["better"] is True


def test_a_change_of_nothing_is_neither_better_nor_worse():
    changes = published.changes()
    same = changes[changes["change"] == 0]
    assert len(same) and same["better"].isna().all()


def test_changing_a_frame_changes_no_later_reading():
    first = published.mmlu()
    first["accuracy_percent"] = 0.0
    assert (published.mmlu()["accuracy_percent"] > 0).all()


def test_a_panel_of_published_rows_is_labelled_with_table_rater_and_n():
    label = published.shown_as(published.goal_by_rater())
    assert "Table 5" in label and "gpt-4 and human" in label and "n = 28 episodes" in label and "2403.08715" in label


def test_an_unknown_side_is_refused():
    with pytest.raises(ValueError, match="'agent' and 'partner'"):
        published.social_scores("both")


def test_the_numbers_travel_with_the_package():
    """Package data takes csv files, so an installed copy can read them, too."""
    names = {path.name for path in published.FOLDER.iterdir()}
    assert names == {"judge_human.csv", "mmlu.csv", "paired_tests.csv", "safety.csv", "social_scores.csv"}
    assert all(isinstance(pd.read_csv(published.FOLDER / name), pd.DataFrame) for name in names)
