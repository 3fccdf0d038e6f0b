"""Ranks: the processes that train one adapter together, as torchrun or `accelerate launch` starts them."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.distributed as dist
from accelerate import PartialState

T = TypeVar("T")


@dataclass(frozen=True)
class Ranks:
    """One process's place among `world` of them. rank: in [0, world); rank 0 writes what is written."""

    rank: int = 0
    world: int = 1

    @property
    def first(self) -> bool:
        return self.rank == 0

    def share(self, items: Sequence[T]) -> Sequence[T]:
        """This process's part: every `world`-th item; all of them together are each item once."""
        return items[self.rank :: self.world]

    def add_up(self, value: float, parameters: Iterable[torch.nn.Parameter] = ()) -> float:
        """The sum of a number over all processes; gradients of the parameters are summed in place on the way.

        Every process ends with the same gradients, and so takes the same step. The number travels in float32.
        """
        if self.world == 1:
            return value
        parameters = list(parameters)
        device = parameters[0].device if parameters else PartialState().device
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        flat = torch.cat([*(g.flatten() for g in gradients), torch.tensor([value], device=device)])
        dist.all_reduce(flat)
        parts = flat[:-1].split([p.numel() for p in parameters])
        for p, part in zip(parameters, parts, strict=True):
            p.grad = part.view_as(p).clone()
        return flat[-1].item()

    def wait(self) -> None:
        """Go on when every process is here."""
        if self.world > 1:
            PartialState().wait_for_everyone()

    def leave(self) -> None:
        """Close the connections between the processes, at the very end."""
        if self.world > 1:
            PartialState().destroy_process_group()


ALONE = Ranks()
"""One process that trains by itself."""


def launched() -> Ranks:
    """This process's place among those a launcher started (NCCL on graphics cards, gloo else); alone without one."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return ALONE
    state = PartialState(cpu=not torch.cuda.is_available())
    return Ranks(state.process_index, state.num_processes)
