"""Labels: what a judge, a person or a classifier says about an episode, each with its source and reason."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from sotopia_pi.store.items import ItemFile, content_id

Kind = Literal["judge", "person", "classifier"]

INJURY, PREVENTED, SOLUTIONS, TOXICITY = "injury_intent", "prevented", "solutions", "toxicity"
VALUES: Mapping[str, type] = {INJURY: bool, PREVENTED: bool, SOLUTIONS: int, TOXICITY: float}
"""Label -> type of its value. solutions: at least 0; toxicity: in [0, 1]."""
BY_HAND = (INJURY, PREVENTED, SOLUTIONS)
"""What the paper's authors labelled by hand (Sotopia-π, Table 3), and what a judge is asked."""


@dataclass(frozen=True)
class Label:
    """One value of one label of an episode.

    source: the judge's or classifier's name, or the annotator's; kind: which of these it is. number: 0, or how often
    the same source had labelled this before; the highest one counts. about: what determines the value besides (a
    judgement's id, a classifier's weights); "" for a person.
    """

    episode_id: str
    label: str
    value: bool | int | float
    source: str
    kind: Kind
    reason: str = ""
    number: int = 0
    about: str = ""

    def __post_init__(self):
        wanted = VALUES.get(self.label)
        if wanted is None:
            raise ValueError(f"episode {self.episode_id}: label {self.label!r} is unknown; known: {', '.join(VALUES)}")
        if type(self.value) is not wanted or self.value < 0 or (wanted is float and self.value > 1):
            raise ValueError(
                f"episode {self.episode_id}: {self.label} is {self.value!r}; it is a {wanted.__name__} from 0"
                f"{' to 1' if wanted is float else ''}; label it again"
            )
        if self.kind not in get_args(Kind) or not self.source.strip():
            raise ValueError(
                f"episode {self.episode_id}: {self.kind!r} {self.source!r} is no source; name one of "
                f"{', '.join(get_args(Kind))}"
            )

    @property
    def id(self) -> str:
        return content_id("label", [self.episode_id, self.label, self.source, self.kind, self.number, self.about])

    def to_dict(self) -> dict[str, Any]:
        return {"schema": "label/1", "id": self.id, **vars(self)}

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> "Label":
        return cls(**{key: value for key, value in record.items() if key not in ("schema", "id")})


def read_labels(file: ItemFile) -> list[Label]:
    """All labels of a file, as they were given."""
    return [Label.from_dict(record) for record in file.read()]


def add_labels(labels: Iterable[Label], file: ItemFile) -> None:
    """Append those that the file lacks."""
    here = file.ids()
    for label in labels:
        if label.id not in here:
            file.append(label.to_dict())


def standing(labels: Iterable[Label]) -> list[Label]:
    """Of each source the last word on each label of an episode."""
    last: dict[tuple[str, str, str, str], Label] = {}
    for label in labels:
        key = (label.episode_id, label.label, label.kind, label.source)
        if key not in last or label.number >= last[key].number:
            last[key] = label
    return list(last.values())


def label_counts(labels: Iterable[Label]) -> dict[str, int]:
    """Count table: labels by kind and source."""
    counted = Counter(f"labels by {label.kind} {label.source}" for label in standing(labels))
    return dict(sorted(counted.items())) or {"labels": 0}
