"""Trackers: a training's metrics, sent to TensorBoard, Weights & Biases and the like as well, where that is asked."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from accelerate import Accelerator
from accelerate.tracking import LOGGER_TYPE_TO_CLASS, get_available_trackers

PROJECT = "sotopia-pi"
_SHOWN = ("loss", "held_out_loss", "lr", "gradient_norm", "tokens", "supervised_tokens")


class Logs(Protocol):
    def __call__(self, row: Mapping[str, Any]) -> None: ...


def check_trackers(names: Sequence[str]) -> None:
    """Raises ValueError for a tracker that accelerate does not know or whose package is not installed."""
    ready = sorted(str(getattr(name, "value", name)) for name in get_available_trackers())
    for name in names:
        if name not in LOGGER_TYPE_TO_CLASS:
            raise ValueError(f"report_to names {name!r}; allowed: {', '.join(sorted(LOGGER_TYPE_TO_CLASS))}")
        if name not in ready:
            raise ValueError(
                f"report_to names {name!r}, whose package is not installed (installed: {', '.join(ready) or 'none'}); "
                f"pip install it, or take it out of report_to. metrics.jsonl is written all the same"
            )


@contextmanager
def reporting(names: Sequence[str], folder: Path, config: Mapping[str, Any]) -> Iterator[Logs]:
    """A function that reports one row of metrics.jsonl to every named tracker; it does nothing without names.

    config: settings shown beside the curves. folder: where trackers that write files put them.
    """
    if not names:
        yield lambda row: None
        return
    accelerator = Accelerator(log_with=list(names), project_dir=folder)
    plain = {key: value if isinstance(value, int | float | str) else str(value) for key, value in config.items()}
    accelerator.init_trackers(PROJECT, config=plain)
    try:
        yield lambda row: accelerator.log({k: row[k] for k in _SHOWN if row.get(k) is not None}, step=row["step"])
    finally:
        accelerator.end_training()
