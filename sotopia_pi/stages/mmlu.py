"""Multiple-choice questions put to local models, by letter and by reply; every answer is an item of its own.

Letters: the letter with the highest probability behind the prompt, as evaluation harnesses do. Reply: the same prompt
as a user's message, answered in words; the first choice letter counts (Sotopia-π, Table 4), and a reply without one is
a format error, answered at random by a seeded draw.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, get_args

import numpy as np

from sotopia_pi.formats.question_sets import LETTERS, Question, QuestionSet
from sotopia_pi.models.seam import Message, Reply, Request, Sampling
from sotopia_pi.stages.quiz_prompt import CONTINUATIONS, first_letter, quiz_digest, quiz_prompt
from sotopia_pi.stages.side_by_side import side_by_side
from sotopia_pi.stages.simulate import Progress
from sotopia_pi.store.items import NOT_COMPARED, ItemFile, content_id
from sotopia_pi.store.params import ParameterError

Way = Literal["letters", "reply"]
WAYS: tuple[Way, ...] = get_args(Way)
SUBJECTS_AT_ONCE = 8
_GUESSES = 8


class Examined(Protocol):
    """Who can be examined: a local model under one adapter."""

    async def complete(self, request: Request) -> Reply: ...

    async def text_logprobs(self, request: Request, choices: Sequence[str]) -> list[float]: ...


@dataclass(frozen=True)
class Answer:
    """One answer of one variant to one question. set: name of the set of questions; question, model: digests.

    choice: of "ABCD"; answer: the right one. logprobs: of the four letters behind the prompt, natural logarithms, so
    their logits up to a common constant (way "letters"; otherwise empty). reply: the words (way "reply"). guessed: the
    reply named no letter, a format error, and the choice was drawn.
    """

    id: str
    variant: str
    model: str
    way: Way
    set: str
    subject: str
    group: str
    index: int
    question: str
    answer: str
    choice: str
    logprobs: tuple[float, ...] = ()
    reply: str = ""
    outcome: str = "ok"
    guessed: bool = False
    latency_s: float = 0.0

    @property
    def correct(self) -> bool:
        return self.choice == self.answer

    def to_dict(self) -> dict[str, Any]:
        record = {name: value for name, value in vars(self).items() if name != "latency_s"}
        timing = {NOT_COMPARED: {"latency_s": self.latency_s}}
        return {"schema": "quiz-answer/1", **record, "logprobs": list(self.logprobs), **timing}

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> "Answer":
        kept = {name: value for name, value in record.items() if name not in ("schema", NOT_COMPARED)}
        return cls(**{**kept, "logprobs": tuple(record["logprobs"])}, latency_s=record[NOT_COMPARED]["latency_s"])


@dataclass(frozen=True)
class Examination:
    """What is asked, and how. sampling: of the replies; seed: of the guesses.

    Raises ParameterError for an unknown way.
    """

    questions: QuestionSet
    ways: tuple[Way, ...]
    sampling: Sampling
    seed: int = 0

    def __post_init__(self):
        object.__setattr__(self, "ways", tuple(self.ways))
        if not self.ways or not set(self.ways) <= set(WAYS):
            raise ParameterError(f"ways are {list(self.ways)}; allowed: one or both of {', '.join(WAYS)}")

    def __len__(self) -> int:
        return len(self.questions) * len(self.ways)

    def answer_id(self, variant: str, model: str, way: Way, question: Question) -> str:
        """Deterministic id of an answer: who is asked, how, and what, with the examples before it."""
        body = {
            "variant": variant,
            "model": model,
            "way": way,
            "prompt": quiz_digest(),
            "question": question.digest,
            "index": question.index,
            "examples": [example.digest for example in self.questions.examples[question.subject]],
        }
        if way == "reply":
            body |= {"sampling": self.sampling.to_dict(), "seed": self.seed}
        return content_id("answer", body)


async def examine(
    variant: str, chat: Examined, model: str, examination: Examination, file: ItemFile, progress: Progress
) -> list[Answer]:
    """All answers of one variant in the order of the questions; those the file lacks are asked for and appended.

    The first question of a subject goes ahead, so that the keys and values of the examples are computed once and the
    others go on from them. model: digest of what answers behind the chat. Raises RuntimeError when answers failed.
    """
    here = {item["id"]: Answer.from_dict(item) for item in file.read()}
    asked = [
        (examination.answer_id(variant, model, way, question), way, question)
        for way in examination.ways
        for questions in examination.questions.test.values()
        for question in questions
    ]
    batches: dict[tuple[str, str], list] = {}
    for answer_id, way, question in asked:
        if answer_id not in here:
            batches.setdefault((way, question.subject), []).append((answer_id, way, question))

    async def one(answer_id: str, way: Way, question: Question) -> None:
        given = await _answer(chat, way, question, examination, answer_id)
        facts = {"subject": question.subject, "group": question.group, "index": question.index}
        facts |= {"set": examination.questions.name, "question": question.digest, "answer": question.answer}
        answer = Answer(id=answer_id, variant=variant, model=model, way=way, **facts, **given)
        file.append(answer.to_dict())
        here[answer_id] = answer
        progress.advance(failed=answer.guessed)

    async def subject(batch: list) -> None:
        first, *others = batch
        await one(*first)
        await asyncio.gather(*(one(*other) for other in others))

    await side_by_side(list(batches.values()), subject, SUBJECTS_AT_ONCE, "subjects could not be asked", file.path)
    return [here[answer_id] for answer_id, _, _ in asked]


def answer_counts(answers: Sequence[Answer]) -> dict[str, int]:
    """Count table: answers and format errors, by variant and way."""
    asked = Counter((answer.variant, answer.way) for answer in answers)
    guessed = Counter((answer.variant, answer.way) for answer in answers if answer.guessed)
    counts: dict[str, int] = {}
    for (variant, way), n in asked.items():
        counts[f"{variant}, {way}: answers"] = n
        if way == "reply":
            counts[f"{variant}, {way}: format errors, answered at random"] = guessed[variant, way]
    return counts


async def _answer(
    chat: Examined, way: Way, question: Question, examination: Examination, answer_id: str
) -> dict[str, Any]:
    """What an answer holds beside the question: choice and logprobs, or choice, reply, outcome and whether guessed."""
    prompt = quiz_prompt(question, examination.questions.examples[question.subject])
    request = Request((Message("user", prompt),), examination.sampling, item_id=answer_id, role="agent")
    if way == "letters":
        logprobs = await chat.text_logprobs(request, CONTINUATIONS)
        return {"choice": LETTERS[int(np.argmax(logprobs))], "logprobs": tuple(logprobs)}
    reply = await chat.complete(request)
    letter = first_letter(reply.text)
    return {
        "choice": letter or _guess(examination.seed, answer_id),
        "reply": reply.text,
        "outcome": reply.outcome,
        "guessed": letter is None,
        "latency_s": reply.latency_s,
    }


def _guess(seed: int, answer_id: str) -> str:
    number = int(answer_id.rsplit("-", 1)[1], 16)
    return LETTERS[np.random.default_rng([seed, _GUESSES, number]).integers(len(LETTERS))]
