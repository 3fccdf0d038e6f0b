"""Several raters, selection, length, single tasks: every table against a count by hand, every figure by its words."""

import math

import matplotlib
import pandas as pd
import pytest
from synthetic_run import episode, rating, task

matplotlib.use("Agg")

from sotopia_pi.analysis import calibration, confounds, drill_down, paper_figures, profile, published, raters
from sotopia_pi.analysis.averaged import averaged
from sotopia_pi.analysis.dimension_tests import dimension_tests
from sotopia_pi.analysis.figure_parts import figure_bytes
from sotopia_pi.analysis.selection_effect import selection_figure, selection_frame, selection_table
from sotopia_pi.world.ratings import Rating

TASKS = [task(n, f"lamp-{n // 2}") for n in range(8)]
PLAYED = {v: [episode(one, v, 0) for one in TASKS] for v in ("base", "BC")}
EPISODES = [e for episodes in PLAYED.values() for e in episodes]
RULE = {"base": [0.0] * 8, "BC": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]}


def rated(of, goal, judge, side=0):
    return rating(of, side, goal, judge=judge).to_dict()


def frame_with(*extra, people=()):
    rule = [rated(e, goal, "payoff") for v, played in PLAYED.items() for e, goal in zip(played, RULE[v], strict=True)]
    items = ([t.to_dict() for t in TASKS], [e.to_dict() for e in EPISODES])
    return raters.raters_frame(*items, [*rule, *extra], people, run="toy")


def judged(over=2.0, variant="BC"):
    return [rated(e, goal + over, "judge-x") for e, goal in zip(PLAYED[variant], RULE[variant], strict=True)]


def words(fig):
    return "\n".join(text.get_text() for text in fig.findobj(matplotlib.text.Text)).replace("\n", " ")


def people_of(*given):
    return [mean.to_dict() for mean in averaged(map(Rating.from_dict, given))]


def test_annotators_are_averaged_and_what_they_left_out_stays_missing():
    one, two = rated(EPISODES[0], 4.0, "human:ann"), rated(EPISODES[0], 7.0, "human:ben")
    two["scores"]["secret"] = None
    lost = rated(EPISODES[1], 4.0, "human:ann") | {"outcome": "invalid", "scores": {}}
    (mean,) = people_of(one, two, lost)
    assert mean["scores"]["goal"] == 5.5 and mean["scores"]["secret"] == 0.0
    assert mean["scores"]["knowledge"] is None and mean["overall"] is None
    assert mean["judge"] == "people"


def test_every_rater_has_rows_of_its_own_and_people_only_where_they_were_asked():
    frame = frame_with(*judged(), people=people_of(rated(PLAYED["BC"][0], 1.0, "human:ann")))
    assert raters.raters_of(frame) == ["payoff", "judge-x", "people"]
    assert frame.groupby("rater").size().to_dict() == {"payoff": 32, "judge-x": 32, "people": 2}
    assert raters.label_of(frame, "toy") == "scores by rule, judge judge-x, people, toy"
    assert raters.label_of(raters.by_first(frame), "toy") == "rule-scored negotiation, toy"


def test_the_gap_is_over_the_sides_that_both_rated():
    people = people_of(
        *(rated(e, goal + 0.5, "human:ann") for e, goal in zip(PLAYED["BC"][:4], RULE["BC"], strict=False))
    )
    gaps = raters.gap_table(frame_with(*judged(), people=people)).set_index(["first", "second", "variant"])
    assert gaps.loc[("judge-x", "payoff", "BC"), ["difference", "n_episodes", "first_mean"]].tolist() == [2.0, 8, 6.5]
    assert gaps.loc[("judge-x", "people", "BC"), ["difference", "n_episodes", "second_mean"]].tolist() == [1.5, 4, 3.0]
    assert gaps.loc[("payoff", "people", "BC"), "difference"] == -0.5
    unrated = gaps.loc[("judge-x", "payoff", "base")]
    assert math.isnan(unrated["difference"]) and unrated["missing"] == {"judge judge-x: not_rated": 8}
    assert "people" not in gaps.xs("base", level="variant").reset_index()["second"].tolist()


def test_correlation_and_calibration_by_hand():
    frame = frame_with(*judged(), *judged(1.0, "base"))
    found = calibration.correlation_table(frame).set_index("variant")
    assert found.loc["BC", ["pearson", "spearman"]].tolist() == pytest.approx([1.0, 1.0])
    assert math.isnan(found.loc["base", "pearson"])  # the rule gave every base episode 0
    bins = calibration.calibration_table(frame).set_index("measured")
    assert bins.index.tolist() == ["0", "0 to 2", "2 to 4", "4 to 6", "6 to 8"]
    assert bins["n_episodes"].tolist() == [8, 2, 2, 2, 2]
    assert bins["mean"].tolist() == pytest.approx([1.0, 3.5, 5.5, 7.5, 9.5])


def test_tests_by_dimension_are_paired_and_adjusted_for_each_other():
    found = dimension_tests(frame_with(*judged())).set_index(["rater", "dimension"])
    goal = found.loc[("payoff", "goal")]
    # Templates hold two tasks each: mean differences 1.5, 3.5, 5.5, 7.5, so 4.5 with sd sqrt(20 / 3).
    assert goal["difference"] == 4.5 and goal["df"] == 3
    assert goal["t"] == pytest.approx(4.5 / (math.sqrt(20 / 3) / 2))
    assert goal["p_flip"] == pytest.approx(2 / 2**4)
    assert (found["p_holm"].fillna(1) >= found["p"].fillna(1)).all()
    assert ("payoff", "knowledge") not in found.index  # a rule cannot check it


def test_selection_before_and_after_by_hand():
    kept = [{"episode_id": e.id, "side": 0} for e in PLAYED["BC"][6:]]
    items = [e.to_dict() for e in PLAYED["BC"]]
    ratings = [rated(e, g, "payoff") for e, g in zip(PLAYED["BC"], RULE["BC"], strict=True)]
    ratings += [rated(e, 9.0, "payoff", side=1) for e in PLAYED["BC"]]  # the partner's side is not under study
    frame = selection_frame([("SR", items, ratings, kept)])
    table = selection_table(frame).set_index(["family", "sides"])
    assert table.loc[("all", "all rated"), ["mean", "n_episodes"]].tolist() == [4.5, 8]
    assert table.loc[("all", "kept"), ["mean", "n_episodes"]].tolist() == [7.5, 2]
    text = words(selection_figure(frame, "toy"))
    assert "all rated (8)" in text and "kept (2)" in text


def test_failed_turns_and_length_are_told_apart_from_skill():
    broken = episode(TASKS[0], "SR", 0, failed=True)
    whole = [episode(one, "SR", 0) for one in TASKS[1:]]
    items = ([t.to_dict() for t in TASKS], [e.to_dict() for e in (broken, *whole)])
    frame = raters.raters_frame(*items, [rated(e, 5.0, "payoff") for e in whole], run="toy")
    failures = confounds.failure_confound_table(frame).set_index("counted")
    assert failures.loc["all", ["attempted", "n_episodes"]].tolist() == [8, 7]
    assert failures.loc["no failed turn", ["attempted", "n_episodes"]].tolist() == [7, 7]
    lengths = confounds.goal_by_length_table(frame)
    assert lengths[["turns", "mean", "n_episodes"]].values.tolist() == [["1 to 4", 5.0, 7]]
    assert math.isnan(confounds.length_confound_table(frame)["pearson"].iloc[0])


def test_single_tasks_show_each_variant_the_furthest_behind_first():
    experts = [episode(one, "expert", 0) for one in TASKS]
    items = ([t.to_dict() for t in TASKS], [e.to_dict() for e in (*PLAYED["BC"], *experts)])
    ratings = [rated(e, g, "payoff") for e, g in zip(PLAYED["BC"], RULE["BC"], strict=True)]
    frame = raters.raters_frame(*items, ratings + [rated(e, 8.0, "payoff") for e in experts], run="toy")
    table = drill_down.task_goals(frame, items[0])
    assert table["behind"].tolist() == [7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0, 0.0]
    assert drill_down.furthest_behind(table, 2)["behind"].tolist() == [7.0, 6.0]
    assert table["codename"].iloc[0] == "lamp-0-0" and table["task_id"].iloc[0] == TASKS[0].id
    templates = drill_down.template_goals(frame).set_index(["template", "variant"])
    assert templates.loc[("lamp-3", "BC"), ["goal", "n_episodes", "n_tasks"]].tolist() == [7.5, 2, 2]
    assert "7.5" in words(drill_down.template_figure(drill_down.template_goals(frame), "toy"))


def test_figures_keep_the_paper_in_a_panel_of_its_own_with_n_and_judge():
    frame = frame_with(*judged(), people=people_of(*(rated(e, 3.0, "human:ann") for e in PLAYED["BC"])))
    goals, gaps = raters.by_rater(frame), raters.gap_table(frame)
    steps = paper_figures.steps_figure(goals, gaps, "toy", {"SR": "not trained: nothing kept"})
    own, paper = steps.axes
    assert {line.get_label() for line in own.lines if not line.get_label().startswith("_")} == {
        "rule",
        "judge judge-x",
        "people",
    }
    assert paper.lines[0].get_ydata().tolist() == [3.25, 3.96, 4.82, 5.71, 5.89]
    text = words(steps)
    assert "Table 5: scores by gpt-4 and human, n = 28 episodes" in text and "n: rule 8 rated episodes" in text
    assert "95 % percentile bootstrap" in text and "+1.42" in text and "not trained" in text
    gap = paper_figures.gap_figure(gaps, "toy")
    assert [ax.get_title(loc="left") for ax in gap.axes][-1].startswith("As published") and len(gap.axes) == 4
    for figure in (steps, gap, calibration.calibration_figure(calibration.calibration_table(frame), "toy")):
        assert len(figure_bytes(figure)) > 5000


def test_what_got_worse_is_marked_as_plainly_as_what_got_better():
    text = words(paper_figures.changes_figure(published.changes()))
    assert "−5.75 worse" in text and "+1.90 worse" in text and "+2.46" in text and "+2.46 worse" not in text


def test_the_profile_draws_only_what_a_rater_gave():
    frame = frame_with(*judged())
    figures = profile.profile_figures(profile.profile_table(frame), "toy")
    assert set(figures) == {"payoff", "judge-x"}
    assert [ax.get_title(loc="left") for ax in figures["payoff"].axes if ax.get_visible()] == [
        "Secret",
        "Financial",
        "Goal",
    ]
    assert "Not given by this rater: believability" in words(figures["payoff"])
    assert len(profile.published_profile_figure().axes) == 8


def test_nothing_rated_gives_figures_that_say_so():
    empty = raters.raters_frame([], [], [])
    goals, gaps = raters.by_rater(empty), raters.gap_table(empty)
    found = [
        paper_figures.steps_figure(goals, gaps, "toy"),
        paper_figures.gap_figure(gaps, "toy"),
        calibration.calibration_figure(calibration.calibration_table(empty), "toy"),
        drill_down.template_figure(drill_down.template_goals(empty), "toy"),
        confounds.goal_by_length_figure(confounds.goal_by_length_table(empty), "toy"),
        selection_figure(selection_frame([]), "toy"),
        *profile.profile_figures(profile.profile_table(empty), "toy").values(),
    ]
    for figure in found:
        text = words(figure)
        assert any(said in text for said in ("Nothing to show", "Nothing rated yet", "nothing to compare"))
    assert isinstance(drill_down.task_goals(empty), pd.DataFrame)
