"""The episode browser in a notebook: filters, one page of a list, and the episode chosen in it, read like a play.

However many episodes there are, the page in the browser holds one screen of the list and one transcript (two where
variants stand side by side); the rest stays in the index.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import ipywidgets as widgets
import numpy as np

from sotopia_pi.analysis.colours import in_order
from sotopia_pi.analysis.episode_filter import FAILURES, HARD, SIDES, SORTS, Filter, Order, select
from sotopia_pi.analysis.episode_index import EpisodeIndex, parse_address
from sotopia_pi.analysis.episode_index_files import ROLES, SCORES
from sotopia_pi.analysis.episode_table import export_selection, heading, line, table_html, table_rows
from sotopia_pi.analysis.escaping import escaped
from sotopia_pi.analysis.transcript_style import PAIR_STYLE
from sotopia_pi.analysis.transcripts import Transcript
from sotopia_pi.world.ratings import DIMENSIONS

ANY = ""
ALONE = "nobody"
MONO = "ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace"
LIST_STYLE = (
    f"<style>.sotopia-list select,.sotopia-list-head{{font:13px/1.5 {MONO};white-space:pre}}"
    ".sotopia-list-head{padding:0 5px;opacity:.75;overflow:hidden}</style>"
)
NARROW = widgets.Layout(width="260px")
RANGES = {name: DIMENSIONS[name] for name in DIMENSIONS} | {
    "overall": tuple(sum(ends) / len(DIMENSIONS) for ends in zip(*DIMENSIONS.values(), strict=True))
}
"""Lowest and highest value of every score; overall is the mean of the seven."""


class EpisodeBrowser:
    """All of it. Change a control, or `show` an episode by its address; `chosen`, `order` and `rows` are what is shown.

    folder: where exports go. episode: address (`run/id`) of the one to open first; "" opens the first of the list.
    page_rows: lines of the list at a time.
    """

    def __init__(self, index: EpisodeIndex, folder: Path, episode: str = "", page_rows: int = 12):
        self.index, self.folder, self.page_rows = index, folder, max(1, page_rows)
        self.rows = np.zeros(0, int)
        self.at: int | None = None
        self._quiet = False
        self.controls = _controls(index)
        self.list = widgets.Select(rows=self.page_rows, layout=widgets.Layout(width="auto"))
        self.list.add_class("sotopia-list")
        self.head, self.count, self.view, self.message = (widgets.HTML() for _ in range(4))
        self.address = widgets.Text(
            description="Address", continuous_update=False, layout=widgets.Layout(width="420px")
        )
        self.beside = widgets.Dropdown(description="Beside it", options=[ALONE, *_names(index, "variant")[1:]])
        names = ("first", "back", "on", "last", "previous", "next", "same_task", "clear", "export")
        self.buttons = {name: widgets.Button(description=LABELS[name]) for name in names}
        self._listen()
        self.widget = self._laid_out()
        self.refresh()
        if episode:
            self.show(episode)

    @property
    def chosen(self) -> Filter:
        """The filter that the controls stand for; a range that takes everything in asks for nothing."""
        values = {name: control.value for name, control in self.controls.items()}
        low, high = values.pop("range")
        lowest, highest = RANGES[values["score"]]
        del values["by"], values["descending"]
        return Filter(**values, low=low if low > lowest else None, high=high if high < highest else None)

    @property
    def order(self) -> Order:
        return Order(self.controls["by"].value, self.controls["descending"].value)

    def refresh(self) -> None:
        """Filter and sort again; the shown episode stays where it is still in the list."""
        self.rows = select(self.index, self.chosen, self.order)
        place = np.flatnonzero(self.rows == self.at) if self.at is not None else []
        self._go_to(int(place[0]) if len(place) else 0)

    def show(self, address: str) -> None:
        """Open an episode by its address, through every filter. Raises ValueError where this run does not have it."""
        run, episode_id = parse_address(address)
        if run != self.index.run:
            raise ValueError(
                f"{address} is of run {run!r}; this page shows {self.index.run!r}. Set run = {run!r} above."
            )
        row = self.index.row_of(episode_id)
        if row not in self.rows:
            self.clear()
        self._go_to(int(np.flatnonzero(self.rows == row)[0]))

    def clear(self) -> None:
        """Take every filter away; the order stays."""
        kept = ("score", "role", "range", "by", "descending")
        self._set({name: ANY for name in self.controls if name not in kept}, whole_range=True)

    def static_html(self) -> str:
        """The list's first page on paper, for where no script runs."""
        if not len(self.index):
            return self._nothing()
        table = table_html(self.index, self.rows[: self.page_rows], self.chosen)
        return (
            f"<p>{escaped(self.index.words())} Open this notebook in JupyterLab to filter, search and read them; the "
            f"first {min(len(self.rows), self.page_rows)} in short:</p>{table}"
        )

    def _repr_mimebundle_(self, **options: Any) -> dict[str, Any]:
        """The live browser, and beside it what a page without scripts shows instead."""
        return {**self.widget._repr_mimebundle_(**options), "text/html": self.static_html()}

    def _laid_out(self) -> widgets.Widget:
        across = widgets.Layout(flex_flow="row wrap")
        b = self.buttons
        pages = widgets.HBox([b["first"], b["back"], b["on"], b["last"], self.count], layout=across)
        reading = widgets.HBox([b["previous"], b["next"], self.beside, b["same_task"], self.address], layout=across)
        return widgets.VBox(
            [
                widgets.HTML(f"{LIST_STYLE}<p>{escaped(self.index.words())}</p>"),
                widgets.HBox([*self.controls.values(), b["clear"], b["export"]], layout=across),
                self.message,
                pages,
                self.head,
                self.list,
                reading,
                self.view,
            ]
        )

    def _listen(self) -> None:
        for name, control in self.controls.items():
            control.observe(self._score_changed if name == "score" else self._changed, "value")
        self.list.observe(self._picked, "index")
        self.beside.observe(lambda _: self._read(), "value")
        self.address.observe(self._asked, "value")
        page, step = self.page_rows, 1
        moves = {"back": -page, "on": page, "previous": -step, "next": step}
        for name, by in moves.items():
            self.buttons[name].on_click(lambda _, by=by: self._go_to(self._place() + by))
        self.buttons["first"].on_click(lambda _: self._go_to(0))
        self.buttons["last"].on_click(lambda _: self._go_to(len(self.rows) - 1))
        self.buttons["same_task"].on_click(lambda _: self._same_task())
        self.buttons["clear"].on_click(lambda _: self.clear())
        self.buttons["export"].on_click(lambda _: self._export())

    def _changed(self, _: Any) -> None:
        if not self._quiet:
            self._say("")
            self.refresh()

    def _score_changed(self, _: Any) -> None:
        """Another score has another range: the slider takes all of it in again."""
        self._set({}, whole_range=True)

    def _set(self, values: dict[str, Any], whole_range: bool = False) -> None:
        """Set controls and filter once. whole_range: the slider takes in all that the score can be."""
        self._quiet = True
        for name, value in values.items():
            self.controls[name].value = value
        if whole_range:
            _widen(self.controls["range"], *RANGES[self.controls["score"].value])
        self._quiet = False
        self.refresh()

    def _picked(self, change: dict[str, Any]) -> None:
        if not self._quiet and change["new"] is not None:
            self._go_to(self._place() // self.page_rows * self.page_rows + change["new"])

    def _asked(self, change: dict[str, Any]) -> None:
        if self._quiet:
            return
        try:
            self.show(change["new"])
        except ValueError as error:
            self._say(str(error), bad=True)

    def _same_task(self) -> None:
        if self.at is not None:
            self._set({"task": self.index.frame["task"].iat[self.at]})

    def _export(self) -> None:
        if not len(self.rows):
            self._say("Nothing to export: no episode passes the filters.", bad=True)
            return
        done = export_selection(self.index, self.rows, self.chosen, self.order, self.folder)
        told = "/".join(done.folder.parts[-4:])
        self._say(f"{done.episodes:,} episodes and {done.ratings:,} ratings written to {told}/ (JSON Lines and CSV).")

    def _place(self) -> int:
        """Place of the shown episode in the list."""
        found = np.flatnonzero(self.rows == self.at)
        return int(found[0]) if len(found) else 0

    def _go_to(self, place: int) -> None:
        """Show the page of the list that holds a place, and read what lies there."""
        place = min(max(place, 0), len(self.rows) - 1)
        self.at = int(self.rows[place]) if len(self.rows) else None
        begin = max(0, place) // self.page_rows * self.page_rows
        page = self.rows[begin : begin + self.page_rows]
        self._quiet = True
        self.head.value = f'<div class="sotopia-list-head">{escaped(heading(self.chosen))}</div>'
        labels = [line(cells) for cells in table_rows(self.index, page, self.chosen)]
        self.list.options = [(label, number) for number, label in enumerate(labels)]
        self.list.index = place - begin if labels else None
        shown = f"{begin + 1:,}–{begin + len(page):,} of {len(self.rows):,}" if labels else "no episode"
        self.count.value = f"<span>{shown} ({len(self.index):,} in all)</span>"
        self._quiet = False
        self._read()

    def _read(self) -> None:
        """The transcript of the shown episode, and the other variant's beside it where one is asked for."""
        if self.at is None:
            self.view.value = self._nothing()
            return
        self._quiet = True
        self.address.value = self.index.address(self.at)
        self._quiet = False
        mine = self._transcript(self.at).html()
        if self.beside.value == ALONE:
            self.view.value = mine
            return
        other = self.index.same_play(self.at, self.beside.value)
        theirs = f"<p>{escaped(self.beside.value)} has not played this task from this side.</p>"
        if other is not None:
            theirs = self._transcript(other).html(styled=False)
        pair = f'<div class="sotopia-pair"><div>{mine}</div><div>{theirs}</div></div>'
        self.view.value = f"<style>{PAIR_STYLE}</style>{pair}"

    def _transcript(self, row: int) -> Transcript:
        """The episode with its variant and its address on top."""
        return self.index.transcript(row, f"{self.index.frame['variant'].iat[row]}, {self.index.address(row)}")

    def _nothing(self) -> str:
        if not len(self.index):
            return f"<p><b>There is no episode to show yet.</b> {escaped(self.index.words())}</p>"
        return "<p>No episode passes the filters. Take one of them away.</p>"

    def _say(self, text: str, bad: bool = False) -> None:
        colour = "#b3261e" if bad else "#1a7f37"
        self.message.value = f'<p role="status" style="color:{colour}">{escaped(text)}</p>' if text else ""


LABELS = {
    "first": "« first",
    "back": "‹ page",
    "on": "page ›",
    "last": "last »",
    "previous": "← previous",
    "next": "next →",
    "same_task": "Only this task",
    "clear": "Clear filters",
    "export": "Export selection",
}


def _controls(index: EpisodeIndex) -> dict[str, widgets.ValueWidget]:
    """Name of a field of Filter or Order (and `range`: low and high) -> its control, in the order on the page."""
    low, high = RANGES["goal"]
    dropdowns = {name: _names(index, name) for name in ("stage", "variant", "family", "ending")}
    dropdowns |= {"hard": [ANY, *HARD], "side": [ANY, *SIDES], "failure": [ANY, *FAILURES]}
    found: dict[str, widgets.ValueWidget] = {
        name: widgets.Dropdown(description=name, options=_options(names), layout=NARROW)
        for name, names in dropdowns.items()
    }
    found["task"] = _text("task", "part of its name, or its id")
    found["words"] = _text("words", 'all these, or "as it is"')
    found["score"] = widgets.Dropdown(description="score", options=SCORES, value="goal", layout=NARROW)
    found["role"] = widgets.Dropdown(description="of the", options=ROLES, layout=NARROW)
    found["range"] = widgets.FloatRangeSlider(
        description="between",
        min=low,
        max=high,
        step=0.1,
        value=(low, high),
        readout_format=".1f",
        continuous_update=False,
        layout=widgets.Layout(width="300px"),
    )
    found["by"] = widgets.Dropdown(description="sort by", options=SORTS, layout=NARROW)
    found["descending"] = widgets.Checkbox(
        description="highest first", indent=False, layout=widgets.Layout(width="130px")
    )
    return found


def _widen(slider: widgets.FloatRangeSlider, low: float, high: float) -> None:
    """Give a slider other ends, in an order in which it never crosses them, and let it take in all between."""
    slider.max = max(slider.max, high)
    slider.min, slider.value = low, (low, high)
    slider.max = high


def _names(index: EpisodeIndex, column: str) -> list[str]:
    """What a column holds, variants in their fixed order; first "", which asks for nothing."""
    names = index.frame[column].cat.categories
    return [ANY, *(in_order(names) if column == "variant" else sorted(names))]


def _options(names: Iterable[str]) -> list[tuple[str, str]]:
    return [(name or "any", name) for name in names]


def _text(name: str, hint: str) -> widgets.Text:
    return widgets.Text(description=name, placeholder=hint, continuous_update=False, layout=NARROW)
