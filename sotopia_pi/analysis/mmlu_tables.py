"""Accuracy on multiple-choice questions: by group and subject, against chance, and between variants.

Questions are taken as independent draws from those the set could hold: a standard error says how far another set of
the same kind may lead, and no more. An accuracy that chance explains as well supports no conclusion at all.
"""

import itertools
import math
from collections.abc import Sequence
from typing import Any

import pandas as pd
from scipy.stats import binomtest

from sotopia_pi.analysis.colours import in_order
from sotopia_pi.analysis.proportions import Proportion
from sotopia_pi.formats.question_sets import GROUPS, LETTERS
from sotopia_pi.stages.mmlu import Answer

CHANCE = 1 / len(LETTERS)
SIGNIFICANT = 0.05
EVERYTHING = "all"
INTERVAL = "95 % Clopper-Pearson over questions"
AT_CHANCE = "at chance, no conclusion"
COLUMNS = ["set", "variant", "way", "group", "subject", "index", "choice", "answer", "correct", "guessed"]
ACCURACY = ["n", "correct", "accuracy", "standard_error", "low", "high", "format_errors", "method"]


def answers_frame(answers: Sequence[Answer]) -> pd.DataFrame:
    """One row per answer, columns COLUMNS; correct and guessed are bools."""
    rows = [{name: getattr(answer, name) for name in COLUMNS} for answer in answers]
    return pd.DataFrame(rows, columns=COLUMNS)


def group_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Accuracy per way, variant and group, first over all questions ("all", every question weighs alike).

    accuracy, low, high: shares in [0, 1]; standard_error: of the accuracy, sqrt(p (1 - p) / (n - 1)); format_errors:
    replies without a letter, answered at random (and counted as such).
    """
    names = [EVERYTHING, *(group for group in GROUPS if group in set(frame["group"]))]
    rows = [
        {"way": way, "variant": variant, "group": name, **_accuracy(part)}
        for way, variant, answers in _by_variant(frame)
        for name in names
        for part in [answers if name == EVERYTHING else answers[answers["group"] == name]]
    ]
    return pd.DataFrame(rows, columns=["way", "variant", "group", *ACCURACY])


def subject_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Accuracy per way, variant and subject; the columns of `group_table` and the subject."""
    rows = [
        {"way": way, "variant": variant, "group": group, "subject": subject, **_accuracy(part)}
        for way, variant, answers in _by_variant(frame)
        for (group, subject), part in answers.groupby(["group", "subject"], sort=True)
    ]
    return pd.DataFrame(rows, columns=["way", "variant", "group", "subject", *ACCURACY])


def subjects_side_by_side(table: pd.DataFrame) -> pd.DataFrame:
    """For reading: a line a subject with its number of questions, and beside it the accuracy by variant and way."""
    wide = table.pivot(index=["group", "subject", "n"], columns=["way", "variant"], values="accuracy")
    wide.columns = [f"{variant}, {way}" for way, variant in wide.columns]
    return wide.reset_index()


def chance_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Whether a variant knows more than guessing would show, per way and variant over all questions.

    p: exact binomial test, one-sided, of an accuracy above 1/4; verdict: "above chance", or AT_CHANCE.
    """
    rows = []
    for way, variant, answers in _by_variant(frame):
        n, correct = len(answers), int(answers["correct"].sum())
        p = float(binomtest(correct, n, CHANCE, alternative="greater").pvalue)
        verdict = "above chance" if p < SIGNIFICANT else AT_CHANCE
        rows.append({"way": way, "variant": variant, "n": n, "accuracy": correct / n, "p": p, "verdict": verdict})
    return pd.DataFrame(rows, columns=["way", "variant", "n", "accuracy", "p", "verdict"])


def mcnemar_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Every pair of variants over the questions both answered, by McNemar's exact test.

    first_only, second_only: questions that only the one got right; difference: accuracy of first minus second, in
    percentage points; p: two-sided exact binomial over those questions (1 where there are none). conclusion: AT_CHANCE
    where neither of the two is above chance, whatever p says.
    """
    verdicts = {(row.way, row.variant): row.verdict for row in chance_table(frame).itertuples()}
    rows = []
    for way in frame["way"].unique():
        variants = in_order(frame.loc[frame["way"] == way, "variant"])
        for second, first in itertools.combinations(variants, 2):
            compared = _compared(frame[frame["way"] == way], first, second)
            both_guess = {verdicts[way, first], verdicts[way, second]} == {AT_CHANCE}
            conclusion = AT_CHANCE if both_guess else _said(first, second, compared)
            rows.append({"way": way, "first": first, "second": second, **compared, "conclusion": conclusion})
    names = ["way", "first", "second", "n", "first_only", "second_only", "difference_points", "p", "conclusion"]
    return pd.DataFrame(rows, columns=names)


def mcnemar_p(first_only: int, second_only: int) -> float:
    """Two-sided p of McNemar's exact test: of the questions on which two disagree, either is right as often."""
    disagreed = first_only + second_only
    return float(binomtest(first_only, disagreed, 0.5).pvalue) if disagreed else 1.0


def _by_variant(frame: pd.DataFrame) -> list[tuple[str, str, pd.DataFrame]]:
    return [
        (way, variant, frame[(frame["way"] == way) & (frame["variant"] == variant)])
        for way in frame["way"].unique()
        for variant in in_order(frame.loc[frame["way"] == way, "variant"])
    ]


def _accuracy(answers: pd.DataFrame) -> dict[str, Any]:
    n, correct = len(answers), int(answers["correct"].sum())
    right = Proportion(correct, n)
    return {
        "n": n,
        "correct": correct,
        "accuracy": right.share,
        "standard_error": math.sqrt(right.share * (1 - right.share) / (n - 1)) if n > 1 else math.nan,
        "low": right.low,
        "high": right.high,
        "format_errors": int(answers["guessed"].sum()),
        "method": INTERVAL,
    }


def _compared(frame: pd.DataFrame, first: str, second: str) -> dict[str, Any]:
    key = ["subject", "index"]
    one, other = (frame[frame["variant"] == variant].set_index(key)["correct"] for variant in (first, second))
    both = pd.concat([one, other], axis=1, keys=["first", "second"], join="inner")
    right, wrong = int((both["first"] & ~both["second"]).sum()), int((~both["first"] & both["second"]).sum())
    n = len(both)
    points = 100 * (right - wrong) / n if n else math.nan
    return {
        "n": n,
        "first_only": right,
        "second_only": wrong,
        "difference_points": points,
        "p": mcnemar_p(right, wrong),
    }


def _said(first: str, second: str, compared: dict[str, Any]) -> str:
    if compared["p"] >= SIGNIFICANT:
        return "no difference shown"
    better, worse = (first, second) if compared["difference_points"] > 0 else (second, first)
    return f"{better} knows more than {worse}"
