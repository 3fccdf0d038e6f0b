"""Freed memory stays with the process, where the system's allocator lets itself be told so."""

import ctypes
import subprocess
import sys

import pytest

from sotopia_pi.models import memory

PROGRAM = """
import resource, sys, torch
from sotopia_pi.models.memory import keep_freed_memory

def a_layer():
    return [torch.zeros(10_000_000, dtype=torch.uint8) for _ in range(5)]

assert sys.argv[1] == "as it is" or keep_freed_memory()
a_layer(), a_layer(), a_layer()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
a_layer()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def pages_fetched(way: str) -> int:
    """Pages that the kernel hands out while five blocks of 10 MB are taken that were given back before."""
    ran = subprocess.run([sys.executable, "-c", PROGRAM, way], capture_output=True, text=True, check=True)
    return int(ran.stdout)


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="this system's allocator has no such settings")
def test_what_is_freed_is_not_fetched_from_the_system_again():
    assert pages_fetched("kept") < 3_000 < 10_000 < pages_fetched("as it is")


def test_a_system_without_such_settings_says_so(monkeypatch):
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda name: object())
    assert not memory.keep_freed_memory()
