"""A small set of questions in MMLU's layout, and an examinee that answers as it is told."""

import csv
from pathlib import Path

from sotopia_pi.formats.question_sets import QuestionSet, read_folder
from sotopia_pi.models.seam import Reply

EXAMPLES = [[f"Example {k}?", "one", "two", "three", "four", "ABCDA"[k]] for k in range(5)]
ROWS = {
    "anatomy": [
        ["Which?\nAnd why?", "this", 'the "other"', "a, b and c", "none", "C"],
        ["Where?", "1", "2", "3", "4", "A"],
    ],
    "world_religions": [[" When? ", "1900", "1800", "1700", "1600", "B"]],
}


def quiz_folder(folder: Path) -> Path:
    """Writes ROWS and EXAMPLES in the original layout: no header, six fields."""
    for subject, rows in ROWS.items():
        for split, written in (("test", rows), ("dev", EXAMPLES)):
            path = folder / split / f"{subject}_{split}.csv"
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("w", newline="", encoding="utf-8") as file:
                csv.writer(file).writerows(written)
    return folder


def quiz(folder: Path) -> QuestionSet:
    return read_folder(quiz_folder(folder), "a toy quiz")


class Pupil:
    """Gives letter probabilities and replies by question text, and keeps what it was asked, in order."""

    def __init__(self, logprobs=(-1.0, -2.0, -3.0, -4.0), replies=("Answer: B",)):
        self.logprobs, self.replies = logprobs, replies
        self.asked: list[str] = []

    async def text_logprobs(self, request, choices):
        assert choices == (" A", " B", " C", " D")
        self.asked.append(request.messages[0].content)
        return list(self.logprobs)

    async def complete(self, request):
        self.asked.append(request.messages[0].content)
        return Reply(self.replies[(len(self.asked) - 1) % len(self.replies)], latency_s=1.5)
