"""How asking a model can fail: told in its reply, or raised where every further call would end the same way."""

from collections.abc import Sequence
from dataclasses import dataclass

from sotopia_pi.models.seam import Outcome, Reply
from sotopia_pi.world.actions import Turn


class StopAsking(RuntimeError):
    """Going on is useless or too costly; the run stops, and whatever it has written stays valid."""


class ModelMisconfigured(StopAsking):
    """A key, a model's name or an address is wrong; the message names role, model and what to set."""


class StreamFailed(RuntimeError):
    """A streamed reply did not come to its end. outcome: as in a reply, "refused" or "api_error"."""

    def __init__(self, message: str, outcome: Outcome):
        super().__init__(message)
        self.outcome = outcome


@dataclass(frozen=True)
class ServerReply(Reply):
    """A reply that came over the network, or did not come.

    failure: why the outcome is `refused` or `api_error`, "" otherwise. retries: attempts that failed before this
    outcome. unsupported: request fields that the server would not take and was asked without ("response_format",
    "seed"), so that a reply without its schema is told from one with it. latency_s covers retries and waiting.
    """

    failure: str = ""
    retries: int = 0
    unsupported: tuple[str, ...] = ()

    def __post_init__(self):
        super().__post_init__()
        object.__setattr__(self, "unsupported", tuple(self.unsupported))
        if self.outcome == "api_error" and not self.failure:
            raise ValueError("a reply with outcome 'api_error' must say in `failure` what went wrong")


class NoAnswer(RuntimeError):
    """A policy whose turn it is got no answer from its server. turns: what was played before, which stays valid."""

    def __init__(self, message: str, turns: Sequence[Turn]):
        super().__init__(message)
        self.turns = tuple(turns)
