"""Kept sides leave as training files of other tools: what was asked and said, and nothing that should not be learnt."""

import asyncio
import json

import pytest
from toy_layouts import learnt_of_row
from toy_talks import Lines, price_task, talk

from sotopia_pi.formats.sft_layouts import LAYOUTS, export_sft
from sotopia_pi.models.prompts import chat_messages, parse, sotopia_messages
from sotopia_pi.stages.selection import KeptSide
from sotopia_pi.world.actions import Action
from sotopia_pi.world.episode import Decision, EpisodePlan, Rules, observe, play

TASK = price_task()
EPISODE = talk(
    TASK,
    Lines("Would $120 do?", Action("none"), "Then $150.", Action("leave", "off to work")),
    Lines("No, $180.", Action("action", "shows the label"), "Deal, $150."),
)
"""Side 0: speak, none, speak, leave. Side 1: speak, action, speak."""


def kept(side, episode=EPISODE):
    return KeptSide(episode.id, side, 1, 8.0, "test")


def rows(tmp_path, layout, prompt_format, *sides, episodes=(EPISODE,)):
    path = tmp_path / f"{layout}-{prompt_format}.jsonl"
    counts = export_sft(path, layout, [kept(side) for side in sides], episodes, [TASK], prompt_format)
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()], counts


def seen(side, n_turns):
    return observe(TASK, side, list(EPISODE.turns[:n_turns]), Rules(**EPISODE.rules))


def test_a_row_of_the_sotopia_format_is_what_was_asked_at_a_turn_and_the_json_said(tmp_path):
    found, _ = rows(tmp_path, "prompt-completion", "sotopia", 1)
    assert [row["turn"] for row in found] == [1, 3, 5]
    for row in found:
        (asked,), (said,) = row["prompt"], row["completion"]
        assert asked == {"role": "user", "content": sotopia_messages(seen(1, row["turn"]))[0].content}
        assert said["role"] == "assistant"
        assert parse(said["content"], "stop", "sotopia") == EPISODE.turns[row["turn"]].action


def test_a_row_of_the_chat_format_is_the_conversation_so_far_and_the_next_words(tmp_path):
    found, _ = rows(tmp_path, "prompt-completion", "chat", 1)
    assert [row["completion"][0]["content"] for row in found] == [
        "No, $180.",
        "[action] shows the label",
        "Deal, $150.",
    ]
    for row in found:
        asked = [(m.role, m.content) for m in chat_messages(seen(1, row["turn"]))]
        assert [(m["role"], m["content"]) for m in row["prompt"]] == asked


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("prompt_format", ["chat", "sotopia"])
def test_nothing_done_is_never_an_answer_to_learn_but_leaving_is(tmp_path, layout, prompt_format):
    found, counts = rows(tmp_path, layout, prompt_format, 0)
    answers = [answer for row in found for answer in learnt_of_row(row, layout)]
    actions = [parse(answer, "stop", prompt_format) for answer in answers]
    assert actions == [EPISODE.turns[i].action for i in (0, 4, 6)]
    assert counts == {"sides": 1, "own turns": 4, "turns without loss": 1, "rows": len(found)}


def test_a_side_that_only_stood_in_for_failures_teaches_nothing(tmp_path):
    plan = EpisodePlan(TASK, (Speechless(), Lines("Hello?")), Rules(turn_limit=4, on_failure="none"), 0)
    episode = asyncio.run(play(plan))
    for layout in LAYOUTS:
        counts = export_sft(tmp_path / "none.jsonl", layout, [kept(0, episode)], [episode], [TASK], "chat")
        assert counts == {"sides": 1, "own turns": 2, "turns without loss": 2, "rows": 0}


class Speechless:
    """A policy whose output can never be read."""

    name = digest = "speechless"

    async def act(self, observation, seed):
        return Decision(None, failure="unparsable")


def test_messages_hold_a_whole_chat_once_up_to_its_last_words_to_learn(tmp_path):
    (row,), _ = rows(tmp_path, "messages", "chat", 0)
    roles = [m["role"] for m in row["messages"]]
    assert roles == ["system", *["user", "assistant"] * 4]
    weights = {m["content"]: m["weight"] for m in row["messages"] if m["role"] == "assistant"}
    assert weights == {"Would $120 do?": 1, "[none]": 0, "Then $150.": 1, "[leave] off to work": 1}


def test_messages_end_where_there_is_nothing_left_to_learn(tmp_path):
    episode = talk(TASK, Lines("Would $120 do?", Action("none")), Lines("No.", "Still no."), 4)
    export_sft(tmp_path / "cut.jsonl", "messages", [kept(0, episode)], [episode], [TASK], "chat")
    (row,) = [json.loads(line) for line in (tmp_path / "cut.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [m["role"] for m in row["messages"]] == ["system", "user", "assistant"]


def test_alpaca_rows_put_together_what_was_asked(tmp_path):
    found, _ = rows(tmp_path, "alpaca", "chat", 1)
    for row in found:
        system, *talk_so_far = chat_messages(seen(1, row["turn"]))
        assert row["system"] == system.content
        history = [text for pair in row["history"] for text in pair]
        assert [*history, row["instruction"]] == [m.content for m in talk_so_far]
        assert row["input"] == ""
    single, _ = rows(tmp_path, "alpaca", "sotopia", 1)
    assert all((row["system"], row["history"]) == ("", []) for row in single)


def test_files_are_entered_in_dataset_info_beside_what_stands_there(tmp_path):
    (tmp_path / "dataset_info.json").write_text('{"other": {"file_name": "other.json"}}')
    rows(tmp_path, "alpaca", "sotopia", 0)
    rows(tmp_path, "messages", "chat", 0)
    rows(tmp_path, "prompt-completion", "chat", 0)
    info = json.loads((tmp_path / "dataset_info.json").read_text())
    assert set(info) == {"other", "alpaca-sotopia", "messages-chat"}
    assert info["alpaca-sotopia"]["file_name"] == "alpaca-sotopia.jsonl"
    columns = info["alpaca-sotopia"]["columns"]
    (row, *_), _ = rows(tmp_path, "alpaca", "sotopia", 0)
    assert columns["prompt"] == "instruction" and set(columns.values()) <= set(row)
    assert info["messages-chat"]["tags"]["role_tag"] == "role"


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("prompt_format", ["chat", "sotopia"])
def test_every_row_has_the_same_fields_of_the_same_kinds(tmp_path, layout, prompt_format):
    found, _ = rows(tmp_path, layout, prompt_format, 0, 1)
    assert len(found) >= 2
    assert len({json.dumps(shape(row)) for row in found}) == 1


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("prompt_format", ["chat", "sotopia"])
def test_the_plain_json_builder_loads_what_was_written(tmp_path, layout, prompt_format):
    datasets = pytest.importorskip("datasets", reason="the datasets package is not installed here")
    found, _ = rows(tmp_path, layout, prompt_format, 0, 1)
    path = str(tmp_path / f"{layout}-{prompt_format}.jsonl")
    loaded = datasets.load_dataset("json", data_files=path, split="train", cache_dir=str(tmp_path / "cache"))
    assert [dict(row) for row in loaded] == found


def shape(value):
    """Kinds at every depth; an empty list (a history of nothing) fits every other list."""
    if isinstance(value, dict):
        return {key: shape(one) for key, one in value.items() if key != "history"}
    if isinstance(value, list):
        return [dict(kinds) for kinds in {tuple(shape(one).items()) for one in value}]
    return type(value).__name__


def test_a_kept_side_without_its_episode_or_task_is_told(tmp_path):
    with pytest.raises(KeyError, match=r"episode .* was kept but is not among the 0 given"):
        export_sft(tmp_path / "x.jsonl", "alpaca", [kept(0)], [], [TASK])
    with pytest.raises(KeyError, match=r"task .* is not among the 0 given"):
        export_sft(tmp_path / "x.jsonl", "alpaca", [kept(0)], [EPISODE], [])
    with pytest.raises(ValueError, match="allowed layouts: prompt-completion, messages, alpaca"):
        export_sft(tmp_path / "x.jsonl", "sharegpt", [kept(0)], [EPISODE], [TASK])
    assert not (tmp_path / "x.jsonl").exists()
