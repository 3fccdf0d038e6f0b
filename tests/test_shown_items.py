"""What a results table reads of its files: the items that `ItemFile` finds, and of each what is shown."""

import json

import pytest
from synthetic_run import episode, rating, task

from sotopia_pi.analysis.shown_items import ShownEpisode, ShownRating, shown_items
from sotopia_pi.analysis.tables import frame_of, results_frame
from sotopia_pi.store.items import CorruptLine, ItemFile

TASK = task(1, "bargaining-1")
EPISODES = [episode(TASK, variant, side) for variant in ("base", "BC") for side in (0, 1)]
RATINGS = [rating(one, side, 3.5) for one in EPISODES for side in (0, 1)]


def written(path, items, end=""):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(item.to_dict(), ensure_ascii=False) + "\n" for item in items) + end)
    return path


def test_what_is_shown_of_an_item_is_what_the_item_holds(tmp_path):
    for kind, items in ((ShownEpisode, EPISODES), (ShownRating, RATINGS)):
        path = written(tmp_path / "items.jsonl", items)
        for shown, item in zip(shown_items(path, kind), ItemFile(path).read(), strict=True):
            known = shown.model_dump()
            turns, theirs = known.pop("turns", []), item.get("turns", [])
            assert known == {name: item[name] for name in known}
            assert turns == [{"side": turn["side"], "failed": turn["failed"]} for turn in theirs]


def test_a_torn_last_line_is_left_out_and_of_two_items_with_one_id_the_first_counts(tmp_path):
    path = written(tmp_path / "episodes.jsonl", [*EPISODES, EPISODES[0]], end='{"id": "tw')
    assert [one.id for one in shown_items(path, ShownEpisode)] == [one.id for one in EPISODES]


@pytest.mark.parametrize("line", ["{", "[1]", '{"id": "episode-1"}', "3"])
def test_a_broken_line_is_named_when_it_is_reached(tmp_path, line):
    path = written(tmp_path / "episodes.jsonl", EPISODES[:1], end=line + "\n")
    items = shown_items(path, ShownEpisode)
    assert next(items).id == EPISODES[0].id
    with pytest.raises(CorruptLine, match=r"episodes\.jsonl, line 2"):
        next(items)


def test_a_run_on_the_disk_and_its_items_in_hand_give_the_same_frame(tmp_path):
    run = tmp_path / "laptop"
    written(run / "01_social_tasks" / "tasks.jsonl", [TASK])
    written(run / "06_social_evaluation" / "episodes.jsonl", EPISODES)
    written(run / "06_social_evaluation" / "ratings.jsonl", RATINGS)
    in_hand = frame_of(*([item.to_dict() for item in items] for items in ([TASK], EPISODES, RATINGS)), run="laptop")
    assert results_frame(run).equals(in_hand)
    assert (in_hand["goal"] == 3.5).all() and len(in_hand) == 8
