"""Sotopia's episode logs: published episodes become ours with their ratings, and ours are written as logs.

Two layouts hold the same things under other names: EpisodeLog, and the lines of the published data sets. In both,
messages come in groups, one a turn: what the environment told each side, then what each side did, where the one whose
turn it is not "did nothing".
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from sotopia_pi.formats.record_lines import Record, Refusal, Unreadable, built, converted, needed, read_records
from sotopia_pi.formats.sotopia_actions import action_text, read_action
from sotopia_pi.formats.sotopia_profiles import public_text
from sotopia_pi.formats.sotopia_rewards import prompt_of, read_reward, reasoning_of, reward_of, sides_of
from sotopia_pi.formats.sotopia_tasks import PublishedWorld, environment_id
from sotopia_pi.models.prompts import own_profile
from sotopia_pi.store.items import content_id
from sotopia_pi.world.actions import Action, Turn
from sotopia_pi.world.episode import Episode, Rules, observe
from sotopia_pi.world.ratings import Rating
from sotopia_pi.world.tasks import Scenario, SocialTask

ENVIRONMENT = "Environment"
DATA_SET: Mapping[str, str] = MappingProxyType(
    {
        "pk": "episode_id",
        "environment": "environment_id",
        "agents": "agent_ids",
        "tag": "experiment_tag",
        "models": "experiment_model_name_pairs",
        "messages": "raw_messages",
        "reasoning": "reasoning",
        "rewards": "raw_rewards",
        "rewards_prompt": "raw_rewards_prompt",
    }
)
"""The fields of a log by the names they have in the published data sets."""
PK = ("pk", "episode_id")
OURS = "sotopia_pi"
"""An extra field of logs written here: task, episode and ratings in full, so that reading them back loses nothing."""
IMPORTED_SPLIT = "bc"
"""Scenarios that are known from training episodes alone, not from the profiles, are training scenarios."""


@dataclass(frozen=True)
class EpisodeLog:
    """An episode as Sotopia logs it. agents and rewards: side 0, side 1; models: judge, side 0, side 1; messages: per
    turn, [sender, receiver, text]; reward: [overall, scores by dimension], or a bare 0.0 where the judge failed.

    record: the object it came as, in either layout, with its unknown fields; {} for a log made here.
    """

    pk: str
    environment: str
    agents: tuple[str, str]
    tag: str
    models: tuple[str, ...]
    messages: Sequence[Sequence[Sequence[str]]]
    reasoning: str
    rewards: tuple[Any, Any]
    rewards_prompt: str
    record: Mapping[str, Any] = field(default_factory=dict, compare=False)

    @property
    def judge(self) -> str:
        return self.models[0] if self.models else "unknown"

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> "EpisodeLog":
        """A log in either layout. Raises Unreadable."""
        names = _names(record)
        agents = needed(record, (names["agents"],), list)
        rewards = needed(record, (names["rewards"],), list)
        if len(agents) != 2 or len(set(map(str, agents))) != 2 or len(rewards) != 2:
            raise Unreadable(
                f"{len(rewards)} rewards for the agents {agents!r}; it takes two agents by their ids, each with a "
                f"reward; drop the episode"
            )
        return cls(
            pk=needed(record, (names["pk"],), str),
            environment=needed(record, (names["environment"],), str),
            agents=tuple(map(str, agents)),
            tag=_optional(record, names["tag"], str) or "",
            models=tuple(map(str, _optional(record, names["models"], list) or ())),
            messages=_messages(record, names["messages"]),
            reasoning=_optional(record, names["reasoning"], str) or "",
            rewards=tuple(rewards),
            rewards_prompt=_optional(record, names["rewards_prompt"], str) or "",
            record=record,
        )

    def to_dict(self) -> dict[str, Any]:
        """The object to write: as it came, in its own layout, with the fields that were changed here since."""
        names = _names(self.record)
        came = EpisodeLog.from_dict(self.record) if self.record else None
        fresh = {name for name in DATA_SET if came is None or getattr(self, name) != getattr(came, name)}
        return {**self.record, **{names[name]: _plain(getattr(self, name)) for name in DATA_SET if name in fresh}}


@dataclass(frozen=True)
class PlayedBefore:
    """A published episode as ours: the task, what was said and done, and the judge's ratings of both sides."""

    task: SocialTask
    episode: Episode
    ratings: tuple[Rating, ...]


def read_logs(path: Path | str, refused: list[Refusal]) -> Iterator[tuple[Record, EpisodeLog]]:
    """The logs of a file (JSON Lines, or a `.json` array) one by one; what is no log is added to `refused`."""
    return converted(read_records(path, refused), PK, lambda record: EpisodeLog.from_dict(record.body), refused)


def read_episode(log: EpisodeLog, world: PublishedWorld) -> PlayedBefore:
    """A log as task, episode and ratings; characters and scenarios come from `world`. Raises Unreadable.

    A log does not tell a `none` that stood in for a failed call from a chosen one, nor the turn limit: where nobody
    left and nobody fell silent, the turns played are taken for it.
    """
    if OURS in log.record:
        return _read_ours(log)
    task = _task(log, world)
    turns = _turns(log, task)
    rules = Rules()
    ending = rules.ending(list(turns))
    if ending in (None, "turn_limit"):
        rules, ending = Rules(turn_limit=len(turns)), "turn_limit"
    names = (*log.models[1:3], "unknown", "unknown")[:2]
    episode = Episode(
        id=log.pk,
        task_id=task.id,
        template=task.template,
        family=task.family,
        policies=tuple({"name": name, "digest": content_id("policy", {"published": name})} for name in names),
        agent_side=None,
        rules=rules.to_dict(),
        seed=0,
        repeat=0,
        turns=turns,
        ending=ending,
        outcome="completed",
        tag=log.tag,
    )
    told = (log.judge, log.reasoning, log.rewards_prompt)
    return PlayedBefore(task, episode, tuple(read_reward(log.rewards[side], log.pk, side, *told) for side in (0, 1)))


def write_episode(
    episode: Episode, task: SocialTask, ratings: Iterable[Rating] = (), further: Iterable[Rating] = ()
) -> EpisodeLog:
    """An episode as a log; its field `sotopia_pi` keeps what the layout has no place for.

    ratings: of one judge, told as rewards. further: those of other judges, kept in that field alone. Raises ValueError
    for `ratings` of several judges, for an episode of another task, and for two characters of one name.
    """
    if episode.task_id != task.id:
        raise ValueError(f"episode {episode.id} was played on task {episode.task_id}, not on {task.id}; pass its task")
    sides = sides_of(ratings, episode.id)
    judge = next((rating.judge for rating in sides if rating), "")
    ours = {
        "task": task.to_dict(),
        "episode": episode.to_dict(),
        "ratings": [rating.to_dict() for rating in (*sides, *further) if rating],
    }
    made = EpisodeLog(
        pk=episode.id,
        environment=environment_id(task.scenario),
        agents=tuple(character.id for character in task.characters),
        tag=episode.tag,
        models=(judge, *(policy["name"] for policy in episode.policies)),
        messages=_told(episode, task),
        reasoning=reasoning_of(sides),
        rewards=tuple(reward_of(rating) for rating in sides),
        rewards_prompt=prompt_of(sides),
    )
    return EpisodeLog.from_dict(made.to_dict() | {OURS: ours})


def _read_ours(log: EpisodeLog) -> PlayedBefore:
    try:
        ours = log.record[OURS]
        task, episode = SocialTask.from_dict(ours["task"]), Episode.from_dict(ours["episode"])
        ratings = tuple(Rating.from_dict(rating) for rating in ours["ratings"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Unreadable(f"the field {OURS!r} cannot be read ({error!r}); delete it to read the messages") from error
    if _plain(_told(episode, task)) != _plain(log.messages):
        raise Unreadable(
            f"the messages are not those of the episode in the field {OURS!r}: they were changed since it was written; "
            f"delete that field to read what the messages say"
        )
    return PlayedBefore(task, episode, ratings)


def _task(log: EpisodeLog, world: PublishedWorld) -> SocialTask:
    unknown = [agent for agent in log.agents if agent not in world.characters]
    if unknown:
        raise Unreadable(f"character {unknown[0]} is not among the {len(world.characters)} read; add its profile")
    if log.environment in world.scenarios:
        return world.task(world.scenarios[log.environment], log.agents)
    return world.task(_scenario(log, world), log.agents, IMPORTED_SPLIT)


def _scenario(log: EpisodeLog, world: PublishedWorld) -> Scenario:
    """The scenario as an episode of the data sets tells it; how the two stand to each other, their profile tells."""
    text, goals = log.record.get("scenario"), log.record.get("social_goals")
    if not isinstance(text, str) or not isinstance(goals, dict) or len(goals) != 2:
        raise Unreadable(
            f"scenario {log.environment} is not among the {len(world.scenarios)} read, and the episode does not tell "
            f"it (scenario, social_goals); add its profile"
        )
    levels = {pair.level for pair in world.pairs.get(frozenset(log.agents), ())}
    if len(levels) != 1:
        raise Unreadable(
            f"scenario {log.environment} is not among the {len(world.scenarios)} read, and its relationship level is "
            f"not known: its two agents have {len(levels)} relationship profiles; add the scenario's profile"
        )
    names = [world.characters[agent].name for agent in log.agents]
    if set(goals) != set(names):
        raise Unreadable(f"social_goals are those of {', '.join(goals)}, the agents are {', '.join(names)}; mend it")
    codename = log.record.get("codename")
    return built(
        lambda: Scenario(
            template=log.environment,
            codename=codename if isinstance(codename, str) else "",
            source="",
            text=public_text(text),
            goals=tuple(str(goals[name]) for name in names),
            relationship=next(iter(levels)),
        )
    )


def _turns(log: EpisodeLog, task: SocialTask) -> tuple[Turn, ...]:
    """What the sides did, one turn a group of messages. Raises Unreadable naming the group."""
    sides = {character.name: side for side, character in enumerate(task.characters)}
    turns: list[Turn] = []
    for number, group in enumerate(log.messages):
        acts = []
        for sender, receiver, text in group:
            if receiver == ENVIRONMENT and sender != ENVIRONMENT:
                if sender not in sides:
                    raise Unreadable(f"group {number}: {sender!r} acts, but the two are {' and '.join(sides)}; drop it")
                acts.append((sides[sender], _action(text, number)))
        if acts:
            turns.append(_turn(acts, number, len(turns)))
    if not turns:
        raise Unreadable("nobody says or does anything in it; drop the episode")
    return tuple(turns)


def _turn(acts: Sequence[tuple[int, Action]], group: int, index: int) -> Turn:
    """The turn of a group: the one act that is more than nothing, else nothing by the side whose turn it is."""
    side = index % 2
    real = [(who, action) for who, action in acts if action.type != "none"]
    if len(real) > 1 or (real and real[0][0] != side):
        who = " and ".join(f"side {one}" for one, _ in real)
        raise Unreadable(f"group {group}: {who} acted where it was the turn of side {side}; sides take turns, drop it")
    return Turn(index, side, real[0][1] if real else Action("none"))


def _action(text: str, group: int) -> Action:
    try:
        return read_action(text)
    except Unreadable as problem:
        raise Unreadable(f"group {group}: {problem}") from problem


def _told(episode: Episode, task: SocialTask) -> list[list[list[str]]]:
    """The messages of a log: to each side its opening, then turn by turn what both did and what was told of it."""
    names = [character.name for character in task.characters]
    if len(set(names)) < 2:
        raise ValueError(f"task {task.id}: both characters are called {names[0]}; a log tells them apart by name")
    groups = [[[ENVIRONMENT, names[side], _opening(task, side)] for side in (0, 1)]]
    for turn in episode.turns:
        idle = 1 - turn.side
        acts = {turn.side: action_text(turn.action), idle: action_text(Action("none"))}
        groups[-1] += [[names[side], ENVIRONMENT, acts[side]] for side in (0, 1)]
        told = f"Turn #{turn.index}: {names[turn.side]} {acts[turn.side]}\n"
        groups.append([[ENVIRONMENT, names[side], told] for side in (0, 1)])
    return groups


def _opening(task: SocialTask, side: int) -> str:
    """What a side is told before the first turn: the scene, itself, what it may see of the other, its own goal."""
    seen = observe(task, side, [], Rules())
    other = "; ".join(f"{key.replace('_', ' ')}: {value}" for key, value in seen.other.items())
    names = [character.name for character in task.characters]
    return (
        f"\nScenario: {seen.scenario}\nParticipants: {' and '.join(names)}\n"
        f"{names[side]}'s background: {own_profile(seen.me)}\n{names[1 - side]}'s background: {other or 'Unknown'}\n"
        f"{names[side]}'s goal: {seen.goal}\n{names[1 - side]}'s goal: Unknown\nConversation Starts:\n"
    )


def _names(record: Mapping[str, Any]) -> Mapping[str, str]:
    return DATA_SET if DATA_SET["pk"] in record else {name: name for name in DATA_SET}


def _optional(record: Mapping[str, Any], name: str, kind: type) -> Any:
    return None if record.get(name) is None else needed(record, (name,), kind)


def _messages(record: Mapping[str, Any], name: str) -> Sequence[Sequence[Sequence[str]]]:
    groups = needed(record, (name,), list)
    for number, group in enumerate(groups):
        if not isinstance(group, list) or not all(map(_is_message, group)):
            raise Unreadable(f"{name}, group {number} is no list of [sender, receiver, text]; mend or drop the episode")
    return groups


def _is_message(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 3 and all(isinstance(part, str) for part in value)


def _plain(value: Any) -> Any:
    """Lists for tuples, as JSON has them."""
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value
