"""Tables for notebooks and pages: names and reasons in them are other people's text, in cells and headings alike."""

import pandas as pd
from pandas.io.formats.style import Styler

from sotopia_pi.analysis.escaping import STANDS_ALONE, escaped

DIGITS = 2


def safe_table(table: pd.DataFrame, index: bool = True) -> Styler:
    """A table for reading: every cell, heading and row name escaped, and no `$` in it begins a formula.

    Fractions have DIGITS places, missing values are "–". index: whether row names are shown.
    """
    style = table.style.format(_cell, na_rep="–").set_table_attributes(f'class="{STANDS_ALONE}"')
    style = style.format_index(escaped, axis=1)
    for axis in (0, 1):
        style = style.format_index_names(escaped, axis=axis)
    return style.format_index(escaped, axis=0) if index else style.hide(axis="index")


def _cell(value: object) -> str:
    return f"{value:.{DIGITS}f}" if isinstance(value, float) else escaped(value)
