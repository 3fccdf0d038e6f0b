"""Examples: kept sides of episodes as token ids with a loss mask over the agent's own words."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol

from sotopia_pi.models.prompts import PROMPT_FORMATS, chat_messages, sotopia_messages, sotopia_text
from sotopia_pi.models.render import Renderer
from sotopia_pi.models.seam import Message
from sotopia_pi.store.items import content_id
from sotopia_pi.world.actions import Turn
from sotopia_pi.world.episode import Episode, Rules, observe
from sotopia_pi.world.tasks import SocialTask


class Kept(Protocol):
    """Names one side of one episode; `selection.KeptSide` is one."""

    episode_id: str
    side: int


@dataclass(frozen=True)
class SFTExample:
    """Something to learn from. ids: tokens; own: as long, 1 where the loss counts (own words and end marker).

    turn: index of the one turn it teaches in the `sotopia` format, -1 where it holds a whole side.
    """

    episode_id: str
    side: int
    ids: tuple[int, ...]
    own: tuple[int, ...]
    turn: int = -1

    def __post_init__(self):
        object.__setattr__(self, "ids", tuple(int(i) for i in self.ids))
        object.__setattr__(self, "own", tuple(int(o) for o in self.own))
        if len(self.ids) != len(self.own):
            raise ValueError(f"{self.episode_id}, side {self.side}: {len(self.ids)} ids but a mask of {len(self.own)}")

    @property
    def id(self) -> str:
        """Hash of everything above."""
        return content_id("example", [self.episode_id, self.side, self.turn, self.ids, self.own])

    @property
    def n_supervised(self) -> int:
        """Tokens with a loss. The first token of all never has one: nothing comes before it."""
        return sum(self.own[1:])

    def to_dict(self) -> dict[str, Any]:
        return {
            "schema": "sft/1",
            "id": self.id,
            "episode_id": self.episode_id,
            "side": self.side,
            "turn": self.turn,
            "ids": list(self.ids),
            "own": list(self.own),
        }

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> "SFTExample":
        return cls(record["episode_id"], record["side"], record["ids"], record["own"], record.get("turn", -1))


@dataclass(frozen=True)
class ExampleSet:
    """The examples of a selection. counts: label -> number (sides, turns, examples, tokens and what was left out)."""

    examples: tuple[SFTExample, ...]
    counts: dict[str, int]

    def __len__(self) -> int:
        return len(self.examples)

    def __iter__(self) -> Iterator[SFTExample]:
        return iter(self.examples)


class TooManyTooLong(ValueError):
    """More examples than allowed are longer than the cutoff."""


def build_examples(
    episodes: Iterable[Episode],
    kept: Iterable[Kept],
    tasks: Iterable[SocialTask],
    renderer: Renderer,
    prompt_format: str = "chat",
    max_tokens: int = 4096,
    max_dropped_share: float = 0.1,
) -> ExampleSet:
    """Examples of the kept sides, in their order.

    `chat`: one example a side, the loss on all its turns; `sotopia`: one example a turn. A `none`, chosen or standing
    in for a failure, carries no loss; `leave` does. Ids that were sampled are used as they are.
    max_tokens: longer examples are left out and counted, never cut; max_dropped_share: in [0, 1], above it
    TooManyTooLong is raised. Raises KeyError where a kept side's episode or task is not among those given.
    """
    by_id = {episode.id: episode for episode in episodes}
    task_of = {task.id: task for task in tasks}
    counts = dict.fromkeys(("sides", "own turns", "turns without loss", "over the cutoff", "without a target"), 0)
    examples: list[SFTExample] = []
    for item in kept:
        episode = _found(by_id, item.episode_id, "episode")
        task = _found(task_of, episode.task_id, "task")
        counts["sides"] += 1
        own_turns = [turn for turn in episode.turns if turn.side == item.side]
        counts["own turns"] += len(own_turns)
        counts["turns without loss"] += sum(not teaches(turn) for turn in own_turns)
        for example in side_examples(episode, item.side, task, renderer, prompt_format):
            if len(example.ids) > max_tokens:
                counts["over the cutoff"] += 1
            elif not example.n_supervised:
                counts["without a target"] += 1
            else:
                examples.append(example)
    _refuse_too_many(counts["over the cutoff"], len(examples), max_tokens, max_dropped_share)
    counts["examples"] = len(examples)
    counts["tokens"] = sum(len(e.ids) for e in examples)
    counts["supervised tokens"] = sum(e.n_supervised for e in examples)
    return ExampleSet(tuple(examples), counts)


def side_examples(
    episode: Episode, side: int, task: SocialTask, renderer: Renderer, prompt_format: str = "chat"
) -> list[SFTExample]:
    """Examples of one side: one in `chat`, one per teaching turn in `sotopia`."""
    rules = Rules(**episode.rules)
    if prompt_format == "chat":
        messages = chat_messages(observe(task, side, list(episode.turns), rules))
        return [_example(episode, side, _without_loss_on_none(messages, episode, side), renderer)]
    if prompt_format == "sotopia":
        taught = [turn for turn in episode.turns if turn.side == side and teaches(turn)]
        return [_turn_example(episode, turn, task, rules, renderer) for turn in taught]
    raise ValueError(f"prompt_format is {prompt_format!r}; allowed: {', '.join(sorted(PROMPT_FORMATS))}")


def teaches(turn: Turn) -> bool:
    """Whether a turn carries a loss: anything but a `none`, and never one that stands in for a failure."""
    return not turn.failed and turn.action.type != "none"


def _turn_example(episode: Episode, turn: Turn, task: SocialTask, rules: Rules, renderer: Renderer) -> SFTExample:
    """What was asked at a turn of the `sotopia` format, and the JSON that was said."""
    asked = sotopia_messages(observe(task, turn.side, list(episode.turns[: turn.index]), rules))
    sampled = turn.calls[-1].get("token_ids") if turn.calls else None
    said = Message("assistant", sotopia_text(turn.action), tuple(sampled) if sampled else None)
    return _example(episode, turn.side, [*asked, said], renderer, turn.index)


def _without_loss_on_none(messages: list[Message], episode: Episode, side: int) -> list[Message]:
    """The same messages, with the loss taken off the turns that do not teach."""
    own_turns = [turn for turn in episode.turns if turn.side == side]
    spoken = [i for i, message in enumerate(messages) if message.role == "assistant"]
    if len(spoken) != len(own_turns):
        raise ValueError(
            f"{episode.id}, side {side}: the prompt holds {len(spoken)} assistant messages for {len(own_turns)} own "
            f"turns; one a turn is needed to know which of them to learn"
        )
    marked = list(messages)
    for i, turn in zip(spoken, own_turns, strict=True):
        marked[i] = replace(marked[i], supervised=teaches(turn))
    return marked


def _example(episode: Episode, side: int, messages: list[Message], renderer: Renderer, turn: int = -1) -> SFTExample:
    """Rendered up to the last supervised token; what follows it cannot be learnt from."""
    rendered = renderer.render(messages, add_generation_prompt=False)
    end = max((i for i, own in enumerate(rendered.own) if own), default=-1) + 1
    return SFTExample(episode.id, side, tuple(rendered.ids[:end]), tuple(map(int, rendered.own[:end])), turn)


def _found(by_id: dict[str, Any], wanted: str, kind: str) -> Any:
    if wanted not in by_id:
        raise KeyError(f"{kind} {wanted} was selected but is not among the {len(by_id)} given; pass the same {kind}s")
    return by_id[wanted]


def _refuse_too_many(n_over: int, n_left: int, max_tokens: int, max_share: float) -> None:
    if n_over and n_over > max_share * (n_over + n_left):
        raise TooManyTooLong(
            f"{n_over} of {n_over + n_left} examples are longer than max_tokens = {max_tokens}, more than the allowed "
            f"share {max_share:g}. Nothing was cut. Raise max_tokens, or allow more to be left out."
        )
