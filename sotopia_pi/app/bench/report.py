"""`make report` beside its own first version: two runs' cards, for nobody waits for a whole run inside a benchmark."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sotopia_pi.app.bench.work import Contest, Skipped
from sotopia_pi.store.notebook import project_root
from sotopia_pi.store.run_card import CARD


@contextmanager
def open_report(first: Path | None, run: str = "laptop") -> Iterator[Contest]:
    """Seconds of a run that is there, against those in the card of an earlier version's run: the stages both have.

    first: that card, a `run.json`; what either could not complete is left out on both sides, and the note names what is
    compared. Raises Skipped where a card is missing or there is no complete stage in common.
    """
    ours = project_root() / "outputs" / run / CARD
    if first is None:
        raise Skipped("name the run card of its first version with --first FILE")
    now, then = stage_seconds(ours), stage_seconds(first)
    both = sorted(now.keys() & then.keys())
    if not both:
        raise Skipped(f"{ours} and {first} have no complete stage in common")
    yield Contest(
        lambda: sum(now[stage] for stage in both),
        lambda: sum(then[stage] for stage in both),
        check=lambda: "two versions, each with its own play and training: compare their reports",
        note=f"from two run cards, not measured now; {', '.join(both)}",
    )


def stage_seconds(card: Path) -> dict[str, float]:
    """Wall seconds of the complete stages in a run card. Raises Skipped."""
    if not card.is_file():
        raise Skipped(f"{card} is not there; `make report` writes one")
    stages = json.loads(card.read_text())["stages"]
    return {name: entry["wall_s"] for name, entry in stages.items() if entry["status"] == "complete"}
