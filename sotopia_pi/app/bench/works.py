"""All benchmarks, in the order in which they are run."""

from sotopia_pi.app.bench.work import Curve, Work


def works() -> list[Work]:
    """Everything that is measured beside a peer."""
    return []


def curves() -> list[Curve]:
    """How costs grow."""
    return []
