"""Agreements: what the words of an episode come to under a payoff, by the reader that follows its kind of talk.

Most families are read by `world/reader.py`. Kinds of published scenarios whose deals are spoken of in another way
have readers of their own, named here by family.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from sotopia_pi.world.actions import Turn
from sotopia_pi.world.deals import DealState, follow
from sotopia_pi.world.payoffs import Deal, Issue, Payoff
from sotopia_pi.world.pieces_cues import OLD_OFFER
from sotopia_pi.world.reader_names import KNOWN, UNKNOWN, read_names
from sotopia_pi.world.reader_pieces import NOBODY, PiecesReading, read_pieces

PIECES, FRIENDS = "deal-or-no-deal", "mutual_friends"
"""Families in which several pieces of a kind are shared out, and in which two look for a friend in common."""
FOUND, NOT_FOUND = "found", "not found"
"""Options of the one issue of FRIENDS. The names are no options: both sides may see those, and must find out names."""


def agreed(payoff: Payoff, turns: Iterable[Turn]) -> Deal | None:
    """The deal that these turns end with, or None."""
    return _FOLLOWED.get(payoff.family, _followed)(payoff, tuple(turns))


def bargained_by_rule(payoff: Payoff | None) -> bool:
    """Whether scripted policies can play for these stakes: they speak and read the words of most families alone."""
    return payoff is not None and payoff.family not in _FOLLOWED


def follow_pieces(issues: Sequence[Issue], turns: Iterable[Turn]) -> DealState:
    """The state after all these turns, where every issue counts the pieces of one item.

    Unless it speaks of an offer, a yes to a mere "no deal" agrees to no deal, and a yes after a counter-offer of one's
    own does not bring back what the other had offered before.
    """
    state, before = DealState(tuple(issues)), PiecesReading()
    for turn in turns:
        if turn.action.type != "speak" or turn.failed:
            continue
        reading = read_pieces(turn.action.argument, issues, turn.side)
        plain_yes = reading.accepts and not reading.terms and not OLD_OFFER.search(turn.action.argument.lower())
        if plain_yes and before.rejects and not before.terms:
            reading = replace(reading, accepts=False, rejects=True)
        elif plain_yes and state.latest == turn.side:
            reading = replace(reading, accepts=False)
        state = state.hear(turn.side, _completed(state, reading, turn.side))
        before = reading
    return state


def named_by_both(names: Sequence[str], turns: Iterable[Turn]) -> frozenset[str]:
    """The friends of whom, after all these turns, both sides have said that they know them.

    A side knows whom it names or asks after, and whom the other named last, and alone, when it says yes to that; no
    longer once it says that it does not, or takes back what it said. names: the friends to listen for.
    """
    known: tuple[set[str], set[str]] = (set(), set())
    named: list[frozenset[str]] = [frozenset(), frozenset()]
    asked = [False, False]
    for turn in turns:
        if turn.failed or turn.action.type != "speak":
            continue
        reading, mine, other = read_names(turn.action.argument, names), known[turn.side], 1 - turn.side
        if reading.withdraws and not reading.of(UNKNOWN):
            mine.clear()
        mine -= reading.of(UNKNOWN)
        mine |= reading.of(KNOWN)
        meant = len(named[other]) == 1 and (asked[other] or reading.claims)
        if reading.answers and meant:
            mine |= named[other]
        named[turn.side] = reading.of(KNOWN) or named[turn.side]
        asked[turn.side] = reading.asks
    return frozenset(known[0] & known[1])


def _completed(state: DealState, reading: PiecesReading, side: int) -> PiecesReading:
    """The reading with what it left out, where it names one side's share, in full or while nothing else stands."""
    if reading.rest_to == NOBODY or (state.latest is not None and not reading.whole):
        return reading
    said = {**state.partial[1 - side], **state.partial[side], **reading.terms}
    rest = {issue.name: issue.total if issue.payer == reading.rest_to else 0 for issue in state.issues}
    return replace(reading, terms={**rest, **said})


def _followed(payoff: Payoff, turns: Sequence[Turn]) -> Deal | None:
    return follow(payoff.issues, turns).deal


def _pieces_shared(payoff: Payoff, turns: Sequence[Turn]) -> Deal | None:
    return follow_pieces(payoff.issues, turns).deal


def _friend_found(payoff: Payoff, turns: Sequence[Turn]) -> Deal | None:
    """A deal once both have named the same friend, and it is one that both have: another name is no agreement."""
    both = named_by_both(payoff.notes["names"], turns)
    return {payoff.issues[0].name: FOUND} if both & set(payoff.notes["shared"]) else None


_FOLLOWED: Mapping[str, Callable[[Payoff, Sequence[Turn]], Deal | None]] = {
    PIECES: _pieces_shared,
    FRIENDS: _friend_found,
}
