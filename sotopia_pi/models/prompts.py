"""Prompts: what a language model is told when it plays a side, and how its words are read as an action."""

import json
import re
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from sotopia_pi.models.seam import Message
from sotopia_pi.store.items import content_id
from sotopia_pi.world.actions import ACTION_TYPES, Action, Turn
from sotopia_pi.world.characters import Character
from sotopia_pi.world.episode import Observation

PROMPT_FORMATS = ("chat", "sotopia")

CHAT_SYSTEM = """\
You are {me}. {trait}
Secret, never tell: {secret}
You meet {other}
{scenario}
Goal: {goal}
One short sentence a turn. {closing}Other acts: [action] ..., [leave]."""

CHAT_CLOSING = "A deal closes when one accepts the other's last offer or names the same terms; then [leave]. "
CHAT_EXAMPLES = "Examples of such talks, with other people:\n{examples}\n\nNow it is your turn."
CHAT_FIRST = "(You speak first.)"
CHAT_NONE = "[none]"

SOTOPIA_TURN = """\
Take the part of {name} in the scene below and act as {name} would, true to character and in pursuit of {name}'s goal.

Where you are: {scenario}
Who takes part: {name} and {other}
About {name}: {profile}
About {other}: {seen}
What lies between them: {background}
{name}'s goal (only you know it): {goal}
{closing}
What happened so far:
{history}

This is turn {turn}. You may choose one of these kinds of action: {kinds}.
"speak" says something aloud, "non-verbal communication" is a gesture or an expression, "action" is something you do, \
"none" does nothing, and "leave" ends the scene for good. Leave when your goals are reached, when you see no way to \
reach them, when the talk makes you uncomfortable, or when there is nothing left to say.

Answer with one JSON object and nothing else, in this form:
{{"action_type": "<one of the kinds above>", "argument": "<your words, gesture or deed; empty for none and leave>"}}"""

SOTOPIA_CLOSING = (
    "\nAn agreement counts when both sides have named the same terms or one accepts the other's last offer.\n"
)

_TAGGED = re.compile(r"^\[([^\]\n]{1,40})\]\s*(.*)$", re.DOTALL)
_FENCE = re.compile(r"^```[a-zA-Z]*\s*\n?(.*?)\n?```$", re.DOTALL)


class Unparsable(ValueError):
    """A model's words are no action; the message is the reason."""


class SotopiaAction(BaseModel):
    """The JSON object of the `sotopia` format."""

    model_config = ConfigDict(extra="ignore")

    action_type: str
    argument: str = ""


def prompt_digest(prompt_format: str) -> str:
    """Hash of a format's texts and of the rules by which its replies are read."""
    from sotopia_pi.store.digest import source_digest

    _check_format(prompt_format)
    return content_id("prompt", {"format": prompt_format, "code": source_digest("sotopia_pi.models.prompts")})


def messages_for(observation: Observation, prompt_format: str, few_shot: Sequence[Any] = ()) -> list[Message]:
    """The conversation to send in a format; `few_shot` examples exist in `chat` alone."""
    _check_format(prompt_format)
    if prompt_format == "chat":
        return chat_messages(observation, tuple(few_shot))
    if few_shot:
        raise ValueError("the sotopia format takes no few-shot examples; use prompt_format='chat'")
    return sotopia_messages(observation)


def parse(text: str, finish_reason: str, prompt_format: str) -> Action:
    """The action that a reply in a format states. Raises Unparsable."""
    _check_format(prompt_format)
    return parse_chat(text, finish_reason) if prompt_format == "chat" else parse_sotopia(text, finish_reason)


def chat_messages(observation: Observation, few_shot: tuple[tuple[str, ...], ...] = ()) -> list[Message]:
    """System message, then the other's turns as user and one's own as assistant messages; ends with a user message.

    Append-only: the messages at a later turn begin with those of every earlier turn and the replies to them.
    Own turns carry the ids that were sampled, where their last call kept them. few_shot: example conversations, each
    a tuple of lines; they stand first in the system message, so that all requests of a run share that prefix.

    Prompts are paid for at every turn, so this format is compact by rule: of one's own profile it shows name, age,
    occupation, the first sentence about personality, and the secret; of the other's visible profile name, age and
    occupation, and one sentence about personality where that is visible (friends and closer). What lies between the
    two is left to the scenario. `sotopia` shows every field.
    """
    messages = [Message("system", _with_examples(_chat_system(observation), few_shot), supervised=False)]
    if observation.side == 0:
        messages.append(Message("user", CHAT_FIRST, supervised=False))
    for turn in observation.turns:
        if turn.side == observation.side:
            messages.append(
                Message("assistant", chat_text(turn.action), _sampled_ids(turn), supervised=not turn.failed)
            )
        else:
            messages.append(Message("user", chat_text(turn.action), supervised=False))
    return messages


def chat_text(action: Action) -> str:
    """An action as the `chat` format writes it: plain speech, everything else behind its tag."""
    if action.type == "speak":
        return action.argument
    return f"[{action.type}] {action.argument}".strip()


def parse_chat(text: str, finish_reason: str = "stop") -> Action:
    """The action in a `chat` reply: plain text is speech, a known tag at its beginning is another action.

    Raises Unparsable for an empty text, an unknown tag, a tag that needs words and has none, and a reply cut by the
    token limit.
    """
    text = _ended(text, finish_reason)
    tagged = _TAGGED.match(text)
    if not tagged:
        return Action("speak", text)
    kind, argument = tagged[1].strip().lower(), tagged[2].strip()
    if kind not in ACTION_TYPES or kind == "speak":
        allowed = ", ".join(f"[{kind}]" for kind in ACTION_TYPES if kind != "speak")
        raise Unparsable(f"unknown tag [{tagged[1]}]; allowed: {allowed}, or plain speech")
    return _action(kind, argument)


def sotopia_messages(observation: Observation) -> list[Message]:
    """One user message that tells everything anew each turn, after SOTOPIA's published agent prompt; JSON comes out."""
    me = observation.me
    seen = "; ".join(f"{key.replace('_', ' ')}: {value}" for key, value in observation.other.items())
    text = SOTOPIA_TURN.format(
        name=me.name,
        other=observation.other_name,
        scenario=observation.scenario,
        profile=own_profile(me),
        seen=seen or "you know nothing about this person",
        background=observation.background or "nothing that matters here",
        goal=observation.goal,
        closing=SOTOPIA_CLOSING if observation.issues else "",
        history=_history(observation),
        turn=len(observation.turns),
        kinds=", ".join(f'"{kind}"' for kind in ACTION_TYPES),
    )
    return [Message("user", text, supervised=False)]


def sotopia_text(action: Action) -> str:
    """An action as the `sotopia` format writes it."""
    return json.dumps({"action_type": action.type, "argument": action.argument}, ensure_ascii=False)


def parse_sotopia(text: str, finish_reason: str = "stop") -> Action:
    """The action in a JSON reply, with or without a code fence or words around the object. Raises Unparsable."""
    text = _ended(text, finish_reason)
    fenced = _FENCE.match(text)
    body = fenced[1] if fenced else text
    start = body.find("{")
    if start < 0:
        raise Unparsable("no JSON object in the reply; expected action_type and argument")
    try:
        record, _ = json.JSONDecoder().raw_decode(body[start:])
        said = SotopiaAction.model_validate(record)
    except json.JSONDecodeError as error:
        raise Unparsable(f"broken JSON: {error}") from error
    except ValidationError as error:
        problem = error.errors()[0]
        raise Unparsable(f"JSON field {'.'.join(map(str, problem['loc'])) or '(object)'}: {problem['msg']}") from error
    kind = said.action_type.strip().lower()
    if kind not in ACTION_TYPES:
        raise Unparsable(f"unknown action_type {said.action_type!r}; allowed: {', '.join(ACTION_TYPES)}")
    return _action(kind, said.argument.strip())


def own_profile(me: Character) -> str:
    """Everything a character knows about itself, its secret included, in sentences."""
    return (
        f"{me.name} is {me.age} years old, {me.gender} ({me.gender_pronoun}), {me.occupation}. {me.public_info} "
        f"{me.personality_and_values} Big five: {me.big_five}. Moral values: {', '.join(me.moral_values)}. "
        f"Personal values: {', '.join(me.schwartz_personal_values)}. Decision-making style: "
        f"{me.decision_making_style}. Secret: {me.secret}"
    )


def _chat_system(observation: Observation) -> str:
    me = observation.me
    return CHAT_SYSTEM.format(
        me=f"{me.name}, {me.age}, {_lower_first(me.occupation)}",
        trait=_first_sentence(me.personality_and_values),
        secret=_sentence(me.secret),
        other=_who(observation),
        scenario=observation.scenario,
        goal=observation.goal,
        closing=CHAT_CLOSING if observation.issues else "",
    )


def _who(observation: Observation) -> str:
    """The other as far as it may be seen, on one line."""
    seen = observation.other
    head = [seen[key] for key in ("name", "age") if key in seen]
    if "occupation" in seen:
        head.append(_lower_first(seen["occupation"]))
    who = _sentence(", ".join(head) or "a stranger")
    told = seen.get("personality_and_values")
    return f"{who} {_first_sentence(told)}" if told else who


def _with_examples(system: str, few_shot: tuple[tuple[str, ...], ...]) -> str:
    if not few_shot:
        return system
    shown = "\n\n".join("\n".join(lines) for lines in few_shot)
    return f"{CHAT_EXAMPLES.format(examples=shown)}\n\n{system}"


def _sampled_ids(turn: Turn) -> tuple[int, ...] | None:
    """What the model sampled for this turn; None for scripted turns and where a `none` stands in for a failure."""
    ids = turn.calls[-1].get("token_ids") if turn.calls and not turn.failed else None
    return tuple(ids) if ids else None


def _history(observation: Observation) -> str:
    names = {observation.side: observation.me.name, 1 - observation.side: observation.other_name}
    lines = [f"Turn {turn.index}: {turn.action.told(names[turn.side])}" for turn in observation.turns]
    return "\n".join(lines) or "Nothing yet: you begin."


def _ended(text: str, finish_reason: str) -> str:
    if finish_reason == "length":
        raise Unparsable("the reply did not end within max_new_tokens")
    if not text.strip():
        raise Unparsable("the reply is empty")
    return text.strip()


def _action(kind: str, argument: str) -> Action:
    if kind not in ("none", "leave") and not argument:
        raise Unparsable(f"an action of type {kind!r} without words")
    return Action(kind, "" if kind == "none" else argument)


def _check_format(prompt_format: str) -> None:
    if prompt_format not in PROMPT_FORMATS:
        raise ValueError(f"prompt format {prompt_format!r} is not one of {', '.join(PROMPT_FORMATS)}")


def _first_sentence(text: str) -> str:
    return _sentence(re.split(r"(?<=[.!?])\s+", text.strip())[0])


def _sentence(text: str) -> str:
    text = text.strip()
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _lower_first(text: str) -> str:
    """ "Nurse" as "nurse", but "IT consultant" as it is."""
    return text[:1].lower() + text[1:] if text[1:2].islower() else text
