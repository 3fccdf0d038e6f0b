"""Parts of the forms in which a person talks to a policy: which task and side, with whom, and what one does."""

import asyncio
from collections.abc import Callable, Mapping, Sequence

import ipywidgets as widgets

from sotopia_pi.analysis.escaping import escaped, visible
from sotopia_pi.world.actions import ACTION_TYPES, Action
from sotopia_pi.world.tasks import SocialTask

ORDER = ("first", "second")
LONGEST_LABEL = 90
"""Most characters of a task in the list to choose from."""
FIELD = widgets.Layout(width="auto", min_width="15em", flex="1 1 20em", max_width="100%")
LABELS = {"description_width": "5.5em"}
LAST_KEYS_S = 0.15
"""The last keystrokes come in a message of their own, which may arrive after the one that says that Enter was hit."""
WORDS_FOR = {
    "speak": "What you say",
    "non-verbal communication": "A gesture or an expression, as: nods slowly",
    "action": "What you do, as: puts the lamp on the table",
    "leave": "Nothing more is needed; the talk ends",
    "none": "Nothing; you stay silent",
}


class Home:
    """The event loop that a form lives in, from the cell that made it.

    JupyterLab hands what a person presses to threads of their own (subshells), each with another loop, in which no
    talk of this one can be woken. `Home()(work)` does the work where it belongs: at once, when that is here.
    """

    def __init__(self) -> None:
        self._loop = _running_loop()

    def __call__(self, work: Callable[[], None]) -> None:
        here = _running_loop()
        if self._loop is None or self._loop.is_closed():
            self._loop = here
        if here is self._loop:
            work()
        else:
            self._loop.call_soon_threadsafe(work)

    def button(self, text: str, pressed: Callable[[], None], style: str = "") -> widgets.Button:
        """A button as wide as its words."""
        made = widgets.Button(description=text, button_style=style, layout=widgets.Layout(width="auto"))
        made.on_click(lambda _: self(pressed))
        return made


class TaskChoice:
    """Which task, and which of its two characters the person is. changed: called when either changes."""

    def __init__(self, tasks: Sequence[SocialTask], changed: Callable[[], None] = lambda: None):
        self._tasks = {task.id: task for task in tasks}
        options = [(f"{n}. {_label(task)}", task.id) for n, task in enumerate(tasks, 1)]
        self.task_id = widgets.Dropdown(options=options, description="Task", style=LABELS, layout=FIELD)
        self.side = widgets.Dropdown(description="You are", style=LABELS, layout=FIELD)
        self._name_sides()
        self.task_id.observe(lambda _: self._name_sides(), "value")
        for field in (self.task_id, self.side):
            field.observe(lambda _: changed(), "value")
        self.widget = row([self.task_id, self.side])

    @property
    def task(self) -> SocialTask:
        return self._tasks[self.task_id.value]

    def _name_sides(self) -> None:
        if self.task_id.value is not None:
            kept, people = self.side.value or 0, self.task.characters
            self.side.options = [(visible(f"{people[s].name}, who speaks {order}"), s) for s, order in enumerate(ORDER)]
            self.side.value = kept


class AgentChoice:
    """Whom to talk to: a name of the run, or any model string."""

    def __init__(self, names: Sequence[str], chosen: str, description: str = "Talk to"):
        options = [(visible(name), name) for name in names]
        self.name = widgets.Dropdown(
            options=options,
            value=chosen if chosen in names else names[0],
            description=description,
            style=LABELS,
            layout=FIELD,
        )
        self.other = widgets.Text(
            description="or",
            placeholder="any model: openai:MODEL@ADDRESS, local:NAME, scripted:partner …",
            style=LABELS,
            layout=FIELD,
        )
        self.widget = row([self.name, self.other])

    @property
    def value(self) -> str:
        return self.other.value.strip() or self.name.value


class ActionForm:
    """What a person does at a turn: one of the five kinds of action and its words. decided: called with the action."""

    def __init__(self, home: Home, decided: Callable[[Action], None], refused: Callable[[str], None], button: str):
        self._home, self._decided, self._refused = home, decided, refused
        kinds = ["speak", *(kind for kind in ACTION_TYPES if kind != "speak")]
        self.kind = widgets.Dropdown(options=kinds, layout=widgets.Layout(width="13em"))
        self.words = widgets.Text(placeholder=WORDS_FOR["speak"], layout=widgets.Layout(flex="1 1 16em", width="auto"))
        self.send = home.button(button, self._decide, "primary")
        self.kind.observe(lambda change: self._explain(change["new"]), "value")
        self.words.on_msg(self._heard)
        self.widget = row([self.kind, self.words, self.send])

    @property
    def disabled(self) -> bool:
        return self.send.disabled

    @disabled.setter
    def disabled(self, off: bool) -> None:
        self.kind.disabled = self.words.disabled = self.send.disabled = off

    def clear(self) -> None:
        self.kind.value, self.words.value = "speak", ""

    def _explain(self, kind: str) -> None:
        self.words.placeholder = WORDS_FOR[kind]

    def _heard(self, _: object, content: Mapping[str, object], __: object) -> None:
        if content.get("event") == "submit":
            self._home(self._decide_soon)

    def _decide_soon(self) -> None:
        asyncio.get_running_loop().call_later(LAST_KEYS_S, self._decide)

    def _decide(self) -> None:
        if self.disabled:
            return
        kind, words = self.kind.value, self.words.value.strip()
        if kind not in ("none", "leave") and not words:
            self._refused(f"Not sent: write some words for {kind!r}, or choose another kind of action.")
            return
        self._decided(Action(kind, "" if kind == "none" else words))


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def row(children: Sequence[widgets.Widget]) -> widgets.HBox:
    """Side by side where there is room, else below each other. Each row has a layout of its own, to be hidden alone."""
    return widgets.HBox(children, layout=widgets.Layout(flex_flow="row wrap", align_items="center", width="100%"))


def said(text: str, bad: bool = False) -> str:
    """A line of the form that tells how things stand."""
    colour = "#b3261e" if bad else "#1a7f37"
    return f'<p role="status" style="color:{colour};line-height:1.4">{escaped(text)}</p>' if text else ""


def _label(task: SocialTask) -> str:
    head = f"{task.family}{', hard' if task.hard else ''}: {task.scenario.text}"
    return visible(head if len(head) <= LONGEST_LABEL else f"{head[: LONGEST_LABEL - 1]}…")
