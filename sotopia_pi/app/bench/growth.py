"""How costs grow: with episodes at once, with the length of a dialogue, of what is trained on, and of a run.

What is measured runs in processes of their own, so that each has its own peak memory; the model plays in that one.
"""

import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from sotopia_pi.analysis.tables import results_frame, results_json
from sotopia_pi.app.bench.big_run import write_big_run
from sotopia_pi.app.bench.large import generation, qlora
from sotopia_pi.app.bench.own_process import in_a_process
from sotopia_pi.app.bench.play import play_episodes
from sotopia_pi.app.bench.sft import cut_examples, expert_sides, fastest_step
from sotopia_pi.models.local_model import LocalModel
from sotopia_pi.models.precision import fast_dtype
from sotopia_pi.models.weights import DEFAULT_MODEL, prepare
from sotopia_pi.stages.lora import LoraSettings
from sotopia_pi.stages.tasks import TaskCounts, draw_tasks

AT_ONCE, TURNS_AT_ONCE = (8, 32, 128), 4
DIALOGUES, DIALOGUE_TURNS, TURNS_A_POINT = 8, 40, 4
LENGTHS, STEPS, TOKENS_A_STEP = (128, 256, 512, 1024, 2048), 2, 4096
RUN_SIZES, RUN_TASKS = (1_000, 4_000, 16_000), 200


@dataclass(frozen=True)
class Curve:
    """name: one word; x: what grows, with its unit; points: (x, values by name with unit), measured one by one."""

    name: str
    x: str
    points: Callable[[], Iterator[tuple[float, dict[str, float]]]]


def curves() -> list[Curve]:
    """All of them, in the order in which they are measured; those of a large model only where a graphics card is."""
    large = [
        Curve("qlora", "tokens of an example, a model of Mistral-7B's shape", qlora),
        Curve("generation", "episodes at once, a model of Mistral-7B's shape", generation),
    ]
    return [
        Curve("at_once", "episodes at once", at_once),
        Curve("dialogue", "turn of the dialogue", dialogue),
        Curve("training", "tokens of an example", training),
        Curve("results", "episodes of a run", results),
        *(large if torch.cuda.is_available() else []),
    ]


def at_once(sizes: tuple[int, ...] = AT_ONCE, model: str = DEFAULT_MODEL) -> Iterator[tuple[float, dict[str, float]]]:
    """Tokens per second and peak memory, by how many episodes are played side by side."""
    for episodes in sizes:
        yield episodes, in_a_process(_tokens_per_second, model, episodes)


def dialogue(
    episodes: int = DIALOGUES, turns: int = DIALOGUE_TURNS, model: str = DEFAULT_MODEL
) -> Iterator[tuple[float, dict[str, float]]]:
    """Seconds that a reply takes, by how many turns came before it; means over a few turns of some episodes."""
    seconds = in_a_process(_seconds_by_turn, model, episodes, turns)
    for first in range(0, turns, TURNS_A_POINT):
        some = [seconds[f"turn {turn}"] for turn in range(first, min(first + TURNS_A_POINT, turns))]
        yield first + (len(some) - 1) / 2, {"seconds a turn": float(np.mean(some))}


def training(
    lengths: tuple[int, ...] = LENGTHS, model: str = DEFAULT_MODEL
) -> Iterator[tuple[float, dict[str, float]]]:
    """Tokens trained on per second and peak memory, by the length of an example; as many tokens a step at each."""
    for length in lengths:
        yield length, in_a_process(_trained_per_second, model, length)


def results(sizes: tuple[int, ...] = RUN_SIZES) -> Iterator[tuple[float, dict[str, float]]]:
    """Seconds from a run's files to its results with their intervals, by its number of episodes."""
    for episodes in sizes:
        yield episodes, in_a_process(_seconds_of_results, episodes)


def _tokens_per_second(name: str, episodes: int) -> dict[str, float]:
    with LocalModel(prepare(name), max_batch=episodes, processes=1) as model:
        played = play_episodes(model, episodes, TURNS_AT_ONCE)
    return {"tokens/s": played.tokens / played.seconds}


def _seconds_by_turn(name: str, episodes: int, turns: int) -> dict[str, float]:
    with LocalModel(prepare(name), max_batch=episodes, processes=1) as model:
        played = play_episodes(model, episodes, turns)
    by_turn = [[call.reply.latency_s for call in calls] for calls in played.turns()]
    return {f"turn {turn}": float(np.mean(seconds)) for turn, seconds in enumerate(by_turn)}


def _trained_per_second(name: str, length: int) -> dict[str, float]:
    """The faster of two optimiser steps on examples of one length, cut out of expert episodes laid end to end."""
    folder, n = prepare(name), TOKENS_A_STEP // length
    sides = expert_sides(folder, TOKENS_A_STEP * STEPS // 128)
    ids = [token for side in sides for token in side.ids]
    examples = cut_examples([ids[k * length : (k + 1) * length] for k in range(STEPS * n)])
    settings = LoraSettings(dtype=fast_dtype(), batch_size=n, checkpoint_s=3600)
    return {"tokens/s": fastest_step(folder, examples, settings)["tokens"]}


def _seconds_of_results(episodes: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        run_dir = write_big_run(Path(folder) / "big", draw_tasks("eval", TaskCounts(RUN_TASKS), seed=0), episodes)
        started = time.perf_counter()
        results_json(results_frame(run_dir))
        return {"seconds": time.perf_counter() - started}
