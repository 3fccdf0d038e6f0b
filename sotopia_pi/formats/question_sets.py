"""Multiple-choice questions in the layout MMLU was published in: folders `test/` and `dev/`, in each a file a subject.

A row has no header and six fields: question, four choices, letter of the answer. The first rows of `dev/` are the
examples that stand before every question of their subject.
"""

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sotopia_pi.store.items import content_id

LETTERS = "ABCD"
SHOTS = 5
"""Examples before a question (Hendrycks et al., arXiv 2009.03300; Sotopia-π, Table 4)."""

_SUBJECTS = {
    "STEM": (
        "abstract_algebra anatomy astronomy college_biology college_chemistry college_computer_science "
        "college_mathematics college_physics computer_security conceptual_physics electrical_engineering "
        "elementary_mathematics high_school_biology high_school_chemistry high_school_computer_science "
        "high_school_mathematics high_school_physics high_school_statistics machine_learning"
    ),
    "humanities": (
        "formal_logic high_school_european_history high_school_us_history high_school_world_history "
        "international_law jurisprudence logical_fallacies moral_disputes moral_scenarios philosophy prehistory "
        "professional_law world_religions"
    ),
    "social sciences": (
        "econometrics high_school_geography high_school_government_and_politics high_school_macroeconomics "
        "high_school_microeconomics high_school_psychology human_sexuality professional_psychology public_relations "
        "security_studies sociology us_foreign_policy"
    ),
    "other": (
        "business_ethics clinical_knowledge college_medicine global_facts human_aging management marketing "
        "medical_genetics miscellaneous nutrition professional_accounting professional_medicine virology"
    ),
}
GROUPS: dict[str, tuple[str, ...]] = {group: tuple(names.split()) for group, names in _SUBJECTS.items()}
"""Group -> its subjects, 57 in all, as the `mmlu` task of lm-evaluation-harness 0.4.13 groups them (the paper of MMLU
counts anatomy among "other")."""
GROUP_OF = {subject: group for group, subjects in GROUPS.items() for subject in subjects}


class QuestionsError(ValueError):
    """A set of questions cannot be used; the message names file, row, what came and what is allowed."""


@dataclass(frozen=True)
class Question:
    """One question. choices: four texts; answer: one of "ABCD"; index: row in its subject's test file, from 0."""

    subject: str
    index: int
    text: str
    choices: tuple[str, str, str, str]
    answer: str

    def __post_init__(self):
        where = f"{self.subject}, row {self.index + 1}"
        if len(self.choices) != len(LETTERS):
            raise QuestionsError(f"{where}: {len(self.choices)} choices; allowed are {len(LETTERS)}")
        if self.answer not in LETTERS or len(self.answer) != 1:
            raise QuestionsError(f"{where}: the answer is {self.answer!r}; allowed: one of {', '.join(LETTERS)}")

    @property
    def group(self) -> str:
        """Of `GROUPS`; "other" for a subject that MMLU does not have."""
        return GROUP_OF.get(self.subject, "other")

    @property
    def digest(self) -> str:
        return content_id("question", [self.subject, self.text, self.choices, self.answer])


@dataclass(frozen=True)
class QuestionSet:
    """name: as pages and figures call it. test: the questions by subject; examples: those shown before them."""

    name: str
    test: dict[str, tuple[Question, ...]]
    examples: dict[str, tuple[Question, ...]]

    def __len__(self) -> int:
        return sum(map(len, self.test.values()))

    def first(self, n_per_subject: int, subjects: Iterable[str] = ()) -> "QuestionSet":
        """The first questions of each subject (0: all), of these subjects (none named: all).

        Raises QuestionsError for a subject that is not in the set.
        """
        wanted = list(subjects) or list(self.test)
        if absent := sorted(set(wanted) - set(self.test)):
            raise QuestionsError(f"{self.name} has no subject {absent[0]!r}; it has: {', '.join(self.test)}")
        test = {subject: self.test[subject][: n_per_subject or None] for subject in wanted}
        return QuestionSet(self.name, test, {subject: self.examples[subject] for subject in wanted})


def question_set(name: str, test: Sequence[Question], examples: Sequence[Question]) -> QuestionSet:
    """A set from questions in any order of subjects. Raises QuestionsError where a subject has too few examples."""
    by_subject = {subject: _of(subject, test) for subject in sorted({question.subject for question in test})}
    shown = {subject: _of(subject, examples)[:SHOTS] for subject in by_subject}
    for subject, few in shown.items():
        if len(few) < SHOTS:
            raise QuestionsError(f"{name}: subject {subject} has {len(few)} examples in dev, {SHOTS} are needed")
    return QuestionSet(name, by_subject, shown)


def read_folder(folder: Path | str, name: str) -> QuestionSet:
    """The questions of a folder with `test/<subject>_test.csv` and `dev/<subject>_dev.csv`.

    Examples of subjects without a test file are not read. Raises QuestionsError.
    """
    folder = Path(folder)
    tests = sorted((folder / "test").glob("*_test.csv"))
    if not tests:
        raise QuestionsError(
            f"{folder} holds no test/*_test.csv; a set of questions is a folder with test/<subject>_test.csv and "
            f"dev/<subject>_dev.csv, six fields a row: question, four choices, letter of the answer"
        )
    subjects = [path.name.removesuffix("_test.csv") for path in tests]
    test = [question for subject in subjects for question in _read(folder, "test", subject)]
    return question_set(name, test, [question for subject in subjects for question in _read(folder, "dev", subject)])


def _of(subject: str, questions: Sequence[Question]) -> tuple[Question, ...]:
    return tuple(question for question in questions if question.subject == subject)


def _read(folder: Path, split: str, subject: str) -> list[Question]:
    path = folder / split / f"{subject}_{split}.csv"
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.reader(file, strict=True))
    except FileNotFoundError as error:
        raise QuestionsError(f"there is no {path}; every subject needs its examples beside its questions") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise QuestionsError(f"{path} is no CSV file in UTF-8: {error}") from error
    return [_question(path, subject, index, row) for index, row in enumerate(rows)]


def _question(path: Path, subject: str, index: int, row: list[str]) -> Question:
    if len(row) != len(LETTERS) + 2:
        raise QuestionsError(
            f"{path}, row {index + 1}: {len(row)} fields; allowed are 6: question, four choices, letter of the answer"
        )
    text, *choices, answer = row
    return Question(subject, index, text, tuple(choices), answer.strip())
