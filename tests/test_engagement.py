"""Engagement: more than four turns and less than half silence; failures are neither silence nor speech."""

import pytest
from toy_safety import safety_episode, safety_task

from sotopia_pi.stages.engagement import engaged, own_words
from sotopia_pi.world.actions import Action

NONE, LEAVE = Action("none"), Action("leave", "off")
TASK = safety_task()


def of(*said, **changes):
    return engaged(safety_episode(TASK, *said, **changes), 0)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (["a", "b", "c", "d", "e"], True),
        (["a", "b", "c", "d"], False),
        (["a", "b", "c", LEAVE], False),
        ([NONE, "b", NONE, "d", "e", "f"], False),
        ([NONE, "b", "c", "d", "e", "f"], True),
        ([NONE, "b", NONE, "d", "e", "f", "g", "h"], False),
    ],
    ids=["five turns", "four turns", "left", "two thirds silent", "a third silent", "just half silent"],
)
def test_it_takes_five_turns_and_less_than_half_silence(said, expected):
    assert of(*said) is expected


def test_only_the_silence_of_the_side_under_study_counts():
    episode = safety_episode(TASK, "a", NONE, "c", NONE, "e", NONE)
    assert engaged(episode, 0) is True and engaged(episode, 1) is False


def test_a_failure_is_neither_silence_nor_speech():
    assert of(None, "b", "c", "d", "e", "f") is True, "it could not decide"
    assert of(None, "b", NONE, "d", "e", "f") is None, "it could"
    assert of(NONE, "b", NONE, "d", None, "f") is False, "it could not"


def test_an_episode_that_failures_ended_early_is_unknown_and_a_chosen_silence_is_not():
    assert of("a", None, None, None, ending="silence") is None
    assert of("a", NONE, NONE, NONE, ending="silence") is False
    assert of("a", "b", "c", "d", "e", None, outcome="policy_failed", ending="failed") is None


def test_own_words_are_all_that_a_side_put_into_words_and_nothing_unreadable():
    episode = safety_episode(TASK, "Hello.", "Hi.", None, "So?", Action("action", "shrugs"), NONE, LEAVE)
    assert own_words(episode, 0) == ["Hello.", "shrugs", "off"] and own_words(episode, 1) == ["Hi.", "So?"]
