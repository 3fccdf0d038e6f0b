"""All benchmarks, in the order in which they are run."""

from sotopia_pi.app.bench.calls import CALLS, CPU
from sotopia_pi.app.bench.loading import BROWSER, LOADING, TABLES
from sotopia_pi.app.bench.mmlu import MMLU
from sotopia_pi.app.bench.sotopia import SOTOPIA
from sotopia_pi.app.bench.work import Curve, Work


def works() -> list[Work]:
    """Everything that is measured beside a peer."""
    return [SOTOPIA, MMLU, CALLS, CPU, LOADING, BROWSER]


def curves() -> list[Curve]:
    """How costs grow."""
    return [TABLES]
