"""Multiple-choice questions put to models: the prompt, both ways of answering, and answers kept one by one."""

import asyncio
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from toy_quiz import Pupil, quiz

from sotopia_pi.models.seam import Sampling
from sotopia_pi.stages.examinees import examinees
from sotopia_pi.stages.mmlu import Answer, Examination, answer_counts, examine
from sotopia_pi.stages.quiz_prompt import first_letter, quiz_prompt
from sotopia_pi.store.items import ItemFile
from sotopia_pi.store.params import ParameterError

SHORT = Sampling(temperature=0.0, max_new_tokens=8)


class Bar:
    """Counts what a person would see."""

    def __init__(self):
        self.seen = Counter()

    def advance(self, failed=False):
        self.seen[failed] += 1


@pytest.fixture
def asked(tmp_path):
    return Examination(quiz(tmp_path / "quiz"), ("letters", "reply"), SHORT)


def run(pupil, examination, path: Path, variant="base", model="model-1", bar=None):
    return asyncio.run(examine(variant, pupil, model, examination, ItemFile(path), bar or Bar()))


def test_the_prompt_is_the_harness_s_to_the_letter(tmp_path):
    found = quiz(tmp_path)
    (question,) = found.test["world_religions"]
    assert quiz_prompt(question, found.examples["world_religions"][:2]) == (
        "The following are multiple choice questions (with answers) about world religions.\n\n"
        "Example 0?\nA. one\nB. two\nC. three\nD. four\nAnswer: A\n\n"
        "Example 1?\nA. one\nB. two\nC. three\nD. four\nAnswer: B\n\n"
        "When?\nA. 1900\nB. 1800\nC. 1700\nD. 1600\nAnswer:"
    )


@pytest.mark.parametrize(
    ("reply", "letter"),
    [
        ("B", "B"),
        ("The answer is (C), not D.", "C"),
        ("D. none of them", "D"),
        ("**A**", "A"),
        ("Because DNA and ABC are words", None),
        ("the answer is b", None),
        ("E", None),
        ("", None),
    ],
)
def test_the_first_choice_letter_of_a_reply_counts(reply, letter):
    assert first_letter(reply) == letter


def test_by_letters_the_most_probable_one_is_chosen_and_all_four_are_kept(asked, tmp_path):
    letters = replace(asked, ways=("letters",))
    answers = run(Pupil(logprobs=(-3.0, -2.5, -0.5, -4.0)), letters, tmp_path / "a.jsonl")
    assert [answer.choice for answer in answers] == ["C"] * 3
    assert [answer.correct for answer in answers] == [True, False, False]
    kept = json.loads((tmp_path / "a.jsonl").read_text().splitlines()[0])
    assert kept["logprobs"] == [-3.0, -2.5, -0.5, -4.0] and kept["model"] == "model-1" and kept["set"] == "a toy quiz"


def test_a_reply_without_a_letter_is_a_format_error_answered_by_a_seeded_guess(asked, tmp_path):
    replies = replace(asked, ways=("reply",))
    bar = Bar()
    answers = run(Pupil(replies=("no idea",)), replies, tmp_path / "a.jsonl", bar=bar)
    assert all(answer.guessed and answer.choice in "ABCD" and answer.reply == "no idea" for answer in answers)
    assert bar.seen == {True: 3}
    again = run(Pupil(replies=("no idea",)), replies, tmp_path / "b.jsonl")
    assert [a.choice for a in again] == [a.choice for a in answers]
    assert answer_counts(answers)["base, reply: format errors, answered at random"] == 3


def test_guesses_fall_on_all_letters_alike(asked):
    from sotopia_pi.stages.mmlu import _guess

    drawn = Counter(_guess(0, f"answer-{k:016x}") for k in range(2000))
    assert sorted(drawn) == list("ABCD") and all(430 < n < 570 for n in drawn.values())
    assert [_guess(1, f"answer-{k:016x}") for k in range(40)] != [_guess(0, f"answer-{k:016x}") for k in range(40)]


def test_what_is_there_is_not_asked_again_and_what_is_missing_is(asked, tmp_path):
    path = tmp_path / "a.jsonl"
    whole = run(Pupil(), asked, path)
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:2]) + lines[2][:30])
    pupil = Pupil()
    again = run(pupil, asked, path)
    assert len(pupil.asked) == len(whole) - 2 == 4
    assert [replace(a, latency_s=0) for a in again] == [replace(a, latency_s=0) for a in whole]
    assert [Answer.from_dict(item) for item in ItemFile(path).read()] != []


def test_one_question_of_a_subject_goes_ahead_of_the_others(asked, tmp_path):
    open_at_once = []

    class Watched(Pupil):
        busy = 0

        async def text_logprobs(self, request, choices):
            self.busy += 1
            open_at_once.append(self.busy)
            await asyncio.sleep(0.01)
            self.busy -= 1
            return await super().text_logprobs(request, choices)

    anatomy = replace(asked, questions=asked.questions.first(0, ["anatomy"]), ways=("letters",))
    run(Watched(), anatomy, tmp_path / "a.jsonl")
    assert open_at_once == [1, 1]


def test_whatever_decides_an_answer_is_in_its_id(asked):
    question = asked.questions.test["anatomy"][0]
    first, *others = asked.questions.examples["anatomy"]
    shown = replace(asked.questions, examples={"anatomy": (replace(first, answer="D"), *others)})
    ids = {
        asked.answer_id("base", "m1", "letters", question),
        asked.answer_id("BC", "m1", "letters", question),
        asked.answer_id("base", "m2", "letters", question),
        asked.answer_id("base", "m1", "letters", replace(question, text="Who?")),
        replace(asked, questions=shown).answer_id("base", "m1", "letters", question),
        *(replace(asked, seed=seed).answer_id("base", "m1", "reply", question) for seed in (0, 1)),
    }
    assert len(ids) == 7
    assert replace(asked, seed=1).answer_id("base", "m1", "letters", question) in ids, "no seed decides a letter"


def test_an_unknown_way_of_answering_is_refused(asked):
    with pytest.raises(ParameterError, match="allowed: one or both of letters, reply"):
        replace(asked, ways=("essay",))


class Run:
    """As much of a stage as is asked for its inputs."""

    def __init__(self, *variants, cloned=True):
        self.variants, self.cloned = variants, cloned

    def has_input(self, stage, file):
        return self.cloned if file == "bc/adapter" else bool(self.variants)

    def input(self, stage, file):
        return self.variants

    def input_path(self, stage, file):
        return Path(stage) / file


def test_everybody_who_was_trained_is_examined_and_the_others_are_named():
    sr = {"id": "SR", "trained": False, "reason": "too little worth keeping"}
    both = {"id": "BC+SR", "trained": True, "folder": "bc_sr"}
    who = examinees(Run(sr, both), "tiny-random", ["local:tiny-random"])
    assert [e.variant for e in who.present] == ["base", "BC", "BC+SR", "local:tiny-random"]
    assert who.present[2].adapter == Path("05_self_reinforcement/bc_sr/adapter")
    assert who.absent == {"SR": "not trained: too little worth keeping"}
    assert [e.variant for e in who.only(["BC"]).present] == ["BC"]
    with pytest.raises(ParameterError, match="none of them is there; there are: base, BC"):
        who.only(["SR"])


def test_an_empty_run_has_a_base_and_reasons():
    who = examinees(Run(cloned=False), "tiny-random")
    assert [e.variant for e in who.present] == ["base"]
    assert set(who.absent) == {"BC", "SR", "BC+SR"} and "03_behavior_cloning" in who.absent["BC"]


def test_only_local_models_can_be_examined(tmp_path):
    with pytest.raises(ParameterError, match=r"probabilities of letters; allowed: local:"):
        examinees(Run(), "tiny-random", ["openai:some-model@http://127.0.0.1:9/v1"])
    with pytest.raises(ParameterError, match="there is no adapter folder"):
        examinees(Run(), "tiny-random", [f"local:tiny-random+{tmp_path}/none"])
