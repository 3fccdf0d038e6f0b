"""Items that a server's fault ended: a result until the stage starts again, then set aside and asked for anew."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sotopia_pi.store.items import ItemFile, write_items

OUTCOMES = ("api_error", "policy_api_error")
"""Outcomes of an item to which no server gave an answer. Refused, cut-off and unreadable ones were answered."""


def is_unanswered(item: Mapping[str, Any]) -> bool:
    """Whether this item is to be asked for again when its stage starts again."""
    return item.get("outcome") in OUTCOMES


def attempts_file(items: Path) -> ItemFile:
    """Where the earlier attempts of an items file lie: `*.unanswered.jsonl` beside it."""
    return ItemFile(items.with_suffix(".unanswered.jsonl"))


def earlier_attempts(items: Path) -> dict[str, list[dict[str, Any]]]:
    """Id of an item -> all its attempts that got no answer, as they lay in the items file, the oldest first."""
    found: dict[str, list[dict[str, Any]]] = {}
    for attempt in attempts_file(items).read():
        found.setdefault(attempt["item"]["id"], []).append(attempt["item"])
    return found


def set_aside(file: ItemFile) -> int:
    """Move every unanswered item to the file of earlier attempts, so that it counts as missing; returns how many.

    An attempt is written there before it is taken away here. One that lies in both because the process died in
    between is not written a second time.
    """
    items = file.read()
    unanswered = [item for item in items if is_unanswered(item)]
    if unanswered:
        known, aside = earlier_attempts(file.path), attempts_file(file.path)
        for item in unanswered:
            before = known.get(item["id"], [])
            if item not in before:
                number = len(before) + 1
                aside.append({"schema": "unanswered/1", "id": f"{item['id']}/{number}", "item": item})
        write_items(file.path, [item for item in items if not is_unanswered(item)])
    return len(unanswered)
