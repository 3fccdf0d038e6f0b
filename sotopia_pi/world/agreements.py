"""Agreements: what the words of an episode come to under a payoff, by the reader that follows its kind of talk.

Most families are read by `world/reader.py`. Kinds of published scenarios whose deals are spoken of in another way
have readers of their own, named here by family.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from sotopia_pi.world.actions import Turn
from sotopia_pi.world.deals import DealState, follow
from sotopia_pi.world.payoffs import Deal, Issue, Payoff
from sotopia_pi.world.reader_pieces import NOBODY, PiecesReading, read_pieces

PIECES = "deal-or-no-deal"
"""Family in which several pieces of a kind are shared out."""


def agreed(payoff: Payoff, turns: Iterable[Turn]) -> Deal | None:
    """The deal that these turns end with, or None."""
    return _FOLLOWED.get(payoff.family, _followed)(payoff, tuple(turns))


def follow_pieces(issues: Sequence[Issue], turns: Iterable[Turn]) -> DealState:
    """The state after all these turns, where every issue counts the pieces of one item."""
    state = DealState(tuple(issues))
    for turn in turns:
        if turn.action.type == "speak" and not turn.failed:
            reading = read_pieces(turn.action.argument, issues, turn.side)
            state = state.hear(turn.side, _completed(state, reading, turn.side))
    return state


def _completed(state: DealState, reading: PiecesReading, side: int) -> PiecesReading:
    """The reading with what it left out, where it names one side's share and no complete offer stands to change."""
    if reading.rest_to == NOBODY or state.latest is not None:
        return reading
    said = {**state.partial[1 - side], **state.partial[side], **reading.terms}
    rest = {issue.name: issue.total if issue.payer == reading.rest_to else 0 for issue in state.issues}
    return replace(reading, terms={**rest, **said})


def _followed(payoff: Payoff, turns: Sequence[Turn]) -> Deal | None:
    return follow(payoff.issues, turns).deal


def _pieces_shared(payoff: Payoff, turns: Sequence[Turn]) -> Deal | None:
    return follow_pieces(payoff.issues, turns).deal


_FOLLOWED: Mapping[str, Callable[[Payoff, Sequence[Turn]], Deal | None]] = {PIECES: _pieces_shared}
