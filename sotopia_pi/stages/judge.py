"""Rating by a language model: one call for both sides, every attempt kept, a named outcome where it fails."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from sotopia_pi.models.seam import Chat, Sampling
from sotopia_pi.stages.asking import Question, ask, reading
from sotopia_pi.stages.judge_answer import SideAnswer, judge_reader_digest, read_answer
from sotopia_pi.stages.judge_prompt import answer_schema, correction, judge_messages, judge_prompt_digest, who
from sotopia_pi.stages.side_by_side import side_by_side
from sotopia_pi.stages.simulate import Progress
from sotopia_pi.store.items import ItemFile, content_id
from sotopia_pi.world.episode import Episode
from sotopia_pi.world.ratings import DIMENSIONS, Rating, RatingOutcome
from sotopia_pi.world.scoring import JUDGE as RULE
from sotopia_pi.world.tasks import SocialTask

GREEDY = Sampling(temperature=0.0, max_new_tokens=3000)
"""The paper's temperature (Sotopia-π, section 4); room for fourteen reasonings of three sentences each."""
_JUDGING = 5


@dataclass(frozen=True)
class Judge:
    """Rates episodes by asking `chat`.

    name: as tables show it ("gpt-4"), not the rule's. model_digest: all that determines the model behind `chat`.
    attempts: most calls per episode, >= 1. An answer that cannot be read, or was cut off, is asked for again with the
    reason; a refusal stands, and so does an api_error until the next start.
    """

    chat: Chat
    name: str
    model_digest: str
    sampling: Sampling = GREEDY
    attempts: int = 3
    seed: int = 0

    def __post_init__(self):
        if self.attempts < 1:
            raise ValueError(f"judge {self.name!r}: attempts is {self.attempts}; it takes at least 1 call to rate")
        if not self.name.strip() or self.name == RULE:
            raise ValueError(f"judge name {self.name!r} is empty or the rule's own ({RULE!r}); name it after its model")

    def description(self) -> dict[str, Any]:
        """Everything that determines what this judge is asked, for ids and the run card."""
        return {
            "kind": "llm judge",
            "name": self.name,
            "model": self.model_digest,
            "prompt": judge_prompt_digest(),
            "sampling": self.sampling.to_dict(),
            "attempts": self.attempts,
            "seed": self.seed,
        }

    async def rate(self, episode: Episode, task: SocialTask) -> tuple[Rating, Rating]:
        """The ratings of side 0 and side 1, both with the same outcome; without any score where it is not "ok".

        Raises ValueError for an episode of another task and for one whose policy failed, which is never rated.
        """
        check_ratable(episode, task)
        return ratings_from(episode.id, await self._ask(episode, task))

    async def _ask(self, episode: Episode, task: SocialTask) -> list[dict[str, Any]]:
        sides = who(task)
        question = Question(
            judge_messages(episode, task),
            answer_schema(sides),
            partial(read_answer, sides=sides),
            partial(correction, sides=sides),
        )
        kept = {"sides": list(sides), "judge": self.description()}
        seed_of = partial(self.seed_for, episode.id)
        return await ask(self.chat, question, self.sampling, self.attempts, episode.id, seed_of, kept)

    def seed_for(self, episode_id: str, attempt: int) -> int:
        """Seed of one call, in [0, 2**31): from the judge's seed, the episode and the attempt alone."""
        number = int(content_id("episode", episode_id).rsplit("-", 1)[1], 16)
        return int(np.random.default_rng([self.seed, _JUDGING, number, attempt]).integers(2**31))


async def rate_episodes(
    episodes: Iterable[Episode],
    tasks: Iterable[SocialTask],
    judge: Judge,
    file: ItemFile,
    progress: Progress,
    at_once: int = 16,
) -> list[Rating]:
    """Ratings of both sides of every completed episode, side 0 first; those the file lacks are appended.

    An episode this judge has answered for is never asked about again: a side whose line was lost, and every side
    after the rules of reading changed, is read again from the kept texts. What the file holds as `api_error` stands as
    well; `Stage.items` sets it aside at the next start. At most at_once calls run side by side. An episode that raises
    does not stop the others; the first error is raised once the rest is written. Only StopAsking (a wrong key, a spent
    budget) ends them all.
    """
    by_id = {task.id: task for task in tasks}
    wanted = {episode.id: episode for episode in episodes if episode.outcome == "completed"}
    for episode in wanted.values():
        check_ratable(episode, by_id.get(episode.task_id))
    here, pairs = _kept(file, judge, wanted)

    async def one(episode: Episode) -> None:
        pair = await judge.rate(episode, by_id[episode.task_id])
        pairs[episode.id] = pair
        _write(pair, file, here)
        progress.advance(failed=pair[0].outcome != "ok")

    left = [episode for episode in wanted.values() if episode.id not in pairs]
    await side_by_side(left, one, at_once, f"episodes could not be rated by {judge.name!r}", file.path)
    return [rating for episode_id in wanted for rating in pairs[episode_id]]


def reparse(ratings: Iterable[Rating]) -> list[Rating]:
    """The same ratings read again from their kept texts by today's rules of reading; nothing is called.

    Equal to what they were unless those rules changed, which changes the ids too. Ratings without kept texts (the
    rule's, imported ones) are returned as they are.
    """
    return [ratings_from(r.episode_id, r.raw)[r.side] if r.raw and "text" in r.raw[0] else r for r in ratings]


def ratings_from(episode_id: str, records: Sequence[dict[str, Any]]) -> tuple[Rating, Rating]:
    """Both sides' ratings from the records of all calls: by the first answer that can be read, else the last failure.

    A pure function of the records, which is why an answer can be read again at any time.
    """
    readings = [_read(record) for record in records]
    outcome, answers, _ = next((one for one in readings if one[0] == "ok"), readings[-1])
    first, second = (_rating(episode_id, side, records, outcome, answers[side]) for side in (0, 1))
    return first, second


def check_ratable(episode: Episode, task: SocialTask | None) -> None:
    """Raises ValueError when an episode must not be rated, or not with this task."""
    if episode.outcome != "completed":
        raise ValueError(f"episode {episode.id} ended as {episode.outcome}; only completed episodes are ever rated")
    if task is None or episode.task_id != task.id:
        given = f"the task given is {task.id}" if task else "that task is not among those given"
        raise ValueError(f"episode {episode.id} was played on task {episode.task_id}, {given}; give its own task")


Reading = tuple[RatingOutcome, tuple[SideAnswer, SideAnswer], str]
"""Outcome of one call, both sides' answers (empty unless it is "ok"), and what is wrong ("" where nothing is)."""
NOTHING = (SideAnswer({}, {}), SideAnswer({}, {}))


def _read(record: dict[str, Any]) -> Reading:
    read = partial(read_answer, sides=tuple(record["sides"]))
    outcome, answers, problem = reading(record, read, record["judge"]["sampling"]["max_new_tokens"])
    return outcome, answers or NOTHING, problem


def _rating(
    episode_id: str, side: int, records: Sequence[dict[str, Any]], outcome: RatingOutcome, answer: SideAnswer
) -> Rating:
    judge = records[0]["judge"]
    body = {"episode": episode_id, "side": side, "judge": judge, "reader": judge_reader_digest()}
    return Rating(
        id=content_id("rating", body),
        episode_id=episode_id,
        side=side,
        judge=judge["name"],
        outcome=outcome,
        scores=dict.fromkeys(DIMENSIONS) | dict(answer.scores),
        reasons=answer.reasons,
        raw=tuple(records),
    )


def _kept(file: ItemFile, judge: Judge, wanted: Collection[str]) -> tuple[set[str], dict[str, tuple[Rating, Rating]]]:
    """Ids in the file, and both ratings of every wanted episode that this very judge was asked about before."""
    description = judge.description()
    items = [item for item in file.read() if item["episode_id"] in wanted and _asked_by(item, description)]
    pairs = {item["episode_id"]: ratings_from(item["episode_id"], item["raw"]) for item in items}
    here = file.ids()
    for pair in pairs.values():
        _write(pair, file, here)
    return here, pairs


def _asked_by(item: dict[str, Any], description: dict[str, Any]) -> bool:
    return any(record.get("judge") == description for record in item.get("raw", ()))


def _write(pair: tuple[Rating, Rating], file: ItemFile, here: set[str]) -> None:
    """Append the sides the file lacks, without giving way between the two."""
    for rating in pair:
        if rating.id not in here:
            file.append(rating.to_dict())
            here.add(rating.id)
