"""A person as a policy: it takes its turn when somebody says what to do."""

import asyncio
import time

from sotopia_pi.store.items import content_id
from sotopia_pi.world.actions import Action
from sotopia_pi.world.episode import Decision, Observation

HUMAN = "human"
"""Name of a person among policies, and the tag of the episodes that people played."""


class Person:
    """Plays a side by waiting for `decide`; all people share one digest, so that no id tells who it was."""

    name = HUMAN
    digest = content_id("policy", {"kind": "person"})

    def __init__(self) -> None:
        self._asked: asyncio.Future[Action] | None = None
        self._intended: Action | None = None

    @property
    def is_asked(self) -> bool:
        """Whether it is this person's turn."""
        return self._asked is not None and not self._asked.done()

    def decide(self, action: Action) -> None:
        """Take the turn. Raises RuntimeError when it is the other's."""
        if not self.is_asked:
            raise RuntimeError("it is the other one's turn; wait for the reply")
        self._asked.set_result(action)

    def intend(self, action: Action) -> None:
        """Take the turn now, or the next one as soon as it comes."""
        if self.is_asked:
            self.decide(action)
        else:
            self._intended = action

    async def act(self, observation: Observation, seed: int) -> Decision:
        """What the person decides, however long it takes; `latency_s` is the time to think and write, in seconds."""
        if self._intended is not None:
            return Decision(self._intended)
        asked = time.monotonic()
        self._asked = asyncio.get_running_loop().create_future()
        try:
            action = await self._asked
        finally:
            self._asked = None
        return Decision(action, timing={"latency_s": time.monotonic() - asked})
