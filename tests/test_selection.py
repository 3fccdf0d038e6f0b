"""Selection keeps the sides that a reader of the recipe would keep by hand."""

from dataclasses import replace

import pytest

from sotopia_pi.stages.selection import KeptSide, select
from sotopia_pi.world.actions import Action, Turn
from sotopia_pi.world.episode import Episode
from sotopia_pi.world.ratings import DIMENSIONS, Rating


def episode(name, task="task-a", agent_side=None, outcome="completed", failed_side=None, tag="expert"):
    turns = tuple(
        Turn(
            i, i % 2, Action("none") if i % 2 == failed_side else Action("speak", "hello"), failed=i % 2 == failed_side
        )
        for i in range(4)
    )
    policy = {"name": "p", "digest": "d"}
    ending = "failed" if outcome == "policy_failed" else "turn_limit"
    return Episode(
        id=name,
        task_id=task,
        template=f"template of {task}",
        family="bargaining",
        policies=(policy, policy),
        agent_side=agent_side,
        rules={},
        seed=0,
        repeat=0,
        turns=turns,
        ending=ending,
        outcome=outcome,
        tag=tag,
    )


def rating(name, side, goal, others=None, leaked=False):
    scores = dict.fromkeys(DIMENSIONS) if others is None else dict.fromkeys(DIMENSIONS, others)
    return Rating(f"rating-{name}-{side}", name, side, "rule", "ok", {**scores, "goal": goal}, parts={"leaked": leaked})


def table(goals, task="task-a", prefix="e"):
    """Episodes e1, e2 … of one task with these (side 0, side 1) goals, and their ratings."""
    episodes = [episode(f"{prefix}{i}", task) for i in range(1, len(goals) + 1)]
    ratings = [rating(f"{prefix}{i}", side, g) for i, pair in enumerate(goals, 1) for side, g in enumerate(pair)]
    return episodes, ratings


def names(selection):
    return sorted(f"{k.episode_id}/{k.side}" for k in selection.kept)


def test_code_keeps_the_best_side_of_each_task():
    episodes, ratings = table([(3, 9), (8, 1), (5, 4)])
    more, more_ratings = table([(2, 2)], task="task-b", prefix="f")
    chosen = select(episodes + more, ratings + more_ratings, "code")
    assert names(chosen) == ["e1/1", "e2/0", "f1/0", "f1/1"]


def test_top_k_ranks_each_side_on_its_own():
    chosen = select(*table([(3, 9), (8, 1), (5, 4)]), "top-k", k=2)
    assert names(chosen) == ["e1/1", "e2/0", "e3/0", "e3/1"]
    assert {(k.episode_id, k.side): k.rank for k in chosen.kept}[("e3", 1)] == 2


def test_threshold_keeps_goals_at_or_above_it():
    chosen = select(*table([(5, 4.99), (0, 10)]), "threshold", threshold=5)
    assert names(chosen) == ["e1/0", "e2/1"]


def test_top_share_rounds_down_but_keeps_at_least_one():
    goals = [(g, 10 - g) for g in range(1, 10)]
    assert len(select(*table(goals), "top-share", share=0.25).kept) == 2 * 2
    assert names(select(*table(goals[:3]), "top-share", share=0.25)) == ["e1/1", "e3/0"]


def test_paper_sr_keeps_the_top_fifth_of_a_task():
    goals = [(g, g) for g in (1, 9, 2, 8, 3, 4, 5, 6, 7, 0)]
    assert names(select(*table(goals), "paper-sr")) == ["e2/0", "e2/1", "e4/0", "e4/1"]


def test_conversations_are_ranked_by_both_sides_together():
    goals = [(10, 0), (6, 7), (9, 2)]
    chosen = select(*table(goals), "top-share", share=0.4, unit="conversation")
    assert names(chosen) == ["e2/0", "e2/1"]


def test_a_conversation_with_one_side_unrated_is_not_ranked():
    episodes, ratings = table([(10, None), (3, 4)])
    assert names(select(episodes, ratings, "paper-sr", unit="conversation")) == ["e2/0", "e2/1"]


def test_paper_bc_keeps_two_a_side_and_later_ranks_only_when_both_sides_are_good():
    goals = [(10, 2), (8, 5), (7, 6), (1, 9)]
    # side 1 ranked: 9 (e4), 6 (e3), 5 (e2), 2 (e1), mean 5.5. With one task the means of the task are those overall.
    # rank 3: side 0 has 7 >= 6.5, side 1 has 5 < 5.5: neither is kept.
    assert names(select(*table(goals), "paper-bc")) == ["e1/0", "e2/0", "e3/1", "e4/1"]


def test_paper_bc_compares_with_the_smaller_of_task_mean_and_overall_mean():
    episodes, ratings = table([(10, 2), (8, 5), (7, 6), (1, 9)])
    low, low_ratings = table([(0, 0), (0, 0)], task="task-b", prefix="f")
    # overall means fall to 26/6 = 4.33 and 22/6 = 3.67: rank 3 (7 and 5) passes, rank 4 (1 and 2) does not.
    chosen = select(episodes + low, ratings + low_ratings, "paper-bc")
    task_a = [name for name in names(chosen) if name.startswith("e")]
    assert task_a == ["e1/0", "e2/0", "e2/1", "e3/0", "e3/1", "e4/1"]
    assert next(k for k in chosen.kept if (k.episode_id, k.side) == ("e2", 1)).reason.startswith("rank 3")


def test_min_goal_keeps_the_best_of_nothing_out():
    chosen = select(*table([(0, 0.5), (1, 0)]), "code", min_goal=1)
    assert names(chosen) == ["e2/0"]


def test_an_unrated_side_is_never_selected():
    episodes, ratings = table([(None, 9), (2, 3)])
    assert names(select(episodes, ratings[:3], "top-k", k=10)) == ["e1/1", "e2/0"]


def test_ties_go_by_overall_where_it_exists():
    episodes = [episode("e1"), episode("e2"), episode("e3")]
    ratings = [rating("e1", 0, 6), rating("e2", 0, 6, others=0), rating("e3", 0, 6, others=0)]
    better = Rating(**{**vars(ratings[2]), "scores": {**ratings[2].scores, "believability": 5}})
    for seed in range(5):
        chosen = select(episodes, [*ratings[:2], better], "code", seed=seed)
        assert names(chosen) == ["e3/0"]


def test_ties_without_overall_are_drawn_by_the_seed_and_not_by_the_order():
    episodes, ratings = table([(6, 0)] * 6)
    winners = {seed: names(select(episodes, ratings, "code", min_goal=1, seed=seed)) for seed in range(12)}
    assert len({w[0] for w in winners.values()}) > 2
    assert all(len(w) == 1 for w in winners.values())
    for seed, winner in winners.items():
        assert names(select(episodes[::-1], ratings[::-1], "code", min_goal=1, seed=seed)) == winner


def test_filters_drop_failed_play_leaks_and_the_partner_and_count_each():
    episodes = [
        episode("fine"),
        episode("broken", outcome="policy_failed"),
        episode("stumbled", failed_side=0),
        episode("leaky"),
        episode("evaluated", agent_side=1),
    ]
    ratings = [rating(e.id, side, 8, leaked=(e.id, side) == ("leaky", 1)) for e in episodes for side in (0, 1)]
    chosen = select(episodes, ratings[:-2] + ratings[-1:], "top-k", k=99, min_goal=8.5)
    assert chosen.counts == {
        "in": 10,
        "side under study": 9,
        "episode completed": 7,
        "rated": 7,
        "no failed turn": 6,
        "no leaked secret": 5,
        "goal at or above min_goal": 0,
        "kept by the recipe": 0,
    }
    assert names(select(episodes, ratings, "top-k", k=99)) == [
        "evaluated/1", "fine/0", "fine/1", "leaky/0", "stumbled/1",
    ]  # fmt: skip
    everything = select(episodes, ratings, "top-k", k=99, only_completed=False, keep_failed_turns=True, keep_leaks=True)
    assert len(everything.kept) == 9


def test_counts_by_family_group_and_tag_add_up():
    episodes, ratings = table([(3, 9), (8, 1)])
    more, more_ratings = table([(2, 2)], task="task-b", prefix="f")
    chosen = select(episodes + more, ratings + more_ratings, "code")
    for by in ("family", "group", "tag"):
        for step, n in chosen.counts.items():
            assert sum(r["n_sides"] for r in chosen.rows if r["by"] == by and r["step"] == step) == n
    assert {r["value"] for r in chosen.rows if r["by"] == "group"} == {"task-a", "task-b"}


def test_grouping_widens_the_competition():
    episodes, ratings = table([(3, 3)])
    more, more_ratings = table([(5, 2)], task="task-b", prefix="f")
    assert names(select(episodes + more, ratings + more_ratings, "code", group_by="all")) == ["e1/1", "f1/0"]


def test_errors_name_what_is_allowed():
    with pytest.raises(ValueError, match="paper-bc, paper-sr, code, top-k, top-share, threshold"):
        select([], [], "best")
    with pytest.raises(ValueError, match="min_goal is 11"):
        select([], [], "code", min_goal=11)
    with pytest.raises(ValueError, match="e1, side 0: two ratings"):
        select([episode("e1")], [rating("e1", 0, 1), rating("e1", 0, 2)], "code")


def test_kept_sides_survive_the_file():
    for kept in select(*table([(3, 9)]), "code").kept:
        assert KeptSide.from_dict(kept.to_dict()) == kept


def test_a_stratum_ranks_hard_and_ordinary_tasks_of_a_family_apart():
    from toy_talks import price_task

    tasks = {"easy": price_task(), "hard": replace(price_task(), hard=True)}
    episodes, ratings = [], []
    for name, goals in (("easy", [(9, 8), (7, 6)]), ("hard", [(3, 2), (2, 1)])):
        some, rated = table(goals, task=name, prefix=name)
        episodes, ratings = episodes + some, ratings + rated
    by_family = select(episodes, ratings, "top-share", group_by="family", share=0.5)
    assert names(by_family) == ["easy1/0", "easy1/1", "easy2/0", "easy2/1"]
    apart = select(episodes, ratings, "top-share", group_by="stratum", tasks=tasks, share=0.5)
    assert names(apart) == ["easy1/0", "easy1/1", "hard1/0", "hard1/1"]
    with pytest.raises(ValueError, match="task hard is not among the 1 given"):
        select(episodes, ratings, "top-share", group_by="stratum", tasks={"easy": tasks["easy"]})
