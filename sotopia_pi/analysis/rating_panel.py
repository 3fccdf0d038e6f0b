"""The form in which a person rates episodes: a name, one episode at a time, sliders, a sentence, and Save.

Every slider stands on "–" until the person moves it: a score nobody gave is no score. What can be chosen are the whole
numbers of the dimension's range and nothing else.
"""

import time
from collections.abc import Mapping
from typing import Any

import ipywidgets as widgets

from sotopia_pi.analysis.blind_view import blind_html, label, scale_html
from sotopia_pi.analysis.escaping import escaped
from sotopia_pi.stages.assignment import Plan
from sotopia_pi.stages.human_ratings import HumanRatings, Judgement
from sotopia_pi.stages.judge_prompt import MEANINGS
from sotopia_pi.stages.qualification import Qualification
from sotopia_pi.stages.rating_session import RatingSession
from sotopia_pi.world.episode import Episode
from sotopia_pi.world.ratings import DIMENSIONS
from sotopia_pi.world.tasks import SocialTask

NOT_YET = "–"
"""Where a slider stands that nobody has moved; a widget cannot hold None."""
WIDE = widgets.Layout(width="98%")
COLUMN = widgets.Layout(width="50%", min_width="320px", padding="0 8px")

Shown = tuple[SocialTask, Episode]
"""What is shown of an item: the task and the episode played on it."""


class SideForm:
    """The seven sliders and the sentence of one side."""

    def __init__(self, name: str):
        self.name = name
        self.sliders = {d: _slider(d) for d in DIMENSIONS}
        self.reason = widgets.Textarea(placeholder="One sentence: what in the episode made you choose so?", layout=WIDE)
        rows = [widgets.HTML(f"<h4 style='margin:.3em 0'>{escaped(name)}</h4>")]
        for dimension, slider in self.sliders.items():
            rows += [widgets.HTML(_definition(dimension)), slider]
        self.widget = widgets.VBox([*rows, widgets.HTML("<b>Reason</b> (required)"), self.reason], layout=COLUMN)

    def judgement(self) -> Judgement:
        """What was chosen. Raises ValueError naming the side and everything that is missing."""
        chosen = {d: slider.value for d, slider in self.sliders.items() if slider.value != NOT_YET}
        try:
            return Judgement(chosen, " ".join(self.reason.value.split()))
        except ValueError as error:
            raise ValueError(f"{self.name}: {error}") from None


class RatingPanel:
    """The whole form. It shows itself in JupyterLab and voila, and as a static page where no script runs.

    items: episode id -> what is shown of it, for all datapoints of the plan and the qualification item.
    """

    def __init__(self, plan: Plan, items: Mapping[str, Shown], ratings: HumanRatings, first: Qualification):
        self._plan, self._ratings, self._first = plan, ratings, first
        self._items = {first.episode.id: (first.task, first.episode), **items}
        self._session: RatingSession | None = None
        self._began = 0.0
        self.episode_id: str | None = None
        self.sides: tuple[SideForm, ...] = ()
        self.name = widgets.Text(description="Your name", placeholder="the same every time", continuous_update=False)
        self.start = widgets.Button(description="Start", button_style="primary")
        self.save = widgets.Button(description="Save and go on", button_style="primary")
        self.message = widgets.HTML()
        self._item = widgets.VBox()
        self.start.on_click(lambda _: self._begin())
        self.save.on_click(lambda _: self._save())
        self.widget = widgets.VBox([widgets.HBox([self.name, self.start]), self._item, self.message])

    def _repr_mimebundle_(self, **options: Any) -> dict[str, Any]:
        """The live form, and beside it what a page without scripts shows instead."""
        return {**self.widget._repr_mimebundle_(**options), "text/html": self.static_html()}

    def static_html(self) -> str:
        """The form on paper: the first item and the seven scales."""
        return (
            "<p>This is what a person sees: first this written example, then the episodes of the plan, one at a time. "
            "Open this notebook to rate.</p>"
            f"{blind_html(self._first.task, self._first.episode)}"
            f"<p>Both people are rated on seven dimensions, with a sentence of reason for each.</p>{scale_html()}"
        )

    def _begin(self) -> None:
        try:
            self._session = RatingSession(self.name.value, self._plan, self._ratings, self._first)
        except ValueError as error:
            self._say(str(error), bad=True)
            return
        self._say("")
        self._show_next()

    def _save(self) -> None:
        try:
            sides = [form.judgement() for form in self.sides]
        except ValueError as error:
            self._say(f"Not saved. {error}", bad=True)
            return
        missed = self._session.save(self.episode_id, sides, time.monotonic() - self._began)
        if missed:
            again = " ".join(missed)
            self._say(f"Saved. Please read this first episode once more and rate it again: {again}", bad=True)
            self._began = time.monotonic()
            return
        self._show_next()
        self._say("Saved. The next one begins above." if self.episode_id else "Saved.")

    def _show_next(self) -> None:
        self.episode_id = self._session.next_id()
        self._began = time.monotonic()
        if self.episode_id is None:
            self.sides = ()
            done = self._session.progress().done
            self._item.children = [widgets.HTML(f"<p><b>All done, thank you.</b> You rated {done} episodes.</p>")]
            return
        task, episode = self._items[self.episode_id]
        self.sides = tuple(SideForm(character.name) for character in task.characters)
        view = widgets.HTML(f"<p><b>{self._place()}</b></p>{blind_html(task, episode)}")
        columns = widgets.HBox([form.widget for form in self.sides], layout=widgets.Layout(flex_flow="row wrap"))
        self._item.children = [view, columns, self.save]

    def _place(self) -> str:
        if self.episode_id == self._first.episode.id:
            return "A written example first, to see that we mean the same"
        progress = self._session.progress()
        return f"Episode {progress.done + 1} of {progress.done + progress.left}"

    def _say(self, text: str, bad: bool = False) -> None:
        colour = "#b3261e" if bad else "#1a7f37"
        self.message.value = f'<p role="status" style="color:{colour}">{escaped(text)}</p>' if text else ""


def _slider(dimension: str) -> widgets.SelectionSlider:
    low, high = DIMENSIONS[dimension]
    options = [(NOT_YET, NOT_YET), *((str(score), score) for score in range(low, high + 1))]
    return widgets.SelectionSlider(options=options, value=NOT_YET, continuous_update=False, layout=WIDE)


def _definition(dimension: str) -> str:
    low, high = DIMENSIONS[dimension]
    return (
        f'<p style="line-height:1.3;margin:.4em 0 0"><b>{label(dimension)}</b> [{low}, {high}] '
        f'<span style="font-size:.87em">{escaped(MEANINGS[dimension])}</span></p>'
    )
