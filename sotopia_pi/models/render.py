"""Rendering: a conversation as the token ids a model reads, and which of them are the agent's own words."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from jinja2 import TemplateError

from sotopia_pi.models.seam import Message


class RenderError(ValueError):
    """A tokenizer's chat template cannot be rendered piece by piece."""


@dataclass(frozen=True)
class Rendered:
    """ids: token ids, in order. own: as long as ids; True on the agent's own words and the end marker it set."""

    ids: list[int]
    own: list[bool]


@dataclass(frozen=True)
class _Frame:
    """What a template writes around contents. gaps: one text before each content and one after the last.

    leads: per message, what stands between the generation prompt and an assistant's content (mostly nothing).
    """

    gaps: tuple[str, ...]
    leads: tuple[str, ...]


class Renderer:
    """Renders conversations for one tokenizer; playing, training and scoring all go through here.

    The trap: tokenising the text of a whole conversation is not the same as joining the ids of its parts. A model may
    sample "he" + "llo" where the tokenizer, reading the text back, says "hello"; then the ids trained on are not the
    ids played, and every key-value cache behind that word is lost. So each piece (what the template writes around a
    message, each message's content) is tokenised by itself, and a message that carries sampled ids is never
    tokenised at all. For text-only conversations the result equals the tokenizer's own `apply_chat_template` wherever
    special tokens stand between content and frame, as in ChatML; a template that glues plain text to the content
    may tokenise differently at that seam.

    What the template writes is learnt from the template itself, by rendering stand-in contents; it depends on the
    roles alone. Content never turns into special tokens: "<|im_end|>" said by somebody stays plain text.
    Raises RenderError when the template is not append-only (a longer conversation must begin with the shorter one's
    text). A template that knows no system role gets the system message in front of the first user message.
    """

    def __init__(self, tokenizer: Any):
        if not getattr(tokenizer, "chat_template", None):
            raise RenderError(
                f"tokenizer {_name(tokenizer)} has no chat template, so it is not known how its model was taught to "
                f"converse; take an instruction-tuned model, or set tokenizer.chat_template and save it"
            )
        self.tokenizer = tokenizer
        self._frame = lru_cache(maxsize=512)(self._learn_frame)
        self._gap_ids = lru_cache(maxsize=4096)(self._tokenise_gap)
        self.folds_system = not self._takes_system()
        self.end_ids = self._learn_end_ids()

    def render(self, messages: Sequence[Message], add_generation_prompt: bool = True) -> Rendered:
        """Token ids of a conversation and the mask of own words.

        add_generation_prompt: end with what the template writes before an assistant's words. A pure function of the
        messages; the ids of a conversation are the beginning of the ids of every conversation that continues it.
        """
        messages = self._folded(tuple(messages))
        frame = self._frame(tuple(m.role for m in messages), add_generation_prompt)
        ids, own = list(self._gap_ids(frame.gaps[0])), []
        own += [False] * len(ids)
        for message, lead, gap in zip(messages, frame.leads, frame.gaps[1:], strict=True):
            words, after = self._words(message, lead), self._gap_ids(gap)
            mine = message.role == "assistant" and message.supervised
            ended = message.token_ids is not None and words[-1:] and words[-1] in self.end_ids
            if ended:
                after = after[1:]
            ids += [*words, *after]
            own += [mine] * len(words) + [False] * len(after)
            if mine and message.token_ids is None:
                own[len(own) - len(after)] = True
        return Rendered(ids, own)

    def content_ids(self, text: str) -> tuple[int, ...]:
        """Ids of plain content, without any special token whatever it says."""
        return tuple(self.tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"])

    def text_of(self, token_ids: Sequence[int]) -> str:
        """Text of sampled ids: the end marker and other special tokens left out, outer white space stripped."""
        return self.tokenizer.decode(list(token_ids), skip_special_tokens=True).strip()

    def _words(self, message: Message, lead: str) -> tuple[int, ...]:
        if message.token_ids is not None:
            return message.token_ids
        return self.content_ids(lead + message.content)

    def _tokenise_gap(self, text: str) -> tuple[int, ...]:
        return tuple(self.tokenizer(text, add_special_tokens=False)["input_ids"]) if text else ()

    def _folded(self, messages: tuple[Message, ...]) -> tuple[Message, ...]:
        """The same conversation without a system message, where the template knows none."""
        if not self.folds_system or not messages or messages[0].role != "system":
            return messages
        system, *rest = messages
        if not rest or rest[0].role != "user":
            raise RenderError(
                f"the chat template of {_name(self.tokenizer)} knows no system role, and the system message is "
                f"followed by {rest[0].role if rest else 'nothing'}; put a user message after it, to hold its text"
            )
        return (replace(rest[0], content=f"{system.content}\n\n{rest[0].content}"), *rest[1:])

    def _learn_frame(self, roles: tuple[str, ...], add_generation_prompt: bool) -> _Frame:
        """Render stand-in contents and cut the text at them; check that earlier prompts are its beginnings."""
        text = self._template(roles, add_generation_prompt)
        gaps, leads = [], []
        rest = text
        for k, role in enumerate(roles):
            gap, found, rest = rest.partition(_stand_in(k))
            if not found:
                raise self._not_append_only(roles, f"it leaves out or reorders message {k} ({role})")
            lead = self._lead(roles, k, text) if role == "assistant" and k else ""
            gaps.append(gap.removesuffix(lead))
            leads.append(lead)
        return _Frame((*gaps, rest), tuple(leads))

    def _lead(self, roles: tuple[str, ...], k: int, text: str) -> str:
        """What stands between the prompt for message k and its content, in the whole conversation's text."""
        prompt = self._template(roles[:k], True)
        if not text.startswith(prompt):
            raise self._not_append_only(roles, f"the prompt for message {k} is not the beginning of the conversation")
        return text[len(prompt) :].partition(_stand_in(k))[0]

    def _learn_end_ids(self) -> frozenset[int]:
        """Ids that end an assistant's message: the template's own marker, and the tokenizer's end of sequence."""
        written = self._frame(("user", "assistant"), False).gaps[2]
        marker = self._gap_ids(written)[:1]
        special = {number for number, token in self.tokenizer.added_tokens_decoder.items() if token.special}
        if not special.intersection(marker):
            raise RenderError(
                f"the chat template of {_name(self.tokenizer)} does not end an assistant's message with a special "
                f"token, so nobody could tell where a reply ends; it writes {written!r} there"
            )
        return frozenset(marker) | {number for number in (self.tokenizer.eos_token_id,) if number is not None}

    def _template(self, roles: Sequence[str], add_generation_prompt: bool = False) -> str:
        standing = [{"role": role, "content": _stand_in(k)} for k, role in enumerate(roles)]
        try:
            return self.tokenizer.apply_chat_template(
                standing, tokenize=False, add_generation_prompt=add_generation_prompt
            )
        except (TemplateError, ValueError, TypeError, KeyError, IndexError) as error:
            raise RenderError(
                f"the chat template of {_name(self.tokenizer)} refuses the roles {', '.join(roles)}: {error}. Most "
                f"templates take a system message first, then user and assistant in turn"
            ) from error

    def _takes_system(self) -> bool:
        try:
            return _stand_in(0) in self._template(("system", "user"))
        except RenderError:
            return False

    def _not_append_only(self, roles: Sequence[str], why: str) -> RenderError:
        return RenderError(
            f"the chat template of {_name(self.tokenizer)} is not append-only: for the roles "
            f"{', '.join(roles)}, {why}. Replies could then not be continued from the ids that were sampled. Set "
            f"another tokenizer.chat_template (ChatML without reasoning blocks, say) and save it with the model"
        )


def _stand_in(position: int) -> str:
    """A content no template looks into: letters and a number, unlike any role name or marker."""
    return f"CONTENT{position}STANDS{position}HERE"


def _name(tokenizer: Any) -> str:
    return repr(getattr(tokenizer, "name_or_path", "") or type(tokenizer).__name__)
