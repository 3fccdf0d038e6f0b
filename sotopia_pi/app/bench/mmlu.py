"""Multiple-choice questions by letter, against lm-evaluation-harness: same model, prompts, dtype and threads.

The harness reads every prompt as a whole; the four letters, one token each, share one pass, as it does by itself.
"""

import asyncio
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np
from transformers import AutoConfig, AutoTokenizer

from sotopia_pi.app.bench.arithmetic import ModelCost
from sotopia_pi.app.bench.limits import Limits
from sotopia_pi.app.bench.peers import published_data, run_peer
from sotopia_pi.app.bench.work import Contest, Silent, Unequal
from sotopia_pi.formats.question_sets import LETTERS, SHOTS, Question, QuestionSet, read_folder
from sotopia_pi.models.local_model import LocalModel
from sotopia_pi.models.precision import own_device
from sotopia_pi.models.seam import Sampling
from sotopia_pi.models.weights import DEFAULT_MODEL, prepare
from sotopia_pi.stages.mmlu import Answer, Examination, examine
from sotopia_pi.stages.quiz_prompt import quiz_prompt
from sotopia_pi.store.items import ItemFile

A_SUBJECT = 20
"""Questions of each subject: 120 of six."""
DTYPE = "float32"
"""Where a choice is a tie, half precision may take the other letter; so the same is computed in full."""
PEER_BATCH = 4
TOLERANCE = 1e-3
"""Most that a log probability may differ."""


@contextmanager
def open_mmlu(name: str = DEFAULT_MODEL, a_subject: int = A_SUBJECT) -> Iterator[Contest]:
    """Both load the model anew for every go, which is not counted: a model remembers the examples it has read."""
    folder, questions = prepare(name), read_folder(published_data("mmlu"), "MMLU").first(a_subject)
    asked = peer_request(folder, questions)
    answers: list[Answer] = []
    found: dict[str, Any] = {}

    def ours() -> float:
        with LocalModel(folder, dtype=DTYPE) as model:
            started = time.perf_counter()
            answers[:] = answered(model, questions)
            return len(questions) / (time.perf_counter() - started)

    def theirs() -> float:
        found.update(run_peer("mmlu", asked))
        return len(questions) / found["seconds"]

    yield Contest(
        ours,
        theirs,
        check=lambda: same_choices(answers, found["logprobs"]),
        limit=lambda limits: most_questions(folder, questions, limits),
    )


def answered(model: LocalModel, questions: QuestionSet) -> list[Answer]:
    """All questions by letter, as the stage asks them."""
    examination = Examination(questions, ("letters",), Sampling(0.0, 1.0, 1))
    with tempfile.TemporaryDirectory() as folder:
        file = ItemFile(Path(folder) / "answers.jsonl")
        return asyncio.run(examine("base", model.chat(), model.digest(), examination, file, Silent()))


def most_questions(folder: Path, questions: QuestionSet, limits: Limits) -> float:
    """Questions per second that the machine would allow: what all prompts of a subject share is read once, the rest of
    each is read behind it, and the output layer is computed once a question."""
    tokenizer, cost = AutoTokenizer.from_pretrained(folder), ModelCost.of(AutoConfig.from_pretrained(folder), DTYPE)
    operations = len(questions) * cost.head
    for subject, asked in questions.test.items():
        prompts = [tokenizer(quiz_prompt(question, questions.examples[subject]))["input_ids"] for question in asked]
        shared = sum(1 for _ in takewhile(lambda column: len(set(column)) == 1, zip(*prompts, strict=False)))
        operations += cost.reading(0, shared) + sum(cost.reading(shared, len(prompt)) for prompt in prompts)
    return len(questions) / limits.seconds(operations)


def peer_request(folder: Path, questions: QuestionSet) -> dict[str, Any]:
    """What the peer's script reads."""

    def told(some: tuple[Question, ...]) -> list[dict[str, Any]]:
        return [{"question": q.text, "choices": q.choices, "answer": LETTERS.index(q.answer)} for q in some]

    splits = {
        subject: {"test": told(test), "dev": told(questions.examples[subject])}
        for subject, test in questions.test.items()
    }
    settings = {"dtype": DTYPE, "batch_size": PEER_BATCH, "device": own_device(), "shots": SHOTS}
    return {"model": str(folder), **settings, "questions": splits}


def same_choices(answers: list[Answer], theirs: dict[str, list[list[float]]]) -> str:
    """In words how far our log probabilities and the peer's are apart; raises Unequal where a choice is another."""
    apart = 0.0
    for answer in answers:
        logprobs = theirs[answer.subject][answer.index]
        choice = LETTERS[int(np.argmax(logprobs))]
        apart = max(apart, *(abs(a - b) for a, b in zip(answer.logprobs, logprobs, strict=True)))
        if choice != answer.choice or apart > TOLERANCE:
            raise Unequal(
                f"{answer.subject}, question {answer.index}: ours chose {answer.choice} by {answer.logprobs}, the peer "
                f"{choice} by {logprobs}; allowed: the same choice, and {TOLERANCE:g} in a log probability"
            )
    return f"all {len(answers)} choices are the peer's, log probabilities within {apart:.1e}"
