"""An episode as a page to read, like a play: who they are, what each wants, what was said, what came of it.

The HTML is static (no script, nothing fetched), everything in it is escaped, and its style is scoped to one class, so
that it reads alike in a notebook, in a report and in the dark.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

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
        return self.html()

    def html(self, anchor: str = "", styled: bool = True) -> str:
        """The episode as a `<section>`; `episode_html` says what the two mean."""
        return episode_html(self.task, self.episode, self.ratings, self.reason, anchor, styled)


@dataclass(frozen=True)
class Choice:
    """An episode picked to be read, and why this one."""

    episode_id: str
    reason: str


def episode_html(
    task: SocialTask,
    episode: Episode,
    ratings: Iterable[Rating] = (),
    reason: str = "",
    anchor: str = "",
    styled: bool = True,
) -> str:
    """The whole episode as one `<section>`. reason: why it was picked, shown on top.

    ratings: each judge's scores stand in a table of their own. anchor: what a link on the page names it by, letters,
    digits and `_ . : -` only. styled: False where the page has the style already.
    """
    own = sorted((r for r in ratings if r.episode_id == episode.id), key=lambda r: r.side)
    head = f"{task.family} · {task.template}" + (" · hard" if task.hard else "")
    head += "" if task.has_zone else " · no zone of agreement (right = no deal)"
    turns = "".join(_turn(turn, task.characters) for turn in episode.turns)
    return (
        f'<section class="sotopia-play {STANDS_ALONE}"'
        + (f' id="{anchor}">' if anchor else ">")
        + (f"<style>{STYLE}</style>" if styled else "")
        + (f'<p class="reason">{escaped(reason)}</p>' if reason else "")
        + f'<header><p class="head">{escaped(head)}</p><p class="scene">{escaped(task.scenario.text)}</p>'
        + f'<p class="between">{_between(task)}</p></header>'
        + f'<div class="cast">{_person(task, episode, 0)}{_person(task, episode, 1)}</div>'
        + f'<div class="played"><ol class="turns">{turns or "<li>No turn was played.</li>"}</ol>'
        + f"{_outcome(task, episode, own)}</div></section>"
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
    told = telling(rated)
    picked = [_choice(row, variant, why) for row, why in told[:2]]
    if len(failed):
        first = failed.iloc[0]
        why = f"one of {len(failed)} failed and not rated ({first['failure'] or 'no reason was kept'})"
        picked.append(Choice(first["episode_id"], f"{variant}: {why}."))
    elif len(told) > 2:
        picked.append(_choice(told[2][0], variant, told[2][1]))
    return picked


def telling(rated: pd.DataFrame) -> list[tuple[pd.Series, str]]:
    """The best row by `goal`, the one closest to the median and the worst, each with why; fewer where there are fewer.

    Of equal goals the first row counts; where all are equal, none is best or worst and the first alone is told.
    """
    if len(rated) > 1 and rated["goal"].nunique() == 1:
        return [(rated.iloc[0], f"the first of its {len(rated)} rated episodes, which all reached the same goal")]
    found: list[tuple[pd.Series, str]] = []
    if len(rated):
        best, median = rated["goal"].idxmax(), rated["goal"].median()
        found.append((rated.loc[best], f"the best of its {len(rated)} rated episodes"))
        rest = rated.drop(index=best)
    if len(rated) > 1:
        typical = (rest["goal"] - median).abs().idxmin()
        found.append((rest.loc[typical], f"the closest to its median goal of {median:.1f}"))
        rest = rest.drop(index=typical)
    if len(rated) > 2:
        found.append((rest.loc[rest["goal"].idxmin()], "the worst"))
    return found


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
        ratings = [_terms_in_words(rating, task, names) for rating in ratings]
        judges = dict.fromkeys(rating.judge for rating in ratings)
        by_judge = [[rating for rating in ratings if rating.judge == judge] for judge in judges]
        lines += [_deal_line(task, ratings, names), *(_scores(given, names) for given in by_judge)]
    return f'<footer class="outcome">{"".join(lines)}</footer>'


def _deal_line(task: SocialTask, ratings: Sequence[Rating], names: Sequence[str]) -> str:
    parts = next((rating.parts for rating in ratings if "deal" in rating.parts), None)
    if parts is None or task.payoff is None:
        return ""
    if not parts["deal"]:
        return "<p><b>No deal.</b></p>"
    terms = parts.get("terms") or {}
    surplus = parts.get("joint_surplus")
    share = "" if surplus is None else f" Joint surplus: {surplus:.0%} of the best possible."
    text = escaped(deal_text(terms, task.payoff.issues, names)) if terms else "terms not kept"
    return f"<p><b>Deal:</b> {text}.{share}</p>"


def _terms_in_words(rating: Rating, task: SocialTask, names: Sequence[str]) -> Rating:
    """The rule's reasons name a deal by its options (`lamp = 1`); here they do it as the line on the deal does."""
    terms = rating.parts.get("terms")
    if not terms or task.payoff is None:
        return rating
    options = ", ".join(f"{name} = {option}" for name, option in terms.items())
    words = deal_text(terms, task.payoff.issues, names)
    return replace(rating, reasons={d: why.replace(options, words) for d, why in rating.reasons.items()})


def _scores(ratings: Sequence[Rating], names: Sequence[str]) -> str:
    """One judge's scores: a row a dimension, both sides beside each other, and below each row why."""
    judge = f"Scores by {ratings[0].judge}"
    kept = [d for d in DIMENSIONS if any(r.scores.get(d) is not None for r in ratings)]
    if not kept:
        return f'<p class="warning">{escaped(judge)}: none ({escaped(", ".join(r.outcome for r in ratings))}).</p>'
    head = "".join(f"<th>{escaped(names[r.side])}</th>" for r in ratings)
    rows = "".join(_dimension(dimension, ratings, names) for dimension in kept)
    others = [d for r in ratings for d in r.reasons if d not in kept]
    rest = "".join(_reasons(dimension, ratings, names) for dimension in dict.fromkeys(others))
    bad = [names[r.side] for r in ratings if r.parts.get("bad_deal")]
    worse = f'<p class="warning">Worse than walking away for {escaped(" and ".join(bad))}.</p>' if bad else ""
    return f"{worse}<table><caption>{escaped(judge)}</caption><tr><th></th>{head}</tr>{rows}</table>" + (
        f'<div class="why">{rest}</div>' if rest else ""
    )


def _dimension(dimension: str, ratings: Sequence[Rating], names: Sequence[str]) -> str:
    low, high = DIMENSIONS[dimension]
    cells = "".join(_score(rating, dimension) for rating in ratings)
    why = _reasons(dimension, ratings, names)
    told = f'<tr><td class="why" colspan="{len(ratings) + 1}">{why}</td></tr>' if why else ""
    return f"<tr><th>{escaped(dimension.replace('_', ' '))} [{low}, {high}]</th>{cells}</tr>{told}"


def _reasons(dimension: str, ratings: Sequence[Rating], names: Sequence[str]) -> str:
    """Why a dimension was scored so: a line a side, as far as the judge said."""
    said = [(names[r.side], r.reasons[dimension]) for r in ratings if r.reasons.get(dimension)]
    return "".join(f"<p><b>{escaped(name)}:</b> {escaped(why)}</p>" for name, why in said)


def _score(rating: Rating, dimension: str) -> str:
    score = rating.scores.get(dimension)
    return f"<td>{'missing' if score is None else f'{score:g}'}</td>"
