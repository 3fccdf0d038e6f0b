"""Prompts: what a side is told, what it must never be told, and how its words become an action."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from toy_talk import CANARY, task

from sotopia_pi.models.prompts import (
    PROMPT_FORMATS,
    Unparsable,
    chat_messages,
    chat_text,
    messages_for,
    parse_chat,
    parse_sotopia,
    prompt_digest,
    sotopia_messages,
    sotopia_text,
)
from sotopia_pi.world.actions import ACTION_TYPES, Action, Turn
from sotopia_pi.world.characters import Relationship
from sotopia_pi.world.episode import Rules, observe
from sotopia_pi.world.tasks import SocialTask

TURNS = [
    Turn(0, 0, Action("speak", "I want $80.")),
    Turn(1, 1, Action("action", "looks at the lamp")),
    Turn(2, 0, Action("none")),
    Turn(3, 1, Action("speak", "I give $50.")),
]


def text_of(messages):
    return "\n".join(message.content for message in messages)


@pytest.mark.parametrize("prompt_format", PROMPT_FORMATS)
@pytest.mark.parametrize("level", list(Relationship))
@pytest.mark.parametrize("side", [0, 1])
def test_nothing_private_to_the_other_enters_a_prompt(prompt_format, level, side):
    me, other = ("Ann", "Bea") if side == 0 else ("Bea", "Ann")
    for count in range(len(TURNS) + 1):
        observation = observe(task(level), side, TURNS[:count], Rules())
        shown = text_of(messages_for(observation, prompt_format))
        assert f"{CANARY}-{other}" not in shown
        assert f"{CANARY}-{me}-goal" in shown and f"{CANARY}-{me}-secret" in shown
        assert "<extra_info>" not in shown and "<strategy_hint>" not in shown


@pytest.mark.parametrize("prompt_format", PROMPT_FORMATS)
def test_the_others_profile_is_shown_as_far_as_the_relationship_goes(prompt_format):
    seen = {}
    for level in Relationship:
        observation = observe(task(level), 0, TURNS[:2], Rules())
        shown = text_of(messages_for(observation, prompt_format)).replace("Ann knows Bea.", "")
        seen[level] = ["Bea" in shown, "Bea keeps bees" in shown, "Bea is calm" in shown]
    assert seen[Relationship.STRANGER] == [False, False, False]
    assert seen[Relationship.KNOW_BY_NAME] == [True, False, False]
    assert seen[Relationship.ACQUAINTANCE] == [True, prompt_format == "sotopia", False], "chat leaves public facts out"
    assert seen[Relationship.FRIEND][2] and seen[Relationship.FAMILY][2]


def test_every_visible_field_is_in_the_sotopia_prompt():
    observation = observe(task(), 0, TURNS, Rules())
    shown = text_of(sotopia_messages(observation))
    assert all(value in shown for value in observation.other.values())
    assert "Analytical" in shown and "turn 4" in shown and all(kind in shown for kind in ACTION_TYPES)
    assert 'Ann Lee said: "I want $80."' in shown and "Bea Lee [action] looks at the lamp" in shown


def test_how_a_deal_is_closed_is_told_where_there_is_one_to_close():
    assert "accepts the other's last offer" in chat_messages(observe(task(), 0, [], Rules()))[0].content
    judged = SocialTask(task().scenario, task().characters)
    assert "accepts the other's last offer" not in chat_messages(observe(judged, 0, [], Rules()))[0].content


@pytest.mark.parametrize("side", [0, 1])
def test_chat_prompts_only_ever_grow(side):
    earlier = []
    for count in range(side, len(TURNS) + 1, 2):
        messages = chat_messages(observe(task(), side, TURNS[:count], Rules()))
        assert messages[: len(earlier)] == earlier
        assert messages[-1].role == "user" and [m.role for m in messages[1:4:2]] == ["user"] * len(messages[1:4:2])
        earlier = messages


def test_own_turns_carry_the_ids_that_were_sampled_and_failed_ones_do_not():
    calls = ({"token_ids": [9, 9]}, {"token_ids": [5, 6, 2]})
    turns = [Turn(0, 0, Action("speak", "Hi"), calls=calls), Turn(1, 1, Action("speak", "Yes")), *TURNS[2:3]]
    turns[2] = Turn(2, 0, Action("none"), failed=True, calls=calls)
    first, second = [m for m in chat_messages(observe(task(), 0, turns, Rules())) if m.role == "assistant"]
    assert first.token_ids == (5, 6, 2) and first.supervised
    assert second.token_ids is None and not second.supervised and second.content == "[none]"


def test_few_shot_examples_come_first_so_that_all_prompts_share_them():
    examples = (("A: I want $9.", "B: Deal!"), ("A: Tuesday?", "B: Deal!"))
    first = chat_messages(observe(task(), 0, [], Rules()), examples)[0].content
    second = chat_messages(observe(task(Relationship.STRANGER), 1, [], Rules()), examples)[0].content
    start = first.index("You are Ann")
    assert first[:start] == second[:start] and "A: Tuesday?\nB: Deal!" in first[:start]


@pytest.mark.parametrize(
    ("text", "action"),
    [
        ("I can do $40.", Action("speak", "I can do $40.")),
        ("  [leave]  ", Action("leave")),
        ("[leave] Good bye!", Action("leave", "Good bye!")),
        ("[none]", Action("none")),
        ("[Action] opens the door", Action("action", "opens the door")),
        ("[non-verbal communication] nods", Action("non-verbal communication", "nods")),
        ("Well, [action] is a word", Action("speak", "Well, [action] is a word")),
    ],
)
def test_chat_replies_are_read_as_actions(text, action):
    assert parse_chat(text) == action


@pytest.mark.parametrize(
    ("text", "finish", "reason"),
    [
        ("", "stop", "empty"),
        (" \n", "stop", "empty"),
        ("[dance] wildly", "stop", "unknown tag"),
        ("[speak] hello", "stop", "unknown tag"),
        ("[action]", "stop", "without words"),
        ("I would say", "length", "did not end"),
    ],
)
def test_chat_replies_that_are_no_action_are_refused_with_a_reason(text, finish, reason):
    with pytest.raises(Unparsable, match=reason):
        parse_chat(text, finish)


@pytest.mark.parametrize("text", ["{0}", "```json\n{0}\n```", "```\n{0}\n```", "Here it is: {0} I hope it helps."])
def test_sotopia_replies_are_read_with_and_without_a_fence(text):
    reply = text.replace("{0}", '{"action_type": "speak", "argument": "It {is} $5"}')
    assert parse_sotopia(reply) == Action("speak", "It {is} $5")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("I say hello", "no JSON object"),
        ('{"action_type": "speak", "argument": "a', "broken JSON"),
        ('{"argument": "a"}', "action_type"),
        ('{"action_type": "sing", "argument": "a"}', "unknown action_type"),
        ('{"action_type": "speak", "argument": 3}', "argument"),
        ('{"action_type": "speak", "argument": ""}', "without words"),
    ],
)
def test_sotopia_replies_that_are_no_action_are_refused_with_a_reason(text, reason):
    with pytest.raises(Unparsable, match=reason):
        parse_sotopia(text)


ARGUMENTS = st.text(min_size=1, max_size=40).map(str.strip).filter(bool)


@given(st.sampled_from(ACTION_TYPES), ARGUMENTS)
def test_what_is_written_is_read_back(kind, words):
    action = Action(kind, "" if kind == "none" else words)
    assert parse_sotopia(sotopia_text(action)) == action
    if kind != "speak" or not words.startswith("["):
        assert parse_chat(chat_text(action)) == action


def test_each_format_has_a_digest_of_its_own_and_an_unknown_one_is_refused():
    assert len({prompt_digest(name) for name in PROMPT_FORMATS}) == len(PROMPT_FORMATS)
    with pytest.raises(ValueError, match="chat, sotopia"):
        prompt_digest("alpaca")
