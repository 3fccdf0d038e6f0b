"""Records of other people's files, one by one; what cannot be read is told with its file and line, never dropped."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

BOM = b"\xef\xbb\xbf"


class Unreadable(ValueError):
    """A record says something we cannot take over; the message says what came, what is allowed and what to do."""


@dataclass(frozen=True)
class Record:
    """One JSON object of a file. line: 1-based; in a file that is one JSON array, the place in the array."""

    file: str
    line: int
    body: Mapping[str, Any]


@dataclass(frozen=True)
class Refusal:
    """A record that was not taken over. id: as far as the record has one that can be read, else empty."""

    file: str
    line: int
    id: str
    reason: str

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def read_records(path: Path | str, refused: list[Refusal]) -> Iterator[Record]:
    """Every JSON object of a file in order; lines that hold none are added to `refused`.

    A `.json` file holds one object or one array of objects, any other file one object a line (blank lines are
    skipped), read line by line, so that a file may be larger than memory. A byte-order mark at the beginning is
    allowed. Raises FileNotFoundError.
    """
    path = Path(path)
    pieces = _elements(path, refused) if path.suffix == ".json" else _lines(path, refused)
    for number, value in pieces:
        if isinstance(value, dict):
            yield Record(path.name, number, value)
        else:
            refused.append(Refusal(path.name, number, "", f"{_kind(value)} came; allowed is a JSON object; mend it"))


def converted(
    records: Iterator[Record], id_fields: tuple[str, ...], convert: Callable[[Record], T], refused: list[Refusal]
) -> Iterator[tuple[Record, T]]:
    """Each record with what `convert` makes of it; those on which it raises Unreadable are added to `refused`."""
    for record in records:
        try:
            yield record, convert(record)
        except Unreadable as problem:
            refused.append(Refusal(record.file, record.line, id_of(record.body, id_fields), str(problem)))


def id_of(body: Mapping[str, Any], id_fields: tuple[str, ...]) -> str:
    """The first of these fields that holds a text, "" where none does."""
    found = (body[name] for name in id_fields if isinstance(body.get(name), str))
    return next(found, "")


def needed(body: Mapping[str, Any], fields: tuple[str, ...], kind: type[T]) -> T:
    """The value of the first of these fields (one name and its spellings) that is there. Raises Unreadable."""
    name = next((field for field in fields if field in body), None)
    if name is None:
        raise Unreadable(f"the field {fields[0]!r} is missing; it has: {', '.join(body) or 'none'}; add it")
    value = body[name]
    if not isinstance(value, kind) or isinstance(value, bool):
        raise Unreadable(f"{name} is {_kind(value)}, {_short(value)}; it takes {_KINDS[kind]}; mend it")
    return value


def built(make: Callable[[], T]) -> T:
    """What `make` returns; what our own classes refuse with ValueError is unreadable as well, in their words."""
    try:
        return make()
    except ValueError as error:
        raise Unreadable(str(error)) from error


_KINDS = {str: "a text", int: "a whole number", float: "a number", list: "a list", dict: "an object"}


def _kind(value: Any) -> str:
    return "nothing (null)" if value is None else _KINDS.get(type(value), f"a {type(value).__name__}")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}…"


def _lines(path: Path, refused: list[Refusal]) -> Iterator[tuple[int, Any]]:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            line = line.removeprefix(BOM) if number == 1 else line
            if not line.strip():
                continue
            try:
                yield number, _parsed(line)
            except (ValueError, RecursionError) as error:
                refused.append(Refusal(path.name, number, "", f"{_problem(error)}; mend or drop the line"))


def _elements(path: Path, refused: list[Refusal]) -> Iterator[tuple[int, Any]]:
    try:
        value = _parsed(path.read_bytes().removeprefix(BOM))
    except (ValueError, RecursionError) as error:
        refused.append(Refusal(path.name, 1, "", f"{_problem(error)}; mend the file, or save it as JSON Lines"))
        return
    yield from enumerate(value if isinstance(value, list) else [value], 1)


def _parsed(data: bytes) -> Any:
    value = json.loads(data.decode())
    if b"\\ud" in data.lower():
        json.dumps(value, ensure_ascii=False).encode()  # raises on half a character, which no file of ours could hold
    return value


def _problem(error: ValueError | RecursionError) -> str:
    match error:
        case UnicodeDecodeError():
            return f"not UTF-8: byte {error.object[error.start]:#04x} at place {error.start}"
        case UnicodeEncodeError():
            return f"a text holds half of a character, \\u{ord(error.object[error.start]):04x}"
        case RecursionError():
            return "nested too deeply to read"
    return f"not JSON: {error}"
