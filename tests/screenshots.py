"""Makes the README's pictures of a finished run, as small PNGs: `python tests/screenshots.py laptop`."""

import io
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from browser_lab import REPOSITORY, Lab, opened_browser, running_lab
from PIL import Image
from smoke_run import project

from sotopia_pi.store.params import plan_run

TARGET = REPOSITORY / "notebooks" / "images"
MOST_BYTES = 150_000
COLOURS = (128, 64, 32, 16)
SIZE = {"width": 1100, "height": 1700}
MARGIN = 8
"""Pixels below the report's figure."""
BROWSER, TALK = "11_episode_browser", "12_talk_to_the_agent"
SAYS = ("Hello! Let us find a price that suits us both.", "Could we meet in the middle?")


def main(run: str) -> None:
    TARGET.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, opened_browser() as browser:
        root = project(Path(folder) / "project")
        shutil.copytree(REPOSITORY / "outputs" / run, root / "outputs" / run)
        save(report(browser, root / "outputs" / run / "report" / "index.html"), "report.png")
        with running_lab(root, Path(folder) / "jupyter") as lab:
            save(episodes(lab, browser, run), "browser.png")
            save(talk(lab, browser, run), "talk.png")


def report(browser: Any, path: Path) -> bytes:
    """The report's first page down to the end of its first figure."""
    page = browser.new_page(viewport=SIZE, color_scheme="light")
    page.goto(path.as_uri())
    drawn = page.locator("img").first.bounding_box()
    clip = {"x": 0, "y": 0, "width": SIZE["width"], "height": drawn["y"] + drawn["height"] + MARGIN}
    return page.screenshot(clip=clip)


def episodes(lab: Lab, browser: Any, run: str) -> bytes:
    """The episode browser on the best episode of the last trained variant."""
    with lab.opened(browser, lab.with_values(BROWSER, "picture_browser", run=run)) as found:
        page = found.page
        lab.run_all(page)
        page.get_by_label("variant", exact=True).select_option(label="BC+SR")
        page.get_by_label("sort by", exact=True).select_option(label="score")
        page.get_by_label("highest first", exact=True).check()
        page.get_by_role("button", name="« first").click()
        page.locator("text=/^1–/").wait_for()
        page.wait_for_timeout(1000)
        return form(page, "previous")


def talk(lab: Lab, browser: Any, run: str) -> bytes:
    """A talk with the last trained variant, two turns into it."""
    params = plan_run(lab.root, lab.root / "params" / f"{run}.yaml").params[TALK]
    with lab.opened(browser, lab.with_values(TALK, "picture_talk", **params)) as found:
        page = found.page
        lab.run_all(page)
        page.get_by_role("button", name="Start talking", exact=True).click()
        send = page.get_by_role("button", name="Send", exact=True)
        for words in SAYS:
            page.wait_for_function("button => !button.disabled", arg=send.element_handle())
            page.get_by_placeholder("What you say").first.fill(words)
            send.click()
            page.locator(".turn", has_text=words).wait_for()
        page.wait_for_function("button => !button.disabled", arg=send.element_handle())
        return form(page, "Send")


def form(page: Any, button: str) -> bytes:
    """The whole form that a button stands in."""
    return page.locator(".widget-vbox", has=page.get_by_role("button", name=button)).first.screenshot()


def save(png: bytes, name: str) -> None:
    """Write a picture with as many colours as fit into MOST_BYTES."""
    shot = Image.open(io.BytesIO(png)).convert("RGB")
    for colours in COLOURS:
        packed = io.BytesIO()
        shot.quantize(colours, dither=Image.Dither.NONE).save(packed, "PNG", optimize=True)
        if packed.tell() < MOST_BYTES:
            (TARGET / name).write_bytes(packed.getvalue())
            print(f"{name}: {shot.size}, {packed.tell() // 1000} kB, {colours} colours")
            return
    raise ValueError(f"{name} is {packed.tell()} bytes even with {COLOURS[-1]} colours; make the picture smaller")


if __name__ == "__main__":
    main(sys.argv[1])
