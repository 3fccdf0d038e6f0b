"""Deals: what each side stands on after each turn, and whether both stand on the same terms."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sotopia_pi.world.actions import Turn
from sotopia_pi.world.payoffs import Issue
from sotopia_pi.world.reader import Reading, read

Terms = dict[str, Any]


@dataclass(frozen=True)
class DealState:
    """What is on the table after some turns.

    offers[side]: the complete terms the side stands on now, or None; stated by it, or taken over by accepting the
    other's. partial[side]: terms it has stated while they do not settle every issue yet ({} otherwise).
    latest: the side whose complete offer is the most recent one on the table, or None.
    """

    issues: tuple[Issue, ...]
    offers: tuple[Terms | None, Terms | None] = (None, None)
    partial: tuple[Terms, Terms] = field(default_factory=lambda: ({}, {}))
    latest: int | None = None

    @property
    def deal(self) -> Terms | None:
        """The deal, or None: both sides stand on the same complete terms, and neither has moved off them since."""
        ours, theirs = self.offers
        return dict(ours) if ours is not None and ours == theirs else None

    def step(self, turn: Turn) -> "DealState":
        """The state after one more turn. Only words carry terms: deeds, gestures, leaving and failed turns do not."""
        if turn.failed or turn.action.type != "speak" or not self.issues:
            return self
        return self.hear(turn.side, read(turn.action.argument, self.issues, turn.side))

    def hear(self, side: int, reading: Reading) -> "DealState":
        """The state after a side said something that reads like this.

        Taking an offer back clears the speaker's own terms; refusing what was already agreed does the same.
        New terms replace the speaker's old ones; agreement without other terms takes over the other's live offer.
        """
        state = self
        if reading.withdraws or (reading.rejects and self.deal is not None and not reading.accepts):
            state = state._cleared(side)
        if reading.terms:
            return state._stated(side, dict(reading.terms), reading.accepts)
        return state._accepted(side) if reading.accepts else state

    def _cleared(self, side: int) -> "DealState":
        other = 1 - side
        return replace(
            self,
            offers=_put(self.offers, side, None),
            partial=_put(self.partial, side, {}),
            latest=other if self.offers[other] is not None else None,
        )

    def _stated(self, side: int, terms: Terms, accepts: bool) -> "DealState":
        theirs = self.offers[1 - side]
        if accepts and theirs is not None and terms.items() <= theirs.items():
            return self._accepted(side)
        if accepts and theirs is None:
            terms = {**self.partial[1 - side], **terms}
        standing = self.offers[self.latest] if self.latest is not None else None
        return self._standing(side, {**(standing or self.partial[side]), **terms})

    def _accepted(self, side: int) -> "DealState":
        theirs = self.offers[1 - side]
        if theirs is not None:
            return self._standing(side, dict(theirs))
        if self.partial[1 - side] and self.offers[side] is None:
            return self._standing(side, {**self.partial[side], **self.partial[1 - side]})
        return self

    def _standing(self, side: int, terms: Terms) -> "DealState":
        if all(issue.name in terms for issue in self.issues):
            ordered = {issue.name: terms[issue.name] for issue in self.issues}
            return replace(
                self,
                offers=_put(self.offers, side, ordered),
                partial=_put(self.partial, side, {}),
                latest=side,
            )
        return replace(self, partial=_put(self.partial, side, terms))


def follow(issues: Sequence[Issue], turns: Iterable[Turn]) -> DealState:
    """The state after all these turns, from an empty table."""
    state = DealState(tuple(issues))
    for turn in turns:
        state = state.step(turn)
    return state


def _put(pair: tuple[Any, Any], side: int, value: Any) -> tuple[Any, Any]:
    return (value, pair[1]) if side == 0 else (pair[0], value)
