"""Whatever people and models wrote reads as itself in a card, and model strings tell no address and no place."""

import json
import string

import pytest
from card_reader import TABLE, Page, html_of, one_line
from hostile import PAYLOADS, UNSEEN
from hypothesis import given, settings
from hypothesis import strategies as st

from sotopia_pi.formats.card_text import fenced, literal
from sotopia_pi.formats.shown_model import shown_model


@pytest.mark.parametrize("words", PAYLOADS.values(), ids=PAYLOADS)
def test_others_words_read_as_themselves_wherever_they_stand(words):
    for before, after, allowed in (("", "", {"p"}), ("- ", "", {"ul", "li"}), ("| a |\n|---|\n| ", " |", None)):
        page = Page(html_of(f"{before}{literal(words)}{after}"))
        assert page.tags <= (allowed or TABLE), page.tags
        assert one_line(words) in " ".join(page.text.split()) and not set(page.text) & set(UNSEEN)


@settings(max_examples=400, deadline=None)
@given(st.text(st.sampled_from([*string.punctuation, *" ab01\n"]), max_size=24))
def test_whatever_marks_are_strung_together_read_as_themselves(words):
    page = Page(html_of(f"{literal(words)}"))
    assert page.tags <= {"p"} and " ".join(page.text.split()) == " ".join(words.split())


@pytest.mark.parametrize("words", PAYLOADS.values(), ids=PAYLOADS)
def test_an_example_cannot_leave_its_fence(words):
    text = fenced({"said": words})
    page = Page(html_of(f"{text}\nafter"))
    assert page.tags == {"pre", "code", "p"} and page.attributes == {("code", "class", "language-json")}
    assert json.loads(text.removeprefix("```json\n").removesuffix("\n```")) == {"said": words} and text.isascii()


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("openai:gpt-4", "openai:gpt-4"),
        ("openai:Qwen/Q@http://127.0.0.1:1/v1?key=K", "openai:Qwen/Q"),
        ("openai:/home/me/model@http://h/v1", "openai:model"),
        ("local:/home/me/base+/home/me/adapter", "local:base+adapter"),
        ("scripted:expert", "scripted:expert"),
        ("payoff", "payoff"),
    ],
)
def test_a_model_string_is_shown_without_addresses_and_places(given, shown):
    assert shown_model(given) == shown
