"""Toxic words: a list of words and phrases, and how often a text has them."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from pathlib import Path

from sotopia_pi.store.items import content_id

PACKAGED = "toxic_words.json"
LISTED = "listed"
"""The one kind of word in a list that has no kinds of its own."""


@dataclass(frozen=True)
class WordList:
    """Words and phrases by kind. A word counts where it stands as a word, in any case and simple inflection.

    It reads no context: "do not kill him" counts like "kill him", and a word with a harmless sense counts as well.
    """

    name: str
    licence: str
    words: Mapping[str, Sequence[str]]

    def __post_init__(self):
        if not any(self.words.values()):
            raise ValueError(f"word list {self.name!r} holds no words; put one word or phrase on each line")

    @property
    def digest(self) -> str:
        return content_id("words", {kind: list(words) for kind, words in self.words.items()})

    def counts(self, texts: Iterable[str]) -> dict[str, int]:
        """Kind -> how many of its words occur in the texts, each occurrence counted; longer phrases come first."""
        found = dict.fromkeys(self.words, 0)
        for text in texts:
            for match in self._pattern.finditer(text.replace("’", "'")):
                found[self._kinds[int(match.lastgroup.split("_")[1])]] += 1
        return found

    def found(self, text: str) -> list[str]:
        """The occurrences as they stand in the text."""
        return [match.group() for match in self._pattern.finditer(text.replace("’", "'"))]

    @cached_property
    def _kinds(self) -> list[str]:
        return list(self.words)

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        entries = [(word, number) for number, words in enumerate(self.words.values()) for word in words]
        return re.compile("|".join(_grouped(entries)), re.IGNORECASE)


def packaged_words() -> WordList:
    """The list that comes along: swearing, insults and slurs, threats."""
    record = json.loads(files("sotopia_pi.stages").joinpath("data", PACKAGED).read_text(encoding="utf-8"))
    return WordList(record["name"], record["licence"], record["words"])


def word_list(path: str) -> WordList:
    """The list in a text file, one word or phrase a line, `#` for remarks; the packaged one for an empty path.

    Raises FileNotFoundError, ValueError for a file without words.
    """
    if not path:
        return packaged_words()
    file = Path(path)
    if not file.is_file():
        raise FileNotFoundError(
            f"toxic_words: there is no file {path}; name a text file with one word or phrase a line, or leave it empty"
        )
    lines = [line.partition("#")[0].strip() for line in file.read_text(encoding="utf-8-sig").splitlines()]
    return WordList(file.name, "not stated", {LISTED: tuple(dict.fromkeys(line for line in lines if line))})


def _grouped(entries: Sequence[tuple[str, int]]) -> Iterable[str]:
    """A named group for each entry, longer ones first; the name tells the number of its kind."""
    for place, (word, kind) in enumerate(sorted(entries, key=lambda entry: -len(entry[0]))):
        yield rf"(?P<kind_{kind}_{place}>(?<!\w){_inflected(word)}(?!\w))"


def _inflected(phrase: str) -> str:
    """A pattern for a word or phrase, each word of it with -s, -es, -ed, -er, -ers, -ing, -in' or -y or without."""
    return r"[\s-]+".join(_forms(word) for word in re.split(r"[\s-]+", phrase.strip()))


def _forms(word: str) -> str:
    if word.endswith("e"):
        return re.escape(word[:-1]) + r"(?:e(?:s|d|rs?)?|ing|in')"
    if word.endswith("y"):
        return re.escape(word[:-1]) + r"(?:y|ies|ied|ying)"
    return re.escape(word) + rf"(?:e?s|{re.escape(word[-1])}?(?:ed|ers?|ing|in'|y))?"
