"""Makes the README's pictures of a finished run, as small PNGs: `python tests/screenshots.py laptop`."""

import io
import sys
from pathlib import Path
from typing import Any

from browser_lab import REPOSITORY, opened_browser
from PIL import Image

TARGET = REPOSITORY / "notebooks" / "images"
MOST_BYTES = 150_000
COLOURS = (128, 64, 32, 16)
SIZE = {"width": 1100, "height": 900}


def main(run: str) -> None:
    TARGET.mkdir(exist_ok=True)
    with opened_browser() as browser:
        page = browser.new_page(viewport=SIZE, color_scheme="light")
        page.goto((REPOSITORY / "outputs" / run / "report" / "index.html").as_uri())
        save(page, TARGET / "report.png")


def save(page: Any, path: Path) -> None:
    """What the window shows, with as many colours as fit into MOST_BYTES."""
    shot = Image.open(io.BytesIO(page.screenshot(animations="disabled"))).convert("RGB")
    for colours in COLOURS:
        packed = io.BytesIO()
        shot.quantize(colours, dither=Image.Dither.NONE).save(packed, "PNG", optimize=True)
        if packed.tell() < MOST_BYTES:
            path.write_bytes(packed.getvalue())
            print(f"{path.relative_to(REPOSITORY)}: {packed.tell() // 1000} kB, {colours} colours")
            return
    raise ValueError(f"{path.name} is {packed.tell()} bytes even with {COLOURS[-1]} colours; make the window smaller")


if __name__ == "__main__":
    main(sys.argv[1])
