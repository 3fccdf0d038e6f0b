"""What may not leave a machine with a run: secrets stop a bundle, folders of the machine are rewritten."""

import html
import json
import os
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from urllib.parse import quote

from sotopia_pi.store.params import SECRET_VALUE

KEY_NAME = re.compile(r"KEY|TOKEN|SECRET|PASSW|CREDENTIAL", re.IGNORECASE)
"""Environment variables whose values are looked for."""
SHORTEST_SECRET = 8
"""Characters; shorter values of such variables are words or numbers that occur by themselves."""
PATTERNS = {
    "an API key": re.compile(SECRET_VALUE.pattern.encode()),
    "a private key": re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----"),
    "an authorization header": re.compile(rb"\b[Bb]earer [A-Za-z0-9._~+/=-]{20,}"),
    "a cloud access key": re.compile(rb"\bAKIA[0-9A-Z]{16}\b"),
}
BEGINS = r"(?:(?<![\w+/.~-])|(?<=\\[nrt])|(?<=\[\dm)|(?<=\[\d\dm))"
"""Where a path may begin: not inside a word, a path or base64; or after a line break or a colour as JSON has them."""
ENDS = r"(?![\w+-]|\.\w)"
HOMES = re.compile(
    BEGINS + r"(?:/(?:home|Users)/[\w.+-]+|/root(?![\w+.-])|[A-Za-z]:(?:\\\\?|/)Users(?:\\\\?|/)[^\\/\"\s<]+)"
)
TEMPORARY = re.compile(BEGINS + r"(?:/private)?/(?:tmp|var/tmp|var/folders)(?=/)")
LIBRARIES = re.compile(BEGINS + r"/[\w./+-]*?/(?=(?:site|dist)-packages/)")


@dataclass(frozen=True)
class Secrets:
    """Values that must not occur anywhere. planted: name of the environment variable -> its value."""

    planted: Mapping[str, str]

    @classmethod
    def of_environment(cls) -> "Secrets":
        named = {name: value for name, value in os.environ.items() if KEY_NAME.search(name)}
        return cls({name: value for name, value in named.items() if len(value) >= SHORTEST_SECRET})

    def find(self, data: bytes) -> str | None:
        """What a file holds and in which line, `the value of OPENAI_API_KEY, line 12`, never the value itself."""
        for name, forms in self._forms.items():
            for form in forms:
                if (place := data.find(form)) >= 0:
                    return f"the value of the environment variable {name}, line {_line(data, place)}"
        for what, pattern in PATTERNS.items():
            if match := pattern.search(data):
                return f"what looks like {what}, line {_line(data, match.start())}"
        return None

    @cached_property
    def _forms(self) -> dict[str, set[bytes]]:
        """Each value as it is, and as JSON, HTML and addresses write it."""
        written = (lambda v: v, lambda v: json.dumps(v)[1:-1], html.escape, lambda v: quote(v, safe=""))
        return {name: {form(value).encode() for form in written} for name, value in self.planted.items()}


@dataclass(frozen=True)
class Places:
    """Folders of the machine a run was made on, and what stands for each. known: path -> what takes its place."""

    known: Mapping[str, str]

    @classmethod
    def of_machine(cls, root: Path, told: Iterable[str] = ()) -> "Places":
        """root: the project's folder. told: project folders that the run's notebooks name, other machines' too."""
        projects = {str(root), str(root.resolve()), *told}
        folders = {str(Path(sys.prefix)): "…", str(Path.home()): "~", **dict.fromkeys(projects, ".")}
        return cls({path: word for path, word in folders.items() if len(Path(path).parts) > 1})

    def rewritten(self, text: str, data: bool) -> str:
        """The text without these folders. data: an items file, in which other people's paths are left as they are."""
        text = self._pattern.sub(lambda match: self.known[match.group()], text)
        if data:
            return text
        text = LIBRARIES.sub("…/", text)
        return TEMPORARY.sub("…", HOMES.sub("~", text))

    def in_bytes(self, data: bytes) -> str | None:
        """The first project or home folder that a file which is no text names."""
        return next((path for path in self.known if len(path) >= SHORTEST_SECRET and path.encode() in data), None)

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        longest_first = sorted(self.known, key=len, reverse=True)
        return re.compile(f"{BEGINS}(?:{'|'.join(map(re.escape, longest_first))}){ENDS}")


def told_projects(notebooks: Iterable[Path]) -> set[str]:
    """Project folders that executed notebooks name as the place where they were run."""
    found = set()
    for path in notebooks:
        told = json.loads(path.read_text(encoding="utf-8")).get("metadata", {}).get("papermill", {})
        source = Path(told.get("input_path") or "")
        if source.is_absolute():
            found.add(str(source.parents[1]))
    return found


def _line(data: bytes, place: int) -> int:
    return data.count(b"\n", 0, place) + 1
