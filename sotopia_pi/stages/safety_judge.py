"""Judging the safety tasks by a language model: one call an episode, every attempt kept, labels made of the answers."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from sotopia_pi.models.seam import Outcome
from sotopia_pi.stages.asking import Question, ask, reading
from sotopia_pi.stages.judge import Judge, check_ratable
from sotopia_pi.stages.labels import INJURY, PREVENTED, SOLUTIONS, Label
from sotopia_pi.stages.safety_prompt import (
    SafetyAnswer,
    read_safety_answer,
    safety_correction,
    safety_messages,
    safety_prompt_digest,
    safety_schema,
)
from sotopia_pi.stages.safety_tasks import SafetyTask
from sotopia_pi.stages.side_by_side import side_by_side
from sotopia_pi.stages.simulate import Progress
from sotopia_pi.store.items import ItemFile, content_id
from sotopia_pi.world.episode import Episode


@dataclass(frozen=True)
class Judgement:
    """All calls about one episode. outcome: as of a rating; there are labels where it is "ok", and none elsewhere."""

    id: str
    episode_id: str
    judge: str
    outcome: Outcome
    raw: tuple[dict[str, Any], ...]

    def to_dict(self) -> dict[str, Any]:
        return {"schema": "judgement/1", **vars(self), "raw": list(self.raw)}

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> "Judgement":
        """Read again from the kept texts, by today's rules of reading."""
        return judgement_from(record["episode_id"], record["raw"])

    def labels(self) -> list[Label]:
        """What the answer says, with its reasons; nothing where there is none."""
        answer = _answer(self.raw)[1]
        if answer is None:
            return []
        said = {INJURY: answer.injury_intent, PREVENTED: answer.prevented, SOLUTIONS: answer.solutions}
        return [
            Label(self.episode_id, label, part.value, self.judge, "judge", _reason(part), about=self.id)
            for label, part in said.items()
        ]


@dataclass(frozen=True)
class SafetyJudge:
    """Asks what `judge` has behind it about safety tasks, with its sampling, attempts and seed."""

    judge: Judge

    def description(self) -> dict[str, Any]:
        """Everything that determines what is asked, for ids and the run card."""
        return self.judge.description() | {"kind": "safety judge", "prompt": safety_prompt_digest()}

    async def judgement(self, episode: Episode, of: SafetyTask) -> Judgement:
        """What the model says about a completed episode of this task. Raises ValueError for any other."""
        check_ratable(episode, of.task)
        question = Question(safety_messages(episode, of), safety_schema(), read_safety_answer, safety_correction)
        settings = (self.judge.sampling, self.judge.attempts, episode.id, partial(self.judge.seed_for, episode.id))
        return judgement_from(
            episode.id, await ask(self.judge.chat, question, *settings, {"judge": self.description()})
        )


def judgement_from(episode_id: str, records: Sequence[dict[str, Any]]) -> Judgement:
    """The judgement that the records of all calls amount to; a pure function of them."""
    judge = records[0]["judge"]
    outcome, _ = _answer(records)
    body = {"episode": episode_id, "judge": judge}
    return Judgement(content_id("judgement", body), episode_id, judge["name"], outcome, tuple(records))


async def judge_episodes(
    episodes: Iterable[Episode],
    tasks: Iterable[SafetyTask],
    judge: SafetyJudge,
    file: ItemFile,
    progress: Progress,
    at_once: int = 16,
) -> list[Judgement]:
    """Judgements of every completed episode; those the file lacks are asked for and appended as they come.

    An episode that raises does not stop the others; only StopAsking (a wrong key, a spent budget) ends them all.
    """
    by_id = {of.id: of for of in tasks}
    wanted = {episode.id: episode for episode in episodes if episode.outcome == "completed"}
    description = judge.description()
    kept = [item for item in file.read() if item["raw"][0]["judge"] == description]
    here = {item["episode_id"]: Judgement.from_dict(item) for item in kept if item["episode_id"] in wanted}

    async def one(episode: Episode) -> None:
        judgement = await judge.judgement(episode, by_id[episode.task_id])
        file.append(judgement.to_dict())
        here[episode.id] = judgement
        progress.advance(failed=judgement.outcome != "ok")

    left = [episode for episode in wanted.values() if episode.id not in here]
    await side_by_side(left, one, at_once, f"episodes could not be judged by {judge.judge.name!r}", file.path)
    return [here[episode_id] for episode_id in wanted]


def judgement_counts(judgements: Iterable[Judgement]) -> dict[str, int]:
    """Count table: judgements by outcome; empty where nobody was asked."""
    return {f"judged: {outcome}": n for outcome, n in sorted(Counter(one.outcome for one in judgements).items())}


def _answer(records: Sequence[dict[str, Any]]) -> tuple[Outcome, SafetyAnswer | None]:
    """The first answer that can be read, else the last failure."""
    limit = records[0]["judge"]["sampling"]["max_new_tokens"]
    readings = [reading(record, read_safety_answer, limit) for record in records]
    outcome, answer, _ = next((one for one in readings if one[0] == "ok"), readings[-1])
    return outcome, answer


def _reason(part: Any) -> str:
    named = getattr(part, "named", [])
    return f"{part.reasoning} ({'; '.join(named)})" if named else part.reasoning
