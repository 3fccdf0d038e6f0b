"""Stage 05: self-reinforcement, a variant learning from the best of its own play."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sotopia_pi.models.render import Renderer
from sotopia_pi.stages.examples import SFTExample, build_examples
from sotopia_pi.stages.lora import LoraSettings
from sotopia_pi.stages.played import Played
from sotopia_pi.stages.selection import Selection, select
from sotopia_pi.stages.simulate import Progress
from sotopia_pi.stages.training_plan import TrainingPlan, train_as_planned

FOLDERS = {"SR": "sr", "BC+SR": "bc_sr"}


@dataclass(frozen=True)
class Round:
    """What one variant has to learn from. reason: why there is nothing, else empty."""

    variant: str
    selection: Selection | None
    examples: tuple[SFTExample, ...]
    counts: dict[str, int]
    reason: str = ""

    def __str__(self) -> str:
        if self.reason:
            return f"{self.variant} is not trained: {self.reason}"
        return f"{self.variant}: " + ", ".join(f"{step} {n}" for step, n in self.counts.items())


def prepare_round(
    variant: str,
    own: Played,
    probe: Mapping[str, Any],
    choice: Mapping[str, Any],
    renderer: Renderer,
    prompt_format: str,
    max_tokens: int,
) -> Round:
    """Select from a variant's own play and render what was kept.

    own, probe: episodes and verdict of the agent it continues. choice: arguments of `select`.
    """
    if not probe["passed"]:
        return Round(variant, None, (), {}, probe["said"])
    selection = select(own.episodes, own.ratings, tasks=own.tasks, **choice)
    if not selection.kept:
        return Round(variant, selection, (), selection.counts, "the selection kept no side of its own play")
    built = build_examples(
        own.episodes, selection.kept, own.tasks.values(), renderer, prompt_format, max_tokens=max_tokens
    )
    reason = "" if built.examples else "no kept side has a turn to learn from"
    return Round(variant, selection, built.examples, selection.counts | built.counts, reason)


@dataclass(frozen=True)
class Reinforced:
    """A variant after its round. folder: where adapter, metrics and settings lie, None when it was not trained."""

    variant: str
    folder: Path | None
    reason: str = ""
    adapter_digest: str = ""

    @property
    def trained(self) -> bool:
        return self.folder is not None

    def __str__(self) -> str:
        return (
            f"{self.variant}: adapter {self.adapter_digest}"
            if self.trained
            else f"{self.variant} not trained: {self.reason}"
        )

    def to_dict(self) -> dict[str, Any]:
        return {
            "schema": "variant/1",
            "id": self.variant,
            "trained": self.trained,
            "reason": self.reason,
            "folder": self.folder.name if self.trained else "",
            "adapter_digest": self.adapter_digest,
        }


def reinforce(
    round_: Round,
    model: str,
    settings: LoraSettings,
    out_dir: Path,
    start_from: Path | None,
    here: bool,
    progress: Progress,
) -> Reinforced:
    """Train one variant on its round, from the base (start_from None) or from an adapter; or say why not.

    out_dir: the stage's folder, where examples.jsonl lies. here: as `train_as_planned` takes it.
    """
    if round_.reason:
        return Reinforced(round_.variant, None, round_.reason)
    folder = out_dir / FOLDERS[round_.variant]
    plan = TrainingPlan.of(folder, model, settings, out_dir / "examples.jsonl", round_.examples, start_from)
    trained = train_as_planned(plan, folder, here, progress)
    return Reinforced(round_.variant, folder, adapter_digest=trained.adapter_digest)
