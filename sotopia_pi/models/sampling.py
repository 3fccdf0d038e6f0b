"""Drawing the next token of each sequence of a batch, each by its own seed."""

from collections.abc import Callable, Sequence

import numpy as np
import torch

from sotopia_pi.models.seam import Sampling

BLOCK = 256
"""Tokens of the vocabulary whose shares are summed together when a token is looked up."""


@torch.inference_mode()
def draw(logits: torch.Tensor, samplings: Sequence[Sampling], seeds: Sequence[tuple[int, int]]) -> list[int]:
    """One token id per row of logits [rows, vocabulary].

    seeds: (seed of the request, how many tokens it has drawn). A row's draw depends on its own logits, sampling and
    seed alone, never on what else is in the batch.
    """
    tokens = [0] * len(samplings)
    warm = [row for row, sampling in enumerate(samplings) if sampling.temperature > 0]
    cold = [row for row, sampling in enumerate(samplings) if sampling.temperature == 0]
    for row, token in zip(cold, logits[cold].argmax(dim=-1).tolist(), strict=True):
        tokens[row] = token
    if not warm:
        return tokens
    temperatures = torch.tensor([samplings[row].temperature for row in warm])
    shares = torch.softmax(logits[warm].float().div_(temperatures[:, None]), dim=-1)
    points = [point(seeds[row]) for row in warm]
    whole = [k for k, row in enumerate(warm) if samplings[row].top_p == 1]
    for k, token in zip(whole, _from_all(shares[whole], [points[k] for k in whole]), strict=True):
        tokens[warm[k]] = token
    for k, row in enumerate(warm):
        if samplings[row].top_p < 1:
            tokens[row] = _from_nucleus(shares[k].numpy(), samplings[row].top_p, points[k])
    return tokens


def fastest_draw(on_processor: bool) -> Callable[..., list[int]]:
    """`draw`, or its like for a model that computes on a processor."""
    if not on_processor:
        return draw
    from sotopia_pi.models import fast_draw  # by numba, which a graphics card does without

    return fast_draw.draw


def point(seed: tuple[int, int]) -> float:
    """Where in [0, 1) a token is drawn: see `draw` for the seed."""
    return float(np.random.default_rng(seed).random())


def least_share(top_p: float, size: int) -> float:
    """Tokens with less are never needed to reach top_p: all of them together have less than 1 - top_p.

    Half of that, since shares add up to 1 by rounding alone.
    """
    return (1 - top_p) / (2 * size)


def _from_all(shares: torch.Tensor, points: list[float]) -> list[int]:
    """The tokens at which the cumulative shares pass the points.

    First the block of the vocabulary is found, then the token in it: a cumulative sum over the whole vocabulary is
    slow in double precision and wrong in single.
    """
    if not points:
        return []
    blocks = torch.nn.functional.pad(shares, (0, -shares.shape[1] % BLOCK)).unflatten(1, (-1, BLOCK))
    at = torch.tensor(points, dtype=torch.float64)
    rows = torch.arange(len(points))
    mass = blocks.sum(dim=-1).double()
    block, left = _passing(mass, at * mass.sum(dim=-1))
    token, _ = _passing(blocks[rows, block].double(), left)
    return (block * BLOCK + token).tolist()


def _passing(mass: torch.Tensor, at: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Per row, the place where the cumulative mass passes `at`, always one that has mass; and what is left of `at`."""
    passed = mass.cumsum(dim=-1)
    place = torch.searchsorted(passed, at[:, None], right=True)
    last = (mass > 0).long().mul(torch.arange(1, mass.shape[1] + 1)).argmax(dim=-1, keepdim=True)
    place = torch.minimum(place, last)
    before = passed.gather(1, place) - mass.gather(1, place)
    return place[:, 0], at - before[:, 0]


def _from_nucleus(shares: np.ndarray, top_p: float, point: float) -> int:
    """A token of the smallest set of likeliest tokens whose shares [vocabulary] reach top_p."""
    able = np.flatnonzero(shares >= least_share(top_p, len(shares)))
    return among_likely(able, shares[able], top_p, point)


def among_likely(tokens: np.ndarray, shares: np.ndarray, top_p: float, point: float) -> int:
    """The same, from the tokens that have at least `least_share`, in rising order."""
    order = np.argsort(-shares, kind="stable")
    passed = np.cumsum(shares[order], dtype=np.float64)
    size = min(int(np.searchsorted(passed, top_p)) + 1, len(passed))
    at = int(np.searchsorted(passed[:size], point * passed[size - 1], side="right"))
    return int(tokens[order[min(at, size - 1)]])
