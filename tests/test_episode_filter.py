"""Filters and orders of episodes: each lets through exactly what it says, together what all say."""

import pytest
from browsed_run import made_run, opened, project

from sotopia_pi.analysis.episode_filter import Filter, Order, pieces, select


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    return opened(made_run(project(tmp_path_factory.mktemp("filter"))).parents[1])


def rows(index, keep):
    return [row for row, one in enumerate(index.frame.to_dict("records")) if keep(one)]


@pytest.mark.parametrize(
    ("chosen", "keep"),
    [
        (Filter(), lambda e: True),
        (Filter(stage="02_expert_episodes"), lambda e: e["stage"] == "02_expert_episodes"),
        (Filter(variant="BC"), lambda e: e["variant"] == "BC"),
        (Filter(family="meeting"), lambda e: e["family"] == "meeting"),
        (Filter(hard="hard"), lambda e: e["hard"]),
        (Filter(hard="not hard"), lambda e: not e["hard"]),
        (Filter(side="speaks second"), lambda e: e["side"] == 1),
        (Filter(side="both sides"), lambda e: e["side"] == -1),
        (Filter(ending="left"), lambda e: e["ending"] == "left"),
        (Filter(task="BARGAINING-0"), lambda e: "bargaining-0" in e["codename"]),
        (Filter(failure="the episode failed"), lambda e: e["outcome"] == "policy_failed"),
        (Filter(failure="a turn was unreadable"), lambda e: e["n_failed"] > 0),
        (Filter(failure="nothing failed"), lambda e: e["n_failed"] == 0 and e["outcome"] == "completed"),
        (Filter(failure="not rated"), lambda e: e["agent_goal"] != e["agent_goal"]),
        (Filter(low=4.0, high=6.0), lambda e: 4.0 <= e["agent_goal"] <= 6.0),
        (Filter(high=6.0, role="partner"), lambda e: e["partner_goal"] <= 6.0),
        (Filter(variant="BC", hard="hard", side="speaks first", low=5.0), None),
    ],
)
def test_a_filter_lets_through_exactly_what_it_says(index, chosen, keep):
    keep = keep or (lambda e: e["variant"] == "BC" and e["hard"] and e["side"] == 0 and e["agent_goal"] >= 5)
    expected = rows(index, keep)
    assert select(index, chosen).tolist() == expected and expected


def test_a_task_is_found_by_its_id(index):
    task = index.frame["task"].iat[20]
    assert select(index, Filter(task=f" {task} ")).tolist() == rows(index, lambda e: e["task"] == task)


def test_every_word_has_to_occur_and_quoted_ones_as_they_stand(index):
    assert pieces('a  "b c" d"e') == ["a", "b c", "d", "e"] and pieces('" "') == []
    whole = rows(index, lambda e: e["n_turns"] == 4)
    assert select(index, Filter(words="head shakes her")).tolist() == whole and len(whole) < len(index)
    assert select(index, Filter(words='"her head"')).tolist() == whole
    assert len(select(index, Filter(words='"head her"'))) == 0
    assert len(select(index, Filter(words="head nowhere"))) == 0
    assert [index.frame["variant"].iat[row] for row in select(index, Filter(words="äpfel"))] == ["human"]


def test_scores_sort_with_missing_ones_last_either_way(index):
    for descending in (False, True):
        goals = index.frame["agent_goal"].iloc[select(index, Filter(), Order("score", descending))]
        known = goals.dropna().tolist()
        assert known == sorted(known, reverse=descending)
        assert goals.isna().iloc[len(known) :].all() and len(known) < len(goals)


def test_names_sort_by_name_and_ties_stay_as_played(index):
    for by, column in (("task", "codename"), ("variant", "variant"), ("turns", "n_turns")):
        found = select(index, Filter(), Order(by))
        keys = list(zip(index.frame[column].iloc[found].tolist(), found.tolist(), strict=True))
        assert keys == sorted(keys), by
    assert select(index, Filter(), Order(descending=True)).tolist() == list(range(len(index)))[::-1]


def test_an_unknown_choice_is_refused_with_what_is_allowed():
    with pytest.raises(ValueError, match="allowed: speaks first"):
        Filter(side="third")
    with pytest.raises(ValueError, match="allowed: as played"):
        Order("colour")
