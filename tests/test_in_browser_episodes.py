"""The episode browser in a real browser: filter, open an episode, read its words; a hostile run stays words."""

import pytest
from hostile import SET
from test_in_browser_hostile import provoke

from sotopia_pi.store.items import ItemFile

pytestmark = pytest.mark.slow

STAGE = "11_episode_browser"
PLAYED = ("06_social_evaluation", "02_expert_episodes", "04_agent_episodes", "07_safety")


def test_episodes_are_filtered_and_read_in_jupyterlab(browser, lab):
    folder = lab.root / "outputs/smoke"
    episodes = {e["id"]: e for stage in PLAYED for e in ItemFile(folder / stage / "episodes.jsonl").read()}
    trained = [e for e in episodes.values() if e["tag"] == "BC+SR"]
    with lab.opened(browser, lab.with_values(STAGE, "episodes", run="smoke")) as found:
        page = found.page
        lab.run_all(page)
        page.get_by_text(f"of {len(episodes)} ({len(episodes)} in all)").wait_for()
        page.get_by_label("variant", exact=True).select_option(label="BC+SR")
        page.get_by_text(f"of {len(trained)} ({len(episodes)} in all)").wait_for()

        listed = page.locator(".sotopia-list select")
        assert listed.locator("option").count() == min(12, len(trained))
        before = shown(page)
        listed.select_option(index=3)
        first = wait_for_another(page, before)
        assert_words_of(page, episodes[first])
        assert episodes[first]["tag"] == "BC+SR"

        page.get_by_role("button", name="next →").click()
        second = wait_for_another(page, first)
        assert_words_of(page, episodes[second])
        address = page.get_by_label("Address", exact=True)
        address.fill(f"smoke/{first}")
        address.press("Enter")
        assert wait_for_another(page, second) == first
        assert_words_of(page, episodes[first])
        assert found.dialogs == found.strayed == []


def shown(page) -> str:
    """Id of the episode that is open, by its address."""
    return page.get_by_label("Address", exact=True).input_value().partition("/")[2]


def wait_for_another(page, before: str) -> str:
    """Wait until another episode is open; returns its id."""
    for _ in range(100):
        if shown(page) not in ("", before):
            return shown(page)
        page.wait_for_timeout(100)
    raise AssertionError(f"{before} is still open")


def assert_words_of(page, episode: dict) -> None:
    """The open transcript has every turn of an episode with its words, in order."""
    said = [turn["argument"] for turn in episode["turns"] if not turn["failed"]]
    play = page.locator(".sotopia-play").first
    page.wait_for_function(
        "([n, words]) => { const p = document.querySelector('.sotopia-play'); "
        "return p && p.querySelectorAll('.turn').length === n && (!words || p.innerText.includes(words)) }",
        arg=[len(episode["turns"]), next((" ".join(words.split()) for words in said if words), "")],
    )
    text = " ".join(play.inner_text().split())
    place = 0
    for words in said:
        place = text.index(" ".join(words.split()), place)


def test_a_hostile_run_in_the_episode_browser_runs_nothing(browser, lab):
    with lab.opened(browser, lab.with_values(STAGE, "hostile_episodes", run="hostile")) as found:
        page = found.page
        lab.run_all(page)
        page.get_by_role("button", name="next →").click()
        page.get_by_label("words", exact=True).fill("window")
        page.get_by_label("words", exact=True).press("Enter")
        provoke(page)
        assert SET in page.locator(".sotopia-play").first.inner_text()
        found.assert_untouched()
