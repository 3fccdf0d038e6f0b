"""Near-duplicates: which situation texts of tasks say almost the same, among themselves or as an evaluation task."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

import pandas as pd

from sotopia_pi.stages.tasks import NEAR_DUPLICATE, word_grams
from sotopia_pi.world.tasks import SocialTask

AMONG, AGAINST = "among these tasks", "with an evaluation task"
COLUMNS = ("where", "jaccard", "same_text", "template", "other_template", "text", "other_text")

_Text = tuple[str, str]
"""(template, situation text)"""


def near_duplicates(
    tasks: Sequence[SocialTask], evaluation: Sequence[SocialTask] = (), threshold: float = NEAR_DUPLICATE
) -> pd.DataFrame:
    """Pairs of situation texts that are closer than the threshold, the closest first; one row a pair.

    jaccard: share of word 5-grams in common, in [0, 1], the measure by which `overlap` holds evaluation out. Among
    the tasks themselves, texts of one template are no pair: they are meant to be alike and count as one cluster.
    Raises ValueError for a threshold outside [0, 1].
    """
    if not 0 <= threshold <= 1:
        raise ValueError(f"threshold is {threshold}; it is a share of word 5-grams, in [0, 1]")
    ours, held_out = _texts(tasks), _texts(evaluation)
    place = {text: i for i, text in enumerate(ours)}
    rows = [
        _row(AMONG, index, one, other)
        for index, one, other in _close(ours, ours, threshold)
        if place[one] < place[other] and one[0] != other[0]
    ]
    rows += [_row(AGAINST, *found) for found in _close(ours, held_out, threshold)]
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    return frame.sort_values(
        ["jaccard", "template", "other_template"], ascending=[False, True, True], ignore_index=True
    )


def _texts(tasks: Sequence[SocialTask]) -> dict[_Text, set[tuple[str, ...]]]:
    """Word 5-grams of every text of every template, each once."""
    return {(task.template, task.scenario.text): word_grams(task.scenario.text) for task in tasks}


def _close(ours: dict[_Text, set], others: dict[_Text, set], threshold: float) -> Iterator[tuple[float, _Text, _Text]]:
    """(Jaccard index, one, other) of the pairs above the threshold; only texts with a common 5-gram are compared."""
    holders = defaultdict(list)
    for other, grams in others.items():
        for gram in grams:
            holders[gram].append(other)
    for one, grams in ours.items():
        shared = Counter(other for gram in grams for other in holders.get(gram, ()))
        for other, n in shared.items():
            index = n / (len(grams) + len(others[other]) - n)
            if index > threshold:
                yield index, one, other


def _row(where: str, index: float, one: _Text, other: _Text) -> tuple:
    return where, round(index, 3), one[1] == other[1], one[0], other[0], one[1], other[1]
