"""Kept sides as training files of other tools: prompt and completion, `messages`, and LLaMA-Factory's Alpaca layout.

All are JSON Lines in which every row has the same fields, as the plain `json` builder of the `datasets` package
wants it. The words are those of models/prompts.py, which also played: what is learnt is what was asked and said.
Where a model's sampled tokens were trained on, the words are the model's own, as it wrote them.
"""

import json
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, get_args

from sotopia_pi.formats.record_lines import Unreadable
from sotopia_pi.models.prompts import PROMPT_FORMATS, chat_messages, chat_text, messages_for, sotopia_text
from sotopia_pi.models.seam import Message
from sotopia_pi.stages.examples import Kept, teaches
from sotopia_pi.store.items import write_atomically, write_items
from sotopia_pi.world.actions import Turn
from sotopia_pi.world.episode import Episode, Rules, observe
from sotopia_pi.world.tasks import SocialTask

Layout = Literal["prompt-completion", "messages", "alpaca"]
LAYOUTS: tuple[Layout, ...] = get_args(Layout)
DATASET_INFO = "dataset_info.json"
"""Where LLaMA-Factory looks data sets up."""
_INFO: Mapping[Layout, dict[str, Any]] = MappingProxyType(
    {
        "alpaca": {
            "formatting": "alpaca",
            "columns": {
                "prompt": "instruction",
                "query": "input",
                "response": "output",
                "system": "system",
                "history": "history",
            },
        },
        "messages": {
            "formatting": "sharegpt",
            "columns": {"messages": "messages"},
            "tags": {
                "role_tag": "role",
                "content_tag": "content",
                "user_tag": "user",
                "assistant_tag": "assistant",
                "system_tag": "system",
            },
        },
    }
)


@dataclass(frozen=True)
class KeptTurns:
    """A kept side with what it was asked and said at its turns. only: the turns to teach by index; None: all."""

    episode: Episode
    side: int
    task: SocialTask
    prompt_format: str
    only: Container[int] | None = None

    @property
    def own(self) -> list[Turn]:
        return [turn for turn in self.episode.turns if turn.side == self.side]

    @property
    def taught(self) -> list[Turn]:
        """Anything but a `none`, chosen or standing in for a failure; `leave` is among them."""
        return [turn for turn in self.own if teaches(turn) and (self.only is None or turn.index in self.only)]

    def asked(self, turn: Turn) -> list[Message]:
        """The conversation that the side had to answer at a turn."""
        seen = observe(self.task, self.side, list(self.episode.turns[: turn.index]), Rules(**self.episode.rules))
        return self._in_own_words(messages_for(seen, self.prompt_format))

    def answer(self, turn: Turn) -> str:
        """What the side said at a turn: the model's text where its tokens were sampled here, else the action."""
        if turn.calls and turn.calls[-1].get("token_ids") and not turn.failed:
            return turn.calls[-1]["text"].strip()
        return chat_text(turn.action) if self.prompt_format == "chat" else sotopia_text(turn.action)

    def conversation(self) -> list[Message]:
        """The whole side in `chat`, up to its last turn that teaches; `supervised` marks the messages to learn."""
        last = self.taught[-1].index + 1
        seen = observe(self.task, self.side, list(self.episode.turns[:last]), Rules(**self.episode.rules))
        return self._in_own_words(chat_messages(seen))

    def _in_own_words(self, messages: Sequence[Message]) -> list[Message]:
        """Messages as text alone; those of the side itself in the words of its answers."""
        own = iter(self.own)
        return [self._said(next(own)) if message.role == "assistant" else message for message in messages]

    def _said(self, turn: Turn) -> Message:
        return Message("assistant", self.answer(turn), supervised=teaches(turn))


def export_sft(
    path: Path | str,
    layout: Layout,
    kept: Iterable[Kept],
    episodes: Iterable[Episode],
    tasks: Iterable[SocialTask],
    prompt_format: str = "sotopia",
    turns: Mapping[tuple[str, int], Container[int] | None] | None = None,
) -> dict[str, int]:
    """Write the kept sides as training data; returns counts of sides, own turns, turns without loss, and rows.

    turns: (episode id, side) -> indices of its turns that are to be learnt; None, there or here: all that teach.

    `prompt-completion`: one row a taught turn, each part a list of messages with role and content.
    `messages`: one row a taught turn in the `sotopia` format, one a side in `chat`; `weight` 0 marks what is not to be
    learnt, and a trainer that does not know it learns `[none]` too: the other layouts hold no such turn.
    `alpaca`: one row a taught turn; earlier turns are its history, so train with `mask_history: true`, else they are
    learnt again in every row. The file is entered in the `dataset_info.json` beside it.

    Raises ValueError for an unknown layout or format, KeyError where a kept side's episode or task is not given.
    """
    if layout not in LAYOUTS or prompt_format not in PROMPT_FORMATS:
        raise ValueError(
            f"layout {layout!r} in format {prompt_format!r}; allowed layouts: {', '.join(LAYOUTS)}; "
            f"allowed formats: {', '.join(PROMPT_FORMATS)}"
        )
    path = Path(path)
    counts: Counter = Counter({"sides": 0, "own turns": 0, "turns without loss": 0, "rows": 0})
    rows = []
    for side in kept_turns(kept, episodes, tasks, prompt_format, turns):
        made = list(_rows(layout, side))
        rows += made
        idle = len(side.own) - len(side.taught)
        counts.update({"sides": 1, "own turns": len(side.own), "turns without loss": idle, "rows": len(made)})
    write_items(path, rows)
    if layout in _INFO:
        enter_dataset(path, layout)
    return dict(counts)


def kept_turns(
    kept: Iterable[Kept],
    episodes: Iterable[Episode],
    tasks: Iterable[SocialTask],
    prompt_format: str,
    turns: Mapping[tuple[str, int], Container[int] | None] | None = None,
) -> Iterator[KeptTurns]:
    """Each kept side with its episode and task. Raises KeyError."""
    episode_of = {episode.id: episode for episode in episodes}
    task_of = {task.id: task for task in tasks}
    for one in kept:
        if one.episode_id not in episode_of:
            raise KeyError(f"episode {one.episode_id} was kept but is not among the {len(episode_of)} given; pass it")
        episode = episode_of[one.episode_id]
        if episode.task_id not in task_of:
            raise KeyError(f"task {episode.task_id} of {episode.id} is not among the {len(task_of)} given; pass it")
        only = turns[one.episode_id, one.side] if turns is not None else None
        yield KeptTurns(episode, one.side, task_of[episode.task_id], prompt_format, only)


def enter_dataset(path: Path, layout: Layout) -> None:
    """Enter a file in the `dataset_info.json` of its folder under its stem; other entries stay as they are.

    Raises Unreadable where that file is there and holds no JSON object.
    """
    info = path.parent / DATASET_INFO
    try:
        entries = json.loads(info.read_text(encoding="utf-8")) if info.is_file() else {}
    except ValueError as error:
        raise Unreadable(f"{DATASET_INFO} beside the data is not JSON ({error}); mend it or move it away") from error
    if not isinstance(entries, dict):
        raise Unreadable(f"{DATASET_INFO} beside the data holds no JSON object; mend it or move it away")
    entries[path.stem] = {"file_name": path.name, **_INFO[layout]}
    write_atomically(info, (json.dumps(entries, ensure_ascii=False, indent=2) + "\n").encode())


def _rows(layout: Layout, side: KeptTurns) -> Iterator[dict[str, Any]]:
    source = {"episode_id": side.episode.id, "side": side.side}
    if layout == "messages" and side.prompt_format == "chat":
        if side.taught:
            yield {"messages": [_weighted(message) for message in side.conversation()], **source, "turn": -1}
        return
    for turn in side.taught:
        asked, answer = side.asked(turn), side.answer(turn)
        if layout == "alpaca":
            row = _alpaca(asked, answer)
        elif layout == "messages":
            before = [_message(message) | {"weight": 0} for message in asked]
            row = {"messages": [*before, {"role": "assistant", "content": answer, "weight": 1}]}
        else:
            row = {"prompt": [_message(m) for m in asked], "completion": [{"role": "assistant", "content": answer}]}
        yield {**row, **source, "turn": turn.index}


def _alpaca(asked: list[Message], answer: str) -> dict[str, Any]:
    """The last message is the instruction, a system message the system prompt, what lies between pairs of history."""
    system = asked[0].content if asked[0].role == "system" else ""
    talk = [message.content for message in asked if message.role != "system"]
    history = [list(pair) for pair in zip(talk[:-1:2], talk[1:-1:2], strict=True)]
    return {"instruction": talk[-1], "input": "", "output": answer, "system": system, "history": history}


def _message(message: Message) -> dict[str, str]:
    return {"role": message.role, "content": message.content}


def _weighted(message: Message) -> dict[str, Any]:
    return _message(message) | {"weight": int(message.role == "assistant" and message.supervised)}
