"""Stage 08 chooses as lm-evaluation-harness does, question by question.

Needs an interpreter with lm-eval 0.4.13, which is no part of this environment: LM_EVAL_PYTHON names it.
LM_EVAL_QUESTIONS names other questions than the quiz that comes along (MMLU's folder, asked whole), LM_EVAL_FOLDER
where to keep what was answered, so that a long comparison goes on where it stopped.
"""

import asyncio
import os
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from harness import Harness

from sotopia_pi.formats.question_sets import LETTERS
from sotopia_pi.formats.question_sources import OWN, questions_from
from sotopia_pi.models.local_model import LocalModel
from sotopia_pi.models.seam import Sampling
from sotopia_pi.models.weights import prepare
from sotopia_pi.stages.mmlu import Examination, examine
from sotopia_pi.store.items import ItemFile

PYTHON, SOURCE = os.environ.get("LM_EVAL_PYTHON"), os.environ.get("LM_EVAL_QUESTIONS", OWN)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PYTHON, reason="LM_EVAL_PYTHON names no interpreter with lm-eval 0.4.13"),
]


class Bar:
    def advance(self, failed=False):
        pass


def test_every_choice_is_the_harness_s(tmp_path, capsys):
    folder = Path(os.environ.get("LM_EVAL_FOLDER", tmp_path))
    questions = questions_from(SOURCE)
    if SOURCE == OWN:
        questions = questions.first(1, list(questions.test)[:6])
    model, harness = prepare("smollm2-135m-instruct"), Harness(PYTHON, folder)
    assert harness.version() == "0.4.13"
    begun = time.monotonic()
    asked = Examination(questions, ("letters",), Sampling(0.0, 1.0, 1))
    with LocalModel(model, dtype="float32", max_batch=8, max_context=4096) as local:
        told = local.chat(), local.digest(), asked, ItemFile(folder / "ours.jsonl"), Bar()
        answers = asyncio.run(examine("base", *told))
    between = time.monotonic()
    theirs = [row for subject in questions.test for row in harness.logprobs(model, questions, subject)]
    choices = [LETTERS[int(np.argmax(row))] for row in theirs]
    alike = Counter(a.subject for a, choice in zip(answers, choices, strict=True) if a.choice == choice)
    apart = max(np.abs(np.subtract(a.logprobs, row)).max() for a, row in zip(answers, theirs, strict=True))
    right = sum(a.correct for a in answers), sum(a.answer == c for a, c in zip(answers, choices, strict=True))
    with capsys.disabled():
        print(f"\n{questions.name}: {len(answers)} questions, right {right[0]} here and {right[1]} there,", end=" ")
        print(
            f"choices alike {sum(alike.values())}, log probabilities within {apart:.1e}; {between - begun:.0f} s here,",
            end=" ",
        )
        print(f"{time.monotonic() - between:.0f} s there, what was answered before left out")
    assert sum(alike.values()) == len(answers) and apart < 1e-3
