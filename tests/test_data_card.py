"""The data card counts what every filter left, by whatever one asks."""

import pytest
from test_selection import episode, rating, table

from sotopia_pi.analysis.data_card import data_card, task_summary
from sotopia_pi.stages.selection import select


@pytest.fixture(scope="module")
def selection():
    episodes, ratings = table([(3, 9), (8, 1)])
    more = [episode("f1", task="task-b", tag="other"), episode("f2", task="task-b", outcome="policy_failed")]
    more_ratings = [rating("f1", 0, 2), rating("f1", 1, 7), rating("f2", 0, 9), rating("f2", 1, 9)]
    return select(episodes + more, ratings + more_ratings, "code", min_goal=3)


def test_the_first_row_counts_every_side_and_the_last_column_what_was_kept(selection):
    card = data_card([selection], ["tag"])
    everything = card.loc[("all", "all")]
    assert (everything["in"], everything["episode completed"], everything["kept by the recipe"]) == (8, 6, 3)
    assert list(card.columns) == list(selection.counts), "filters in the order in which they were applied"
    assert card.loc[("tag", "other"), "goal at or above min_goal"] == 1
    assert card.index[0] == ("all", "all")


def test_it_tells_models_tags_and_tasks_apart_and_their_counts_add_up(selection):
    card = data_card([selection], ["model", "task", "tag"])
    for by in ("model", "task", "tag"):
        assert (card.loc[by].sum() == card.loc[("all", "all")]).all(), by
    assert list(card.index.get_level_values("by").unique()) == ["all", "model", "task", "tag"]


def test_several_selections_add_up(selection):
    twice = data_card([selection, selection])
    assert (twice == 2 * data_card([selection])).all(axis=None)


def test_a_task_without_any_side_left_is_counted(selection):
    summary = task_summary([selection])
    assert (summary.loc["in", "n_tasks"], summary.loc["in", "most"]) == (2, 4)
    assert (summary.loc["kept by the recipe", "n_tasks"], summary.loc["kept by the recipe", "median"]) == (2, 1.5)
    nothing = select(*table([(1, 1)]), "code", min_goal=9)
    last = task_summary([nothing]).loc["kept by the recipe"]
    assert (last["n_tasks"], last["n_without"]) == (0, 1)


def test_an_unknown_way_to_tell_apart_is_refused_with_the_allowed_ones(selection):
    with pytest.raises(ValueError, match=r"colour.*allowed: .*tag, model, family, group, task"):
        data_card([selection], ["colour"])
    with pytest.raises(ValueError, match="0 selections"):
        data_card([])
