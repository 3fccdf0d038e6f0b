"""Drawing the next token of each sequence of a batch, each by its own seed."""

from collections.abc import Sequence

import numpy as np
import torch

from sotopia_pi.models.seam import Sampling

LIKELY = 256
"""How many of the likeliest tokens are looked at first for top_p; all are sorted where their mass does not reach it."""

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
    shares = torch.softmax(logits[warm].float() / temperatures[:, None], dim=-1)
    points = [float(np.random.default_rng(seeds[row]).random()) for row in warm]
    whole = [k for k, row in enumerate(warm) if samplings[row].top_p == 1]
    for k, token in zip(whole, _from_all(shares[whole], [points[k] for k in whole]), strict=True):
        tokens[warm[k]] = token
    nuclear = [k for k, row in enumerate(warm) if samplings[row].top_p < 1]
    likely = shares[nuclear].topk(min(LIKELY, shares.shape[1]), dim=-1) if nuclear else ((), ())
    for k, some, ids in zip(nuclear, *likely, strict=True):
        tokens[warm[k]] = _from_nucleus(shares[k], some, ids, samplings[warm[k]].top_p, points[k])
    return tokens


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


def _from_nucleus(shares: torch.Tensor, likely: torch.Tensor, tokens: torch.Tensor, top_p: float, point: float) -> int:
    """A token of the smallest set of likeliest tokens whose shares reach top_p. likely, tokens: the first of them."""
    if likely.sum() < top_p:
        likely, tokens = shares.sort(descending=True, stable=True)
    passed = likely.double().cumsum(dim=0)
    size = min(int(torch.searchsorted(passed, top_p)) + 1, len(passed))
    at = torch.searchsorted(passed[:size], point * float(passed[size - 1]), right=True)
    return int(tokens[min(int(at), size - 1)])
