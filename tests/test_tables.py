"""Tables of the social evaluation: what counts, what is missing and why, who is compared with whom."""

import json
import math

import pytest
from synthetic_run import episode, many_tasks, rating, task, write_run

from sotopia_pi.analysis.headline import answer, headline_html, warnings
from sotopia_pi.analysis.tables import (
    both_sides_table,
    comparisons_table,
    failure_table,
    family_table,
    goal_table,
    length_table,
    no_zone_table,
    paired_table,
    parts_table,
    pooled,
    ratio_table,
    results_frame,
    results_json,
    run_label,
    shown,
    trivial_check,
    ungated_table,
)
from sotopia_pi.analysis.training_curves import training_frame
from sotopia_pi.store.items import ItemFile, write_items

MEANS = {"base": 1.0, "base few-shot": 2.0, "BC": 4.0, "BC+SR": 5.0, "expert": 6.0, "always-accept": 3.0}
ALL_TABLES = (
    goal_table,
    both_sides_table,
    parts_table,
    no_zone_table,
    family_table,
    ungated_table,
    length_table,
    failure_table,
    ratio_table,
    trivial_check,
)


def by_hand(variant, number, side):
    """A variant's mean, a wobble that cancels out over tasks, and every fourth episode of the base fails."""
    if variant == "base" and number % 4 == 0 and side == 0:
        return None
    return MEANS[variant] + (0.5 if number % 2 else -0.5)


@pytest.fixture(scope="module")
def frame(tmp_path_factory):
    return results_frame(write_run(tmp_path_factory.mktemp("runs") / "laptop", many_tasks(), tuple(MEANS), by_hand))


def row_of(table, **where):
    for column, value in where.items():
        table = table[table[column] == value]
    assert len(table) == 1, where
    return table.iloc[0]


def test_the_frame_has_one_row_per_episode_and_side(frame):
    assert len(frame) == 6 * 32 * 2 * 2
    one = frame[frame["episode_id"] == frame["episode_id"].iloc[0]]
    assert sorted(one["side"]) == [0, 1] and sorted(one["role"]) == ["agent", "partner"]
    assert set(frame["run"]) == {"laptop"}
    assert (frame.loc[frame["role"] == "agent", "side"] == frame.loc[frame["role"] == "agent", "agent_side"]).all()


def test_a_failed_episode_is_missing_for_both_sides_and_never_zero(frame):
    failed = frame[frame["outcome"] == "policy_failed"]
    assert len(failed) == 8 * 2  # tasks 0, 4, 8 … of 32, agent side 0, two rows each
    assert failed["goal"].isna().all() and set(failed["missing"]) == {"policy_failed"}
    row = row_of(goal_table(frame), variant="base")
    assert (row["attempted"], row["n_episodes"], row["missing"]) == (64, 56, {"policy_failed": 8})
    assert row["mean"] == pytest.approx((32 * 1.5 + 24 * 0.5) / 56)


def test_a_rating_that_a_file_holds_for_a_failed_episode_is_not_believed(tmp_path):
    one = task(0, "t")
    run = write_run(tmp_path / "r", [one], ("base",), lambda *_: None, manifest=False)
    played = episode(one, "base", 0, failed=True)
    ItemFile(run / "06_social_evaluation" / "ratings.jsonl").append(rating(played, 0, 0.0).to_dict())
    assert results_frame(run)["goal"].isna().all()


def test_unrated_and_refused_episodes_are_missing_for_their_own_reason(tmp_path):
    tasks = [task(i, f"t{i}") for i in range(3)]
    run = write_run(tmp_path / "r", tasks, ("BC",), lambda *_: 4.0, manifest=False)
    file = run / "06_social_evaluation" / "ratings.jsonl"
    kept = [r for r in ItemFile(file).read() if r["episode_id"] != episode(tasks[0], "BC", 0).id]
    refused = episode(tasks[1], "BC", 0)
    kept = [r for r in kept if r["episode_id"] != refused.id]
    kept += [rating(refused, side, 0, outcome="refused").to_dict() for side in (0, 1)]
    write_items(file, kept)
    row = row_of(goal_table(results_frame(run)), variant="BC")
    assert row["missing"] == {"not_rated": 1, "refused": 1} and row["n_episodes"] == 4 and row["mean"] == 4.0


def test_only_items_that_the_manifest_names_are_read(tmp_path):
    run = write_run(tmp_path / "r", [task(0, "t")], ("BC",), lambda *_: 4.0)
    stale = episode(task(0, "t"), "BC", 0, seed=99)
    ItemFile(run / "06_social_evaluation" / "episodes.jsonl").append(stale.to_dict())
    assert stale.id not in set(results_frame(run)["episode_id"])
    (run / "06_social_evaluation" / "manifest.json").unlink()
    assert stale.id in set(results_frame(run)["episode_id"])


def test_two_ratings_of_one_side_never_share_a_table(tmp_path):
    run = write_run(tmp_path / "r", [task(0, "t")], ("BC",), lambda *_: 4.0, manifest=False)
    again = rating(episode(task(0, "t"), "BC", 0), 0, 9.0, judge="gpt-4")
    ItemFile(run / "06_social_evaluation" / "ratings.jsonl").append(again.to_dict())
    with pytest.raises(ValueError, match=r"two ratings.*gpt-4"):
        results_frame(run)


def test_a_missing_stage_is_named_with_the_command_that_makes_it(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"sotopia-pi run params/nope.yaml --only 01_social_tasks"):
        results_frame(tmp_path / "nope")


def test_goal_counts_gated_tasks_with_a_zone_only(tmp_path):
    tasks = [
        task(0, "a"),
        task(1, "b", has_zone=False),
        task(2, "c", family="cost_sharing"),
        task(3, "d", family="meeting", hard=True),
    ]
    goals = {0: 8.0, 1: 0.0, 2: 1.0, 3: 4.0}
    frame = results_frame(write_run(tmp_path / "r", tasks, ("BC",), lambda _, number, __: goals[number]))
    assert row_of(goal_table(frame), variant="BC")["mean"] == 6.0
    assert row_of(goal_table(frame, "hard"), variant="BC")["mean"] == 4.0
    assert row_of(ungated_table(frame), family="cost_sharing")["mean"] == 1.0
    assert row_of(no_zone_table(frame), variant="BC")["mean"] == 1.0  # no deal was right
    assert set(family_table(frame)["family"]) == {"bargaining", "meeting"}
    with pytest.raises(ValueError, match="'all' and 'hard'"):
        goal_table(frame, "easy")


def test_the_sides_are_told_apart(frame):
    assert row_of(goal_table(frame, side="agent"), variant="BC")["mean"] == pytest.approx(4.0)
    assert row_of(goal_table(frame, side="partner"), variant="BC")["mean"] == pytest.approx(6.0)
    table = both_sides_table(frame)
    assert row_of(table, variant="expert", side="agent")["mean"] == pytest.approx(6.0)
    assert row_of(table, variant="expert", side="partner")["mean"] == pytest.approx(4.0)


def test_variants_stand_in_their_fixed_order(frame):
    assert goal_table(frame.sample(frac=1, random_state=1))["variant"].tolist() == list(MEANS)


def test_parts_by_hand(tmp_path):
    # Agent's goals 0 (no deal), 2, 4, 6 from both sides; joint surplus of the fixture is goal / 10.
    tasks = [task(i, f"t{i}") for i in range(4)]
    frame = results_frame(write_run(tmp_path / "r", tasks, ("BC",), lambda _, n, __: 2.0 * n))
    table = parts_table(frame).set_index("part")
    assert table.loc["deal rate", "mean"] == 0.75
    assert table.loc["bad-deal rate", "mean"] == 0.0
    assert table.loc["goal given a deal", "mean"] == pytest.approx(4.0)
    assert table.loc["joint surplus", "mean"] == pytest.approx(0.3)
    assert table.loc["goal given a deal", "n_episodes"] == 6


def test_pairs_are_the_same_task_and_side_and_failures_drop_out(frame):
    row = row_of(paired_table(frame, "base"), variant="BC")
    assert (row["n_pairs"], row["n_missing"], row["n_templates"]) == (56, 8, 8)
    assert row["difference"] == pytest.approx(3.0)  # the wobble cancels, because the tasks are the same
    assert row["ranked"] == "higher" and row["p"] < 1e-6
    assert "base" not in paired_table(frame, "base")["variant"].tolist()
    asked = comparisons_table(frame, [("BC+SR", "BC"), ("SR", "base")])
    assert asked[["variant", "reference"]].values.tolist() == [["BC+SR", "BC"]]


def test_two_episodes_for_one_pair_are_refused(frame):
    with pytest.raises(ValueError, match="two episodes"):
        paired_table(pooled([frame, frame]), "base")


def test_too_few_templates_are_not_ranked(tmp_path):
    run = write_run(tmp_path / "r", many_tasks(3), ("BC", "base"), lambda v, *_: 5.0 if v == "BC" else 1.0)
    row = paired_table(results_frame(run), "base").iloc[0]
    assert row["ranked"].startswith("not ranked: 3 scenario templates")


def test_the_ratio_to_the_expert(frame):
    assert row_of(ratio_table(frame), variant="BC")["ratio"] == pytest.approx(4 / 6)
    assert "expert" not in ratio_table(frame)["variant"].tolist()
    assert "always-accept" not in ratio_table(frame)["variant"].tolist()


@pytest.mark.parametrize(("trivial", "beaten"), [(3.0, True), (5.0, True), (5.2, False), (7.0, False)])
def test_the_expert_must_lead_trivial_play_by_a_point(tmp_path, trivial, beaten):
    goals = {"expert": 6.0, "never-concede": trivial}
    frame = results_frame(write_run(tmp_path / "r", many_tasks(), tuple(goals), lambda v, *_: goals[v]))
    assert bool(trivial_check(frame).iloc[0]["beaten"]) is beaten
    assert any("The expert leads never-concede" in w for w in warnings(frame)) is not beaten


def test_length_and_failures(frame):
    row = row_of(length_table(frame), variant="base")
    assert row["mean"] == pytest.approx((56 * 4 + 8 * 2) / 64)
    assert (row["ended: failed"], row["ended: turn_limit"], row["ended: left"]) == (8, 56, 0)
    failures = failure_table(frame)
    base = row_of(failures, variant="base")
    assert (base["attempted"], base["rated"], base["policy_failed"]) == (64, 56, 8)
    assert (failures["attempted"] == failures["rated"] + failures["policy_failed"]).all()


def test_pooling_seeds_keeps_templates_as_the_unit(tmp_path):
    frames = []
    for seed in (0, 1):
        tasks = [task(100 * seed + i, f"t{i % 8}") for i in range(16)]
        run = write_run(tmp_path / f"s{seed}", tasks, ("BC", "base"), lambda v, *_: 5.0 if v == "BC" else 1.0, seed)
        frames.append(results_frame(run))
    both = pooled(frames)
    row = row_of(goal_table(both), variant="BC")
    assert (row["n_tasks"], row["n_episodes"], row["n_templates"]) == (32, 64, 8)
    assert set(both["seed"]) == {0, 1} and set(both["run"]) == {"s0", "s1"}
    assert row_of(paired_table(both, "base"), variant="BC")["n_pairs"] == 64


def test_the_json_has_the_promised_shape(frame):
    lines = results_json(frame)
    wanted = ["tasks", "variant", "side", "dimension", "mean", "low", "high", "n_tasks", "n_episodes", "missing"]
    assert all(list(line) == wanted for line in lines)
    base = next(
        x for x in lines if (x["tasks"], x["variant"], x["side"], x["dimension"]) == ("all", "base", "agent", "goal")
    )
    assert base["missing"] == {"policy_failed": 8} and base["n_tasks"] == 32
    assert {x["tasks"] for x in lines} == {"all", "hard"} and {x["side"] for x in lines} == {"agent", "partner"}
    assert json.loads(json.dumps(lines, allow_nan=False)) == lines


def test_a_variant_without_any_score_is_null_in_json_and_words_in_tables(tmp_path):
    frame = results_frame(write_run(tmp_path / "r", many_tasks(2), ("base",), lambda *_: None))
    line = results_json(frame)[0]
    assert line["mean"] is None and line["low"] is None and line["n_episodes"] == 0
    assert shown(goal_table(frame)).iloc[0]["mean [95 % interval]"] == "no scores"
    assert shown(goal_table(frame)).iloc[0]["missing"] == "16 policy_failed"
    assert math.isnan(goal_table(frame).iloc[0]["mean"])


@pytest.mark.parametrize("table", ALL_TABLES)
def test_an_empty_frame_gives_an_empty_table(table):
    assert len(table(pooled([]))) == 0
    assert results_json(pooled([])) == []


def test_the_answer_names_what_was_reached(frame):
    sentence = answer(frame)
    for part in (
        "BC 4.00",
        "BC+SR 5.00",
        "2.00 [",
        "6.00",
        "always-accept",
        "32 held-out tasks",
        "8 scenario templates",
    ):
        assert part in sentence
    assert sentence.count(". ") == 0  # one sentence
    assert "0.67" in sentence and "0.83" in sentence
    assert any("base: 8 of 64 episodes have no score (8 policy_failed)" in w for w in warnings(frame))


def test_the_headline_warns_when_there_is_too_little_to_rank(tmp_path):
    frame = results_frame(write_run(tmp_path / "r", many_tasks(3), tuple(MEANS), lambda v, *_: MEANS[v]))
    assert any(w.startswith("Too few to rank: 3 scenario templates") for w in warnings(frame))


def test_the_headline_is_static_and_says_why_a_variant_is_not_there(frame):
    page = headline_html(frame, "rule-scored negotiation, <tiny>", {"SR": "not trained: 1 of 120 <b>kept</b>"})
    assert "<script" not in page and "http" not in page.replace("http://www.w3.org", "")
    assert 'src="data:image/png;base64,' in page and 'alt="Bar chart' in page
    assert "not trained: 1 of 120 &lt;b&gt;kept&lt;/b&gt;" in page and "<tiny>" not in page
    assert page.index("BC+SR 5.00") < page.index("<img") < page.index("<table")
    assert "nothing to answer with" in headline_html(pooled([]), "x")


def test_training_curves_ignore_a_torn_line_and_keep_the_later_of_two_logs(tmp_path):
    log = tmp_path / "metrics.jsonl"
    log.write_text('{"step": 1, "loss": 3.0}\n{"step": 2, "loss": 9.0}\n{"step": 2, "loss": 2.0}\n{"step": 3, "lo')
    frame = training_frame({"BC": log, "SR": tmp_path / "none.jsonl"})
    assert frame[["variant", "step", "loss"]].values.tolist() == [["BC", 1, 3.0], ["BC", 2, 2.0]]
    assert training_frame({}).empty


def test_a_label_says_who_scored_and_whom():
    one, other = (rating(episode(task(1, "t"), "BC", 0), 0, 5.0, judge=judge) for judge in ("payoff", "gpt-4"))
    assert run_label([one], "small") == "rule-scored negotiation, small"
    assert run_label([one, other], "small") == "judged by gpt-4, small"
    assert run_label([], "small") == "nothing rated, small"
