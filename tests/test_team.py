"""Compiled loops on all of torch's threads: every number once, in as many pieces as there are threads."""

import numba
import numpy as np
import pytest
import torch
from llvmlite import binding

from sotopia_pi.models import team
from sotopia_pi.models.team import FEW, in_team


@pytest.fixture
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def numbered(count: int, numbers: int) -> tuple[np.ndarray, np.ndarray]:
    """How often each of so many places was come to, and where the piece began in which it was."""

    @numba.njit
    def piece(first, last, visits, began):
        for k in range(first, last):
            visits[k] += 1
            began[k] = first

    @numba.njit
    def whole(numbers, visits, began):
        in_team(piece, len(visits), numbers, (visits, began))

    visits, began = np.zeros(count, np.int64), np.full(count, -1)
    whole(numbers, visits, began)
    return visits, began


@pytest.mark.parametrize("threads", [1, 3], indirect=True)
@pytest.mark.parametrize("count", [0, 1, 2, 3, 7, 1000])
def test_each_place_is_come_to_once_whatever_the_threads(count, threads):
    visits, began = numbered(count, FEW + 1)
    assert (visits == 1).all()
    assert (np.diff(began) >= 0).all()
    assert len(np.unique(began)) == min(count, threads)


@pytest.mark.parametrize("threads", [3], indirect=True)
def test_few_numbers_are_left_to_the_calling_thread(threads):
    visits, began = numbered(1000, FEW)
    assert (visits == 1).all() and not began.any()


@pytest.mark.parametrize("threads", [3], indirect=True)
def test_without_a_team_the_calling_thread_does_it(monkeypatch, threads):
    assert all(binding.address_of_symbol(name) for name in team.TEAM), "torch for Linux brings one"
    monkeypatch.setattr(team, "TEAM", ("no_such_function",))
    visits, began = numbered(1000, FEW + 1)
    assert (visits == 1).all() and not began.any()
