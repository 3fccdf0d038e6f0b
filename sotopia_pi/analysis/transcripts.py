"""An episode as a page to read, like a play: who they are, what each wants, what was said, what came of it.

The HTML is static (no script, nothing fetched), everything in it is escaped, and its style is scoped to one class, so
that it reads alike in a notebook, in a report and in the dark.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pandas as pd

from sotopia_pi.analysis.colours import VARIANTS
from sotopia_pi.analysis.escaping import STANDS_ALONE, escaped
from sotopia_pi.analysis.goal_tables import select_side, select_tasks
from sotopia_pi.analysis.transcript_style import STYLE
from sotopia_pi.world.actions import Turn
from sotopia_pi.world.characters import Character, visible_profile
from sotopia_pi.world.episode import Episode
from sotopia_pi.world.payoffs import Deal, Issue
from sotopia_pi.world.ratings import DIMENSIONS, Rating
from sotopia_pi.world.tasks import SocialTask, shown_goal

RELATIONSHIPS = (
    "are strangers",
    "know each other by name",
    "are acquaintances",
    "are friends",
    "are romantic partners",
    "are family",
)
PROFILE = {
    "name": "name",
    "age": "age",
    "gender": "gender",
    "pronouns": "gender_pronoun",
    "occupation": "occupation",
    "public_info": "public_info",
    "personality_and_values": "personality_and_values",
    "big_five": "big_five",
    "moral_values": "moral_values",
    "schwartz_personal_values": "schwartz_personal_values",
    "decision_making_style": "decision_making_style",
    "secret": "secret",
}
"""What the other side may see it under -> the character's attribute."""

KINDS = {
    "speak": "says",
    "non-verbal communication": "gesture",
    "action": "does",
    "leave": "leaves",
    "none": "stays silent (chosen)",
}
ENDINGS = {
    "left": "somebody left",
    "silence": "both fell silent",
    "turn_limit": "the turns ran out",
    "failed": "a policy's output could not be read",
}
NO_ANSWER = "a policy's server gave no answer"
READS_BEST = ("BC+SR", "BC", "SR", "base few-shot", "base", "expert")
"""Whose episodes are shown when nobody is named: the first of these that was played."""


@dataclass(frozen=True)
class Transcript:
    """One episode that shows itself in a notebook. ratings: of this episode; may be empty."""

    task: SocialTask
    episode: Episode
    ratings: tuple[Rating, ...] = ()
    reason: str = ""

    def _repr_html_(self) -> str:
        return episode_html(self.task, self.episode, self.ratings, self.reason)


@dataclass(frozen=True)
class Choice:
    """An episode picked to be read, and why this one."""

    episode_id: str
    reason: str


def episode_html(task: SocialTask, episode: Episode, ratings: Iterable[Rating] = (), reason: str = "") -> str:
    """The whole episode as one `<section>`. reason: why it was picked, shown on top."""
    own = sorted((r for r in ratings if r.episode_id == episode.id), key=lambda r: r.side)
    head = f"{task.family} · {task.template}" + (" · hard" if task.hard else "")
    head += "" if task.has_zone else " · no zone of agreement (right = no deal)"
    turns = "".join(_turn(turn, task.characters) for turn in episode.turns)
    return (
        f'<section class="sotopia-play {STANDS_ALONE}"><style>{STYLE}</style>'
        + (f'<p class="reason">{escaped(reason)}</p>' if reason else "")
        + f'<header><p class="head">{escaped(head)}</p><p class="scene">{escaped(task.scenario.text)}</p>'
        + f'<p class="between">{_between(task)}</p></header>'
        + f'<div class="cast">{_person(task, episode, 0)}{_person(task, episode, 1)}</div>'
        + f'<ol class="turns">{turns or "<li>No turn was played.</li>"}</ol>{_outcome(task, episode, own)}</section>'
    )


def choose_episodes(frame: pd.DataFrame, variant: str | None = None) -> list[Choice]:
    """Up to three episodes of one variant: its best, a typical one, and a failed one (else its worst).

    Chosen among gated tasks with a zone, by the agent's goal; ties go to the smaller id, so equal data give equal
    choices. variant None: the first of READS_BEST that was played, else any other.
    """
    rows = select_side(select_tasks(frame, "all"), "agent").sort_values("episode_id")
    if variant is None:
        played = set(rows["variant"])
        variant = next((v for v in (*READS_BEST, *VARIANTS, *sorted(played)) if v in played), "")
    rows = rows[rows["variant"] == variant]
    rated, failed = rows.dropna(subset=["goal"]), rows[rows["outcome"] != "completed"]
    picked: list[Choice] = []
    if len(rated):
        best = rated.loc[rated["goal"].idxmax()]
        picked.append(_choice(best, variant, f"the best of its {len(rated)} rated episodes"))
    middle = rated[~rated["episode_id"].isin([c.episode_id for c in picked])]
    if len(middle):
        median = rated["goal"].median()
        typical = middle.loc[(middle["goal"] - median).abs().idxmin()]
        picked.append(_choice(typical, variant, f"the closest to its median goal of {median:.1f}"))
    last = rated[~rated["episode_id"].isin([c.episode_id for c in picked])]
    if len(failed):
        first = failed.iloc[0]
        why = f"one of {len(failed)} failed and not rated ({first['failure'] or 'no reason was kept'})"
        picked.append(Choice(first["episode_id"], f"{variant}: {why}."))
    elif len(last):
        picked.append(_choice(last.loc[last["goal"].idxmin()], variant, "the worst"))
    return picked


def deal_text(deal: Deal, issues: Sequence[Issue], names: Sequence[str]) -> str:
    """Terms in words: `price $80`, `lamp to Mia Davis`, `2 of 3 books to Mia Davis`, `day Tuesday`."""
    known = {issue.name: issue for issue in issues}
    return ", ".join(_term(known.get(name), name, option, names) for name, option in deal.items())


def _term(issue: Issue | None, name: str, option: int | str, names: Sequence[str]) -> str:
    if issue is None or issue.kind == "choice":
        return f"{name} {option}"
    if issue.kind == "item":
        return f"{name} to {names[int(option)]}"
    if issue.unit == name and issue.payer in (0, 1):
        return f"{option} of {issue.total} {name} to {names[issue.payer]}"
    amount = f"${option}" if issue.unit == "$" else f"{option} {issue.unit}".strip()
    return f"{name} {amount}" + (f" (borne by {names[issue.payer]})" if issue.payer in (0, 1) else "")


def _choice(row: pd.Series, variant: str, why: str) -> Choice:
    return Choice(row["episode_id"], f"{variant}: {why} (goal {row['goal']:.1f}).")


def _between(task: SocialTask) -> str:
    story = f" {escaped(task.background)}" if task.background else ""
    return f"They {RELATIONSHIPS[task.scenario.relationship]}.{story}"


def _person(task: SocialTask, episode: Episode, side: int) -> str:
    me, other = task.characters[side], task.characters[1 - side]
    seen = visible_profile(me, task.scenario.relationship)
    role = "" if episode.agent_side is None else ("agent" if side == episode.agent_side else "partner")
    played_by = "played by " + ", ".join(dict.fromkeys(n for n in (episode.policies[side]["name"], role) if n))
    profile = {key: profile_value(me, field) for key, field in PROFILE.items()}
    facts = "".join(_fact(key, value, key in seen, other.first_name) for key, value in profile.items())
    stakes = ""
    if task.payoff:
        own = task.payoff.sides[side]
        stakes = f'<p class="stakes">In points: walking away {own.walk_away:g}, best {own.best:g}.</p>'
    return (
        f'<div class="person side{side}"><h4>{escaped(me.name)}</h4><p class="by">speaks '
        f"{'first' if side == 0 else 'second'} · {escaped(played_by)}</p>"
        f'<p class="goal"><span class="mark private">private goal</span> '
        f"{escaped(shown_goal(task.scenario.goals[side]))}</p>{stakes}"
        f"<details><summary>Profile, and what {escaped(other.first_name)} sees of it</summary>"
        f"<dl>{facts}</dl></details></div>"
    )


def profile_value(character: Character, field: str) -> str:
    """One field of a profile in words."""
    value = getattr(character, field)
    return ", ".join(value) if isinstance(value, tuple) else str(value)


def _fact(key: str, value: str, seen: bool, other: str) -> str:
    mark = (
        f'<span class="mark seen">{escaped(other)} sees this</span>'
        if seen
        else '<span class="mark private">private</span>'
    )
    return f"<dt>{escaped(key.replace('_', ' '))} {mark}</dt><dd>{escaped(value)}</dd>"


def _turn(turn: Turn, characters: Sequence[Character]) -> str:
    who = escaped(characters[turn.side].name)
    if turn.failed:
        raw = str(turn.calls[-1].get("text", "")) if turn.calls else ""
        shown = (
            f'<details><summary>what came instead</summary><p class="raw">{escaped(raw)}</p></details>' if raw else ""
        )
        return (
            f'<li class="turn side{turn.side} failed"><b>{who}</b> <span class="kind">failed: no readable output'
            f"</span> (not a chosen silence){shown}</li>"
        )
    kind = {"speak": "speak", "non-verbal communication": "gesture", "none": "silent"}.get(
        turn.action.type, turn.action.type
    )
    words = escaped(turn.action.argument)
    said = f'<p class="said">{f"“{words}”" if kind == "speak" else words}</p>' if words else ""
    told = f'<span class="kind">{KINDS[turn.action.type]}</span>{said}'
    return f'<li class="turn side{turn.side} {kind}"><b>{who}</b> {told}</li>'


def _outcome(task: SocialTask, episode: Episode, ratings: Sequence[Rating]) -> str:
    names = [character.name for character in task.characters]
    why = NO_ANSWER if episode.outcome == "policy_api_error" else ENDINGS[episode.ending]
    lines = [f"<p>Ended after {len(episode.turns)} turns: {why}.</p>"]
    if episode.failure:
        lines.append(f'<p class="warning">{escaped(episode.outcome)}: {escaped(episode.failure)}. Not rated.</p>')
    elif not ratings:
        lines.append('<p class="warning">Not rated.</p>')
    else:
        lines += [_deal_line(task, ratings[0], names), _scores(ratings, names)]
    return f'<footer class="outcome">{"".join(lines)}</footer>'


def _deal_line(task: SocialTask, rating: Rating, names: Sequence[str]) -> str:
    parts = rating.parts
    if "deal" not in parts or task.payoff is None:
        return ""
    if not parts["deal"]:
        return "<p><b>No deal.</b></p>"
    terms = parts.get("terms") or {}
    surplus = parts.get("joint_surplus")
    share = "" if surplus is None else f" Joint surplus: {surplus:.0%} of the best possible."
    text = escaped(deal_text(terms, task.payoff.issues, names)) if terms else "terms not kept"
    return f"<p><b>Deal:</b> {text}.{share}</p>"


def _scores(ratings: Sequence[Rating], names: Sequence[str]) -> str:
    kept = [d for d in DIMENSIONS if any(r.scores.get(d) is not None for r in ratings)]
    if not kept:
        return f'<p class="warning">No score: {escaped(", ".join(r.outcome for r in ratings))}.</p>'
    head = "".join(f"<th>{escaped(d.replace('_', ' '))} [{DIMENSIONS[d][0]}, {DIMENSIONS[d][1]}]</th>" for d in kept)
    rows = "".join(
        f"<tr><th>{escaped(names[r.side])}</th>{''.join(_score(r, d) for d in kept)}"
        f"{'<td>worse than walking away</td>' if r.parts.get('bad_deal') else ''}</tr>"
        for r in ratings
    )
    judge = escaped(", ".join(sorted({r.judge for r in ratings})))
    return (
        f"<table><caption>Scores by {judge}</caption><tr><th></th>{head}</tr>{rows}</table>{_reasons(ratings, names)}"
    )


def _reasons(ratings: Sequence[Rating], names: Sequence[str]) -> str:
    lines = "".join(
        f"<p>{escaped(names[r.side])}, {escaped(dimension.replace('_', ' '))}: {escaped(why)}</p>"
        for r in ratings
        for dimension, why in r.reasons.items()
    )
    return f"<details><summary>Why these scores</summary>{lines}</details>" if lines else ""


def _score(rating: Rating, dimension: str) -> str:
    score = rating.scores.get(dimension)
    return f"<td>{'missing' if score is None else f'{score:g}'}</td>"
