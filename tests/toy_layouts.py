"""What training data teaches, read back by tests: from an example's mask, and from a row of an exported layout."""

from collections.abc import Callable
from typing import Any

from sotopia_pi.stages.examples import SFTExample


def learnt_words(example: SFTExample, decode: Callable[[list[int]], str]) -> list[str]:
    """The stretches of text that an example has a loss on."""
    stretches: list[str] = []
    open_: list[int] = []
    for token, own in [*zip(example.ids, example.own, strict=True), (0, 0)]:
        if own:
            open_.append(token)
        elif open_:
            stretches.append(decode(open_))
            open_ = []
    return stretches


def learnt_of_row(row: dict[str, Any], layout: str) -> list[str]:
    """The answers that a row of a layout teaches."""
    if layout == "alpaca":
        return [row["output"]]
    if layout == "messages":
        return [m["content"] for m in row["messages"] if m["weight"]]
    return [m["content"] for m in row["completion"]]
