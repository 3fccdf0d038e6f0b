"""Drawing tokens: by their shares, by the request's own seed, and never one that has no share."""

import numpy as np
import pytest
import torch

from sotopia_pi.models import fast_draw
from sotopia_pi.models.sampling import draw, fastest_draw
from sotopia_pi.models.seam import Sampling


@pytest.mark.parametrize("draw", [draw, fast_draw.draw])
def test_drawn_tokens_follow_their_shares(draw):
    shares = torch.tensor([0.5, 0.25, 0.15, 0.1])
    logits = shares.log().repeat(4000, 1)
    seeds = [(row, 0) for row in range(4000)]
    plain = np.bincount(draw(logits, [Sampling(1.0)] * 4000, seeds), minlength=4) / 4000
    assert np.abs(plain - shares.numpy()).max() < 0.03
    nucleus = np.bincount(draw(logits[:2000], [Sampling(1.0, top_p=0.7)] * 2000, seeds[:2000]), minlength=4) / 2000
    assert np.abs(nucleus - [2 / 3, 1 / 3, 0, 0]).max() < 0.04
    sharp = draw(logits[:500], [Sampling(0.1)] * 500, seeds[:500])
    assert np.mean(np.array(sharp) == 0) > 0.97


def test_each_token_of_a_reply_is_drawn_anew():
    logits = torch.zeros(50, 1000)
    assert len(set(draw(logits, [Sampling(1.0)] * 50, [(5, drawn) for drawn in range(50)]))) > 30


@pytest.mark.parametrize("way", [draw, fast_draw.draw])
def test_a_token_without_share_is_never_drawn(way):
    logits = torch.full((600, 1000), float("-inf"))
    logits[:, [3, 700]] = 0.0
    drawn = way(logits, [Sampling(1.0)] * 600, [(row, 1) for row in range(600)])
    assert set(drawn) == {3, 700}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("size", [40, 1000, 49_152])
def test_a_processor_draws_the_same_tokens_in_its_own_way(size, dtype):
    logits = (torch.randn(240, size, generator=torch.Generator().manual_seed(size)) * 4).to(dtype)
    ways = [Sampling(0.0), Sampling(1.0), Sampling(0.7), Sampling(0.8, top_p=0.95), Sampling(1.0, top_p=0.3)]
    samplings, seeds = (ways * 48)[:240], [(row, 3) for row in range(240)]
    asked, found = draw(logits, samplings, seeds), fast_draw.draw(logits, samplings, seeds)
    assert sum(a != b for a, b in zip(asked, found, strict=True)) <= 1, "rounding may decide one of them"
    assert fastest_draw(True) is fast_draw.draw and fastest_draw(False) is draw


@pytest.mark.parametrize("way", [draw, fast_draw.draw])
def test_where_many_tokens_are_alike_the_nucleus_is_wide(way):
    drawn = way(torch.zeros(3000, 1000), [Sampling(1.0, top_p=0.9)] * 3000, [(row, 0) for row in range(3000)])
    assert max(drawn) <= 900 and len(set(drawn)) > 800
