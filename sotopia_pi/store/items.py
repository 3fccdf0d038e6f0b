"""Items: JSON Lines files that are only ever appended to, one object with an `id` a line."""

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

NOT_COMPARED = "timing"
"""Key whose content is never part of ids, digests or equality: wall times and latencies."""


class CorruptLine(ValueError):
    """A line in the middle of an items file is not a JSON object."""


def canonical(value: Any) -> str:
    """JSON text with sorted keys and without spaces, the form that is hashed."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def content_id(kind: str, value: Any) -> str:
    """Deterministic id `<kind>-<16 hex digits>`: hash of all that determines an item."""
    return f"{kind}-{hashlib.sha256(canonical(value).encode()).hexdigest()[:16]}"


def without_times(value: Any) -> Any:
    """The same value with every `timing` entry taken out, at any depth."""
    if isinstance(value, dict):
        return {k: without_times(v) for k, v in value.items() if k != NOT_COMPARED}
    if isinstance(value, list):
        return [without_times(v) for v in value]
    return value


class ItemFile:
    """An append-only JSON Lines file; every object has a unique `id`.

    A torn last line (the process died while writing) is ignored on reading and cut off before the next append.
    A broken line anywhere else raises CorruptLine, which names the file, the line and what to do.
    """

    def __init__(self, path: Path | str):
        self.path = Path(path)
        self._ready = False

    def read(self) -> list[dict[str, Any]]:
        """All complete items in file order; the first one wins where an id occurs twice."""
        return list(self._parse())

    def ids(self) -> set[str]:
        return {item["id"] for item in self._parse()}

    def append(self, item: dict[str, Any]) -> None:
        """Write one item as one line and flush it to the disk."""
        if not self._ready:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._cut_torn_line()
            self._ready = True
        line = json.dumps(item, ensure_ascii=False) + "\n"
        with self.path.open("ab") as file:
            file.write(line.encode())
            file.flush()
            os.fsync(file.fileno())

    def keep_only(self, ids: Iterable[str]) -> int:
        """Move every item whose id is not wanted to `*.stale.jsonl`; returns how many moved."""
        wanted = set(ids)
        items = self.read()
        stale = [item for item in items if item["id"] not in wanted]
        if stale:
            aside = ItemFile(self.path.with_suffix(".stale.jsonl"))
            known = aside.ids()
            for item in stale:
                if item["id"] not in known:
                    aside.append(item)
            write_items(self.path, [item for item in items if item["id"] in wanted])
            self._ready = False
        return len(stale)

    def _parse(self) -> Iterator[dict[str, Any]]:
        if not self.path.exists():
            return
        seen: set[str] = set()
        *lines, _torn = self.path.read_bytes().split(b"\n")
        for number, line in enumerate(lines, 1):
            try:
                item = json.loads(line)
                item_id = item["id"]
            except (ValueError, KeyError, TypeError) as error:
                raise CorruptLine(
                    f"{self.path}, line {number}: not a JSON object with an id ({error}); it begins {line[:60]!r}. "
                    f"Every other line is intact: mend or delete this one line, then run the same command again."
                ) from error
            if item_id not in seen:
                seen.add(item_id)
                yield item

    def _cut_torn_line(self) -> None:
        if not self.path.exists():
            return
        data = self.path.read_bytes()
        whole = data.rfind(b"\n") + 1
        if whole < len(data):
            with self.path.open("r+b") as file:
                file.truncate(whole)


def write_items(path: Path | str, items: Iterable[dict[str, Any]]) -> None:
    """Replace a file by these items, atomically."""
    text = "".join(json.dumps(item, ensure_ascii=False) + "\n" for item in items)
    write_atomically(path, text.encode())


def write_atomically(path: Path | str, data: bytes) -> None:
    """Write a file beside its place and rename it there, so that a reader sees the old one or the new one."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.part")
    with beside.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


def items_digest(items: Iterable[dict[str, Any]]) -> str:
    """sha256 over the items, whatever their order in the file and without their times."""
    lines = sorted(canonical(without_times(item)) for item in items)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def read_as(path: Path | str, from_dict: Callable[[dict[str, Any]], T]) -> list[T]:
    """Items of a file as objects."""
    return [from_dict(item) for item in ItemFile(path).read()]
