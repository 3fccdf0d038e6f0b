"""Drawing tokens: by their shares, by the request's own seed, and never one that has no share."""

import numpy as np
import torch

from sotopia_pi.models.sampling import draw
from sotopia_pi.models.seam import Sampling


def test_drawn_tokens_follow_their_shares():
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


def test_a_token_without_share_is_never_drawn():
    logits = torch.full((600, 1000), float("-inf"))
    logits[:, [3, 700]] = 0.0
    drawn = draw(logits, [Sampling(1.0)] * 600, [(row, 1) for row in range(600)])
    assert set(drawn) == {3, 700}
