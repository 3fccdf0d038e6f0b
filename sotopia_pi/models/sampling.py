"""Drawing the next token of each sequence of a batch, each by its own seed."""

from collections.abc import Sequence

import numpy as np
import torch

from sotopia_pi.models.seam import Sampling

LIKELY = 256
"""How many of the likeliest tokens are looked at first for top_p; all are sorted where their mass does not reach it."""


@torch.inference_mode()
def draw(logits: torch.Tensor, samplings: Sequence[Sampling], seeds: Sequence[tuple[int, int]]) -> list[int]:
    """One token id per row of logits [rows, vocabulary].

    seeds: (seed of the request, how many tokens it has drawn). A row's draw depends on its own logits, sampling and
    seed alone, never on what else is in the batch.
    """
    tokens = logits.argmax(dim=-1).tolist()
    warm = [row for row, sampling in enumerate(samplings) if sampling.temperature > 0]
    if not warm:
        return tokens
    temperatures = torch.tensor([samplings[row].temperature for row in warm])
    shares = torch.softmax(logits[warm].float() / temperatures[:, None], dim=-1)
    points = [float(np.random.default_rng(seeds[row]).random()) for row in warm]
    whole = [k for k, row in enumerate(warm) if samplings[row].top_p == 1]
    for k, token in zip(whole, _from_all(shares[whole], [points[k] for k in whole]), strict=True):
        tokens[warm[k]] = token
    for k, row in enumerate(warm):
        if samplings[row].top_p < 1:
            tokens[row] = _from_nucleus(shares[k], samplings[row].top_p, points[k])
    return tokens


def _from_all(shares: torch.Tensor, points: list[float]) -> list[int]:
    """The tokens at which the cumulative shares pass the points (in double precision: a vocabulary is long)."""
    if not points:
        return []
    passed = shares.double().cumsum(dim=-1)
    at = torch.tensor(points, dtype=torch.float64)[:, None] * passed[:, -1:]
    return torch.searchsorted(passed, at, right=True).clamp_(max=shares.shape[1] - 1)[:, 0].tolist()


def _from_nucleus(shares: torch.Tensor, top_p: float, point: float) -> int:
    """A token of the smallest set of likeliest tokens whose shares reach top_p."""
    likely, tokens = shares.topk(min(LIKELY, len(shares)))
    if likely.sum() < top_p:
        likely, tokens = shares.sort(descending=True, stable=True)
    passed = likely.double().cumsum(dim=0)
    size = min(int(torch.searchsorted(passed, top_p)) + 1, len(passed))
    at = torch.searchsorted(passed[:size], point * float(passed[size - 1]), right=True)
    return int(tokens[min(int(at), size - 1)])
