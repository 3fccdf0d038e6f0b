"""Judges side by side: agreement counted by hand, overrating against the rule, and what is missing said aloud."""

import math
from dataclasses import replace

import matplotlib
import numpy as np
import pandas as pd
import pytest
from synthetic_run import episode, task

matplotlib.use("Agg")

from sotopia_pi.analysis.figure_parts import figure_bytes
from sotopia_pi.analysis.judges import agreement_table, judges_frame, outcome_table, overrating_figure, overrating_table
from sotopia_pi.world.ratings import DIMENSIONS, Rating

TASKS = [task(n, f"lamp-{n // 2}") for n in range(8)]
EPISODES = [episode(one, "BC", 0) for one in TASKS]


def rating(of, side, judge, goal=None, outcome="ok", raw=(), **others):
    scores = {**dict.fromkeys(DIMENSIONS), "goal": goal, **others}
    return Rating(f"{of.id}-{side}-{judge}", of.id, side, judge, outcome, scores, raw=raw)


def goals(judge, per_side, episodes=EPISODES):
    """One rating a side. per_side: goals of (episode 0, side 0), (episode 0, side 1), (episode 1, side 0) …"""
    sides = [(one, side) for one in episodes for side in (0, 1)]
    return [rating(one, side, judge, goal) for (one, side), goal in zip(sides, per_side, strict=True)]


def row(table, **keys):
    for key, value in keys.items():
        table = table[table[key] == value]
    assert len(table) == 1
    return table.iloc[0]


def test_the_frame_has_a_row_for_every_side_judge_and_dimension_also_where_nothing_was_rated():
    failed = episode(TASKS[0], "SR", 1, failed=True)
    alone = replace(EPISODES[1], id="alone", agent_side=None)
    ratings = [rating(EPISODES[0], 0, "gpt-4", 7), rating(EPISODES[0], 1, "gpt-4", outcome="invalid")]
    ratings += [rating(EPISODES[0], 0, "payoff", 4.5), rating(failed, 0, "gpt-4", 9)]
    frame = judges_frame([EPISODES[0], failed, alone], TASKS, ratings)
    assert len(frame) == 3 * 2 * 2 * 7
    by_gpt = frame[(frame["judge"] == "gpt-4") & (frame["dimension"] == "goal")].set_index(["episode_id", "side"])
    assert by_gpt.loc[(EPISODES[0].id, 0), "score"] == 7
    outcomes = [by_gpt.loc[key, "outcome"] for key in ((EPISODES[0].id, 1), (failed.id, 0), ("alone", 0))]
    assert outcomes == ["invalid", "policy_failed", "not_rated"]
    assert by_gpt["score"].isna().sum() == 5
    roles = frame.drop_duplicates(["episode_id", "side"]).set_index(["episode_id", "side"])["role"]
    assert roles[EPISODES[0].id].tolist() == ["agent", "partner"] and roles["alone"].tolist() == ["agent", "agent"]


def test_outcomes_are_counted_by_side():
    ratings = goals("gpt-4", [5] * 15 + [None])
    ratings[0] = rating(EPISODES[0], 0, "gpt-4", outcome="refused")
    table = outcome_table(judges_frame(EPISODES, TASKS, [*ratings, *goals("payoff", [1.5] * 14, EPISODES[:7])]))
    assert row(table, judge="gpt-4").to_dict() == {
        "judge": "gpt-4",
        "attempted": 16,
        "not_rated": 0,
        "ok": 15,
        "refused": 1,
    }
    assert row(table, judge="payoff")["not_rated"] == 2


def test_agreement_is_what_one_counts_by_hand():
    first = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 5, 5, 5, 5, None]
    second = [0, 2, 4, 3, 3, 9, 6, 7, 7, 2, 10, 5, 6, 4, 5, 5]
    frame = judges_frame(EPISODES, TASKS, goals("a", first) + goals("b", second))
    table = agreement_table(frame)
    assert table["dimension"].tolist() == list(DIMENSIONS)
    goal = row(table, dimension="goal")
    x, y = np.array(first[:15], float), np.array(second[:15], float)
    assert (goal["first"], goal["second"], goal["n"], goal["attempted"]) == ("a", "b", 15, 16)
    assert goal["exact"] == pytest.approx(7 / 15) and goal["within_one"] == pytest.approx(12 / 15)
    assert goal["pearson"] == pytest.approx(np.corrcoef(x, y)[0, 1])
    ranks = [[(v < z).sum() + ((v == z).sum() + 1) / 2 for z in v] for v in (x, y)]
    assert goal["spearman"] == pytest.approx(np.corrcoef(*ranks)[0, 1])
    assert goal["difference"] == pytest.approx((x - y).mean()) and goal["low"] <= goal["difference"] <= goal["high"]
    assert goal["n_templates"] == 4 and goal["missing"] == {"a: left out": 1} and "scenario templates" in goal["method"]


def test_the_interval_comes_from_templates_and_not_from_episodes():
    apart = [0, 0, 0, 0, 4, 4, 4, 4, 0, 0, 0, 0, 4, 4, 4, 4]
    frame = judges_frame(EPISODES, TASKS, goals("a", [5 + d for d in apart]) + goals("b", [5] * 16))
    goal = row(agreement_table(frame), dimension="goal")
    assert goal["difference"] == 2 and (goal["low"], goal["high"]) == (0, 4)


def test_dimensions_the_rule_leaves_out_have_no_agreement_and_say_why():
    frame = judges_frame(
        EPISODES,
        TASKS,
        [rating(e, s, "gpt-4", 5, believability=9) for e in EPISODES for s in (0, 1)] + goals("payoff", [5] * 16),
    )
    table = agreement_table(frame)
    believable = row(table, dimension="believability")
    assert believable["n"] == 0 and believable["missing"] == {"payoff: left out": 16}
    assert all(math.isnan(believable[c]) for c in ("exact", "within_one", "pearson", "spearman", "difference"))
    goal = row(table, dimension="goal")
    assert goal["exact"] == 1 and math.isnan(goal["pearson"]), "judges without spread correlate with nothing"


def test_three_judges_make_three_pairs_and_one_makes_none():
    three = [r for judge in "abc" for r in goals(judge, [1] * 16)]
    table = agreement_table(judges_frame(EPISODES, TASKS, three))
    assert list(zip(*[table[c].tolist()[::7] for c in ("first", "second")], strict=True)) == [
        ("a", "b"),
        ("a", "c"),
        ("b", "c"),
    ]
    assert agreement_table(judges_frame(EPISODES, TASKS, three[:16])).empty


def variants_frame(shift, judge="gpt-4"):
    """The rule gives 4.5 to agents and 1 to partners; the judge gives agents `shift[variant]` more, partners 9."""
    episodes, ratings = [], []
    for variant, more in shift.items():
        for number, one in enumerate(TASKS):
            played = episode(one, variant, number % 2)
            episodes.append(played)
            for side in (0, 1):
                mine = side == played.agent_side
                ratings.append(rating(played, side, "payoff", 4.5 if mine else 1))
                ratings.append(rating(played, side, judge, 4.5 + more if mine else 9))
    return judges_frame(episodes, TASKS, ratings)


def test_overrating_is_the_judges_goal_minus_the_rules_per_variant_and_side():
    frame = variants_frame({"base": 3.5, "BC": 0.5, "expert": -1.5})
    agents = overrating_table(frame)
    assert agents["variant"].tolist() == ["base", "BC", "expert"]
    assert agents["difference"].tolist() == [3.5, 0.5, -1.5] and agents["low"].tolist() == [3.5, 0.5, -1.5]
    assert agents["n_episodes"].tolist() == [8] * 3 and agents["judge_goal"].tolist() == [8, 5, 3]
    assert agents["rule_goal"].tolist() == [4.5] * 3 and set(agents["judge"]) == {"gpt-4"}
    assert overrating_table(frame, "partner")["difference"].tolist() == [8] * 3
    with pytest.raises(ValueError, match="allowed: 'agent' and 'partner'"):
        overrating_table(frame, "both")


def test_overrating_counts_what_is_missing_and_reads_no_failure_as_zero():
    played = [episode(one, "BC", 0, failed=number == 0) for number, one in enumerate(TASKS)]
    ratings = [rating(e, s, "payoff", 4) for e in played[1:] for s in (0, 1)]
    ratings += [rating(e, s, "gpt-4", 6) for e in played[3:] for s in (0, 1)]
    ratings += [rating(played[1], s, "gpt-4", outcome="invalid") for s in (0, 1)]
    line = row(overrating_table(judges_frame(played, TASKS, ratings)), variant="BC")
    assert (line["difference"], line["n_episodes"], line["attempted"]) == (2, 5, 8)
    assert line["missing"] == {"policy_failed": 1, "gpt-4: invalid": 1, "gpt-4: not_rated": 1}


def test_a_judge_that_nothing_can_be_compared_with_is_all_missing():
    line = row(overrating_table(judges_frame(EPISODES, TASKS, goals("gpt-4", [5] * 16))), judge="gpt-4")
    assert math.isnan(line["difference"]) and line["missing"] == {"payoff: not_rated": line["attempted"]}
    assert line["attempted"] == 8


def test_tasks_without_a_zone_stand_apart_and_tasks_without_a_payoff_are_no_measure():
    no_zone, judged = task(90, "dear", has_zone=False), replace(task(91, "talk"), payoff=None)
    played = [EPISODES[0], episode(no_zone, "BC", 0), episode(judged, "BC", 0)]
    ratings = goals("payoff", [4, 4, 0, 0], played[:2]) + goals("gpt-4", [5, 5, 8, 8, 10, 10], played)
    frame = judges_frame(played, [*TASKS, no_zone, judged], ratings)
    assert overrating_table(frame)["difference"].tolist() == [1]
    assert overrating_table(frame, has_zone=False)["difference"].tolist() == [8]
    assert overrating_table(frame)["attempted"].tolist() == [1]


@pytest.mark.parametrize(
    "second",
    [
        rating(EPISODES[0], 0, "gpt-4", 3, raw=({"judge": {"prompt": "one"}},)),
        rating(EPISODES[0], 1, "gpt-4", 3, raw=({"judge": {"prompt": "another"}},)),
    ],
    ids=["two ratings of a side", "two prompts under one name"],
)
def test_one_name_stands_for_one_judge(second):
    first = rating(EPISODES[0], 0, "gpt-4", 2, raw=({"judge": {"prompt": "one"}},))
    with pytest.raises(ValueError, match="judge 'gpt-4' stands for two ratings or two settings"):
        judges_frame(EPISODES, TASKS, [first, second])


def test_an_episode_without_its_task_is_refused():
    with pytest.raises(ValueError, match="which is not among the 1 tasks given"):
        judges_frame([EPISODES[1]], TASKS[:1], [rating(EPISODES[1], 0, "a", 1)])


def words(fig):
    return "\n".join(text.get_text() for text in fig.findobj(matplotlib.text.Text)).replace("\n", " ")


def test_the_figure_has_a_panel_a_judge_and_says_what_how_many_and_how():
    table = overrating_table(variants_frame({"base": 3.5, "BC": 0.5}))
    two = overrating_table(variants_frame({"base": 1.0}, judge="judge two"))
    fig = overrating_figure(pd.concat([table, two]), "negotiation, SmolLM2-135M")
    assert [ax.get_title(loc="left") for ax in fig.axes] == ["Judge: gpt-4", "Judge: judge two"]
    assert fig.axes[0].get_xlim() == fig.axes[1].get_xlim()
    text = words(fig)
    assert "negotiation, SmolLM2-135M" in text and "points of 10" in text and "8.0 / 4.5" in text
    assert "8 rated sides (agent) a variant" in text and "bootstrap over scenario templates" in text
    assert [label.get_text() for label in fig.axes[0].get_yticklabels()] == ["base", "BC"]
    points = [c.get_offsets()[0] for c in fig.axes[0].collections]
    assert sorted((float(x), float(y)) for x, y in points) == [(0.5, 1.0), (3.5, 0.0)]


def test_the_figure_repeats_to_the_byte_and_says_when_there_is_nothing():
    table = overrating_table(variants_frame({"base": 3.5}))
    assert figure_bytes(overrating_figure(table, "x"), "svg") == figure_bytes(overrating_figure(table, "x"), "svg")
    assert "Nothing to show" in words(overrating_figure(table[:0], "x"))
    unrated = judges_frame(EPISODES, TASKS, [*goals("payoff", [4] * 16), rating(EPISODES[0], 1, "gpt-4", 5)])
    assert "Nothing to show" in words(overrating_figure(overrating_table(unrated), "x"))
