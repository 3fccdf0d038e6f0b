"""Talking to the agent in a real browser: three turns with the smoke model, and the episode on the disk."""

import pytest
from hostile import MODEL, SET
from test_in_browser_hostile import provoke

from sotopia_pi.store.items import ItemFile
from sotopia_pi.store.params import plan_run

pytestmark = pytest.mark.slow

STAGE = "12_talk_to_the_agent"
SAID = ("Hello, what would you take for it?", "Could we meet in the middle?", "Then let us leave it at that.")


def opened(lab, browser, name: str, **changed):
    params = plan_run(lab.root, lab.root / "params/smoke.yaml").params[STAGE]
    return lab.opened(browser, lab.with_values(STAGE, name, **params | changed))


def begin(page, agent: str) -> None:
    page.get_by_label("Talk to", exact=True).select_option(label=agent)
    page.get_by_role("button", name="Start talking", exact=True).click()


def say(page, words: str) -> None:
    """Write something when it is one's turn, and send it."""
    send = page.get_by_role("button", name="Send", exact=True)
    page.wait_for_function("button => !button.disabled", arg=send.element_handle())
    page.get_by_placeholder("What you say").first.fill(words)
    send.click()


def test_three_turns_with_the_smoke_model_are_played_and_rated_and_lie_on_the_disk(browser, lab):
    with opened(lab, browser, "talk") as found:
        page = found.page
        lab.run_all(page)
        begin(page, "BC")
        for words in SAID:
            say(page, words)
            page.locator(".turn", has_text=words).first.wait_for()
        page.get_by_text("Saved and rated.").wait_for()
        assert all(words in page.locator(".sotopia-play .turns").first.inner_text() for words in SAID)
        assert page.locator(".sotopia-play .turn").count() >= 6
        assert found.dialogs == found.strayed == []

    folder = lab.root / "outputs/smoke" / STAGE
    (episode,) = ItemFile(folder / "episodes.jsonl").read()
    mine = next(side for side in (0, 1) if episode["turns"][side]["argument"] == SAID[0])
    assert [turn["argument"] for turn in episode["turns"] if turn["side"] == mine] == list(SAID)
    assert len(episode["turns"]) == 6 and "human" in episode["tag"]
    assert {rating["episode_id"] for rating in ItemFile(folder / "ratings.jsonl").read()} == {episode["id"]}


def test_hostile_tasks_and_words_in_a_talk_run_nothing(browser, lab):
    with opened(lab, browser, "hostile_talk", run="hostile") as found:
        page = found.page
        lab.run_all(page)
        begin(page, "expert")
        say(page, " ".join(MODEL.split()))
        page.locator(".turn").first.wait_for()
        provoke(page)
        assert SET in page.locator(".jp-Notebook").inner_text()
        found.assert_untouched()
