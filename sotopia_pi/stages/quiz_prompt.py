"""How a multiple-choice question is put, and which letter a reply gives.

Letter for letter the prompt of the `mmlu` task of lm-evaluation-harness 0.4.13, so that results can be compared.
"""

import re
from collections.abc import Sequence

from sotopia_pi.formats.question_sets import LETTERS, Question
from sotopia_pi.store.digest import source_digest
from sotopia_pi.store.items import content_id

CONTINUATIONS = tuple(f" {letter}" for letter in LETTERS)
"""What goes on from a prompt, which ends in "Answer:"."""
LETTER = re.compile(rf"\b[{LETTERS}]\b")


def quiz_prompt(question: Question, examples: Sequence[Question]) -> str:
    """A heading that names the subject, the examples with their answers, and the question up to "Answer:".

    All questions of a subject share everything before their own text.
    """
    heading = f"The following are multiple choice questions (with answers) about {question.subject.replace('_', ' ')}."
    shown = [f"{_asked(example)} {example.answer}" for example in examples]
    return "\n\n".join([heading, *shown, _asked(question)])


def first_letter(reply: str) -> str | None:
    """The first of A, B, C, D that stands alone as a capital letter; None where there is none, a format error.

    The trap: a reply that begins with the article "A" is read as choice A, as any rule by the first letter does.
    """
    found = LETTER.search(reply)
    return found.group() if found else None


def quiz_digest() -> str:
    """Digest of how questions are put and replies are read."""
    return content_id("prompt", {"format": "quiz", "code": source_digest("sotopia_pi.stages.quiz_prompt")})


def _asked(question: Question) -> str:
    choices = [f"{letter}. {choice}" for letter, choice in zip(LETTERS, question.choices, strict=True)]
    return "\n".join([question.text.strip(), *choices, "Answer:"])
