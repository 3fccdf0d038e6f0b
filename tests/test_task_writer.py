"""The task writer: answers become scenarios by the rules alone, one a prompt, and scenarios become tasks."""

import asyncio
import json
import re
from dataclasses import replace

import pytest
from toy_writer import DRAFT, GOOD

from sotopia_pi.formats.inspirations import Inspiration
from sotopia_pi.models.seam import Reply, Request, Sampling, ScriptedReplies
from sotopia_pi.stages.task_writer import TaskWriter, WritingPlan, reread, training_examples, write, write_scenarios
from sotopia_pi.stages.tasks import TaskCounts, draw_tasks
from sotopia_pi.stages.writer_prompt import UnreadableDraft, answer_schema, read_draft
from sotopia_pi.stages.written import Written
from sotopia_pi.store.items import ItemFile
from sotopia_pi.store.unanswered import earlier_attempts, set_aside
from sotopia_pi.world.characters import Relationship
from sotopia_pi.world.population import characters

PROMPT = Inspiration("social_iqa", 7, "Somebody forgot to water the neighbour's plants.")


def answer(**changes) -> str:
    return json.dumps(GOOD | changes)


def writing(*replies, attempts=3, inspiration=PROMPT, seed=0):
    chat = ScriptedReplies(replies)
    plan = WritingPlan(TaskWriter(chat, "model-1", attempts=attempts), inspiration, seed)
    return asyncio.run(write(plan)), chat


class Answering:
    """Answers every request validly, about the prompt it was shown; `broken` are prompts that get something else."""

    def __init__(self, broken: dict[str, Reply] | None = None):
        self.requests: list[Request] = []
        self.broken = broken or {}

    async def complete(self, request: Request) -> Reply:
        self.requests.append(request)
        await asyncio.sleep(0)
        asked = request.messages[0].content
        for text, reply in self.broken.items():
            if text in asked:
                if isinstance(reply, Exception):
                    raise reply
                return reply
        number = re.search(r"about matter (\d+)", asked)[1]
        return Reply(answer(scenario=f"Two people stand in a corridor and talk about matter {number} of the house."))

    async def stream(self, request: Request):
        yield (await self.complete(request)).text


class Counter:
    def __init__(self):
        self.done = self.failed = 0

    def advance(self, failed: bool = False) -> None:
        self.done += 1
        self.failed += failed


def matters(n: int) -> list[Inspiration]:
    return [Inspiration("normbank", row, f"talking about matter {row}") for row in range(1, n + 1)]


def run(chat, file, inspirations, **settings):
    progress = Counter()
    writer = TaskWriter(chat, "model-1", **settings)
    return asyncio.run(write_scenarios(inspirations, writer, file, progress)), progress


# One scenario


def test_a_good_answer_becomes_a_scenario_with_all_that_was_said_kept():
    reply = Reply(answer(occupations=["Gardener"]), usage={"prompt_tokens": 9}, model="server-7", latency_s=0.25)
    written, chat = writing(reply)
    scenario = written.scenario
    assert written.outcome == "ok" and written.occupations == ("Gardener",)
    assert (scenario.text, scenario.goals) == (GOOD["scenario"], tuple(GOOD["goals"]))
    assert (scenario.relationship, scenario.age_range) == (Relationship.ACQUAINTANCE, (18, 70))
    assert scenario.template == written.id and scenario.source == "social_iqa"
    (call,) = written.calls
    assert call["text"] == reply.text and call["model"] == "server-7" and call["usage"] == {"prompt_tokens": 9}
    assert written.timing == {"latency_s": 0.25} and "latency_s" not in call
    (request,) = chat.requests
    assert request.schema == answer_schema() and request.sampling.temperature == 0.5
    assert request.item_id == written.id and request.role == "task writer"


def test_the_request_shows_the_prompt_and_one_existing_training_scenario():
    _, chat = writing(answer(), inspiration=replace(PROMPT, text='He said "no"\nto all'))
    asked = chat.requests[0].messages[0].content
    assert "\"He said 'no' to all\"" in asked and "disagreement" in asked
    shown = [scenario for scenario in training_examples() if json.dumps(scenario.text, ensure_ascii=False) in asked]
    assert len(shown) == 1 and shown[0].goals[0] in asked.replace('\\"', '"')


def test_which_example_is_shown_depends_on_seed_and_prompt_alone():
    writer = TaskWriter(ScriptedReplies([]), "model-1")
    drawn = [WritingPlan(writer, one, 0).example.template for one in matters(40)]
    assert drawn == [WritingPlan(writer, one, 0).example.template for one in matters(40)]
    assert len(set(drawn)) > 15
    assert drawn != [WritingPlan(writer, one, 1).example.template for one in matters(40)]


def test_no_evaluation_scenario_is_ever_shown_to_the_writer():
    shown = {scenario.template for scenario in training_examples()}
    held_out = {task.template for task in draw_tasks("eval", TaskCounts(60, 8, 8), 0)}
    assert len(shown) > 30 and not shown & held_out


def test_an_answer_that_breaks_a_rule_is_sent_back_with_the_reason():
    written, chat = writing(answer(goals=["Win the talk at all costs."]), answer())
    assert written.outcome == "ok" and len(written.calls) == 2
    first, second = chat.requests
    assert [m.role for m in second.messages] == ["user", "assistant", "user"]
    assert second.messages[1].content == written.calls[0]["text"]
    assert "exactly two" in second.messages[2].content and "exactly two" in written.calls[0]["problem"]
    assert first.seed != second.seed and (first.turn, second.turn) == (0, 1)


def test_after_all_attempts_the_last_failure_stands_with_its_rules_and_raw_texts():
    bad = answer(youngest=15, relationship=9)
    written, _ = writing("no JSON here", bad, attempts=2)
    assert written.outcome == "invalid" and written.scenario is None
    assert {problem.rule for problem in written.problems} == {"age", "relationship"}
    assert [call["text"] for call in written.calls] == ["no JSON here", bad]
    assert "youngest 15" in written.reason


@pytest.mark.parametrize(
    ("reply", "outcome", "calls"),
    [
        (Reply("I cannot help with that.", outcome="refused"), "refused", 2),
        (Reply('{"disagr', outcome="truncated", finish_reason="length"), "truncated", 2),
        (Reply(answer(), finish_reason="length"), "truncated", 2),
        (Reply("", outcome="invalid"), "invalid", 2),
        (Reply("", outcome="api_error", finish_reason="error"), "api_error", 1),
    ],
)
def test_a_failed_call_is_a_named_outcome_and_never_a_scenario(reply, outcome, calls):
    written, chat = writing(reply, reply, attempts=2)
    assert (written.outcome, written.scenario, len(chat.requests)) == (outcome, None, calls)
    assert [call["outcome"] for call in written.calls] == [reply.outcome] * calls


def test_a_refusal_is_asked_again_without_being_quoted():
    _, chat = writing(Reply("I will not.", outcome="refused"), answer())
    assert chat.requests[1].messages == chat.requests[0].messages


def test_a_server_gone_wild_fills_no_file():
    written, _ = writing("x" * 3_000_000, "half \ud83d of a mark", attempts=2)
    assert written.outcome == "invalid" and len(json.dumps(written.to_dict()).encode()) < 60_000
    assert written.calls[0]["characters"] == 3_000_000


def test_a_record_survives_a_round_trip():
    for written, _ in (writing(answer()), writing(answer(youngest=3), attempts=1)):
        record = json.loads(json.dumps(written.to_dict()))
        assert Written.from_dict(record) == written and Written.from_dict(record).to_dict() == written.to_dict()
    with pytest.raises(ValueError, match="exactly ok has a scenario"):
        Written("x", PROMPT, "ok", "example")


def test_old_answers_are_judged_anew_without_a_call():
    first = answer(scenario=f"{GOOD['scenario']} The caretaker Thandiwe listens.")
    written, _ = writing(first, answer())
    writer = TaskWriter(ScriptedReplies([]), "model-1")
    assert reread(written, writer) == written
    lenient = replace(written, calls=({**written.calls[0], "text": answer()}, written.calls[1]))
    assert len(reread(lenient, writer).calls) == 1
    strict = replace(written, calls=(written.calls[0],))
    assert reread(strict, writer).outcome == "invalid" and reread(strict, writer).scenario is None


def test_the_id_names_everything_that_determines_the_scenario():
    def plan(chat=None, inspiration=PROMPT, seed=0, model="model-1", **settings):
        return WritingPlan(TaskWriter(chat or ScriptedReplies([]), model, **settings), inspiration, seed).id

    examples = training_examples()[:2]
    people = tuple(characters().values())[:2]
    ids = {
        plan(),
        plan(inspiration=replace(PROMPT, text="Another line")),
        plan(seed=1),
        plan(model="model-2"),
        plan(attempts=2),
        plan(sampling=Sampling(temperature=1.0)),
        plan(examples=examples),
        plan(people=people),
    }
    assert len(ids) == 8 and plan() == plan(inspiration=replace(PROMPT, row=99))


# Reading an answer


@pytest.mark.parametrize("wrap", ["{}", "```json\n{}\n```", "Sure!\n{}\nAnything else?", "<think>{{a}}</think>\n{}"])
def test_the_object_is_found_alone_fenced_thought_about_or_talked_around(wrap):
    assert read_draft(wrap.format(json.dumps(GOOD))) == DRAFT
    assert read_draft(json.dumps(GOOD | {"title": "more than was asked"})) == DRAFT


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no JSON object"),
        ("[1]", "no JSON object"),
        (json.dumps(GOOD)[:-20], "broken"),
        ('{"a":' * 5000, "broken"),
        (json.dumps({k: v for k, v in GOOD.items() if k != "goals"}), "goals: Field required"),
        (answer(relationship="friends"), "relationship: "),
        (answer(youngest=True), "youngest: "),
        (answer(goals="one goal"), "goals: "),
        (answer(scenario="half \ud83d"), "broken"),
        ("{" * 60_000, "60000 characters"),
    ],
)
def test_other_words_are_no_draft(text, says):
    with pytest.raises(UnreadableDraft, match=says):
        read_draft(text)


def test_the_schema_closes_the_object_and_enumerates_the_levels():
    schema = answer_schema()
    assert set(schema["required"]) == set(GOOD) == set(schema["properties"])
    assert next(iter(schema["properties"])) == "disagreement" and schema["additionalProperties"] is False
    assert schema["properties"]["relationship"]["enum"] == [0, 1, 2, 3, 4, 5]


# Many scenarios


def test_every_prompt_gets_one_scenario_and_a_second_start_asks_nobody(tmp_path):
    file, chat = ItemFile(tmp_path / "scenarios.jsonl"), Answering()
    first, progress = run(chat, file, matters(12))
    assert [one.inspiration.row for one in first.written] == list(range(1, 13))
    assert all(f"matter {i} of" in one.text for i, one in enumerate(first.scenarios, 1))
    assert len(chat.requests) == 12 and progress.done == 12 and first.found == 0
    again, progress = run(ScriptedReplies([]), file, matters(12))
    assert again.written == first.written and again.found == 12 and progress.done == 0


def test_a_kill_in_the_middle_loses_nothing_and_doubles_nothing(tmp_path):
    whole, _ = run(Answering(), ItemFile(tmp_path / "whole.jsonl"), matters(10))
    lines = (tmp_path / "whole.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "cut.jsonl").write_bytes(b"".join(lines[:4]) + lines[4][:100])
    chat = Answering()
    resumed, _ = run(chat, ItemFile(tmp_path / "cut.jsonl"), matters(10))
    assert resumed.written == whole.written and len(chat.requests) == 6
    assert len({line["id"] for line in map(json.loads, (tmp_path / "cut.jsonl").open())}) == 10


def test_rejected_ones_stay_in_the_file_with_their_words_and_are_not_paid_for_again(tmp_path):
    file = ItemFile(tmp_path / "scenarios.jsonl")
    broken = {"matter 2\n": Reply("no"), 'matter 2"': Reply("no"), 'matter 3"': Reply("", outcome="refused")}
    result, progress = run(Answering(broken), file, matters(4), attempts=2)
    assert [one.outcome for one in result.written] == ["ok", "invalid", "refused", "ok"]
    assert progress.failed == 2 and len(result.scenarios) == 2
    kept = {item["inspiration"]["row"]: item for item in file.read()}
    assert [call["text"] for call in kept[2]["calls"]] == ["no", "no"] and "no JSON object" in kept[2]["reason"]
    assert result.counts() | {"calls made for them": 6, "rejected: invalid": 1, "rejected: refused": 1} == (
        result.counts()
    )
    run(ScriptedReplies([]), file, matters(4), attempts=2)


def test_a_prompt_without_an_answer_is_asked_for_again_once_set_aside_and_its_attempt_is_kept(tmp_path):
    file = ItemFile(tmp_path / "scenarios.jsonl")
    down = {'matter 2"': Reply("", outcome="api_error", finish_reason="error")}
    first, _ = run(Answering(down), file, matters(3))
    assert [one.outcome for one in first.written] == ["ok", "api_error", "ok"]
    chat = Answering()
    assert run(ScriptedReplies([]), file, matters(3))[0].written == first.written and set_aside(file) == 1
    second, _ = run(chat, file, matters(3))
    assert [one.outcome for one in second.written] == ["ok"] * 3 and len(chat.requests) == 1
    assert second.ids == first.ids and set(second.ids) == file.ids() and second.found == 2
    assert earlier_attempts(file.path) == {first.ids[1]: [first.written[1].to_dict()]}
    third, _ = run(ScriptedReplies([]), file, matters(3))
    assert third.written == second.written


def test_one_that_raises_stops_no_other_and_is_told_at_the_end(tmp_path):
    file = ItemFile(tmp_path / "scenarios.jsonl")
    with pytest.raises(RuntimeError, match=r"1 of 5 scenarios could not be written.*budget spent"):
        run(Answering({'matter 3"': RuntimeError("budget spent")}), file, matters(5))
    assert {item["inspiration"]["row"] for item in file.read()} == {1, 2, 4, 5}


def test_a_prompt_is_never_used_twice(tmp_path):
    again = Inspiration("social_iqa", 50, "Talking about matter 1.")
    with pytest.raises(ValueError, match=r"social_iqa, row 50\) came before as row 1 of normbank"):
        run(Answering(), ItemFile(tmp_path / "scenarios.jsonl"), [*matters(2), again])
