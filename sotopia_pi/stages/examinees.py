"""Who is examined: the base, the trained variants of a run, and any further local model."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from sotopia_pi.models.local_model import LocalModel
from sotopia_pi.models.roles import missing_for, parse_model
from sotopia_pi.models.weights import prepare
from sotopia_pi.stages.evaluate import BASE
from sotopia_pi.stages.mmlu import Answer, Examination, examine
from sotopia_pi.stages.simulate import Progress
from sotopia_pi.stages.trained import trained_adapters
from sotopia_pi.store.items import ItemFile
from sotopia_pi.store.params import ParameterError
from sotopia_pi.store.stage import Stage


@dataclass(frozen=True)
class Examinee:
    """variant: as tables show it. model: known name, folder or hub id of the base; adapter: LoRA folder or None."""

    variant: str
    model: str
    adapter: Path | None = None


@dataclass(frozen=True)
class Examinees:
    """Who is there, and why the others are not (variant -> reason)."""

    present: tuple[Examinee, ...]
    absent: dict[str, str]

    def only(self, variants: Sequence[str]) -> "Examinees":
        """Those named; none named: all. Raises ParameterError where nobody is left."""
        kept = tuple(e for e in self.present if not variants or e.variant in variants)
        if not kept:
            raise ParameterError(
                f"only is {list(variants)}, and none of them is there; there are: "
                f"{', '.join(e.variant for e in self.present)}"
            )
        return Examinees(kept, self.absent)


def examinees(stage: Stage, model: str, more: Sequence[str] = ()) -> Examinees:
    """The base, the variants that stages 03 and 05 of this run trained, and further models.

    more: model strings `local:NAME_OR_FOLDER[+ADAPTER]`. A stage that is not made yet is a reason, not an error.
    Raises ParameterError for a string that names no local model or an adapter that is not there.
    """
    adapters, absent = trained_adapters(stage)
    present = [Examinee(BASE, model), *(Examinee(name, model, folder) for name, folder in adapters.items())]
    return Examinees((*present, *map(_named, more)), absent)


async def examine_all(
    who: Examinees, examination: Examination, file: ItemFile, progress: Progress, loading: dict[str, Any]
) -> list[Answer]:
    """The answers of all who are present, one base model in memory at a time.

    loading: settings of `LocalModel` (dtype, max_batch, max_context, exact).
    """
    answers = []
    for model, group in groupby(who.present, key=lambda e: e.model):
        members = list(group)
        adapters = {e.variant: e.adapter for e in members if e.adapter}
        slots = 2 * loading["max_batch"] + 1
        with LocalModel(prepare(model), adapters=adapters, slots=slots, **loading) as local:
            for member in members:
                adapter = member.variant if member.adapter else None
                chat, digest = local.chat(adapter), local.digest(adapter)
                answers += await examine(member.variant, chat, digest, examination, file, progress)
    return answers


def _named(text: str) -> Examinee:
    spec = parse_model("agent", text)
    if spec.kind != "local":
        raise ParameterError(
            f"more_agents: {text!r} cannot be asked for the probabilities of letters; allowed: "
            f"local:NAME_OR_FOLDER[+ADAPTER]"
        )
    if spec.adapter and (missing := missing_for(spec)):
        raise ParameterError("; ".join(missing))
    return Examinee(str(spec), spec.name, Path(spec.adapter).expanduser() if spec.adapter else None)
