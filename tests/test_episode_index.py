"""The episode index: its columns are what the files say, a transcript is what lies there, and no stale file is read."""

import json
import math

import numpy as np
import pytest
from browsed_run import all_episodes, items, made_run, opened, project
from synthetic_run import complete

from sotopia_pi.analysis import episode_index
from sotopia_pi.analysis.episode_index import address, anchor, parse_address
from sotopia_pi.analysis.tables import results_frame
from sotopia_pi.store.items import ItemFile, write_items
from sotopia_pi.store.notebook import read_notebook
from sotopia_pi.store.stage import Stage
from sotopia_pi.world.tasks import SocialTask

EVALUATION = "06_social_evaluation"


@pytest.fixture
def run(tmp_path):
    return made_run(project(tmp_path))


@pytest.fixture
def index(run):
    return opened(run.parents[1])


def test_an_address_reads_back_and_anything_else_is_refused():
    assert parse_address(address("laptop", "ep_1")) == ("laptop", "ep_1")
    assert parse_address(" seeds-pooled/ep_1 ") == ("seeds-pooled", "ep_1")
    for text in ("", "ep_1", "/ep_1", "laptop/"):
        with pytest.raises(ValueError, match="write run/id"):
            parse_address(text)
    assert anchor('x" onclick="y') == "episode-x--onclick--y"


def test_the_columns_say_what_the_results_say(run, index):
    agents = results_frame(run).query("role == 'agent'").set_index("episode_id")
    frame = index.frame[index.frame["stage"] == EVALUATION].set_index("id").loc[agents.index]
    for ours, theirs in {"agent_goal": "goal", "agent_secret": "secret", "agent_overall": "overall"}.items():
        np.testing.assert_allclose(frame[ours], agents[theirs], rtol=1e-6)
    for name in ("variant", "template", "family", "ending", "outcome", "missing"):
        assert frame[name].tolist() == agents[name].tolist(), name
    assert frame["hard"].tolist() == agents["hard"].tolist() and frame["side"].tolist() == agents["agent_side"].tolist()
    partners = results_frame(run).query("role == 'partner'").set_index("episode_id").loc[agents.index]
    np.testing.assert_allclose(frame["partner_goal"], partners["goal"], rtol=1e-6)
    assert (frame["deal"] == -1).tolist() == agents["deal"].isna().tolist()
    assert frame["n_turns"].tolist() == agents["n_turns"].tolist()


def test_where_both_sides_are_under_study_the_goal_is_their_mean(index):
    row = index.frame[index.frame["stage"] == "02_expert_episodes"].iloc[0]
    assert row["side"] == -1 and row["agent_goal"] == 6.5 and math.isnan(row["partner_goal"])


def test_every_transcript_is_the_item_in_its_file(run, index):
    tasks = {t["id"]: SocialTask.from_dict(t) for t in items(run, "01_social_tasks", "tasks.jsonl")}
    assert len(index) == len(all_episodes(run)) > 100
    for row, episode in enumerate(all_episodes(run)):
        shown = index.transcript(row)
        assert shown.episode == episode and shown.task == tasks[episode.task_id]
        assert index.row_of(episode.id) == row and index.address(row) == f"toy/{episode.id}"
        assert {r.episode_id for r in shown.ratings} <= {episode.id}
    judged = [row for row in range(len(index)) if len(index.transcript(row).ratings) == 4]
    assert len(judged) == 2 * len(items(run, EVALUATION, "judge_ratings.jsonl")) / 4


def test_an_index_is_made_once_and_again_only_when_a_file_has_changed(run, index):
    root, made = run.parents[1], run / "11_episode_browser/index" / EVALUATION / "header.json"
    before = made.stat().st_mtime_ns
    assert opened(root).frame.equals(index.frame) and made.stat().st_mtime_ns == before
    kept = items(run, EVALUATION, "episodes.jsonl")[:7]
    write_items(run / EVALUATION / "episodes.jsonl", kept)
    with pytest.raises(ValueError, match=r"episodes\.jsonl is not what its stage wrote"):
        opened(root)
    complete(run / EVALUATION, model="toy")
    again = opened(root)
    assert again.frame.query("stage == @EVALUATION")["id"].tolist() == [episode["id"] for episode in kept]
    assert made.stat().st_mtime_ns != before


@pytest.mark.parametrize(("file", "key"), [("episodes.jsonl", "id"), ("ratings.jsonl", "episode_id")])
def test_a_file_that_changed_under_an_open_page_is_noticed(run, index, file, key):
    row = index.row_of(items(run, EVALUATION, "episodes.jsonl")[8]["id"])
    before = items(run, EVALUATION, file)
    assert index.transcript(row).ratings
    others = [item | {key: item[key][:-1] + "-"} for item in before]
    longer = [item | {"schema": item["schema"] + "-and-more"} for item in before]
    for changed in (others, longer):
        write_items(run / EVALUATION / file, changed)
        with pytest.raises(ValueError, match="Run all cells again"):
            index.transcript(row)


def test_a_deleted_index_is_made_again(run, index):
    for file in (run / "11_episode_browser/index" / EVALUATION).glob("*"):
        file.unlink()
    assert opened(run.parents[1]).frame.equals(index.frame)


def test_torn_lines_doubles_and_episodes_without_a_task_are_no_rows(run):
    folder = run / "12_talk_to_the_agent"
    talk = items(run, folder.name, "episodes.jsonl")[0]
    lost = talk | {"id": "episode-lost", "task_id": "task-nowhere"}
    lines = [json.dumps(talk), json.dumps(talk | {"failure": "twice"}), json.dumps(lost)]
    (folder / "episodes.jsonl").write_text("\n".join(lines) + '\n{"id": "episode-to')
    index = opened(run.parents[1], stages=("12",))
    assert index.frame["id"].tolist() == [talk["id"]] and index.transcript(0).episode.failure == ""
    assert "1 left out: their task is not there" in index.words()


def test_talks_are_shown_as_they_lie_there_and_are_no_part_of_the_stages_key(run):
    root = run.parents[1]
    stage = Stage(root, read_notebook(root / "notebooks" / "11_episode_browser.ipynb"), {"run": "toy"})
    found = episode_index_sources(stage)
    assert [source.stage for source in found.found] == ["06_social_evaluation", "12_talk_to_the_agent"]
    stage.finish()
    inputs = json.loads((run / "11_episode_browser/manifest.json").read_text())["inputs"]
    assert f"{EVALUATION}/episodes.jsonl" in inputs and not any(name.startswith("12") for name in inputs)


def episode_index_sources(stage):
    from sotopia_pi.analysis.episode_sources import find_sources

    return find_sources(stage, ["06", "12"])


def test_stages_that_are_not_there_are_named(tmp_path):
    index = opened(project(tmp_path), "nothing")
    assert len(index) == 0 and "07_safety: not complete yet" in index.words()
    assert index.gaps().empty and not index.holds("x").size


@pytest.mark.parametrize("block", [1, 300, 8 * 1024**2])
@pytest.mark.parametrize("words", ["lamp", "SHAKES her", "stall number 12", "äpfel", "zoë's", "$80 for it.", "nowhere"])
def test_a_search_finds_what_reading_everything_finds(run, index, monkeypatch, block, words):
    monkeypatch.setattr(episode_index, "BLOCK", block)
    tasks = {t["id"]: t for t in items(run, "01_social_tasks", "tasks.jsonl")}
    expected = []
    for episode in all_episodes(run):
        scenario = tasks[episode.task_id]["scenario"]
        texts = [turn.action.argument for turn in episode.turns] + [scenario["text"], *scenario["goals"]]
        expected.append(any(words.lower() in text.lower() for text in texts))
    assert index.holds(words).tolist() == expected
    assert any(expected) == (words != "nowhere") and (words == "lamp") == all(expected)


def test_a_search_for_the_first_words_of_a_text_finds_that_text_alone(index):
    for row in range(0, len(index), 7):
        assert np.flatnonzero(index.holds(index.frame["id"].iat[row])).tolist() == [row]


def test_a_search_finds_reasons_and_what_came_in_place_of_a_turn(run):
    path = run / EVALUATION
    episodes, ratings = (ItemFile(path / name).read() for name in ("episodes.jsonl", "ratings.jsonl"))
    episodes[4]["turns"][1] |= {"failed": True, "calls": [{"text": "the the the"}]}
    ratings[0]["reasons"] = {"goal": "A fair bargain."}
    write_items(path / "episodes.jsonl", episodes)
    write_items(path / "ratings.jsonl", ratings)
    complete(path, model="toy")
    index = opened(run.parents[1], stages=("06",))
    assert np.flatnonzero(index.holds("the the")).tolist() == [4]
    found = np.flatnonzero(index.holds("fair bargain")).tolist()
    assert [index.frame["id"].iat[row] for row in found] == [ratings[0]["episode_id"]]


def test_gaps_are_the_judges_goal_minus_the_rules_on_the_agents_side(run, index):
    rated = [r for name in ("ratings", "judge_ratings") for r in items(run, EVALUATION, f"{name}.jsonl")]
    by_key = {(r["episode_id"], r["side"], r["judge"]): r["scores"]["goal"] for r in rated}
    gaps = index.gaps()
    expected = {
        e.id: by_key[e.id, e.agent_side, "judge-x"] - by_key[e.id, e.agent_side, "payoff"]
        for e in all_episodes(run)
        if (e.id, e.agent_side, "judge-x") in by_key
    }
    assert len(gaps) == len(expected) > 100
    for row in gaps.to_dict("records"):
        assert row["gap"] == pytest.approx(expected[index.frame["id"].iat[row["row"]]], abs=1e-5)


def test_the_same_play_of_another_variant_has_task_side_and_repeat_in_common(index):
    frame = index.frame
    row = index.row_of(frame.query("stage == @EVALUATION and variant == 'BC' and side == 1")["id"].iloc[3])
    other = frame.iloc[index.same_play(row, "expert")]
    assert (other["task"], other["side"], other["variant"]) == (frame["task"].iat[row], 1, "expert")
    assert index.same_play(row, "SR") is None
