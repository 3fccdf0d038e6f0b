"""The most memory this process ever held."""

import re
import resource
import sys
from pathlib import Path

STATUS = Path("/proc/self/status")
HIGH_WATER = re.compile(r"^VmHWM:\s+(\d+) kB$", re.MULTILINE)


def peak_rss_mib() -> float:
    """Most resident memory of this process so far, in MiB.

    The trap: on Linux `ru_maxrss` begins with what the process that started this one held, and so tells a small child
    of a big parent the parent's memory. The kernel's own high-water mark begins with the program.
    """
    if STATUS.is_file() and (found := HIGH_WATER.search(STATUS.read_text())):
        return int(found[1]) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024**2 if sys.platform == "darwin" else 1024)
