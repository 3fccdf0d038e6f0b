"""Slots: what stays of conversations, who may use it, and where it lies."""

import pytest
import torch
from transformers import AutoConfig

from sotopia_pi.models.slots import Slots
from sotopia_pi.models.weights import prepare


@pytest.fixture(scope="module")
def config():
    return AutoConfig.from_pretrained(prepare("tiny-random"))


def test_a_slot_is_given_up_when_it_was_not_used_for_longest(config):
    slots = Slots(config, rows=2, capacity=64, dtype=torch.float32)
    first = slots.take(list(range(30)), "base")
    first.tokens = list(range(30))
    second = slots.take(list(range(100, 130)), "base")
    second.tokens = list(range(100, 130))
    assert slots.take([1], "base") is None
    slots.release(first)
    slots.release(second)
    assert slots.take([*range(100, 130), 5], "base") is second
    slots.release(second)
    newcomer = slots.take(list(range(200, 230)), "base")
    assert newcomer is first and newcomer.tokens == []


def test_nothing_is_shared_between_adapters(config):
    slots = Slots(config, rows=2, capacity=64, dtype=torch.float32)
    slot = slots.take(list(range(30)), "base")
    slot.tokens = list(range(30))
    slots.release(slot)
    assert slots.take(list(range(30)), "BC").tokens == []


def test_slots_stepped_together_are_moved_into_neighbouring_rows_with_all_they_hold(config):
    slots = Slots(config, rows=9, capacity=16, dtype=torch.float32)
    slots.on_processor = False
    held = [slots.take([n], "BC", reuse=False) for n in range(9)]
    for slot in held:
        slot.tokens = [slot.row] * (slot.row + 2)
        for k, layer in enumerate((*slots.keys, *slots.values)):
            layer[slot.row, :, : len(slot.tokens)] = 100 * k + slot.row
    before = [slot.row for slot in held]
    slots.bring_together([held[0], held[1], held[2]])
    slots.bring_together([held[0], held[1], held[7], held[8]])
    assert [slot.row for slot in held] == before, "one gap is no reason to move anything"
    slots.bring_together([held[0], held[4], held[5], held[8]])
    rows = sorted(held[n].row for n in (0, 4, 5, 8))
    assert rows == list(range(rows[0], rows[0] + 4)) and sorted(slot.row for slot in held) == list(range(9))
    for n, slot in enumerate(held):
        for k, layer in enumerate((*slots.keys, *slots.values)):
            assert (layer[slot.row, :, : n + 2] == 100 * k + n).all()
    assert (held[4].row, held[5].row) == (4, 5), "only what lies apart is moved"
