"""The form in which a person talks to a policy: a side of a task, a chat, and at the end what came of it.

Everything here runs in the kernel's event loop and waits for nobody: a model that is loaded or drawn from has a thread
of its own. Whatever goes wrong is told in the form, and the talk so far stays on the disk.
"""

import asyncio
import time
from collections.abc import Awaitable, Sequence
from datetime import UTC, datetime
from typing import Any

import ipywidgets as widgets

from sotopia_pi.analysis.escaping import escaped, visible
from sotopia_pi.analysis.talk_forms import LABELS, ActionForm, AgentChoice, Home, TaskChoice, row, said
from sotopia_pi.analysis.talk_view import TALK_STYLE, ended_in_words, side_html, talk_html
from sotopia_pi.analysis.transcripts import episode_html
from sotopia_pi.stages.answers import Dialogue
from sotopia_pi.stages.company import Company
from sotopia_pi.stages.talk import Beginning, Talk, Unfinished
from sotopia_pi.stages.talk_files import TalkFiles
from sotopia_pi.world.actions import Action
from sotopia_pi.world.episode import Episode, Observation, Rules
from sotopia_pi.world.ratings import Rating
from sotopia_pi.world.tasks import SocialTask

DRAW_EVERY_S = 0.06
"""Words that come within this time, in seconds, are drawn together."""
AFTER_FAILURE = "The talk so far is kept: press 'Ask for a reply again', or stop and go on later."


class TalkPanel:
    """The whole form. It shows itself in JupyterLab and voila, and as a static page where no script runs.

    tasks: to choose from; rules: of every talk; lacking: why nobody can talk, or "". talk: the one that goes on, or
    None; episode: the one that ended last.
    """

    def __init__(
        self, tasks: Sequence[SocialTask], company: Company, files: TalkFiles, rules: Rules, lacking: str = ""
    ):
        self._home = Home()
        self._company, self._files, self._rules = company, files, rules
        self._tasks = {task.id: task for task in tasks}
        self.talk: Talk | None = None
        self.episode: Episode | None = None
        self._running: asyncio.Task | None = None
        self._coming: str | None = None
        self._asked_at = self._first_at = 0.0
        self._due: asyncio.TimerHandle | None = None
        self._lacking = lacking
        self._make_widgets(tasks)
        self._show_unfinished()
        self._set_buttons()
        if lacking:
            self._say(lacking, bad=True)

    @property
    def dialogue(self) -> Dialogue | None:
        """Task, side and turns of the talk that goes on, to compare answers at this place of it."""
        talk = self.talk
        return Dialogue(talk.task, talk.beginning.side, self._rules, talk.turns) if talk else None

    def _make_widgets(self, tasks: Sequence[SocialTask]) -> None:
        self.choice = TaskChoice(tasks)
        self.agent = AgentChoice(self._company.names, self._company.latest)
        self.start = self._home.button("Start talking", self._start, "primary")
        self.earlier = widgets.Dropdown(description="Unfinished", style=LABELS, layout=widgets.Layout(width="28em"))
        self.resume = self._home.button("Go on with it", self._resume)
        self.action = ActionForm(self._home, self._decide, lambda text: self._say(text, bad=True), "Send")
        self.stop_reply = self._home.button("Stop this reply", self._stop_reply)
        self.again = self._home.button("Ask for a reply again", self._ask_again)
        self.end = self._home.button("End and rate", self._end)
        self.stop = self._home.button("Stop this talk", self._stop)
        self.message, self.side_view, self.chat_view = widgets.HTML(), widgets.HTML(), widgets.HTML()
        self._earlier_row = row([self.earlier, self.resume])
        start_row = row([self.start])
        self._chooser = widgets.VBox([self.choice.widget, self.agent.widget, start_row, self._earlier_row])
        self._buttons = row([self.stop_reply, self.again, self.end, self.stop])
        style = widgets.HTML(TALK_STYLE)
        shown = [style, self._chooser, self.side_view, self.chat_view, self.action.widget, self._buttons, self.message]
        self.widget = widgets.VBox(shown, layout=widgets.Layout(max_width="62em"))

    def _repr_mimebundle_(self, **options: Any) -> dict[str, Any]:
        """The live form, and beside it what a page without scripts shows instead."""
        return {**self.widget._repr_mimebundle_(**options), "text/html": self.static_html()}

    def static_html(self) -> str:
        """The form on paper: how to have a talk, and with whom one could."""
        there = ", ".join(self._company.names)
        away = " ".join(f"{variant}: {reason}." for variant, reason in self._company.absent.items())
        return (
            f"{said(self._lacking, bad=True)}<p>{len(self._tasks)} tasks to choose from. One can talk to: "
            f"{escaped(there)}. {escaped(away)}</p>"
            "<p>Open this notebook in JupyterLab, Run All, choose a task, a character and whom to talk to, and press "
            "Start talking.</p>"
        )

    # What a person presses

    def _start(self) -> None:
        task, side, agent = self.choice.task, self.choice.side.value, self.agent.value
        self._begin(Beginning.now(task.id, side, agent, self._files.next_number()), task)

    def _resume(self) -> None:
        talk = next((talk for talk in self._files.unfinished() if talk.id == self.earlier.value), None)
        task = self._tasks.get(talk.beginning.task_id) if talk else None
        if task is None:
            gone = "its task is no longer among those of this run" if talk else "it was ended elsewhere"
            self._say(f"Cannot go on with this talk: {gone}.", bad=True)
            return
        self._begin(talk.beginning, task, talk)

    def _begin(self, beginning: Beginning, task: SocialTask, earlier: Unfinished | None = None) -> None:
        self.talk = self.episode = None
        self.side_view.value = self.chat_view.value = ""
        self._say(f"Opening {beginning.agent} … (a model on this machine takes some seconds the first time)")
        self._run(self._open(beginning, task, earlier))

    def _decide(self, action: Action) -> None:
        if self.talk is None or not self.talk.person.is_asked:
            self._say("Not sent: it is the other one's turn.", bad=True)
            return
        self._say("")
        self.action.clear()
        self.talk.person.decide(action)
        self._set_buttons()

    def _stop_reply(self) -> None:
        self._cancel()
        self._coming = None
        self._draw()
        self._say("The reply was stopped and counts for nothing.")
        self._set_buttons()

    def _ask_again(self) -> None:
        self._say("")
        self._run(self._play(self.talk))

    def _end(self) -> None:
        """The person leaves; where the other has to speak first, as soon as it has."""
        self.talk.leave()
        if self._running is None:
            self._ask_again()
        if not self.talk.is_persons_turn:
            self._say("The other one answers once more; then you leave.")

    def _stop(self) -> None:
        self._cancel()
        kept = self.talk is not None and bool(self.talk.turns)
        self.talk, self._coming = None, None
        self.side_view.value = self.chat_view.value = ""
        self._say("Stopped. The talk is kept under 'Unfinished'." if kept else "Stopped before anything was said.")
        self._show_unfinished()
        self._set_buttons()

    # What goes on meanwhile

    def _run(self, work: Awaitable[None]) -> None:
        self._running = asyncio.get_running_loop().create_task(self._watched(work))
        self._set_buttons()

    async def _watched(self, work: Awaitable[None]) -> None:
        """Do the work; what fails is told in the form and loses nothing."""
        me = asyncio.current_task()
        try:
            await work
        except Exception as error:  # noqa: BLE001 (told to the person, who decides how to go on)
            self._fail(f"{type(error).__name__}: {error}")
        finally:
            if self._running is me:
                self._running, self._coming = None, None
                self._set_buttons()

    def _cancel(self) -> None:
        if self._running is not None:
            self._running.cancel()
            self._running = None

    async def _open(self, beginning: Beginning, task: SocialTask, earlier: Unfinished | None) -> None:
        policy = await self._company.policy(beginning.agent)
        turns = earlier.turns if earlier else ()
        talk = Talk(beginning, task, policy, self._rules, self._note, self._hear, turns)
        if earlier and talk.id != earlier.id:
            raise ValueError(
                f"talk {earlier.id} cannot go on: {beginning.agent!r} or the rules have changed since, and it would "
                f"end as another talk. It stays on the disk; start a new one"
            )
        self.talk = talk
        self.side_view.value = side_html(talk.seen)
        self._say("")
        await self._play(talk)

    async def _play(self, talk: Talk) -> None:
        episode = await talk.play()
        if episode.outcome == "policy_api_error":
            self._fail(episode.failure)
            return
        self._files.save(episode, talk.task)
        self.talk, self.episode = None, episode
        await self._show_end(talk, episode)

    async def _show_end(self, talk: Talk, episode: Episode) -> None:
        """The transcript at once, and once more when the judge has spoken."""
        self.side_view.value, self.chat_view.value = "", episode_html(talk.task, episode)
        self._show_unfinished()
        over = ended_in_words(episode.turns, episode.ending)
        if episode.outcome != "completed":
            self._say(f"{over} It is saved and not rated: {episode.failure}", bad=True)
            return
        self._say(f"{over} Saved. Being rated …")
        try:
            ratings = await self._company.rate(episode, talk.task)
        except Exception as error:  # noqa: BLE001 (told to the person; the talk is saved)
            self._say(f"{over} Saved, but not rated: {type(error).__name__}: {error}. Run All rates it.", bad=True)
            return
        self._files.rate(ratings)
        self.chat_view.value = episode_html(talk.task, episode, ratings)
        why_not = _why_unrated(ratings)
        self._say(f"{over} {f'Saved, but not rated: {why_not}' if why_not else 'Saved and rated.'}", bad=bool(why_not))

    def _note(self, seen: Observation) -> None:
        """It is somebody's turn: keep what there is, and show it."""
        if seen.turns:
            self._files.keep(self.talk.unfinished)
        mine = seen.side == self.talk.beginning.side
        self._coming = None if mine else ""
        if mine and len(seen.turns) > 1 and self._first_at:
            took, first = time.monotonic() - self._asked_at, self._first_at - self._asked_at
            self._say(f"Answered in {took:.1f} s, first words after {first:.1f} s.")
        self._asked_at, self._first_at = time.monotonic(), 0.0
        self._draw()
        # Whoever is noted has not been asked yet: the buttons follow when they have.
        asyncio.get_running_loop().call_soon(self._set_buttons)

    def _hear(self, text: str) -> None:
        if text and not self._first_at:
            self._first_at = time.monotonic()
        self._coming = text
        if self._due is None:
            self._due = asyncio.get_running_loop().call_later(DRAW_EVERY_S, self._draw)

    def _draw(self) -> None:
        if self._due is not None:
            self._due.cancel()
            self._due = None
        if self.talk is not None:
            self.chat_view.value = talk_html(self.talk.seen, self._coming)

    def _fail(self, reason: str) -> None:
        self._coming = None
        self._draw()
        kept = AFTER_FAILURE if self.talk is not None else "Nothing was started; choose again."
        self._say(f"It stopped here. {reason} {kept}", bad=True)

    # How it looks

    def _set_buttons(self) -> None:
        talk, busy = self.talk, self._running is not None
        mine = talk is not None and talk.person.is_asked
        self.start.disabled = self.resume.disabled = busy or talk is not None or bool(self._lacking)
        self.action.disabled = not mine
        self.stop_reply.disabled = not (talk is not None and busy and not mine)
        self.again.disabled = talk is None or busy
        self.end.disabled = talk is None or not talk.turns
        self.stop.disabled = talk is None and not busy
        self._chooser.layout.display = "none" if talk is not None else ""
        live = "" if talk is not None else "none"
        self.action.widget.layout.display = live
        self._buttons.layout.display = "" if talk is not None or busy else "none"

    def _show_unfinished(self) -> None:
        talks = self._files.unfinished()
        self.earlier.options = [(_unfinished_label(talk), talk.id) for talk in talks]
        self.earlier.value = talks[0].id if talks else None
        self._earlier_row.layout.display = "" if talks else "none"

    def _say(self, text: str, bad: bool = False) -> None:
        self.message.value = said(text, bad)


def _why_unrated(ratings: Sequence[Rating]) -> str:
    """Why an episode with these ratings has no scores, or "" where it has."""
    if not ratings:
        return "the rule cannot rate a task without payoffs; name a language model as judge."
    if ratings[0].outcome == "ok":
        return ""
    last = ratings[0].raw[-1] if ratings[0].raw else {}
    again = " Run All asks the judge again." if ratings[0].outcome == "api_error" else ""
    return f"{ratings[0].outcome} ({last.get('problem') or 'no reason was kept'}).{again}"


def _unfinished_label(talk: Unfinished) -> str:
    began = datetime.fromtimestamp(talk.beginning.started_ms / 1000, UTC)
    return visible(f"{began:%Y-%m-%d %H:%M} UTC, with {talk.beginning.agent}, {len(talk.turns)} turns")
