"""Sets of multiple-choice questions: MMLU's layout, the hub's files, and what is said where they cannot be read."""

import csv

import pandas as pd
import pytest
from toy_quiz import ROWS, quiz, quiz_folder

from sotopia_pi.formats.hub import HubUnreachable
from sotopia_pi.formats.question_sets import GROUP_OF, GROUPS, QuestionsError, read_folder
from sotopia_pi.formats.question_sources import questions_from


def test_a_folder_in_the_original_layout_is_read_as_it_is_written(tmp_path):
    found = quiz(tmp_path)
    assert list(found.test) == ["anatomy", "world_religions"] and len(found) == 3
    first, second = found.test["anatomy"]
    assert (first.text, first.choices, first.answer) == ("Which?\nAnd why?", tuple(ROWS["anatomy"][0][1:5]), "C")
    assert (second.index, second.group) == (1, "STEM")
    assert [example.answer for example in found.examples["anatomy"]] == list("ABCDA")


def test_texts_that_look_like_missing_values_stay_text(tmp_path):
    quiz_folder(tmp_path)
    with (tmp_path / "test/anatomy_test.csv").open("w", newline="") as file:
        csv.writer(file).writerow(["How many?", "None", "NA", "0.10", "nan", "B"])
    (question,) = read_folder(tmp_path, "toy").test["anatomy"]
    assert question.choices == ("None", "NA", "0.10", "nan")


@pytest.mark.parametrize(
    ("row", "told"),
    [
        (["Which?", "1", "2", "3", "A"], r"anatomy_test\.csv, row 1: 5 fields; allowed are 6"),
        (["Which?", "1", "2", "3", "4", "E"], r"anatomy, row 1: the answer is 'E'; allowed: one of A, B, C, D"),
        (["Which?", "1", "2", "3", "4", ""], r"the answer is ''"),
    ],
)
def test_a_row_that_is_no_question_is_named(tmp_path, row, told):
    quiz_folder(tmp_path)
    with (tmp_path / "test/anatomy_test.csv").open("w", newline="") as file:
        csv.writer(file).writerow(row)
    with pytest.raises(QuestionsError, match=told):
        read_folder(tmp_path, "toy")


def test_a_subject_needs_its_five_examples(tmp_path):
    quiz_folder(tmp_path)
    dev = tmp_path / "dev/anatomy_dev.csv"
    dev.write_text("\n".join(dev.read_text().splitlines()[:4]) + "\n")
    with pytest.raises(QuestionsError, match="anatomy has 4 examples in dev, 5 are needed"):
        read_folder(tmp_path, "toy")
    dev.unlink()
    with pytest.raises(QuestionsError, match=r"there is no .*anatomy_dev\.csv"):
        read_folder(tmp_path, "toy")


def test_part_of_a_set_can_be_asked_for(tmp_path):
    found = quiz(tmp_path)
    assert len(found.first(1)) == 2
    assert list(found.first(0, ["world_religions"]).test) == ["world_religions"]
    with pytest.raises(QuestionsError, match="no subject 'astrology'; it has: anatomy, world_religions"):
        found.first(0, ["astrology"])


def test_the_groups_are_the_57_subjects_of_mmlu():
    assert {group: len(subjects) for group, subjects in GROUPS.items()} == {
        "STEM": 19,
        "humanities": 13,
        "social sciences": 12,
        "other": 13,
    }
    assert len(GROUP_OF) == 57


def test_the_hubs_files_are_read_in_their_order(tmp_path):
    rows = [
        {"question": text, "subject": subject, "choices": ["w", "x", "y", "z"], "answer": answer}
        for subject in ("virology", "anatomy")
        for text, answer in (("first?", 0), ("second?", 3))
    ]
    dev = [{**rows[0], "subject": subject} for subject in ("virology", "anatomy") for _ in range(5)]
    (tmp_path / "all").mkdir()
    for split, written in (("test", rows), ("dev", dev)):
        pd.DataFrame(written).to_parquet(tmp_path / f"all/{split}-00000-of-00001.parquet")
    found = questions_from(str(tmp_path))
    assert [(q.text, q.index, q.answer) for q in found.test["virology"]] == [("first?", 0, "A"), ("second?", 1, "D")]
    assert [(q.index, q.choices) for q in found.test["anatomy"]] == [(0, tuple("wxyz")), (1, tuple("wxyz"))]
    assert "MMLU" in found.name


def test_without_a_network_the_hub_error_says_how_to_go_on(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    with pytest.raises(HubUnreachable) as caught:
        questions_from("hub:nobody-here/questions", endpoint="http://127.0.0.1:9", cache_dir=tmp_path)
    told = str(caught.value)
    assert "hf download nobody-here/questions --repo-type dataset" in told and "--local-dir questions" in told
    assert "'own' for the quiz that comes along (which is not MMLU)" in told


def test_a_source_that_is_nothing_says_what_is_allowed(tmp_path):
    with pytest.raises(QuestionsError, match=r"there is no folder .*hub:cais/mmlu"):
        questions_from(str(tmp_path / "nowhere"))
    with pytest.raises(QuestionsError, match=r"holds no test/\*_test\.csv"):
        questions_from(str(tmp_path))


def test_the_quiz_that_comes_along_has_mmlus_subjects_and_says_that_it_is_not_mmlu():
    found = questions_from("own")
    assert set(found.test) <= set(GROUP_OF) and {q.group for qs in found.test.values() for q in qs} == set(GROUPS)
    assert len(found) == 6 * len(found.test) and all(len(shown) == 5 for shown in found.examples.values())
    assert found.name == "own quiz (not MMLU)"
