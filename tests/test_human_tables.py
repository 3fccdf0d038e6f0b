"""Tables of what people rated: averaged, held against the judge, counted, and honest about what is missing."""

import math
import re

import matplotlib
import numpy as np
import pytest
from synthetic_run import rating
from toy_raters import EPISODES, RULE, TASKS, VARIANTS, plan, rate

matplotlib.use("Agg")

from sotopia_pi.analysis.human_tables import (
    VOILA,
    agreement_table,
    agreement_to_read,
    annotators_table,
    coarse,
    correlation_table,
    gap_table,
    means_table,
    means_to_read,
    people_ratings,
    ratings_per_datapoint,
    to_read,
    why_no_results,
)
from sotopia_pi.analysis.judges import gap_figure, judges_frame
from sotopia_pi.stages.human_ratings import HumanRatings
from sotopia_pi.stages.qualification import qualification
from sotopia_pi.world.ratings import DIMENSIONS

PLAN = plan(datapoints=8)
BY_ID = {e.id: e for e in EPISODES}
GOALS = {"base": (2, 3), "BC": (4, 6), "expert": (8, 8)}
"""What Ann and Bob give the agent's goal; every partner gets 5 from both."""


@pytest.fixture
def ratings(tmp_path) -> HumanRatings:
    made = HumanRatings(tmp_path / "human_ratings.jsonl")
    made.begin()
    return made


@pytest.fixture
def rated(ratings) -> HumanRatings:
    for point in PLAN.datapoints:
        for name, goal in zip(("Ann", "Bob"), GOALS[point.variant], strict=True):
            sides = (goal, 5) if point.agent_side == 0 else (5, goal)
            rate(ratings, name, point.episode_id, *sides)
    return ratings


def frame_of(ratings, judges=RULE):
    people = people_ratings(ratings.counting(), PLAN.episode_ids)
    return judges_frame([BY_ID[p.episode_id] for p in PLAN.datapoints], TASKS, [*judges, *people])


def row(table, **keys):
    for key, value in keys.items():
        table = table[table[key] == value]
    assert len(table) == 1
    return table.iloc[0]


def test_several_peoples_scores_of_a_side_are_averaged(rated):
    means = people_ratings(rated.counting(), PLAN.episode_ids)
    assert len(means) == 2 * len(PLAN.datapoints) and {r.judge for r in means} == {"people"}
    point = next(p for p in PLAN.datapoints if p.variant == "BC")
    of = {r.side: r.scores["goal"] for r in means if r.episode_id == point.episode_id}
    assert of == {point.agent_side: 5.0, 1 - point.agent_side: 5.0}
    assert people_ratings(rated.counting(), []) == []


def test_the_gap_is_the_judges_goal_minus_peoples_per_variant(rated):
    table = gap_table(frame_of(rated))
    assert table["variant"].tolist() == list(VARIANTS) and set(table["judge"]) == {"payoff"}
    assert table["difference"].tolist() == [4 - 2.5, 4 - 5, 4 - 8]
    assert table["people_goal"].tolist() == [2.5, 5, 8] and table["judge_goal"].tolist() == [4] * 3
    assert table["n_episodes"].tolist() == [8] * 3 and table["missing"].tolist() == [{}] * 3


def test_an_interval_of_the_gap_comes_from_templates(rated):
    shifted = [rating(e, s, 4.0 + 2 * (e.template in ("lamp-0", "lamp-1"))) for e in EPISODES for s in (0, 1)]
    line = row(gap_table(frame_of(rated, shifted)), variant="base")
    assert line["difference"] == pytest.approx(2.5) and (line["low"], line["high"]) == (1.5, 3.5)
    assert line["n_templates"] == 4 and "scenario templates" in line["method"]


def test_who_was_not_rated_is_missing_and_never_zero(ratings):
    point = next(p for p in PLAN.datapoints if p.variant == "BC")
    rate(ratings, "Ann", point.episode_id, 7, 7)
    line = row(gap_table(frame_of(ratings)), variant="BC")
    assert (line["difference"], line["n_episodes"], line["attempted"]) == (-3, 1, 8)
    assert line["missing"] == {"people: not_rated": 7}
    means = row(means_table(frame_of(ratings)), variant="BC", rated="goal")
    assert (means["mean"], means["n_episodes"], means["missing"]) == (7, 1, {"not_rated": 7})


def test_correlations_stand_beside_their_n_and_interval(rated):
    judge = []
    for e in EPISODES:
        for side in (0, 1):
            mine = side == e.agent_side
            judge.append(rating(e, side, {"base": 1.0, "BC": 2.0, "expert": 9.0}[e.tag] if mine else 5.0, judge="gpt"))
    table = correlation_table(frame_of(rated, judge))
    line = row(table, judge="gpt", variant="all", rated="goal")
    people = np.array([2.5, 5, 8] + [5] * 3)
    assert line["n"] == 48 and line["pearson"] == pytest.approx(np.corrcoef(people, [1, 2, 9, 5, 5, 5])[0, 1])
    assert line["pearson_low"] <= line["pearson"] <= line["pearson_high"] and line["n_templates"] == 4
    alone = row(table, judge="gpt", variant="BC")
    assert alone["side"] == "agent" and alone["n"] == 8 and math.isnan(alone["pearson"]), "no spread, no correlation"
    left_out = row(table, judge="gpt", variant="all", rated="knowledge")
    assert left_out["n"] == 0 and math.isnan(left_out["spearman"])


def test_agreement_counts_pairs_of_people_on_one_side(rated):
    goal = row(agreement_table(rated.counting(), PLAN), rated="goal")
    assert (goal["n_sides"], goal["n_people"], goal["n_templates"]) == (48, 2, 4)
    assert goal["exact"] == pytest.approx((24 + 8) / 48) and goal["within_one"] == pytest.approx(40 / 48)
    assert goal["kappa"] == pytest.approx((32 / 48 - 1 / 11) / (10 / 11))
    assert goal["coarse"] == pytest.approx(40 / 48) and goal["coarse_kappa"] == pytest.approx(40 / 48 * 2 - 1)
    assert goal["alpha_interval_low"] <= goal["alpha_interval"] <= goal["alpha_interval_high"]
    same = row(agreement_table(rated.counting(), PLAN), rated="secret")
    assert same["exact"] == 1 and same["kappa"] == 1 and math.isnan(same["alpha_interval"])


def test_a_side_one_person_rated_says_nothing_about_agreement(ratings):
    rate(ratings, "Ann", PLAN.datapoints[0].episode_id)
    table = agreement_table(ratings.counting(), PLAN)
    assert table["n_sides"].tolist() == [0] * 7 and table["exact"].isna().all()
    assert agreement_table({}, PLAN)["n_people"].tolist() == [0] * 7


@pytest.mark.parametrize(
    ("dimension", "scores", "few"),
    [
        ("goal", [0, 5, 6, 10], [0, 0, 1, 1]),
        ("secret", [-10, -5, -4, 0], [0, 0, 1, 1]),
        ("relationship", [-5, -1, 0, 2], [-1, -1, 0, 1]),
    ],
)
def test_coarse_scores_are_halves_or_signs(dimension, scores, few):
    found = coarse(np.array([*scores, math.nan]), dimension)
    assert found[:-1].tolist() == few and math.isnan(found[-1])


def test_tables_for_reading_hold_values_beside_their_intervals_and_dashes_for_nothing(rated):
    table = agreement_table(rated.counting(), PLAN)
    pairs, alphas = (styled.data for styled in agreement_to_read(table))
    assert "kappa" in pairs and "alpha_nominal" in alphas and not {"kappa", "n_people"} & {*pairs} & {*alphas}
    read = to_read(table).data.set_index("rated")
    assert "method" not in read and not [c for c in read if c.endswith(("_low", "_high"))]
    assert re.fullmatch(r"0\.\d\d \[-?\d\.\d\d, \d\.\d\d\]", read.loc["goal", "alpha_interval [95 %]"])
    assert read.loc["secret", "alpha_interval [95 %]"] == "–"
    means = means_to_read(means_table(frame_of(rated))).data.set_index("dimension")
    assert means.columns.tolist() == list(VARIANTS) and means.index.tolist() == ["rated datapoints", *DIMENSIONS]
    assert means.loc["rated datapoints", "BC"] == "8 of 8" and means.loc["goal", "BC"] == "5.00 [5.00, 5.00]"


def test_people_are_listed_with_what_they_rated_and_what_is_left(rated):
    first = qualification()
    rate(rated, "Ann", first.episode.id)
    rate(rated, "Ann", "episode-of-an-earlier-evaluation")
    ann = row(annotators_table(PLAN, rated, first), annotator="Ann")
    expected = {"rated": 24, "left": 0, "attempts": 1, "qualified": "no", "median_s": 30.0, "elsewhere": 1}
    assert ann.to_dict() == {"annotator": "Ann", **expected}
    named = annotators_table(plan(["Cleo", "Dan"]), HumanRatings(rated.path.with_name("none.jsonl")), first)
    assert named["annotator"].tolist() == ["Cleo", "Dan"] and named["left"].tolist() == [12, 12]
    assert named["median_s"].isna().all()


def test_datapoints_are_counted_by_how_many_people_rated_them(ratings):
    assert ratings_per_datapoint(ratings.counting(), PLAN) == {"datapoints rated by 0 people": 24}
    rate(ratings, "Ann", PLAN.datapoints[0].episode_id)
    counts = {"datapoints rated by 0 people": 23, "datapoints rated by 1 person": 1}
    assert ratings_per_datapoint(ratings.counting(), PLAN) == counts


def test_raters_see_no_results_and_an_empty_run_says_what_to_do(rated, monkeypatch):
    people = people_ratings(rated.counting(), PLAN.episode_ids)
    monkeypatch.delenv(VOILA, raising=False)
    assert why_no_results(people, True) == "" and "open this notebook to rate" in why_no_results([], True)
    assert why_no_results(people, False) == "Not shown to people who rate."
    monkeypatch.setenv(VOILA, "http://127.0.0.1:8866/")
    assert why_no_results(people, True) == "Not shown to people who rate."


def test_the_figure_of_the_gap_says_whom_the_judge_is_held_against(rated):
    figure = gap_figure(gap_table(frame_of(rated)), "people", "nothing", "toy")
    words = "\n".join(text.get_text() for text in figure.findobj(matplotlib.text.Text)).replace("\n", " ")
    assert "Judge's goal minus the goal by people by variant · toy" in words and "2.5" in words
    assert "judge's goal − goal by people, points of 10" in words and "8 rated sides (agent) a variant" in words
