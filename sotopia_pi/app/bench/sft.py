"""Fine-tuning for one epoch, against TRL's SFTTrainer with one example per turn.

The peer is how the method was released and how dialogues are mostly trained on: every own turn is an example, its
prompt the whole talk before it. It gets the same token ids and labels (so the same supervised tokens), the same LoRA on
the same weights in the same dtype, its own fused output layer, no gradient checkpointing (its default would be a third
slower), examples grouped by length, and the batch size and attention that it was fastest with of those tried here.
Its optimiser steps hold as many turns as ours. It runs the first 20 of the 200 episodes.
"""

import asyncio
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from transformers import AutoConfig, AutoTokenizer

from sotopia_pi.app.bench.arithmetic import ModelCost
from sotopia_pi.app.bench.limits import Limits
from sotopia_pi.app.bench.peers import run_peer
from sotopia_pi.app.bench.work import Contest, Unequal
from sotopia_pi.models.negotiator import Expert
from sotopia_pi.models.precision import fast_dtype
from sotopia_pi.models.render import Renderer
from sotopia_pi.models.weights import DEFAULT_MODEL, prepare
from sotopia_pi.stages.examples import SFTExample, side_examples
from sotopia_pi.stages.finetune import TrainingResult, train_adapter
from sotopia_pi.stages.lora import LoraSettings, base_with_adapter, save_adapter
from sotopia_pi.stages.tasks import TaskCounts, draw_tasks
from sotopia_pi.store.items import ItemFile
from sotopia_pi.world.episode import EpisodePlan, Rules, play

EPISODES, SUBSAMPLE = 200, 20
SAMPLE = 4
"""Episodes for the comparison of losses: two optimiser steps on all of them, in float32."""

TOLERANCE = 1e-3
PEER_BATCH, PEER_ATTENTION = 4, "eager"
SUPERVISED_EVERY = 6
"""One token in so many has a loss, as in the episodes between experts, where examples are cut out of anything."""


def expert_sides(folder: Path, episodes: int) -> list[SFTExample]:
    """One side of each of that many episodes between two experts, as behaviour cloning gets them; always the same."""
    renderer, expert = Renderer(AutoTokenizer.from_pretrained(folder)), Expert()
    tasks = draw_tasks("bc", TaskCounts(zone=episodes), seed=0)

    async def played() -> list:
        return await asyncio.gather(*(play(EpisodePlan(task, (expert, expert), Rules(), 0)) for task in tasks))

    pairs = zip(asyncio.run(played()), tasks, strict=True)
    return [side_examples(episode, k % 2, task, renderer)[0] for k, (episode, task) in enumerate(pairs)]


def cut_examples(cuts: Sequence[Sequence[int]]) -> list[SFTExample]:
    """Token ids as examples, one in SUPERVISED_EVERY tokens with a loss."""
    return [
        SFTExample(f"cut-{k}", 0, ids, [n % SUPERVISED_EVERY == SUPERVISED_EVERY - 1 for n in range(len(ids))])
        for k, ids in enumerate(cuts)
    ]


def fastest_step(folder: Path, examples: Sequence[SFTExample], settings: LoraSettings) -> dict[str, float]:
    """Tokens and supervised tokens per second, by these names, of the fastest optimiser step of a training."""
    with tempfile.TemporaryDirectory(prefix="bench-sft-") as out:
        train_adapter(folder, examples, settings, out)
        rows = ItemFile(Path(out) / "metrics.jsonl").read()
    fastest = max(rows, key=lambda row: row["tokens"] / row["timing"]["wall_s"])
    return {name: fastest[name] / fastest["timing"]["wall_s"] for name in ("tokens", "supervised_tokens")}


def turn_examples(sides: Sequence[SFTExample]) -> list[dict[str, list[int]]]:
    """Every own turn of these sides as an example by itself: the talk up to its end, labels on its tokens alone."""
    found = []
    for side in sides:
        own = np.flatnonzero(np.diff(np.array([0, *side.own, 0])))
        for begin, end in own.reshape(-1, 2).tolist():
            found.append(
                {"input_ids": list(side.ids[:end]), "labels": [-100] * begin + list(side.ids[begin:end])},
            )
    return found


@contextmanager
def open_sft(
    name: str = DEFAULT_MODEL, episodes: int = EPISODES, subsample: int = SUBSAMPLE, dtype: str = "auto"
) -> Iterator[Contest]:
    """Episodes played and rendered, and an adapter for both to start from."""
    folder, settings = prepare(name), LoraSettings(dtype=fast_dtype(dtype), checkpoint_s=3600)
    sides = expert_sides(folder, episodes)
    turns = turn_examples(sides[:subsample])
    cost = ModelCost.of(AutoConfig.from_pretrained(folder), settings.dtype)
    with tempfile.TemporaryDirectory(prefix="bench-sft-") as scratch:
        place = Path(scratch)
        start = _fresh_adapter(folder, settings, place / "start")
        goes: list[TrainingResult] = []

        def ours() -> float:
            goes.append(train_adapter(folder, sides, settings, place / f"ours-{len(goes)}", start))
            return goes[-1].supervised_tokens / goes[-1].wall_s

        def theirs() -> float:
            accumulate = max(1, round(settings.batch_size * len(turns) / min(subsample, episodes) / PEER_BATCH))
            answer = _peer(folder, start, turns, settings, accumulate=accumulate)
            return answer["supervised"] / answer["seconds"]

        yield Contest(
            ours,
            theirs,
            check=lambda: same_losses(folder, sides[:SAMPLE], place),
            limit=lambda limits: most_supervised(sides, cost, limits),
            note=f"{len(turns)} turns of {min(subsample, episodes)} episodes for the peer, {len(sides)} sides for ours",
        )


def same_losses(folder: Path, sides: Sequence[SFTExample], place: Path) -> str:
    """Two optimiser steps on the same turns in float32, from the same adapter; raises Unequal where a loss differs.

    The second loss is that of the weights after the first step: it is the same only where the gradients are.
    """
    settings = LoraSettings(dtype="float32", batch_size=len(sides), epochs=2, schedule="constant", warmup_ratio=0)
    start = _fresh_adapter(folder, settings, place / "start-32")
    train_adapter(folder, sides, settings, place / "check", start)
    ours = [row["loss"] for row in ItemFile(place / "check" / "metrics.jsonl").read()]
    turns = turn_examples(sides)
    theirs = _peer(folder, start, turns, settings, accumulate=-(-len(turns) // PEER_BATCH))["losses"]
    words = " and ".join(f"{a:.4f} (peer {b:.4f})" for a, b in zip(ours, theirs, strict=True))
    if max(abs(a - b) for a, b in zip(ours, theirs, strict=True)) > TOLERANCE:
        raise Unequal(f"losses of two steps in float32: {words}; allowed difference: {TOLERANCE:g}")
    return f"losses of two steps in float32 on {len(turns)} turns: {words}"


def most_supervised(sides: Sequence[SFTExample], cost: ModelCost, limits: Limits) -> float:
    """Supervised tokens per second that the machine would allow for one epoch on these sides.

    Every token goes through the layers forward and, for the gradient of its activations, backward; base weights need
    no gradient, the adapter's arithmetic is left out. The output layer counts for supervised tokens only.
    """
    supervised = sum(side.n_supervised for side in sides)
    forward = sum(cost.reading(0, len(side.ids)) for side in sides) + supervised * cost.head
    return supervised / limits.seconds(2 * forward)


def _fresh_adapter(folder: Path, settings: LoraSettings, place: Path) -> Path:
    save_adapter(base_with_adapter(folder, settings), place, folder.name)
    return place


def _peer(folder: Path, adapter: Path, turns: list, settings: LoraSettings, accumulate: int) -> dict[str, Any]:
    return run_peer(
        "sft",
        {
            "folder": str(folder),
            "adapter": str(adapter),
            "dtype": settings.dtype,
            "attention": PEER_ATTENTION,
            "examples": turns,
            "batch": PEER_BATCH,
            "accumulate": accumulate,
            "epochs": settings.epochs,
            "lr": settings.lr,
        },
    )
