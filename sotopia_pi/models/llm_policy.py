"""The policy of a language model in a role: asks a chat, reads the action, asks again when it cannot be read."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sotopia_pi.models.calls import call_record
from sotopia_pi.models.failures import NoAnswer, ServerReply
from sotopia_pi.models.prompts import Unparsable, messages_for, parse, prompt_digest
from sotopia_pi.models.seam import Chat, Reply, Request, Sampling
from sotopia_pi.store.items import content_id
from sotopia_pi.world.episode import Decision, Observation


@dataclass(frozen=True)
class LLMPolicy:
    """Plays a side by asking `chat`.

    name: as tables show it ("BC"); model_digest: base weights and adapter; retries: further attempts after an output
    that cannot be read, each with a seed of its own; few_shot: example conversations (`chat` format only).
    """

    chat: Chat
    name: str
    model_digest: str
    prompt_format: str = "chat"
    sampling: Sampling = field(default_factory=Sampling)
    retries: int = 1
    few_shot: tuple[tuple[str, ...], ...] = ()

    def __post_init__(self):
        if self.retries < 0:
            raise ValueError(f"policy {self.name!r}: retries is {self.retries}; allowed: 0 and above")
        object.__setattr__(self, "digest", content_id("policy", self.description()))

    def description(self) -> dict[str, Any]:
        """Everything that determines what this policy does, for ids and the run card."""
        return {
            "kind": "llm",
            "model": self.model_digest,
            "prompt": prompt_digest(self.prompt_format),
            "prompt_format": self.prompt_format,
            "sampling": self.sampling.to_dict(),
            "retries": self.retries,
            "few_shot": [list(lines) for lines in self.few_shot],
        }

    async def act(self, observation: Observation, seed: int) -> Decision:
        """The next action, with one record per model call; action None when no attempt could be read.

        Raises NoAnswer when the server gave none, which says nothing about this policy.
        """
        messages = tuple(messages_for(observation, self.prompt_format, self.few_shot))
        calls: list[dict[str, Any]] = []
        latency, failure = 0.0, ""
        for attempt in range(self.retries + 1):
            reply = await self.chat.complete(
                Request(
                    messages,
                    self.sampling,
                    seed=int(np.random.default_rng([seed, attempt]).integers(2**31)),
                    item_id=observation.task_id,
                    turn=len(observation.turns),
                    role=f"side {observation.side}",
                )
            )
            latency += reply.latency_s
            calls.append({**call_record(reply, messages), "token_ids": list(reply.token_ids)})
            if reply.outcome == "api_error":
                raise NoAnswer(f"{self.name}: no answer{_why(reply)}", observation.turns)
            try:
                if reply.outcome not in ("ok", "truncated"):
                    raise Unparsable(f"the call's outcome is {reply.outcome}{_why(reply)}")
                action = parse(reply.text, reply.finish_reason, self.prompt_format)
            except Unparsable as error:
                failure = f"{self.name}, {attempt + 1} of {self.retries + 1} attempts: {error}"
                continue
            return Decision(action, tuple(calls), timing={"latency_s": latency})
        return Decision(None, tuple(calls), failure, timing={"latency_s": latency})


def _why(reply: Reply) -> str:
    return f": {reply.failure}" if isinstance(reply, ServerReply) and reply.failure else ""
