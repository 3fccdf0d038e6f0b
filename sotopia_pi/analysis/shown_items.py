"""Of episodes and ratings in their files, what a results table shows; the rest, most of a file, becomes no object.

Read one after the other, so that a run of a million turns needs the memory of its table.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from sotopia_pi.store.items import CorruptLine


class ShownTurn(BaseModel):
    """A turn: whose it is, and whether it stands in for words that nobody could read."""

    side: Any
    failed: Any = False


class ShownEpisode(BaseModel):
    """An episode, as `Episode` has it."""

    id: Any
    task_id: Any
    template: Any
    family: Any
    agent_side: Any
    seed: Any
    repeat: Any
    tag: Any
    outcome: Any
    ending: Any
    failure: Any
    turns: list[ShownTurn]


class ShownRating(BaseModel):
    """A rating, as `Rating` has it."""

    id: Any
    episode_id: Any
    side: Any
    judge: Any
    outcome: Any
    scores: dict[str, Any]
    overall: Any = None
    parts: dict[str, Any]


Shown = TypeVar("Shown", ShownEpisode, ShownRating)


def shown_items(path: Path, kind: type[Shown]) -> Iterator[Shown]:
    """The items of a file in its order, as `ItemFile` reads them: the first of an id counts, a torn last line does not.

    Raises CorruptLine.
    """
    seen: set[str] = set()
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                return
            try:
                item = kind.model_validate_json(line)
            except ValidationError as error:
                first = error.errors(include_url=False, include_input=False)[0]
                raise CorruptLine(
                    f"{path}, line {number}: not an item of its kind ({'.'.join(map(str, first['loc']))}: "
                    f"{first['msg']}); it begins {line[:60]!r}. Every other line is intact: mend or delete this one "
                    f"line, then run the same command again."
                ) from error
            if item.id not in seen:
                seen.add(item.id)
                yield item
