"""Two answers to one message: the same question to both, side by side, and nothing saved unless asked."""

import asyncio
from dataclasses import replace

import pytest
from toy_company import ToyCompany, away, telling, until
from toy_talk import CANARY, task

from sotopia_pi.analysis.answer_comparison import AnswerComparison
from sotopia_pi.stages.answers import Dialogue
from sotopia_pi.stages.talk_files import TalkFiles
from sotopia_pi.world.actions import Action, Turn
from sotopia_pi.world.episode import Rules

TASK = task()
RULES = Rules(turn_limit=6)


@pytest.fixture
def files(tmp_path) -> TalkFiles:
    made = TalkFiles(tmp_path)
    made.begin()
    return made


def opened(files, base, trained, talk=lambda: None) -> AnswerComparison:
    form = AnswerComparison([TASK], ToyCompany(base=base, BC=trained), files, RULES, 0, talk)
    form.columns[1].agent.name.value = "BC"
    return form


async def ask(form: AnswerComparison, words: str) -> None:
    form.action.words.value = words
    form.action.send.click()
    await until(lambda: form._running is None, f"both answers; the form says {form.message.value}")


def requests(policy):
    return policy.chat.requests


def test_both_are_asked_the_same_and_answer_side_by_side(files):
    base, trained = telling("Hm, hm.", name="base"), telling("I want $80.")
    form = opened(files, base, trained)
    asyncio.run(ask(form, "Would $50 do?"))
    assert requests(base) == requests(trained), "the same words and the same seed"
    assert f"{CANARY}-Bea-goal" in repr(requests(base)) and f"{CANARY}-Ann" not in repr(requests(base))
    assert "Hm, hm." in form.columns[0].view.value and "I want $80." in form.columns[1].view.value
    shown = form.side_view.value + form.dialogue_view.value + "".join(column.view.value for column in form.columns)
    assert "Would $50 do?" in shown and f"{CANARY}-Bea" not in shown
    assert files.comparisons() == [], "nothing is saved unless asked"
    form.save.click()
    form.save.click()
    (kept,) = files.comparisons()
    assert kept["schema"] == "comparison/1" and [a["name"] for a in kept["answers"]] == ["base", "BC"]
    assert kept["turns"][-1]["argument"] == "Would $50 do?" and TASK.id in files.talks().tasks
    assert files.talks().episodes == ()


def test_asked_again_both_draw_other_words_under_one_new_seed(files):
    base, trained = telling("A.", "B.", name="base"), telling("C.", "D.")
    form = opened(files, base, trained)

    async def twice():
        await ask(form, "Would $50 do?")
        form.again.click()
        await until(lambda: form._running is None, "both answers")

    asyncio.run(twice())
    seeds = [request.seed for request in requests(base)]
    assert seeds == [request.seed for request in requests(trained)] and len(set(seeds)) == 2


def test_the_dialogue_grows_by_the_answer_one_goes_on_with(files):
    base, trained = telling("A.", "B.", name="base"), telling("C.", "D.")
    form = opened(files, base, trained)

    async def on():
        await ask(form, "One.")
        form.columns[1].take.click()
        assert [turn.action.argument for turn in form.dialogue.turns] == ["One.", "C."]
        await ask(form, "Two.")

    asyncio.run(on())
    for policy in (base, trained):
        assert [m.content for m in requests(policy)[1].messages][1:] == ["One.", "C.", "Two."]


def test_the_one_that_fails_leaves_the_other_alone(files):
    form = opened(files, telling(away(), name="base"), telling("I want $80."))
    asyncio.run(ask(form, "Would $50 do?"))
    assert "the connection failed" in form.columns[0].note.value and form.columns[0].answer is None
    assert "I want $80." in form.columns[1].view.value and not form.save.disabled
    unreadable = opened(files, telling("[dance]", "[dance]", name="base"), telling("Fine."))
    asyncio.run(ask(unreadable, "Would $50 do?"))
    assert (
        "can be read as an action" in unreadable.columns[0].view.value
        and ">[dance]</p>" in unreadable.columns[0].view.value
    )
    assert unreadable.columns[0].take.disabled


def test_words_come_as_they_are_said_and_stop_stops_both(files):
    base, trained = telling("One two.", name="base", hold=True), telling("Three four.", hold=True)
    form = opened(files, base, trained)

    async def stopped():
        form.action.words.value = "Hello."
        form.action.send.click()
        await until(lambda: ">One</p>" in form.columns[0].view.value, "the first words")
        await until(lambda: ">Three</p>" in form.columns[1].view.value, "the first words")
        form.stop.click()
        await until(lambda: base.chat.given_up and trained.chat.given_up, "the streams to close")
        assert not form.again.disabled and form.save.disabled

    asyncio.run(stopped())


def test_a_policy_is_asked_how_it_begins_where_the_person_speaks_second(files):
    form = opened(files, telling("A.", name="base"), telling("B."))

    async def begins():
        form.choice.side.value = 1
        assert form.action.disabled and not form.opening.disabled
        form.opening.click()
        await until(lambda: form._running is None, "both answers")

    asyncio.run(begins())
    assert "A." in form.columns[0].view.value and "B." in form.columns[1].view.value


def test_the_dialogue_of_a_talk_is_taken_over_as_words_alone(files):
    sampled = Turn(1, 1, Action("speak", "Hi."), calls=({"text": "Hi.", "token_ids": [1, 2]},))
    talk = Dialogue(TASK, 0, RULES, (Turn(0, 0, Action("speak", "Hello.")), sampled))
    base, trained = telling("A.", name="base"), telling("B.")
    form = opened(files, base, trained, lambda: talk)
    form.from_talk.click()
    asyncio.run(ask(form, "Would $50 do?"))
    said = requests(base)[0].messages
    assert [m.content for m in said][1:] == ["Hello.", "Hi.", "Would $50 do?"]
    assert all(message.token_ids is None for message in said), "another model's tokens say nothing to this one"


def test_a_dialogue_that_has_ended_takes_no_more(files):
    form = opened(files, telling(name="base"), telling())
    form._go_to(Dialogue(TASK, 0, replace(RULES, turn_limit=2)).then(Action("speak", "A")).then(Action("speak", "B")))
    asyncio.run(ask(form, "C"))
    assert "this dialogue has ended (turn_limit)" in form.message.value


def test_the_form_brings_its_static_twin(files):
    bundle = opened(files, telling(name="base"), telling())._repr_mimebundle_()
    assert "Saved comparisons: 0." in bundle["text/html"] and "base, BC" in bundle["text/html"]
