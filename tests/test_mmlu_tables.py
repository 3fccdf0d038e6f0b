"""Tables of multiple-choice answers: accuracy with its error, chance, paired tests, against values made otherwise."""

import math

import numpy as np
import pandas as pd
import pytest

from sotopia_pi.analysis import mmlu_figures
from sotopia_pi.analysis.mmlu_tables import (
    AT_CHANCE,
    answers_frame,
    chance_table,
    group_table,
    mcnemar_p,
    mcnemar_table,
    subject_table,
    subjects_side_by_side,
)
from sotopia_pi.stages.mmlu import Answer

SUBJECTS = {"anatomy": "STEM", "marketing": "other"}


def answers(variant, right, way="letters", guessed=0, subjects=SUBJECTS):
    """One answer a question; right: for each question of each subject in turn, whether it is correct."""
    made = []
    for k, correct in enumerate(right):
        subject = list(subjects)[k % len(subjects)]
        made.append(
            Answer(
                id=f"{variant}-{way}-{k}",
                variant=variant,
                model="m",
                way=way,
                set="a toy quiz",
                subject=subject,
                group=subjects[subject],
                index=k // len(subjects),
                question=f"q{k}",
                answer="A",
                choice="A" if correct else "B",
                guessed=k < guessed,
            )
        )
    return made


def test_accuracy_has_the_standard_error_of_a_mean():
    right = [True, True, True, False, True, False, False, True, True, True]
    rows = group_table(answers_frame(answers("base", right, guessed=3, way="reply"))).set_index("group")
    assert list(rows.index) == ["all", "STEM", "other"]
    for group, part in (("all", right), ("STEM", right[::2]), ("other", right[1::2])):
        row = rows.loc[group]
        assert (row["n"], row["accuracy"]) == (len(part), pytest.approx(np.mean(part)))
        assert row["standard_error"] == pytest.approx(np.std(part, ddof=1) / math.sqrt(len(part)))
        assert row["low"] < row["accuracy"] < row["high"]
    assert rows.loc["all", "format_errors"] == 3


def test_the_interval_is_clopper_and_pearsons():
    row = group_table(answers_frame(answers("base", [True] * 10))).iloc[0]
    assert row["low"] == pytest.approx(0.025 ** (1 / 10)) and row["high"] == 1


def test_subjects_stand_side_by_side():
    frame = answers_frame([*answers("base", [True, False, True, False]), *answers("BC", [False] * 4)])
    wide = subjects_side_by_side(subject_table(frame)).set_index("subject")
    assert wide.loc["anatomy", "base, letters"] == 1 and wide.loc["anatomy", "BC, letters"] == 0
    assert list(wide["n"]) == [2, 2]


def test_chance_is_told_from_knowledge_by_an_exact_test():
    frame = answers_frame([*answers("base", [True, False, False, False] * 20), *answers("BC", [True, True] * 20)])
    rows = chance_table(frame).set_index("variant")
    tail = sum(math.comb(80, k) * 0.25**k * 0.75 ** (80 - k) for k in range(20, 81))
    assert rows.loc["base", "p"] == pytest.approx(tail) and rows.loc["base", "verdict"] == AT_CHANCE
    assert rows.loc["BC", "p"] == pytest.approx(0.25**40) and rows.loc["BC", "verdict"] == "above chance"


@pytest.mark.parametrize(("first", "second"), [(0, 0), (3, 3), (9, 1), (1, 9), (2, 11), (0, 6)])
def test_mcnemar_is_the_exact_sign_test_over_disagreements(first, second):
    n, fewer = first + second, min(first, second)
    by_hand = min(1.0, 2 * sum(math.comb(n, k) for k in range(fewer + 1)) / 2**n)
    assert mcnemar_p(first, second) == pytest.approx(by_hand)


def test_variants_are_compared_over_the_questions_both_answered():
    base = [True] * 30 + [False] * 10
    cloned = [True] * 20 + [False] * 20
    frame = answers_frame([*answers("base", base), *answers("BC", cloned)[:36]])
    (row,) = mcnemar_table(frame).to_dict("records")
    assert (row["first"], row["second"], row["n"]) == ("BC", "base", 36)
    assert (row["first_only"], row["second_only"]) == (0, 10)
    assert row["difference_points"] == pytest.approx(-100 * 10 / 36) and row["p"] == pytest.approx(2 / 2**10)
    assert row["conclusion"] == "base knows more than BC"


def test_a_difference_between_two_who_guess_is_no_conclusion():
    base, cloned = [False] * 40, [True] * 10 + [False] * 30
    (row,) = mcnemar_table(answers_frame([*answers("base", base), *answers("BC", cloned)])).to_dict("records")
    assert row["p"] < 0.05 and row["conclusion"] == AT_CHANCE


def test_ways_of_answering_never_share_a_row():
    frame = answers_frame([*answers("base", [True] * 8), *answers("BC", [False] * 8, way="reply")])
    assert mcnemar_table(frame).empty
    assert list(group_table(frame)[["way", "variant"]].drop_duplicates().itertuples(index=False, name=None)) == [
        ("letters", "base"),
        ("reply", "BC"),
    ]


def words(figure):
    texts = [text.get_text() for text in figure.texts]
    return " ".join([figure.get_suptitle(), *texts, *(t.get_text() for ax in figure.axes for t in ax.texts)])


def test_the_figure_says_what_chance_forbids_and_who_is_missing():
    frame = answers_frame([*answers("base", [True, False, False, False] * 10), *answers("BC", [True] * 40)])
    figure = mmlu_figures.accuracy_figure(frame, "letters", "a toy quiz, tiny", {"SR": "not trained: no play"})
    told = " ".join(words(figure).split())
    assert "base: at chance, no conclusion." in told and "SR: not trained: no play." in told and "BC: at" not in told
    assert "a toy quiz, tiny" in told and len(figure.axes) == 3


def test_a_figure_without_answers_says_so():
    figure = mmlu_figures.accuracy_figure(answers_frame([]), "letters", "tiny")
    assert "nobody was asked this way" in words(figure)


def test_the_papers_numbers_stand_in_a_panel_of_their_own():
    figure = mmlu_figures.paper_figure()
    told = words(figure)
    assert all(number in told for number in ("49.21 %", "43.46 %", "47.48 %", "48.57 %")) and "Table 4" in told


def test_an_empty_frame_gives_empty_tables():
    frame = answers_frame([])
    for table in (group_table(frame), subject_table(frame), chance_table(frame), mcnemar_table(frame)):
        assert isinstance(table, pd.DataFrame) and table.empty
