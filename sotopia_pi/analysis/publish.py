"""Tables as CSV and figures as PNG and SVG, written where the reader of a report finds them."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure
from pandas.io.formats.style import Styler

from sotopia_pi.analysis.escaping import escaped
from sotopia_pi.analysis.plots import save_figure
from sotopia_pi.analysis.tables import shown

SHORT = 10
"""Letters of a name that is not broken at its hyphens, such as a model's."""


@dataclass(frozen=True)
class Publisher:
    """Writes into `tables/` and `figures/` of a folder and hands back what a notebook shows."""

    folder: Path

    def table(self, name: str, table: pd.DataFrame, without: Iterable[str] = ()) -> Styler:
        """Write `tables/<name>.csv` with all columns; returns the table for reading, without row numbers.

        without: columns that stand in the file only, because the page says the same in words.
        """
        path = self.folder / "tables" / f"{name}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        table.to_csv(path, index=False)
        read = shown(table).drop(columns=list(without), errors="ignore")
        words = {column: _cell for column in read if not pd.api.types.is_numeric_dtype(read[column])}
        styled = read.style.hide(axis="index").format(words, precision=2, na_rep="–")
        return styled.format_index(_name, axis=1)

    def figure(self, name: str, figure: Figure) -> Figure:
        """Write `figures/<name>.png` and `.svg`; returns the figure."""
        save_figure(figure, self.folder / "figures" / name)
        return figure


def _cell(value: object) -> str:
    """A cell's words; an interval or a short name stays on one line, all else may wrap."""
    text = f"{value:.2f}" if isinstance(value, float) else _name(value)
    whole = text.endswith("]") or len(text) <= SHORT
    return f'<span style="white-space:nowrap">{text}</span>' if whole else text


def _name(name: object) -> str:
    """A name that may wrap where its parts meet, so that a wide table of narrow numbers fits the page."""
    return escaped(name).replace("_", "_<wbr>")
