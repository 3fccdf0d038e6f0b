"""Tables for notebooks and pages: names and reasons in them are other people's text, in cells and headings alike."""

import pandas as pd
from pandas.io.formats.style import Styler

from sotopia_pi.analysis.escaping import STANDS_ALONE, escaped

DIGITS = 2
SHORT = 10
"""Letters of a name that is not broken at its hyphens, such as a model's."""


def safe_table(table: pd.DataFrame, index: bool = True) -> Styler:
    """A table for reading: every cell, heading and row name escaped, and no `$` in it begins a formula.

    Fractions have DIGITS places, missing values are "–". Names may wrap at their underscores, so that a wide table of
    narrow numbers fits the page; intervals and short names stay on one line. index: whether row names are shown.
    """
    style = table.style.format(_cell, na_rep="–").set_table_attributes(f'class="{STANDS_ALONE}"')
    style = style.format_index(_name, axis=1)
    for axis in (0, 1):
        style = style.format_index_names(escaped, axis=axis)
    return style.format_index(escaped, axis=0) if index else style.hide(axis="index")


def _cell(value: object) -> str:
    text = f"{value:.{DIGITS}f}" if isinstance(value, float) else _name(value)
    whole = text.endswith("]") or len(text) <= SHORT
    return f'<span style="white-space:nowrap">{text}</span>' if whole else text


def _name(value: object) -> str:
    return escaped(value).replace("_", "_<wbr>")
