"""Inspirational prompts in their published files: Social Chemistry 101, Social IQa and NormBank, read row by row.

Files are streamed: memory does not grow with their size. A row that cannot be read comes out as a `RefusedRow` that
names the row and the reason, never as nothing.
"""

import gzip
import hashlib
import io
import json
import re
import unicodedata
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from sotopia_pi.formats.delimited import LONGEST_LINE, BrokenLine, LineStream, records

RefusalReason = Literal[
    "empty line",
    "empty text",
    "not UTF-8",
    "line too long",
    "unbalanced quotes",
    "number of fields",
    "not a JSON object",
    "field is missing",
    "field is no text",
]
REFUSALS: tuple[RefusalReason, ...] = get_args(RefusalReason)

FIRST_ROWS = 100
"""When none of so many first rows could be read, the file is not what it was taken for, and reading ends at once."""

_HUB = re.compile(r"hf://datasets/([\w.-]+/[\w.-]+?)(?:@([\w./-]+?))?/([^/@].*)")
_GZIP = b"\x1f\x8b"


class InspirationFileError(ValueError):
    """A file of inspirational prompts cannot be read at all; the message says what came and what to do."""


@dataclass(frozen=True, slots=True)
class Inspiration:
    """One inspirational prompt. row: line of its file, from 1 (the header is line 1); text: as it stands there."""

    source: str
    row: int
    text: str

    def __post_init__(self):
        if not self.source or self.row < 1 or not self.text.strip():
            raise ValueError(
                f"inspirational prompt {self.source!r}, row {self.row}, text {self.text[:60]!r}: a source, a row from "
                f"1 and a text that is not blank are needed; mend or drop the row"
            )

    @property
    def key(self) -> str:
        """32 hex digits that are the same for the same text, whatever its case, spacing and outer punctuation."""
        return hashlib.blake2b(normalised(self.text).encode(), digest_size=16).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> "Inspiration":
        return cls(record["source"], record["row"], record["text"])


@dataclass(frozen=True, slots=True)
class RefusedRow:
    """A row that was not read. reason: of `REFUSALS`; detail: what came."""

    source: str
    row: int
    reason: RefusalReason
    detail: str = ""

    def __post_init__(self):
        if self.reason not in REFUSALS:
            raise ValueError(f"{self.source}, row {self.row}: reason {self.reason!r} is not one of {REFUSALS}")

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> "RefusedRow":
        return cls(record["source"], record["row"], record["reason"], record["detail"])


@dataclass(frozen=True)
class Layout:
    """How a file of prompts is laid out. field: the column, or the JSON key, that holds the prompt.

    delimiter: "," or a tab in files with a header line, "" in JSON Lines. columns: how many columns the header has,
    0 where any number will do (`dataclasses.replace(SOCIAL_CHEMISTRY, columns=0)` for a file you cut yourself).
    """

    source: str
    field: str
    delimiter: str = ""
    columns: int = 0

    def __post_init__(self):
        if self.delimiter not in ("", ",", "\t"):
            raise ValueError(f"layout {self.source!r}: delimiter {self.delimiter!r}; allowed: ',', a tab, '' for JSON")


SOCIAL_CHEMISTRY = Layout("social_chemistry", "situation", "\t", columns=25)
"""social-chem-101.v1.0.tsv of Social Chemistry 101 (Forbes et al. 2020)."""
SOCIAL_IQA = Layout("social_iqa", "context")
"""train.jsonl of Social IQa (Sap et al. 2019)."""
NORMBANK = Layout("normbank", "behavior", ",")
"""NormBank.csv of NormBank (Ziems et al. 2023)."""
EVALUATION_PROMPTS = Layout("evaluation", "prompt", ",")
"""A list of prompts that must not be used, as a CSV file with a column `prompt`."""


def normalised(text: str) -> str:
    """The form in which two prompts are compared: Unicode NFKC, case folded, single spaces, bare of outer marks."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(folded.split()).strip(" .,;:!?\"'`“”‘’…()[]-–—")


def read_inspirations(where: Path | str, layout: Layout) -> Iterator[Inspiration | RefusedRow]:
    """Every row of a file, one after the other, as a prompt or as a refusal; nothing is left out.

    where: a file, plain or gzipped, or `hf://datasets/OWNER/NAME/FILE` on the Hugging Face hub. Raises
    InspirationFileError for a file that is absent, empty, damaged, without the column, or without a readable row.
    """
    path = located(where)
    read = refused = 0
    first: RefusedRow | None = None
    try:
        with _opened(path) as file:
            for item in _rows(file, path, layout):
                if isinstance(item, RefusedRow):
                    refused, first = refused + 1, first or item
                else:
                    read += 1
                if not read and refused == FIRST_ROWS:
                    break
                yield item
    except (EOFError, zlib.error, OSError) as error:
        raise InspirationFileError(
            f"{path}: damaged after {read + refused} rows ({error}). Fetch the file again, or unpack it and name the "
            f"unpacked one."
        ) from error
    if not read:
        what = f"row {first.row}: {first.reason} ({first.detail})" if first else "it ends after its first line"
        raise InspirationFileError(
            f"{path}: none of {refused} rows could be read as {layout.source}, first {what}. {_expected(layout)}"
        )


def located(where: Path | str) -> Path:
    """A local path as it is, a file of the hub after fetching it (once). Raises InspirationFileError."""
    if isinstance(where, str) and where.startswith("hf://"):
        parts = _HUB.fullmatch(where)
        if not parts:
            raise InspirationFileError(
                f"{where}: not the name of a file in a data set; write hf://datasets/OWNER/NAME/FILE or "
                f"hf://datasets/OWNER/NAME@REVISION/FILE"
            )
        return hub_file(parts[1], parts[3], parts[2])
    path = Path(where).expanduser()
    if not path.is_file():
        raise InspirationFileError(f"{path}: there is no such file. Give a file, or hf://datasets/OWNER/NAME/FILE.")
    return path


def hub_file(repository: str, file: str, revision: str | None = None) -> Path:
    """A file of a hub data set on this machine: from the hub's own cache, where it is fetched to once.

    Raises InspirationFileError.
    """
    from httpx2 import HTTPError
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    what = {"repo_id": repository, "filename": file, "repo_type": "dataset", "revision": revision}
    with suppress(LocalEntryNotFoundError, HFValidationError):
        return Path(hf_hub_download(**what, local_files_only=True))
    try:
        return Path(hf_hub_download(**what))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, HTTPError, OSError) as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        at = f" --revision {revision}" if revision else ""
        raise InspirationFileError(
            f"{file} of data set {repository} could not be fetched from the hub: {(lines or ['no message'])[0][:300]}\n"
            f"On a machine with network, run\n"
            f"    hf download {repository} {file} --repo-type dataset{at} --local-dir {repository.split('/')[-1]}\n"
            f"copy the file here and give its path instead."
        ) from error


def _opened(path: Path) -> io.BufferedIOBase:
    file = path.open("rb")
    if file.peek(2)[:2] != _GZIP:
        return file
    file.close()
    return gzip.open(path, "rb")


def _rows(file: io.BufferedIOBase, path: Path, layout: Layout) -> Iterator[Inspiration | RefusedRow]:
    stream = LineStream(file)
    if layout.delimiter:
        yield from _table_rows(stream, path, layout)
    else:
        for row, line in stream:
            yield _json_row(row, line, layout)
    if not stream.row:
        raise InspirationFileError(f"{path}: the file is empty. {_expected(layout)}")


def _table_rows(stream: LineStream, path: Path, layout: Layout) -> Iterator[Inspiration | RefusedRow]:
    header = next(records(stream, layout.delimiter), None)
    if header is None:
        return
    names = [] if isinstance(header[1], BrokenLine) else [name.strip() for name in header[1]]
    if names.count(layout.field) != 1 or (layout.columns and len(names) != layout.columns):
        came = header[1].detail if isinstance(header[1], BrokenLine) else f"{len(names)} columns, {', '.join(names)}"
        raise InspirationFileError(f"{path}: the first line has {came[:400]}. {_expected(layout)}")
    column = names.index(layout.field)
    for row, fields in records(stream, layout.delimiter, len(names)):
        if isinstance(fields, BrokenLine):
            yield RefusedRow(layout.source, row, fields.reason, fields.detail)
        elif not fields[column].strip():
            yield RefusedRow(layout.source, row, "empty text", f"{layout.field} is blank")
        else:
            yield Inspiration(layout.source, row, fields[column])


def _json_row(row: int, line: str | BrokenLine, layout: Layout) -> Inspiration | RefusedRow:
    if isinstance(line, BrokenLine):
        return RefusedRow(layout.source, row, line.reason, line.detail)
    if not line.strip():
        return RefusedRow(layout.source, row, "empty line")
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        return RefusedRow(layout.source, row, "not a JSON object", f"{error}; it begins {line[:40]!r}")
    if not isinstance(record, dict):
        return RefusedRow(layout.source, row, "not a JSON object", f"it begins {line[:40]!r}")
    if layout.field not in record:
        return RefusedRow(layout.source, row, "field is missing", f"no {layout.field}, but {', '.join(record)[:200]}")
    text = record[layout.field]
    if not isinstance(text, str) or any("\ud800" <= mark <= "\udfff" for mark in text):
        return RefusedRow(layout.source, row, "field is no text", f"{layout.field} is {ascii(text)[:60]}")
    if not text.strip():
        return RefusedRow(layout.source, row, "empty text", f"{layout.field} is blank")
    return Inspiration(layout.source, row, text)


def _expected(layout: Layout) -> str:
    if not layout.delimiter:
        return (
            f'Expected UTF-8 JSON Lines, one object with the key "{layout.field}" a line, each below {LONGEST_LINE} B.'
        )
    kind = "tabs" if layout.delimiter == "\t" else "commas"
    number = f"{layout.columns} columns" if layout.columns else "columns"
    return (
        f"Expected a UTF-8 file whose first line names {number} separated by {kind}, `{layout.field}` among them and "
        f"only once: check that it is the file of {layout.source}, whole and not converted."
    )
