"""Tables as CSV and figures as PNG and SVG, written where the reader of a report finds them."""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure
from pandas.io.formats.style import Styler

from sotopia_pi.analysis.plots import save_figure
from sotopia_pi.analysis.safe_table import safe_table
from sotopia_pi.analysis.tables import shown

LONGEST_NAME = 80


@dataclass(frozen=True)
class Publisher:
    """Writes into `tables/` and `figures/` of a folder and hands back what a notebook shows."""

    folder: Path

    def table(self, name: str, table: pd.DataFrame, without: Iterable[str] = ()) -> Styler:
        """Write `tables/<name>.csv` with all columns; returns the table for reading, without row numbers.

        without: columns that stand in the file only, because the page says the same in words.
        """
        path = self.folder / "tables" / f"{file_name(name)}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        table.to_csv(path, index=False)
        return safe_table(shown(table).drop(columns=list(without), errors="ignore"), index=False)

    def figure(self, name: str, figure: Figure) -> Figure:
        """Write `figures/<name>.png` and `.svg`; returns the figure."""
        save_figure(figure, self.folder / "figures" / file_name(name))
        return figure


def file_name(name: str) -> str:
    """A name as that of a file: a judge's may hold `/`, `..` or a control character.

    What no file name should hold becomes "-", and a changed or endless name ends in a digest of what it was, so that
    two names never share a file.
    """
    plain = re.sub(r"[^\w+.-]+", "-", name).lstrip(".-")[:LONGEST_NAME]
    return plain if plain == name != "" else f"{plain}-{hashlib.sha256(name.encode(errors='replace')).hexdigest()[:8]}"
