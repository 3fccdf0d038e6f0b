"""Inspirational prompts on the way to social tasks: cleaned, told apart, kept away from evaluation, drawn evenly.

A prompt is used once: what a draw took is written to a list, and no other draw takes it again.
"""

import unicodedata
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from filelock import FileLock

from sotopia_pi.formats.inspirations import Inspiration, RefusedRow, normalised
from sotopia_pi.store.items import ItemFile, content_id
from sotopia_pi.world.population import inspirational_prompts, scenario_templates

PAPER_DRAW = 510
"""Prompts drawn in the paper; 462 tasks came of them (Sotopia-π, appendix on task generation)."""
LEAST_LETTERS = 3
"""NormBank's shortest behaviours are one short verb ("eat", "cry"); with fewer letters a row is a stray mark."""
MOST_CHARACTERS = 600
"""A prompt is one to three sentences (situations are titles of posts, at most 300 characters); a longer text is two
rows run together or a whole post, which would leave the task writer nothing to invent."""
LISTED = 1000
"""Refused rows kept for display; all are counted, so that a file of a million bad rows fits into memory."""

KEPT, TOO_SHORT, TOO_LONG = "kept", "too short", "too long"
DAMAGED, DUPLICATE, HELD_OUT = "damaged characters", "duplicate", "in the evaluation set"

_STAGE = 11
_UNSEEN = {"Cc", "Cf", "Co", "Cn"}
_REPLACEMENT = "\ufffd"


@dataclass(frozen=True)
class PromptPool:
    """Prompts that may be drawn, in file order, and what became of every row that was read.

    fates: (source, fate) -> rows, where a fate is "kept", why a prompt was dropped, or "refused: " and why a row was
    not read. refused: the first `LISTED` rows that were not read.
    """

    kept: tuple[Inspiration, ...]
    fates: Mapping[tuple[str, str], int]
    refused: tuple[RefusedRow, ...] = ()

    def table(self) -> pd.DataFrame:
        """One row a source and fate: source, fate, n_rows. The rows of a source add up to the rows of its file."""
        rows = [(source, fate, n) for (source, fate), n in self.fates.items()]
        return (
            pd.DataFrame(rows, columns=["source", "fate", "n_rows"])
            .sort_values(["source", "fate"])
            .reset_index(drop=True)
        )

    def counts(self) -> dict[str, int]:
        """Count table over all sources: rows read, kept, dropped by reason, refused by reason."""
        by_fate: Counter[str] = Counter()
        for (_, fate), n in self.fates.items():
            by_fate[fate] += n
        dropped = {f"prompts dropped: {fate}": n for fate, n in sorted(by_fate.items()) if fate != KEPT}
        return {"rows of prompts read": by_fate.total(), "prompts kept": by_fate[KEPT], **dropped}


def clean(rows: Iterable[Inspiration | RefusedRow], held_out: Iterable[str] = ()) -> PromptPool:
    """The prompts among these rows that are fit to be drawn, each text once.

    White space is made single, control characters and unseen marks go. Dropped are texts that are too short or too
    long, that carry damaged characters, that came before (in any source), or that are in `held_out`; texts are
    compared in `normalised` form.
    """
    barred = {normalised(text) for text in held_out}
    seen: set[str] = set()
    kept: list[Inspiration] = []
    refused: list[RefusedRow] = []
    fates: Counter[tuple[str, str]] = Counter()
    for row in rows:
        if isinstance(row, RefusedRow):
            fates[row.source, f"refused: {row.reason}"] += 1
            if len(refused) < LISTED:
                refused.append(row)
            continue
        text = tidy(row.text)
        key = normalised(text)
        fate = _unfit(text) or (HELD_OUT if key in barred else DUPLICATE if key in seen else KEPT)
        fates[row.source, fate] += 1
        if fate == KEPT:
            seen.add(key)
            kept.append(Inspiration(row.source, row.row, text))
    return PromptPool(tuple(kept), dict(fates), tuple(refused))


def tidy(text: str) -> str:
    """The text on one line, with single spaces and without control characters and unseen marks."""
    line = " ".join(text.split())
    if line.isprintable():
        return line
    return " ".join("".join(mark for mark in line if unicodedata.category(mark) not in _UNSEEN).split())


def draw(pool: PromptPool, n: int, seed: int, used: Set[str] = frozenset()) -> tuple[Inspiration, ...]:
    """n prompts, the sources in turn, so that their shares differ by one at most while each has prompts left.

    Where a source runs out the others fill up. used: keys of prompts never to take. A prompt's place in the draw
    depends on the pool and the seed alone, so a larger n goes on where a smaller one ended. Raises ValueError when
    fewer than n are left.
    """
    queues = [deque(p for p in queue if p.key not in used) for queue in _shuffled(pool, seed)]
    left = sum(map(len, queues))
    if n < 0 or left < n:
        raise ValueError(
            f"draw of {n} prompts: {left} of the pool's {len(pool.kept)} are left unused; allowed are 0 to {left}. "
            f"Draw fewer, or add a source."
        )
    drawn: list[Inspiration] = []
    while len(drawn) < n:
        drawn += [queue.popleft() for queue in queues if queue]
    return tuple(drawn[:n])


class UsedPrompts:
    """The list of prompts that were ever drawn, with the draw that took each; shared by all runs that must not
    repeat one another's prompts."""

    def __init__(self, path: Path | str):
        self.file = ItemFile(path)

    def keys(self) -> set[str]:
        return {entry["key"] for entry in self.file.read()}

    def claim(self, pool: PromptPool, n: int, seed: int, name: str) -> tuple[Inspiration, ...]:
        """Draw n prompts that no other draw has taken, and write them down before they are used.

        name: of this draw ("paper, round bc"). The same name and seed get the same prompts at every call, also after
        a crash half way; a larger n adds to them. Two processes may claim at once. Raises ValueError as `draw` does.
        """
        claimant = content_id("draw", {"name": name, "seed": seed})
        self.file.path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(self.file.path.with_suffix(".lock")):
            entries = self.file.read()
            mine = [Inspiration.from_dict(entry) for entry in entries if entry["draw"] == claimant]
            if len(mine) >= n:
                return tuple(mine[:n])
            others = {entry["key"] for entry in entries if entry["draw"] != claimant}
            here = {prompt.key for prompt in mine}
            fresh = [prompt for prompt in draw(pool, n, seed, others) if prompt.key not in here][: n - len(mine)]
            for prompt in fresh:
                self.file.append(_entry(prompt, claimant, name, seed))
        return (*mine, *fresh)


def own_prompts() -> tuple[Inspiration, ...]:
    """The prompts the product brings along, for runs without the published files. row: the place in the list."""
    return tuple(
        Inspiration(prompt.kind, place, prompt.text) for place, prompt in enumerate(inspirational_prompts(), 1)
    )


def evaluation_prompts() -> tuple[str, ...]:
    """Texts of the prompts from which the product's own evaluation tasks grew."""
    taken = {template.prompt for template in scenario_templates(split="eval")}
    return tuple(prompt.text for prompt in inspirational_prompts() if prompt.id in taken)


def _unfit(text: str) -> str:
    """Why a text is no prompt by itself, or ""."""
    if _REPLACEMENT in text:
        return DAMAGED
    if len(text) > MOST_CHARACTERS:
        return TOO_LONG
    return TOO_SHORT if sum(map(str.isalpha, text)) < LEAST_LETTERS else ""


def _shuffled(pool: PromptPool, seed: int) -> list[list[Inspiration]]:
    """The prompts of each source in a drawn order; which source comes first is drawn as well."""
    by_source: dict[str, list[Inspiration]] = {}
    for prompt in pool.kept:
        by_source.setdefault(prompt.source, []).append(prompt)
    names = sorted(by_source)
    first = int(np.random.default_rng([seed, _STAGE]).integers(max(1, len(names))))
    queues = []
    for place, name in enumerate(names):
        order = np.random.default_rng([seed, _STAGE, place]).permutation(len(by_source[name]))
        queues.append([by_source[name][i] for i in order])
    return queues[first:] + queues[:first]


def _entry(prompt: Inspiration, claimant: str, name: str, seed: int) -> dict[str, object]:
    body = {"key": prompt.key, **prompt.to_dict(), "draw": claimant, "draw_name": name, "seed": seed}
    return {"schema": "used-prompt/1", "id": content_id("prompt", prompt.key), **body}
