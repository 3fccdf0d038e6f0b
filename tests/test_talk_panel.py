"""The form of a talk, driven by code as a person drives it: what is shown, what is saved, and what no failure loses."""

import asyncio
from dataclasses import replace

import pytest
from toy_company import ToyCompany, away, telling, until
from toy_talk import CANARY, task

from sotopia_pi.analysis.talk_forms import LAST_KEYS_S, TaskChoice
from sotopia_pi.analysis.talk_panel import TalkPanel
from sotopia_pi.analysis.talk_view import coming_html, words_so_far
from sotopia_pi.models.seam import Reply
from sotopia_pi.stages.talk_files import TalkFiles
from sotopia_pi.store.params import ParameterError
from sotopia_pi.world.episode import Rules
from sotopia_pi.world.ratings import Rating

TASK, OTHER = task(), replace(task(), hard=True)
RULES = Rules(turn_limit=6, on_failure="none")
HOSTILE = "<script>alert(1)</script>\u202e"


@pytest.fixture
def files(tmp_path) -> TalkFiles:
    made = TalkFiles(tmp_path)
    made.begin()
    return made


def opened(files, rules=RULES, judge=None, **policies) -> TalkPanel:
    return TalkPanel([TASK, OTHER], ToyCompany(judge, **policies), files, rules)


def started(files, *replies, side=0, hold=False, **settings) -> TalkPanel:
    """A form in which Start was pressed."""
    panel = opened(files, BC=telling(*replies, hold=hold), **settings)
    panel.choice.side.value = side
    panel.start.click()
    return panel


async def say(panel: TalkPanel, words: str = "", kind: str = "speak") -> None:
    await until(lambda: not panel.action.disabled, f"the person's turn; the form says {panel.message.value}")
    panel.action.kind.value, panel.action.words.value = kind, words
    panel.action.send.click()


async def over(panel: TalkPanel) -> None:
    await until(lambda: panel.episode and not panel._running, f"the end; the form says {panel.message.value}")


def test_three_turns_are_played_the_end_is_rated_and_the_episode_lies_on_the_disk(files):
    async def sitting():
        panel = started(files, "I want $80.", "Deal, $50.", "Bye now.")
        await say(panel, "Hello there.")
        await say(panel, "I offer $50.")
        await until(lambda: "Deal, $50." in panel.chat_view.value, "the second reply")
        assert panel.side_view.value and f"{CANARY}-Bea" not in panel.side_view.value + panel.chat_view.value
        await say(panel, kind="leave")
        await over(panel)
        return panel

    panel = asyncio.run(sitting())
    talks = files.talks()
    (episode,) = talks.episodes
    assert [t.action.argument for t in episode.turns[:4]] == [
        "Hello there.",
        "I want $80.",
        "I offer $50.",
        "Deal, $50.",
    ]
    assert episode == panel.episode and episode.tag == "human" and len(talks.ratings) == 2
    assert "Saved and rated" in panel.message.value and "Scores by payoff" in panel.chat_view.value
    assert f"{CANARY}-Bea-goal" in panel.chat_view.value, "now the transcript shows both sides"
    assert files.unfinished() == [] and not panel.start.disabled


def test_words_appear_while_they_are_said_and_the_form_stays_alive(files):
    async def sitting():
        panel = started(files, "I want $80.", hold=True)
        await say(panel, "Hello there.")
        await until(lambda: ">I</p>" in panel.chat_view.value, "the first word")
        assert "is answering" in panel.chat_view.value and "Hello there." in panel.chat_view.value
        assert panel.action.disabled and not panel.stop_reply.disabled
        panel.stop_reply.click()
        assert "is answering" not in panel.chat_view.value and not panel.again.disabled
        panel._company.policies["BC"].chat.replies.insert(1, Reply("I want $70."))
        panel._company.policies["BC"].chat.release()
        panel.again.click()
        await until(lambda: "I want $70." in panel.chat_view.value, "the new reply")
        await say(panel, kind="leave")
        await over(panel)
        return panel.episode

    assert [t.action.argument for t in asyncio.run(sitting()).turns] == ["Hello there.", "I want $70.", ""]


def test_the_policy_begins_where_the_person_speaks_second(files):
    async def sitting():
        panel = started(files, "I want $80.", side=1)
        await until(lambda: "I want $80." in panel.chat_view.value, "the opening")
        await until(lambda: not panel.action.disabled, "the person's turn")
        panel.end.click()
        await over(panel)
        return panel.episode

    episode = asyncio.run(sitting())
    assert [turn.side for turn in episode.turns] == [0, 1] and episode.agent_side == 0 and episode.ending == "left"


def test_end_and_rate_while_the_other_speaks_waits_for_its_words(files):
    async def sitting():
        panel = started(files, "I want $80.", hold=True)
        await say(panel, "Hello.")
        await until(lambda: ">I</p>" in panel.chat_view.value, "the first word")
        panel.end.click()
        assert "then you leave" in panel.message.value
        panel._company.policies["BC"].chat.release()
        await over(panel)
        return panel.episode

    assert [t.action.type for t in asyncio.run(sitting()).turns] == ["speak", "speak", "leave"]


def test_a_server_that_is_away_is_told_and_the_talk_goes_on_from_there(files):
    async def sitting():
        panel = started(files, "I want $80.", away(), "Fine, $60.")
        await say(panel, "Hello.")
        await say(panel, "Would $60 do?")
        await until(lambda: "the connection failed" in panel.message.value, "the failure")
        assert "Would $60 do?" in panel.chat_view.value and "is kept" in panel.message.value
        assert files.talks().episodes == () and len(files.unfinished()[0].turns) == 3
        panel.again.click()
        await until(lambda: "Fine, $60." in panel.chat_view.value, "the reply")
        await say(panel, kind="leave")
        await over(panel)
        return panel.episode

    assert len(asyncio.run(sitting()).turns) == 5


def test_a_stopped_talk_goes_on_in_another_form_of_another_day(files):
    async def first():
        panel = started(files, "I want $80.")
        await say(panel, "Hello.")
        await until(lambda: "I want $80." in panel.chat_view.value, "the reply")
        panel.stop.click()
        assert "kept under" in panel.message.value and panel.chat_view.value == ""
        assert not panel.start.disabled

    async def second():
        panel = opened(files, BC=telling("Fine, $60."))
        panel.resume.click()
        await until(lambda: "I want $80." in panel.chat_view.value, "the talk so far")
        await say(panel, kind="leave")
        await over(panel)
        return panel.episode

    asyncio.run(first())
    (kept,) = files.unfinished()
    episode = asyncio.run(second())
    assert episode.id == kept.id and episode.turns[:2] == kept.turns and files.unfinished() == []


def test_a_talk_with_an_agent_that_was_retrained_since_stays_where_it_is(files):
    async def sitting():
        panel = started(files, "I want $80.")
        await say(panel, "Hello.")
        await until(lambda: "I want $80." in panel.chat_view.value, "the reply")
        panel.stop.click()
        later = opened(files, BC=replace(telling(), model_digest="model-retrained"))
        later.resume.click()
        await until(lambda: "cannot go on" in later.message.value, "the reason")
        assert not later.start.disabled

    asyncio.run(sitting())
    assert len(files.unfinished()) == 1


@pytest.mark.parametrize("error", [ParameterError("no adapter folder"), MemoryError("too large")])
def test_an_agent_that_cannot_be_opened_is_told_in_words(files, error):
    async def sitting():
        panel = opened(files, BC=error)
        panel.start.click()
        await until(lambda: str(error) in panel.message.value, "the reason")
        assert "Nothing was started" in panel.message.value and not panel.start.disabled

    asyncio.run(sitting())


def test_an_unreadable_reply_is_shown_as_one_and_the_talk_goes_on(files):
    async def sitting():
        panel = started(files, "[dance]", "[dance]", "Hello.")
        await say(panel, "Hello.")
        await until(lambda: "can be read as an action" in panel.chat_view.value, "the marked turn")
        await say(panel, "Pardon?")
        await say(panel, kind="leave")
        await over(panel)
        return panel.episode

    episode = asyncio.run(sitting())
    assert episode.turns[1].failed and episode.outcome == "completed"


def test_where_an_unreadable_reply_ends_an_episode_it_is_saved_and_not_rated(files):
    async def sitting():
        panel = started(files, "[dance]", "[dance]", rules=replace(RULES, on_failure="fail"))
        await say(panel, "Hello.")
        await over(panel)
        return panel

    assert "not rated" in asyncio.run(sitting()).message.value
    talks = files.talks()
    assert talks.episodes[0].outcome == "policy_failed" and talks.ratings == ()


def test_a_judge_that_fails_leaves_the_talk_saved_and_says_so(files):
    def away(episode):
        raise RuntimeError("the judge's server is away")

    def unanswered(episode):
        return tuple(Rating(f"r{side}", episode.id, side, "gpt", "api_error", {}) for side in (0, 1))

    async def sitting(judge):
        panel = started(files, "Hi.", judge=judge)
        await say(panel, "Hello.")
        await say(panel, kind="leave")
        await over(panel)
        return panel.message.value

    assert "Saved, but not rated: RuntimeError: the judge" in asyncio.run(sitting(away))
    assert "Saved, but not rated: api_error" in asyncio.run(sitting(unanswered))
    talks = files.talks()
    assert len(talks.episodes) == 2 and talks.ratings == () and talks.episodes[1].repeat == 2


@pytest.mark.parametrize("kind", ["speak", "non-verbal communication", "action"])
def test_an_action_that_needs_words_is_not_sent_without(files, kind):
    async def sitting():
        panel = started(files, "Hi.")
        await say(panel, "  ", kind)
        assert "Not sent: write some words" in panel.message.value and panel.talk.person.is_asked
        panel.stop.click()

    asyncio.run(sitting())


def test_enter_sends_like_the_button(files):
    async def sitting():
        panel = started(files, "Hi.")
        await until(lambda: not panel.action.disabled, "the person's turn")
        panel.action.words.value = "Hello"
        panel.action.words._handle_custom_msg({"event": "submit"}, [])
        await asyncio.sleep(LAST_KEYS_S / 3)
        panel.action.words.value = "Hello there."
        await until(lambda: "Hi." in panel.chat_view.value, "the reply")
        panel.stop.click()

    asyncio.run(sitting())
    assert files.unfinished()[0].turns[0].action.argument == "Hello there.", "keys that arrive late still count"


def test_what_both_say_cannot_become_markup(files):
    async def sitting():
        panel = started(files, f"Yes {HOSTILE}")
        await say(panel, HOSTILE)
        await until(lambda: "Yes" in panel.chat_view.value and not panel.action.disabled, "the reply")
        live = panel.chat_view.value
        await say(panel, HOSTILE, "leave")
        await over(panel)
        return live + panel.chat_view.value + panel.message.value

    page = asyncio.run(sitting())
    assert "<script" not in page and "\u202e" not in page and "&lt;script&gt;" in page and "U+202E" in page


def test_what_is_still_being_said_cannot_become_markup_either():
    page = coming_html(HOSTILE, 1, HOSTILE)
    assert "<script" not in page and "\u202e" not in page and page.count("&lt;script&gt;") == 2


def test_a_task_to_choose_is_one_line_of_plain_text():
    told = TASK.scenario.text + "\n" + HOSTILE
    (label, _), *_ = TaskChoice([replace(TASK, scenario=replace(TASK.scenario, text=told))]).task_id.options
    assert label.startswith("1. bargaining: A lamp is for sale. <script>") and label.endswith("U+202E")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("I want $8", "I want $8"),
        ('{"action_type": "spe', ""),
        ('{"action_type": "speak", "argument": "I wa', "I wa"),
        ('```json\n{"argument": "Say \\"yes\\" to', 'Say "yes" to'),
        ('{"argument": "Done.", "action_type": "speak"}', "Done."),
    ],
)
def test_of_a_reply_in_json_the_words_are_shown_as_far_as_they_have_come(text, words):
    assert words_so_far(text) == words


def test_the_form_brings_its_static_twin_and_says_what_is_lacking(files):
    bundle = opened(files, BC=telling())._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in bundle
    assert "press Start talking" in bundle["text/html"] and "SR: not trained" in bundle["text/html"]
    assert "<script" not in bundle["text/html"]
    empty = TalkPanel([], ToyCompany(BC=telling()), files, RULES, "run laptop is not made yet")
    assert "not made yet" in empty.message.value and "not made yet" in empty.static_html() and empty.start.disabled


def test_what_one_cannot_do_now_is_not_shown_and_the_rest_is(files):
    async def sitting():
        panel = opened(files, BC=telling("Hi."))
        rows = [panel.choice.widget, panel.agent.widget, panel._buttons, panel.action.widget]
        before = [row.layout.display for row in rows]
        panel.start.click()
        await until(lambda: not panel.action.disabled, "the person's turn")
        after = [row.layout.display for row in [panel._chooser, *rows]]
        panel.stop.click()
        return before, after

    before, after = asyncio.run(sitting())
    assert [bool(hidden == "none") for hidden in before] == [False, False, True, True]
    assert [bool(hidden == "none") for hidden in after] == [True, False, False, False, False]


def test_what_is_pressed_in_another_thread_is_done_where_the_talk_lives(files):
    """JupyterLab delivers widget messages in subshells: threads with event loops of their own."""

    def pressed(button):
        async def there():
            button.click()

        asyncio.run(there())

    async def sitting():
        panel = opened(files, BC=telling("Hi."))
        await asyncio.to_thread(pressed, panel.start)
        await until(lambda: not panel.action.disabled, "the person's turn")
        panel.action.words.value = "Hello."
        await asyncio.to_thread(pressed, panel.action.send)
        await until(lambda: "Hi." in panel.chat_view.value and not panel.action.disabled, "the reply")
        await asyncio.to_thread(pressed, panel.end)
        await over(panel)
        return panel.episode

    assert len(asyncio.run(sitting()).turns) == 3
