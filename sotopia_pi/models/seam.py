"""The seam to language models: a request goes in, a reply comes out, and nobody above knows who answered."""

import hashlib
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, get_args

from sotopia_pi.store.items import canonical

Role = Literal["system", "user", "assistant"]
Outcome = Literal["ok", "refused", "truncated", "invalid", "api_error"]
FinishReason = Literal["stop", "length", "error"]

ROLES: tuple[Role, ...] = get_args(Role)
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)


@dataclass(frozen=True)
class Sampling:
    """How to draw words. temperature: >= 0, where 0 takes the likeliest token; top_p: in (0, 1], where 1 keeps all.

    max_new_tokens: most tokens of a reply, its end marker included; >= 1.
    """

    temperature: float = 1.0
    top_p: float = 1.0
    max_new_tokens: int = 64

    def __post_init__(self):
        if self.temperature < 0:
            raise ValueError(f"temperature is {self.temperature}; allowed: 0 (greedy) and above")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p is {self.top_p}; allowed: above 0 and up to 1 (1 keeps every token)")
        if self.max_new_tokens < 1:
            raise ValueError(f"max_new_tokens is {self.max_new_tokens}; a reply takes at least 1 token")

    def to_dict(self) -> dict[str, Any]:
        return dict(vars(self))


@dataclass(frozen=True)
class Message:
    """One message of a conversation.

    token_ids: for an assistant message, the ids the model really sampled (its end marker included when it was
    sampled); rendering continues from them and never from re-tokenised text. None: tokenise `content`.
    supervised: whether training may put a loss on this message's own words.
    """

    role: Role
    content: str
    token_ids: tuple[int, ...] | None = None
    supervised: bool = True

    def __post_init__(self):
        if self.role not in ROLES:
            raise ValueError(f"message role {self.role!r} is not one of {', '.join(ROLES)}")
        if self.token_ids is not None:
            if self.role != "assistant":
                raise ValueError(f"a {self.role} message carries token ids; only an assistant message was sampled")
            object.__setattr__(self, "token_ids", tuple(self.token_ids))


@dataclass(frozen=True)
class Request:
    """One question to a model. schema: JSON schema the reply must follow, None = free text.

    seed: in [0, 2**63); with item_id, turn and role it says which reply of several this is, so that two repeats of
    one task differ at temperature 1 also where replies are cached.
    """

    messages: tuple[Message, ...]
    sampling: Sampling = field(default_factory=Sampling)
    schema: dict[str, Any] | None = None
    seed: int = 0
    item_id: str = ""
    turn: int = 0
    role: str = ""

    def __post_init__(self):
        object.__setattr__(self, "messages", tuple(self.messages))
        if not self.messages:
            raise ValueError(f"request for {self.item_id or 'an unnamed item'} has no messages; it takes at least one")
        if not 0 <= self.seed < 2**63:
            raise ValueError(f"request for {self.item_id or 'an unnamed item'}: seed {self.seed} is outside [0, 2**63)")


@dataclass(frozen=True)
class Reply:
    """What came back. text: without the end marker; token_ids: every sampled id, the end marker included.

    outcome: of `OUTCOMES`, "truncated" when the limit came before the end. usage: prompt_tokens, cached_tokens (of
    the prompt, not computed again) and completion_tokens. model: id as the server names it. latency_s: seconds.
    """

    text: str
    token_ids: tuple[int, ...] = ()
    outcome: Outcome = "ok"
    finish_reason: FinishReason = "stop"
    usage: dict[str, int] = field(default_factory=dict)
    model: str = ""
    latency_s: float = field(default=0.0, compare=False)

    def __post_init__(self):
        object.__setattr__(self, "token_ids", tuple(self.token_ids))
        if self.outcome not in OUTCOMES:
            raise ValueError(f"reply outcome {self.outcome!r} is not one of {', '.join(OUTCOMES)}")


class Chat(Protocol):
    """Answers conversations."""

    async def complete(self, request: Request) -> Reply: ...

    def stream(self, request: Request) -> AsyncIterator[str]: ...


class Scorer(Protocol):
    """Says how likely each of a few answers is."""

    async def choice_logprobs(self, request: Request, choices: Sequence[str]) -> list[float]: ...


def messages_hash(messages: Iterable[Message]) -> str:
    """16 hex digits over roles, contents and sampled ids: the `prompt_hash` kept with every call."""
    shown = [[m.role, m.content, m.token_ids] for m in messages]
    return hashlib.sha256(canonical(shown).encode()).hexdigest()[:16]


class ScriptedReplies:
    """A chat that gives prepared replies in order and keeps the requests it got; for tests.

    Raises RuntimeError when it is asked more often than it has replies.
    """

    def __init__(self, replies: Iterable[str | Reply]):
        self.replies = [Reply(r, model="scripted") if isinstance(r, str) else r for r in replies]
        self.requests: list[Request] = []

    async def complete(self, request: Request) -> Reply:
        self.requests.append(request)
        if len(self.requests) > len(self.replies):
            raise RuntimeError(
                f"call {len(self.requests)} (item {request.item_id!r}, turn {request.turn}), but only "
                f"{len(self.replies)} replies were prepared; prepare one for every call"
            )
        return self.replies[len(self.requests) - 1]

    async def stream(self, request: Request) -> AsyncIterator[str]:
        yield (await self.complete(request)).text
