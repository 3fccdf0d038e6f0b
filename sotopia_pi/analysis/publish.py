"""Tables as CSV and figures as PNG and SVG, written where the reader of a report finds them."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure
from pandas.io.formats.style import Styler

from sotopia_pi.analysis.plots import save_figure
from sotopia_pi.analysis.tables import shown


@dataclass(frozen=True)
class Publisher:
    """Writes into `tables/` and `figures/` of a folder and hands back what a notebook shows."""

    folder: Path

    def table(self, name: str, table: pd.DataFrame) -> Styler:
        """Write `tables/<name>.csv` with all columns; returns the table for reading, without row numbers."""
        path = self.folder / "tables" / f"{name}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        table.to_csv(path, index=False)
        return shown(table).style.hide(axis="index").format(precision=2, escape="html", na_rep="–")

    def figure(self, name: str, figure: Figure) -> Figure:
        """Write `figures/<name>.png` and `.svg`; returns the figure."""
        save_figure(figure, self.folder / "figures" / name)
        return figure
