"""The form in which two policies answer the same message: same task, same dialogue so far, side by side.

Nothing is saved unless somebody presses Save. It waits for nobody, like the form of a talk.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import ipywidgets as widgets

from sotopia_pi.analysis.escaping import escaped
from sotopia_pi.analysis.talk_forms import ActionForm, AgentChoice, Home, TaskChoice, row, said
from sotopia_pi.analysis.talk_view import TALK_STYLE, answer_html, coming_answer_html, side_html, talk_html
from sotopia_pi.stages.answers import Answer, Dialogue, answer, answer_seed, comparison_record
from sotopia_pi.stages.company import Company
from sotopia_pi.stages.talk_files import TalkFiles
from sotopia_pi.world.actions import Action, Turn
from sotopia_pi.world.episode import Rules
from sotopia_pi.world.tasks import SocialTask

COLUMN = widgets.Layout(flex="1 1 20em", min_width="17em", padding="0 6px")


class Column:
    """One of the two: who is asked, what came, and going on with it. taken: called with the answer to go on with."""

    def __init__(self, home: Home, company: Company, chosen: str, taken: Callable[[Answer], None]):
        self._company = company
        self.answer: Answer | None = None
        self.agent = AgentChoice(company.names, chosen, "Ask")
        self.view, self.note = widgets.HTML(), widgets.HTML()
        self.take = home.button("Go on with this answer", lambda: taken(self.answer))
        self.widget = widgets.VBox([self.agent.widget, self.view, self.note, self.take], layout=COLUMN)
        self.clear()

    def clear(self) -> None:
        self.answer, self.view.value, self.note.value, self.take.disabled = None, "", "", True

    async def ask(self, dialogue: Dialogue, seed: int) -> None:
        """Show the answer as it comes. A failure is told here and leaves the other column alone."""
        self.clear()
        name = self.agent.value
        self.note.value = said(f"Opening {name} …")
        try:
            policy = await self._company.policy(name)
            self.note.value = ""
            hear = self._heard(dialogue)
            hear("")
            self.answer = await answer(name, policy, dialogue, seed, hear)
        except Exception as error:  # noqa: BLE001 (told to the person)
            self.view.value, self.note.value = "", said(f"No answer. {type(error).__name__}: {error}", bad=True)
            return
        self._show(dialogue)

    def _heard(self, dialogue: Dialogue) -> Callable[[str], None]:
        def hear(text: str) -> None:
            self.view.value = coming_answer_html(text, dialogue.seen)

        return hear

    def _show(self, dialogue: Dialogue) -> None:
        decision = self.answer.decision
        turn = Turn(len(dialogue.turns), 1 - dialogue.side, decision.action or Action("none"), decision.action is None)
        raw = str(decision.calls[-1]["text"]) if decision.calls else ""
        self.view.value = answer_html(turn, dialogue.seen, raw)
        took = f"{self.answer.name}: {decision.timing['latency_s']:.1f} s."
        self.note.value = said(f"{took} {decision.failure}", bad=bool(decision.failure))
        self.take.disabled = decision.action is None


class AnswerComparison:
    """The whole form; it shows itself in JupyterLab and voila, and as a static page where no script runs.

    talk: gives the dialogue of a talk that goes on elsewhere, or None; seed: the run's.
    """

    def __init__(
        self,
        tasks: Sequence[SocialTask],
        company: Company,
        files: TalkFiles,
        rules: Rules,
        seed: int,
        talk: Callable[[], Dialogue | None] = lambda: None,
    ):
        self._home = Home()
        self._company, self._files, self._rules, self._seed, self._talk = company, files, rules, seed, talk
        self._tasks = {task.id: task for task in tasks}
        self.dialogue: Dialogue | None = None
        self._asked: tuple[Dialogue, int] | None = None
        self._attempts = 0
        self._running: asyncio.Task | None = None
        self._make_widgets(tasks)
        self._begin_anew()

    def _make_widgets(self, tasks: Sequence[SocialTask]) -> None:
        self.choice = TaskChoice(tasks, lambda: self._home(self._begin_anew))
        two = (self._company.names[0], self._company.latest)
        self.columns = [Column(self._home, self._company, name, self._take) for name in two]
        self.action = ActionForm(self._home, self._ask, self._bad, "Ask both")
        self.opening = self._home.button("Ask both how they begin", lambda: self._ask(None))
        self.again = self._home.button("Ask both again", self._ask_again)
        self.stop = self._home.button("Stop", self._stop)
        self.save = self._home.button("Save this comparison", self._save)
        self.anew = self._home.button("Empty the dialogue", self._begin_anew)
        self.from_talk = self._home.button("Take the dialogue of the talk above", self._take_talk)
        self.side_view, self.dialogue_view, self.message = widgets.HTML(), widgets.HTML(), widgets.HTML()
        answers = row([column.widget for column in self.columns])
        answers.layout.align_items = "flex-start"
        buttons = row([self.opening, self.again, self.stop, self.save])
        source = row([self.from_talk, self.anew])
        shown = [
            widgets.HTML(TALK_STYLE), self.choice.widget, source, self.side_view, self.dialogue_view,
            self.action.widget, answers, buttons, self.message,
        ]  # fmt: skip
        self.widget = widgets.VBox(shown, layout=widgets.Layout(max_width="70em"))

    def _repr_mimebundle_(self, **options: Any) -> dict[str, Any]:
        """The live form, and beside it what a page without scripts shows instead."""
        return {**self.widget._repr_mimebundle_(**options), "text/html": self.static_html()}

    def static_html(self) -> str:
        """The form on paper."""
        kept = len(self._files.comparisons())
        return (
            f"<p>Open this notebook to send one message to two of these: {escaped(', '.join(self._company.names))}. "
            f"Nothing of it is saved unless you press Save. Saved comparisons: {kept}.</p>"
        )

    # What a person presses

    def _begin_anew(self) -> None:
        if self._tasks:
            self._go_to(Dialogue(self.choice.task, self.choice.side.value or 0, self._rules))

    def _take_talk(self) -> None:
        dialogue = self._talk()
        if dialogue is None:
            self._bad("There is no talk above that goes on.")
            return
        self.choice.task_id.value, self.choice.side.value = dialogue.task.id, dialogue.side
        self._go_to(dialogue)

    def _take(self, taken: Answer) -> None:
        dialogue, _ = self._asked
        self._go_to(dialogue.then(taken.decision.action))

    def _ask(self, action: Action | None) -> None:
        """Ask both what they answer to this action of the person, or, with None, how they begin."""
        try:
            asked = self.dialogue.then(action) if action else self.dialogue
        except ValueError as error:
            self._bad(str(error))
            return
        self._attempts = 0
        self._put(asked)

    def _ask_again(self) -> None:
        self._attempts += 1
        self._put(self._asked[0])

    def _put(self, asked: Dialogue) -> None:
        self._asked = asked, answer_seed(self._seed, asked, self._attempts)
        self.dialogue_view.value = talk_html(asked.seen)
        self.message.value = ""
        self._running = asyncio.get_running_loop().create_task(self._both())
        self._set_buttons()

    async def _both(self) -> None:
        me = asyncio.current_task()
        try:
            await asyncio.gather(*(column.ask(*self._asked) for column in self.columns))
        finally:
            if self._running is me:
                self._running = None
                self._set_buttons()

    def _stop(self) -> None:
        if self._running is not None:
            self._running.cancel()
            self._running = None
        for column in self.columns:
            if column.answer is None:
                column.clear()
        self.message.value = said("Stopped.")
        self._set_buttons()

    def _save(self) -> None:
        answers = [column.answer for column in self.columns if column.answer]
        dialogue, seed = self._asked
        self._files.add_comparison(comparison_record(dialogue, seed, answers), dialogue.task)
        self.message.value = said(f"Saved: the message and {len(answers)} answers.")

    # How it looks

    def _go_to(self, dialogue: Dialogue) -> None:
        """Show a dialogue so far, and wait for the next message."""
        if self._running is not None:
            self._stop()
        self.dialogue, self._asked = dialogue, None
        self.side_view.value, self.dialogue_view.value = side_html(dialogue.seen), talk_html(dialogue.seen)
        self.message.value = ""
        self.action.clear()
        for column in self.columns:
            column.clear()
        self._set_buttons()

    def _bad(self, text: str) -> None:
        self.message.value = said(text, bad=True)

    def _set_buttons(self) -> None:
        busy, ready = self._running is not None, self.dialogue is not None
        first = ready and self.dialogue.asks_first
        self.action.disabled = busy or not first
        self.opening.disabled = busy or not ready or first
        self.again.disabled = busy or self._asked is None
        self.stop.disabled = not busy
        self.save.disabled = busy or not any(column.answer for column in self.columns)
        self.opening.layout.display = "none" if first or not ready else ""
