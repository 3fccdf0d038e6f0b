"""The small question set: its layout, its counts, and that nothing but the right answer points at the right answer."""

import csv
import re
from collections import Counter
from importlib.resources import files

import pandas as pd
import pytest

FOLDER = files("sotopia_pi.stages").joinpath("data", "questions")
COUNTS = {"test": 6, "dev": 5}
"""Questions of a subject per split."""

_NAMES = """
    abstract_algebra anatomy astronomy business_ethics clinical_knowledge college_biology college_chemistry
    college_computer_science college_mathematics college_medicine college_physics computer_security conceptual_physics
    econometrics electrical_engineering elementary_mathematics formal_logic global_facts high_school_biology
    high_school_chemistry high_school_computer_science high_school_european_history high_school_geography
    high_school_government_and_politics high_school_macroeconomics high_school_mathematics high_school_microeconomics
    high_school_physics high_school_psychology high_school_statistics high_school_us_history high_school_world_history
    human_aging human_sexuality international_law jurisprudence logical_fallacies machine_learning management marketing
    medical_genetics miscellaneous moral_disputes moral_scenarios nutrition philosophy prehistory
    professional_accounting professional_law professional_medicine professional_psychology public_relations
    security_studies sociology us_foreign_policy virology world_religions
"""
SUBJECTS = _NAMES.split()


def rows_of(split: str, subject: str) -> list[list[str]]:
    with FOLDER.joinpath(split, f"{subject}_{split}.csv").open(encoding="utf-8", newline="") as lines:
        return list(csv.reader(lines, strict=True))


def all_rows(*splits: str) -> list[list[str]]:
    return [row for split in splits or COUNTS for subject in SUBJECTS for row in rows_of(split, subject)]


def words(text: str) -> str:
    """The text without case and punctuation, apart from the signs that tell formulas apart."""
    return " ".join(re.findall(r"[\w+\-*/^=<>¬∧∨→∀∃]+", text.casefold()))


def share_of_policy(rows: list[list[str]], pick) -> float:
    """Expected accuracy of always taking the choice whose length is `pick` of all four lengths; ties are shared."""
    score = 0.0
    for _, *choices, letter in rows:
        lengths = [len(choice) for choice in choices]
        score += (lengths["ABCD".index(letter)] == pick(lengths)) / lengths.count(pick(lengths))
    return score / len(rows)


@pytest.mark.parametrize("split", COUNTS)
def test_each_of_the_57_subjects_has_one_file_per_split(split):
    assert len(SUBJECTS) == 57
    found = {path.name for path in FOLDER.joinpath(split).iterdir()}
    assert found == {f"{subject}_{split}.csv" for subject in SUBJECTS}


@pytest.mark.parametrize("subject", SUBJECTS)
def test_a_subject_has_its_questions_in_the_original_layout(subject):
    for split, count in COUNTS.items():
        rows = rows_of(split, subject)
        assert len(rows) == count
        for row in rows:
            assert len(row) == 6, row
            assert all(cell and cell == cell.strip() for cell in row), row
            assert row[5] in {"A", "B", "C", "D"}, row
            assert len({choice.casefold() for choice in row[1:5]}) == 4, row


def test_no_choice_is_taken_for_a_missing_value():
    for split in COUNTS:
        for subject in SUBJECTS:
            with FOLDER.joinpath(split, f"{subject}_{split}.csv").open(encoding="utf-8") as lines:
                assert not pd.read_csv(lines, header=None).isna().any(axis=None), subject


def test_no_question_stands_twice_and_no_example_is_tested():
    counts = Counter(words(row[0]) for row in all_rows())
    assert [question for question, count in counts.items() if count > 1] == []


@pytest.mark.parametrize("splits", [("test",), ("dev",), ("test", "dev")], ids="+".join)
def test_the_letters_are_balanced(splits):
    rows = all_rows(*splits)
    counts = Counter(row[5] for row in rows)
    assert all(0.22 <= counts[letter] / len(rows) <= 0.28 for letter in "ABCD"), counts


@pytest.mark.parametrize("splits", [("test",), ("dev",), ("test", "dev")], ids="+".join)
@pytest.mark.parametrize("pick", [max, min], ids=["longest", "shortest"])
def test_the_length_of_a_choice_does_not_betray_the_answer(splits, pick):
    assert share_of_policy(all_rows(*splits), pick) < 0.32


def test_test_questions_are_short_and_examples_shorter():
    assert max(len(row[0].split()) for row in all_rows("test")) < 60
    assert max(len(" ".join(row[:5]).split()) for row in all_rows("dev")) < 25


def test_the_note_says_what_the_set_is():
    note = FOLDER.joinpath("NOTE.md").read_text(encoding="utf-8")
    assert "This is not MMLU" in note and "Apache-2.0" in note
    assert f"{len(all_rows())} multiple-choice questions" in note
