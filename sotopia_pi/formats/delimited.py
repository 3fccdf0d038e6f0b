"""Delimited text, read line by line in constant memory, where one damaged row never swallows those after it."""

import csv
import io
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

LONGEST_LINE = 100_000
"""Most bytes of a line: hundreds of times the longest row of the published files, and below what csv allows a field."""
LONGEST_RECORD = 20
"""Most lines of a record whose quotes hold line breaks; beyond that, a quote was opened and never closed."""

Reason = Literal["empty line", "not UTF-8", "line too long", "unbalanced quotes", "number of fields"]


@dataclass(frozen=True, slots=True)
class BrokenLine:
    """Why a line or a record cannot be read, and what came."""

    reason: Reason
    detail: str


class LineStream:
    """Lines of a binary file as (number from 1, text without its line end, or why there is none).

    Lines that were looked at too far ahead can be given back. A byte order mark before the first line is no text.
    """

    def __init__(self, file: io.BufferedIOBase):
        self.row = 0
        self._file = file
        self._waiting: deque[tuple[int, str | BrokenLine]] = deque()

    def __iter__(self) -> "LineStream":
        return self

    def __next__(self) -> tuple[int, str | BrokenLine]:
        if self._waiting:
            return self._waiting.popleft()
        line = self._file.readline(LONGEST_LINE)
        if not line:
            raise StopIteration
        self.row += 1
        if len(line) == LONGEST_LINE and not line.endswith(b"\n"):
            return self.row, self._skip_rest()
        try:
            return self.row, line.decode("utf-8-sig" if self.row == 1 else "utf-8").rstrip("\r\n")
        except UnicodeDecodeError as error:
            return self.row, BrokenLine("not UTF-8", f"byte 0x{line[error.start]:02x} at position {error.start + 1}")

    def give_back(self, lines: list[tuple[int, str | BrokenLine]]) -> None:
        """The next lines to come are these, in this order."""
        self._waiting.extendleft(reversed(lines))

    def _skip_rest(self) -> BrokenLine:
        size = LONGEST_LINE
        while rest := self._file.readline(LONGEST_LINE):
            size += len(rest)
            if rest.endswith(b"\n"):
                break
        return BrokenLine("line too long", f"{size} bytes, allowed are {LONGEST_LINE}")


def records(stream: LineStream, delimiter: str, width: int = 0) -> Iterator[tuple[int, list[str] | BrokenLine]]:
    """(number of its first line, fields, or why there are none) of every record.

    A quoted field may hold delimiters and line breaks. A quote was never closed where it is open after
    `LONGEST_RECORD` lines or at the end of the file, where closing it gives another number of fields than `width`
    (0: any), or where the quoted field holds as many delimiters as a whole row. Then only the line that opened it is
    given up, and reading goes on with the very next one.
    """
    for row, line in stream:
        if isinstance(line, BrokenLine):
            yield row, line
        elif not line.strip(" \r"):
            yield row, BrokenLine("empty line", "no fields")
        elif '"' not in line:
            yield row, _of_width(line.split(delimiter), width)
        else:
            yield row, _quoted(stream, line, delimiter, width)


def _quoted(stream: LineStream, line: str, delimiter: str, width: int) -> list[str] | BrokenLine:
    fields = _closed([line], delimiter)
    if fields is not None:
        return _of_width(fields, width)
    ahead: list[tuple[int, str | BrokenLine]] = []
    while len(ahead) < LONGEST_RECORD - 1 and (following := next(stream, None)):
        ahead.append(following)
        if isinstance(following[1], BrokenLine):
            break
        if '"' not in following[1]:
            continue
        fields = _closed([line, *(text for _, text in ahead)], delimiter)
        if fields is not None:
            if not width or (len(fields) == width and not _swallows_a_row(fields, delimiter)):
                return fields
            break
    stream.give_back(ahead)
    return BrokenLine("unbalanced quotes", f"a quote is opened and not closed in {line[:60]!r}")


def _closed(lines: list[str], delimiter: str) -> list[str] | None:
    """The fields of these lines, or None while a quote is open: then the reader asks for one line more."""
    reader = csv.reader([*(f"{line}\n" for line in lines), "\n"], delimiter=delimiter)
    try:
        fields = next(reader)
    except csv.Error:
        return None
    return fields if reader.line_num == len(lines) else None


def _swallows_a_row(fields: list[str], delimiter: str) -> bool:
    """A quote that is opened in one row and closed in the same column of a later one leaves the width right, but
    width - 1 delimiters inside the field. Commas of prose do not count: a space follows them."""
    return any("\n" in f and len(re.findall(rf"{delimiter}(?! )", f)) >= len(fields) - 1 for f in fields)


def _of_width(fields: list[str], width: int) -> list[str] | BrokenLine:
    if width and len(fields) != width:
        return BrokenLine("number of fields", f"{len(fields)} fields, the first line has {width}")
    return fields
