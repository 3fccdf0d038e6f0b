"""How well the reader reads: precision and recall on hand-labelled utterances.

Figures on tests/data/utterances.jsonl (`pytest tests/test_reader.py -s -k are_read_as_labelled` prints the current
ones). `cloned`: what a behavior-cloned SmolLM2-135M said to the scripted partner in the product's own prompts; distinct
utterances, odd ones preferred, labelled before they were read.

    source        n   offers: precision   recall          acceptances: precision   recall
    First reading of `cloned`, with the reader as it was:
    written     228   1.000 (of 140)      1.000 (of 140)  1.000 (of 32)            1.000 (of 32)
    base model   72   0.720 (of 25)       1.000 (of 18)   0.800 (of 5)             1.000 (of 4)
    cloned      213   0.938 (of 178)      0.879 (of 190)  0.571 (of 7)             1.000 (of 4)
    After mending the reader on what it had misread there:
    written     228   1.000 (of 140)      1.000 (of 140)  1.000 (of 32)            1.000 (of 32)
    base model   72   0.720 (of 25)       1.000 (of 18)   0.800 (of 5)             1.000 (of 4)
    cloned      213   1.000 (of 177)      0.932 (of 190)  1.000 (of 4)             1.000 (of 4)
    all models  285   0.965 (of 202)      0.938 (of 208)  0.889 (of 9)             1.000 (of 8)
    With ten more, chosen because "I ask for ..." was misread in trained agents' talk, after mending that too:
    written     232   1.000 (of 143)      1.000 (of 143)  1.000 (of 32)            1.000 (of 32)
    all models  291   0.966 (of 207)      0.939 (of 213)  0.889 (of 9)             1.000 (of 8)

Only the first reading of `cloned` is surely on utterances that the rules were not fitted to, and it is no blind one:
much of their wording is the scripted expert's, and the dialogues they were labelled in hold the partner's answers,
which rest on the reader. Models accept rarely, and no model took anything back (the 10 withdrawals are all written;
precision and recall 1.000). The 13 offers of `cloned` still missed are sums in cost sharing with nobody to pay them
("my proposal would be $25"), most likely meant as the speaker's own share: they stay unread, for they might mean the
other's.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from sotopia_pi.world.payoffs import Issue
from sotopia_pi.world.reader import Reading, read


def measure(records: Iterable[Mapping[str, Any]], issue_sets: Mapping[str, Sequence[Issue]]) -> dict[str, Any]:
    """Precision and recall of offers, acceptances and withdrawals over labelled utterances.

    records: dicts with id, issues (a key of issue_sets), speaker, text, terms, accepts, withdraws. Returns what
    `measure_readings` does.
    """
    return measure_readings(records, lambda one: read(one["text"], issue_sets[one["issues"]], one["speaker"]))


def measure_readings(
    records: Iterable[Mapping[str, Any]], reader: Callable[[Mapping[str, Any]], Reading]
) -> dict[str, Any]:
    """The same for any reader. records: dicts with id, text, terms, accepts, withdraws.

    An offer is right only when all of its terms are: a wrong or partly wrong one counts against precision and against
    recall. Returns n, for each of offers / acceptances / withdrawals {"precision", "recall", "n_labelled", "n_read"}
    (shares in [0, 1], None where nothing was read or labelled), and `errors`: the ids read otherwise than labelled,
    with both.
    """
    records = list(records)
    counts = {kind: [0, 0, 0] for kind in ("offers", "acceptances", "withdrawals")}
    errors = []
    for record in records:
        reading = reader(record)
        pairs = {
            "offers": (record["terms"], dict(reading.terms)),
            "acceptances": (record["accepts"], reading.accepts),
            "withdrawals": (record["withdraws"], reading.withdraws),
        }
        for kind, (labelled, seen) in pairs.items():
            counts[kind][0] += bool(labelled)
            counts[kind][1] += bool(seen)
            counts[kind][2] += bool(labelled) and labelled == seen
        wrong = {kind: {"labelled": a, "read": b} for kind, (a, b) in pairs.items() if a != b}
        if wrong:
            errors.append({"id": record["id"], "text": record["text"], **wrong})
    return {"n": len(records), **{kind: _shares(*found) for kind, found in counts.items()}, "errors": errors}


def summary(measured: Mapping[str, Any]) -> str:
    """The figures of `measure` as text: n first, then one line a kind."""
    lines = [f"n = {measured['n']} utterances, {len(measured['errors'])} read otherwise than labelled"]
    for kind in ("offers", "acceptances", "withdrawals"):
        part = measured[kind]
        lines.append(
            f"{kind}: precision {_shown(part['precision'])} (n = {part['n_read']}), "
            f"recall {_shown(part['recall'])} (n = {part['n_labelled']})"
        )
    return "\n".join(lines)


def _shares(labelled: int, seen: int, right: int) -> dict[str, Any]:
    return {
        "precision": right / seen if seen else None,
        "recall": right / labelled if labelled else None,
        "n_labelled": labelled,
        "n_read": seen,
    }


def _shown(share: float | None) -> str:
    return "–" if share is None else f"{share:.3f}"
