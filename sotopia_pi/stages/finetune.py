"""Fine-tuning: a LoRA adapter learns the examples, in one flat loop that may be killed anywhere."""

import hashlib
import json
import math
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from peft import PeftModel

from sotopia_pi.models.adapters import AdapterError, adapter_digest
from sotopia_pi.models.memory import keep_freed_memory
from sotopia_pi.models.weights import weights_digest
from sotopia_pi.stages.batches import (
    Split,
    check_output_layer,
    micro_batches,
    n_steps,
    split,
    steps_of_epoch,
    summed_loss,
)
from sotopia_pi.stages.examples import SFTExample
from sotopia_pi.stages.lora import (
    LoraSettings,
    adapter_tensors,
    attention_of,
    base_with_adapter,
    check_gradient,
    fast_arithmetic,
    lr_share,
    save_adapter,
    without_casts,
)
from sotopia_pi.stages.ranks import ALONE, Ranks
from sotopia_pi.stages.trackers import Logs, check_trackers, reporting
from sotopia_pi.store.items import ItemFile, content_id, write_atomically, write_items

ADAM_BETAS = (0.9, 0.999)
"""As in the Hugging Face trainer, which Sotopia-π used."""

EPOCHS = "epochs"
"""Folder of the adapters after each epoch, where they are kept."""

_DROPOUT = 3


class Advances(Protocol):
    """Counts steps; `store.progress.Progress` is one."""

    def advance(self, failed: bool = False, **info: Any) -> None: ...


@dataclass(frozen=True)
class TrainingResult:
    """steps: optimiser steps; tokens: seen, without padding; supervised_tokens: of them with a loss.

    loss_first, loss_last: mean over the first and the last tenth of the steps, nats per supervised token.
    held_out_loss: after the last epoch, None where nothing was held out. wall_s: seconds of all sittings together.
    """

    steps: int
    tokens: int
    supervised_tokens: int
    loss_first: float
    loss_last: float
    held_out_loss: float | None
    wall_s: float
    adapter_digest: str


def planned_steps(examples: Sequence[SFTExample], settings: LoraSettings) -> int:
    """Optimiser steps that `train_adapter` will take."""
    return n_steps(len(split(examples, settings).train), settings)


def train_adapter(
    folder: Path | str,
    examples: Sequence[SFTExample],
    settings: LoraSettings,
    out_dir: Path | str,
    start_from: Path | str | None = None,
    progress: Advances | None = None,
    ranks: Ranks = ALONE,
) -> TrainingResult:
    """Train a LoRA adapter on the base weights in `folder` and write it to `out_dir`.

    Writes adapter/ (PEFT), metrics.jsonl (one line a step) and, last, settings.json (resolved settings, digests and
    the result). start_from: an adapter to continue; its weights are the start, its optimiser is not kept.
    Killed and called again, it goes on from its last checkpoint and ends with the same adapter (in float32 on a CPU:
    bit for bit). What is finished is not repeated; what belongs to other settings, examples or weights moves to
    previous/<key>/. ranks: this process among several that share the examples of every step (`ranks.launched`); how
    many there are changes the result by rounding and by the draws of dropout, and is no part of the key.
    Raises ValueError without examples, where one is longer than `max_tokens`, or for a tracker that is not there.
    """
    out_dir, examples = Path(out_dir), tuple(examples)
    _check_examples(examples, settings)
    check_trackers(settings.report_to)
    keep_freed_memory()
    identity = _identity(folder, examples, settings, start_from)
    finished = _finished(out_dir, identity["key"])
    ranks.wait()
    if finished:
        return finished
    if ranks.first:
        _move_aside(out_dir, identity["key"])
        out_dir.mkdir(parents=True, exist_ok=True)
    ranks.wait()
    model, parts = base_with_adapter(folder, settings, start_from), split(examples, settings)
    run = _Training(model, parts, settings, out_dir, Path(folder).name, ranks)
    with reporting(settings.report_to if ranks.first else (), out_dir, identity["settings"]) as report:
        run.resume(identity["key"], progress)
        run.train(identity["key"], progress, report)
    if ranks.first:
        _write_result(out_dir, run, identity)
    ranks.wait()
    return _finished(out_dir, identity["key"])


def finished_training(
    folder: Path | str,
    examples: Sequence[SFTExample],
    settings: LoraSettings,
    out_dir: Path | str,
    start_from: Path | str | None = None,
) -> TrainingResult | None:
    """What `train_adapter` with these arguments left in `out_dir`, or None when it has not finished there."""
    return _finished(Path(out_dir), _identity(folder, examples, settings, start_from)["key"])


class _Training:
    """The loop and all that a checkpoint holds."""

    def __init__(
        self, model: PeftModel, parts: Split, settings: LoraSettings, out_dir: Path, base_name: str, ranks: Ranks
    ):
        self.model, self.settings, self.out_dir = model, settings, out_dir
        self.base_name, self.ranks = base_name, ranks
        self.train_examples, self.held_out = parts.train, parts.held_out
        self.parameters = adapter_tensors(model)
        self.optimizer = torch.optim.AdamW(
            self.parameters.values(), lr=settings.lr, betas=ADAM_BETAS, weight_decay=settings.weight_decay
        )
        self.total = n_steps(len(self.train_examples), settings)
        self.step = 0
        self.metrics = ItemFile(out_dir / "metrics.jsonl")
        self.rows: list[dict[str, Any]] = []

    def train(self, key: str, progress: Advances | None, report: Logs) -> None:
        """Every step that is left; only the first of several processes writes and reports."""
        check_output_layer(self.model, self.train_examples[0])
        saved_at = time.monotonic()
        steps_an_epoch = self.total // self.settings.epochs
        for epoch in range(self.step // steps_an_epoch, self.settings.epochs):
            steps = steps_of_epoch(self.train_examples, self.settings, epoch)
            for position in range(self.step - epoch * steps_an_epoch, steps_an_epoch):
                row = self.one_step(steps[position], epoch)
                self.step += 1
                last = position == steps_an_epoch - 1
                row["held_out_loss"] = self.held_out_loss() if last else None
                self.rows.append(row)
                if not self.ranks.first:
                    continue
                self.metrics.append(row)
                report(row)
                if progress is not None:
                    progress.advance(loss=f"{row['loss']:.3f}")
                if last and self.settings.keep_epochs:
                    save_adapter(self.model, self.out_dir / EPOCHS / f"{epoch + 1:02}", self.base_name)
                if time.monotonic() - saved_at >= self.settings.checkpoint_s:
                    self.save_checkpoint(key)
                    saved_at = time.monotonic()

    def one_step(self, examples: Sequence[SFTExample], epoch: int) -> dict[str, Any]:
        """One optimiser step; the loss is the mean over all supervised tokens of the step."""
        started = time.monotonic()
        lr = self.settings.lr * lr_share(self.step, self.total, self.settings)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        n_supervised = sum(e.n_supervised for e in examples)
        self.model.train()
        total = 0.0
        with torch.random.fork_rng(devices=[]), without_casts(self.model, self.settings):
            torch.manual_seed(self.dropout_seed())
            for part in micro_batches(self.ranks.share(examples), self.settings.micro_tokens):
                with fast_arithmetic(self.model, self.settings):
                    loss = summed_loss(self.model, part) / n_supervised
                loss.backward()
                total += loss.item()
        total = self.ranks.add_up(total, self.parameters.values())
        if not math.isfinite(total):
            raise FloatingPointError(
                f"{self.out_dir}, step {self.step}: the loss is {total}, which no step can be taken from; "
                f"lower lr (now {self.settings.lr:g}) or gradient_clip (now {self.settings.gradient_clip:g})"
            )
        clip = self.settings.gradient_clip or math.inf
        norm = torch.nn.utils.clip_grad_norm_(self.parameters.values(), clip).item()
        check_gradient(norm, self.settings, f"{self.out_dir}, step {self.step}")
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return {
            "id": f"step-{self.step}",
            "step": self.step,
            "epoch": epoch,
            "loss": total,
            "lr": lr,
            "gradient_norm": norm,
            "tokens": sum(len(e.ids) for e in examples),
            "supervised_tokens": n_supervised,
            "timing": {"wall_s": time.monotonic() - started},
        }

    def dropout_seed(self) -> int:
        """Another one for every step and process, the same whenever the step is taken again."""
        of = [self.settings.seed, _DROPOUT, self.step, *([self.ranks.rank] if self.ranks.rank else [])]
        return int(np.random.default_rng(of).integers(2**31))

    @torch.no_grad()
    def held_out_loss(self) -> float | None:
        """Mean loss per supervised token of the held-out examples, None where there are none."""
        if not self.held_out:
            return None
        self.model.eval()
        parts = micro_batches(self.ranks.share(self.held_out), self.settings.micro_tokens)
        with fast_arithmetic(self.model, self.settings):
            total = self.ranks.add_up(sum(summed_loss(self.model, part).item() for part in parts))
        return total / sum(e.n_supervised for e in self.held_out)

    @property
    def checkpoint(self) -> Path:
        return self.out_dir / "checkpoint.pt"

    def save_checkpoint(self, key: str) -> None:
        """Adapter, optimiser and position, atomically. Order and dropout depend on seed and step alone."""
        state = {
            "key": key,
            "step": self.step,
            "adapter": {name: p.detach() for name, p in self.parameters.items()},
            "optimizer": self.optimizer.state_dict(),
        }
        beside = self.checkpoint.with_suffix(".part")
        with beside.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(self.checkpoint)

    def resume(self, key: str, progress: Advances | None) -> None:
        """Go to the last checkpoint, and forget what was logged after it."""
        if self.checkpoint.exists():
            state = torch.load(self.checkpoint, weights_only=True, map_location="cpu")
            if state["key"] == key:
                self.step = state["step"]
                self.optimizer.load_state_dict(state["optimizer"])
                with torch.no_grad():
                    for name, tensor in state["adapter"].items():
                        self.parameters[name].copy_(tensor)
        self.rows = [row for row in self.metrics.read() if row["step"] < self.step]
        self.ranks.wait()
        if self.ranks.first:
            write_items(self.metrics.path, self.rows)
        for _ in range(self.step if progress is not None else 0):
            progress.advance()


def _check_examples(examples: Sequence[SFTExample], settings: LoraSettings) -> None:
    if not examples:
        raise ValueError("there are no examples to train on; select more sides, or leave this variant untrained")
    for example in examples:
        if len(example.ids) > settings.max_tokens:
            raise ValueError(
                f"example {example.id} has {len(example.ids)} tokens, more than max_tokens = {settings.max_tokens}; "
                f"raise max_tokens or leave it out"
            )
        if not example.n_supervised:
            raise ValueError(f"example {example.id} has no supervised token; leave it out")


NOT_IN_KEY = ("checkpoint_s", "keep_epochs", "report_to")


def _identity(
    folder: Path | str, examples: Sequence[SFTExample], settings: LoraSettings, start_from: Path | str | None
) -> dict[str, Any]:
    """What determines an adapter, and the key over it."""
    identity = {
        "settings": {k: v for k, v in settings.to_dict().items() if k not in NOT_IN_KEY},
        "base_digest": weights_digest(folder),
        "examples_digest": hashlib.sha256("\n".join(e.id for e in examples).encode()).hexdigest()[:16],
        "start_from_digest": adapter_digest(start_from) if start_from is not None else None,
    }
    return {**identity, "settings": settings.to_dict(), "key": content_id("training", identity)}


def _finished(out_dir: Path, key: str) -> TrainingResult | None:
    """The result of a finished training with this key whose adapter is still what was written."""
    record = _read_settings(out_dir)
    if record is None or record["key"] != key:
        return None
    result = TrainingResult(**record["result"], wall_s=record["timing"]["wall_s"])
    try:
        return result if adapter_digest(out_dir / "adapter") == result.adapter_digest else None
    except AdapterError:
        return None


def _move_aside(out_dir: Path, key: str) -> None:
    """Keep what another training left here in previous/<its key>/, and drop its checkpoint."""
    record = _read_settings(out_dir)
    if record is None or record["key"] == key:
        return
    place = out_dir / "previous" / record["key"]
    place.mkdir(parents=True, exist_ok=True)
    for name in ("adapter", "metrics.jsonl", "settings.json", EPOCHS):
        if (out_dir / name).exists() and not (place / name).exists():
            (out_dir / name).replace(place / name)


def _read_settings(out_dir: Path) -> dict[str, Any] | None:
    path = out_dir / "settings.json"
    return json.loads(path.read_text()) if path.exists() else None


def _write_result(out_dir: Path, run: _Training, identity: dict[str, Any]) -> None:
    """Save the adapter, then settings.json, then drop the checkpoint."""
    tenth = max(1, len(run.rows) // 10)
    losses = [row["loss"] for row in run.rows]
    result = TrainingResult(
        steps=run.total,
        tokens=sum(row["tokens"] for row in run.rows),
        supervised_tokens=sum(row["supervised_tokens"] for row in run.rows),
        loss_first=float(np.mean(losses[:tenth])),
        loss_last=float(np.mean(losses[-tenth:])),
        held_out_loss=run.rows[-1]["held_out_loss"],
        wall_s=sum(row["timing"]["wall_s"] for row in run.rows),
        adapter_digest=save_adapter(run.model, out_dir / "adapter", run.base_name),
    )
    outcome = asdict(result)
    record = {"schema": "training/1", **identity, "base": run.base_name, "timing": {"wall_s": outcome.pop("wall_s")}}
    record |= {"result": outcome, "n_held_out": len(run.held_out)}
    record |= {"processes": run.ranks.world, "attention": attention_of(run.settings)}
    write_atomically(out_dir / "settings.json", (json.dumps(record, indent=2) + "\n").encode())
    run.checkpoint.unlink(missing_ok=True)
