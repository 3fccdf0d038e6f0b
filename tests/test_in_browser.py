"""What people do, done in a real browser: read the report from a file, rate an episode in JupyterLab."""

import pytest
from browser_lab import Watched, watched
from test_rating_panel import NORA, SAMUEL

from sotopia_pi.stages.human_ratings import HumanRatings
from sotopia_pi.store.items import ItemFile
from sotopia_pi.world.ratings import DIMENSIONS

pytestmark = pytest.mark.slow

RATING = "09_human_evaluation"
FIGURES = "() => [...document.images].map(image => image.complete && image.naturalWidth)"


def test_the_report_opens_from_a_file_without_a_network(browser, finished_smoke):
    found = watched(browser, (finished_smoke / "outputs").as_uri(), offline=True)
    page = found.page
    page.goto((finished_smoke / "outputs/smoke/report/index.html").as_uri())
    assert "smoke" in page.title() and "held-out tasks from" in page.locator("main").inner_text()
    figures = page.evaluate(FIGURES)
    assert figures and all(width > 200 for width in figures)
    rows = page.locator(".sotopia-headline tbody tr")
    assert rows.filter(has_text="BC+SR").count() >= 1 and rows.first.is_visible()
    page.locator("a[href$='10_results/report.html']").first.click()
    page.wait_for_url("**/10_results/report.html")
    play = page.locator(".sotopia-play").first
    assert play.locator(".turn").count() >= 2 and "private goal" in play.inner_text()
    profile = play.locator("details").first
    assert not profile.locator("dl").is_visible()
    profile.locator("summary").click()
    assert "secret" in profile.locator("dl").inner_text()
    assert all(width > 200 for width in page.evaluate(FIGURES))
    assert page.evaluate("() => document.scripts.length") == 0
    page.get_by_text("Back to the report").first.click()
    page.wait_for_url("**/report/index.html")
    assert found.strayed == []


def test_an_episode_is_rated_in_jupyterlab_and_lies_on_the_disk(browser, lab):
    with lab.opened(browser, lab.with_values(RATING, "rating", run="smoke")) as found:
        page = found.page
        lab.run_all(page)
        page.get_by_placeholder("the same every time").fill("Ann")
        page.get_by_placeholder("the same every time").press("Enter")
        page.get_by_role("button", name="Start", exact=True).click()
        rate(page, [NORA, SAMUEL])
        page.get_by_text("Episode 1 of").wait_for()
        lowest = {name: low for name, (low, _) in DIMENSIONS.items()}
        rate(page, [{**lowest, "goal": 2}, lowest])
        page.get_by_text("Saved. The next one begins above.").wait_for()

    folder = lab.root / "outputs/smoke" / RATING
    planned = {point["id"] for point in ItemFile(folder / "assignments.jsonl").read()}
    counting = HumanRatings(folder / "human_ratings.jsonl").counting()
    ((first, second),) = [both for (name, episode), both in counting.items() if name == "Ann" and episode in planned]
    assert first.scores == {**lowest, "goal": 2} and second.scores == lowest
    assert first.reasons == {"all": "They met each other at 80."}
    assert found.dialogs == found.strayed == []


def rate(page, sides: list[dict[str, int]]) -> None:
    """Move all sliders of the item by the keyboard, write both reasons and press Save."""
    page.get_by_placeholder("One sentence: what in the episode").nth(1).wait_for()
    sliders = page.locator(".widget-slider .noUi-handle")
    for side, scores in enumerate(sides):
        for place, (dimension, (low, _)) in enumerate(DIMENSIONS.items()):
            slider = sliders.nth(side * len(DIMENSIONS) + place)
            for _ in range(scores.get(dimension, 0) - low + 1):
                slider.press("ArrowRight")
        page.get_by_placeholder("One sentence: what in the episode").nth(side).fill("They met each other at 80.")
    page.get_by_role("button", name="Save and go on").click()


def test_a_page_that_strays_is_noticed(browser, tmp_path):
    """What the other tests assert about a page can fail: here everything happens that must not."""
    (tmp_path / "bad.html").write_text(
        "<main><p onclick='1'>x</p><script>window.hostile=1;alert(2)</script><img src='https://hostile.invalid/i'></main>"
    )
    found: Watched = watched(browser, tmp_path.as_uri())
    found.page.goto((tmp_path / "bad.html").as_uri())
    assert found.dialogs == ["2"] and found.strayed == ["https://hostile.invalid/i"]
    with pytest.raises(AssertionError):
        found.assert_untouched()
    found.dialogs.clear()
    found.strayed.clear()
    with pytest.raises(AssertionError):
        found.assert_untouched()
