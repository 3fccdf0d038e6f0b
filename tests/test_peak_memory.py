"""The most memory a process held: its own, whoever started it."""

import subprocess
import sys

import pytest

from sotopia_pi.store.peak_memory import STATUS, peak_rss_mib

HELD_MIB = 300
PROGRAM = """
import sys
from sotopia_pi.store.peak_memory import peak_rss_mib
held = b"x" * (int(sys.argv[1]) * 2**20)
del held
print(peak_rss_mib())
"""


def peak_of_a_child(mib: int) -> float:
    ran = subprocess.run([sys.executable, "-c", PROGRAM, str(mib)], capture_output=True, text=True, check=True)
    return float(ran.stdout)


def test_what_was_given_back_counts():
    small = peak_of_a_child(0)
    assert HELD_MIB < peak_of_a_child(HELD_MIB) < small + HELD_MIB + 20


@pytest.mark.skipif(not STATUS.is_file(), reason="the system tells only what a process was started with as well")
def test_a_child_is_not_told_what_its_parent_held():
    held = b"x" * (HELD_MIB * 2**20)
    assert peak_rss_mib() > HELD_MIB
    assert peak_of_a_child(0) < HELD_MIB
    del held
