"""Whether exported training data is what was trained on: rendered again from the episodes, and from the text alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sotopia_pi.formats.sft_layouts import KeptTurns
from sotopia_pi.models.roles import ModelSpec, missing_for
from sotopia_pi.models.seam import Message
from sotopia_pi.stages.examples import SFTExample, side_examples

if TYPE_CHECKING:
    from sotopia_pi.models.render import Renderer


@dataclass(frozen=True)
class Compared:
    """same: ids of examples that come out of the episodes as they were trained on; differ: of those that do not.

    retokenised: ids of examples whose exported text the tokenizer splits otherwise than the model had sampled it. Their
    words are the same; a trainer that reads the text learns other tokens for them. unchecked: why nothing was compared.
    """

    same: tuple[str, ...] = ()
    differ: tuple[str, ...] = ()
    retokenised: tuple[str, ...] = ()
    unchecked: str = ""

    def counts(self) -> dict[str, int]:
        if self.unchecked:
            return {}
        return {
            "examples rendered again the same": len(self.same),
            "examples rendered again otherwise": len(self.differ),
            "examples whose text is tokenised otherwise": len(self.retokenised),
        }

    def to_dict(self) -> dict[str, Any]:
        if self.unchecked:
            return {"unchecked": self.unchecked}
        return {"rendered_otherwise": list(self.differ), "tokenised_otherwise": list(self.retokenised)}


def compare(sides: Sequence[KeptTurns], trained: Sequence[SFTExample], model: str) -> Compared:
    """Compare what was trained on with the same sides rendered anew by the tokenizer of `model`.

    Nothing is downloaded for it: where the model is not on this machine, `unchecked` says so.
    """
    missing = missing_for(ModelSpec("agent", "local", model))
    if missing:
        return Compared(unchecked="; ".join(missing))
    renderer = _renderer(model)
    same, differ, retokenised = [], [], []
    by_place = {(e.episode_id, e.side, e.turn): e for e in trained}
    for side in sides:
        again = side_examples(side.episode, side.side, side.task, renderer, side.prompt_format)
        found = {example.turn: example for example in again}
        for turn, messages in _as_text(side):
            example = by_place[side.episode.id, side.side, turn]
            (same if found[turn].id == example.id else differ).append(example.id)
            if _up_to_own_words(renderer, messages) != example.ids:
                retokenised.append(example.id)
    return Compared(tuple(same), tuple(differ), tuple(retokenised))


def _as_text(side: KeptTurns) -> list[tuple[int, list[Message]]]:
    """The exported text of each example of a side, by the example's turn."""
    if side.prompt_format == "chat":
        return [(-1, side.conversation())]
    return [(turn.index, [*side.asked(turn), Message("assistant", side.answer(turn))]) for turn in side.taught]


def _up_to_own_words(renderer: "Renderer", messages: Sequence[Message]) -> tuple[int, ...]:
    rendered = renderer.render(messages, add_generation_prompt=False)
    end = max((place for place, own in enumerate(rendered.own) if own), default=-1) + 1
    return tuple(rendered.ids[:end])


def _renderer(model: str) -> "Renderer":
    from transformers import AutoTokenizer

    from sotopia_pi.models.render import Renderer
    from sotopia_pi.models.weights import prepare

    return Renderer(AutoTokenizer.from_pretrained(prepare(model)))
