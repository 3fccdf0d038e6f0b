"""When a deal counts: both sides stand on the same terms, and nobody has moved off them since."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sotopia_pi.world.actions import Action, Turn
from sotopia_pi.world.deals import DealState, follow
from sotopia_pi.world.payoffs import Issue
from sotopia_pi.world.reader import Reading

PRICE = (Issue("price", "amount", tuple(range(60, 131, 5)), "$"),)
MEETING = (
    Issue("day", "choice", ("Tuesday", "Wednesday", "Friday")),
    Issue("hour", "choice", ("10 am", "2 pm", "5 pm")),
    Issue("place", "choice", ("the library", "the corner pub", "the park")),
)
ITEMS = tuple(Issue(name, "item", (0, 1)) for name in ("lamp", "rug", "clock"))


def talk(*said: str) -> list[Turn]:
    """Turns of two sides who speak in turn; side 0 begins."""
    return [Turn(index, index % 2, Action("speak", words)) for index, words in enumerate(said)]


def price(*said: str) -> int | None:
    deal = follow(PRICE, talk(*said)).deal
    return None if deal is None else deal["price"]


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (("I'd like $110.", "Would you take 80?", "How about $95?", "Deal!"), 95),
        (("I'd like $110.", "Let's say $110 then."), 110),
        (("$110.", "Deal!", "Thank you!", "See you!"), 110),
        (("$110.", "Deal!", "Great, $110 it is.", "Agreed."), 110),
        (("$110.", "$95 works for me."), None),
        (("$110.", "$95.", "$95 works for me."), 95),
        (("$110.", "Deal, $95!"), None),
        (("Hello!", "Deal!", "Deal!", "Deal!"), None),
        (("$110.", "Hmm.", "I take that back.", "Deal!"), None),
        (("$110.", "Deal!", "Actually, make it $120.", "No way."), None),
        (("$110.", "Deal!", "Actually, make it $120.", "Deal!"), 120),
        (("$110.", "Deal!", "The deal is off.", "But we agreed!"), None),
        (("$110.", "Deal!", "Thanks.", "On second thought, no. I take that back."), None),
        (("$110.", "If you make it 90 we have a deal.", "Deal!"), 90),
        (("$110.", "Is that a deal?"), None),
        (("$110.", "No deal."), None),
        (("$110.", "80?", "100, my last word.", "Hm, 100 is fine."), 100),
        (("$110.", "I could do $90.", "I can't do $90.", "Forget it. I changed my mind.", "Okay, deal at $90."), None),
    ],
)
def test_a_deal_counts_only_when_both_stand_on_the_same_terms(said, expected):
    assert price(*said) == expected


def test_only_spoken_words_carry_terms():
    quiet = [
        Turn(0, 0, Action("action", "writes $95 on a slip of paper")),
        Turn(1, 1, Action("speak", "Deal!")),
        Turn(2, 0, Action("non-verbal communication", "nods: deal")),
    ]
    assert follow(PRICE, quiet).deal is None
    assert follow(PRICE, quiet).offers == (None, None)


def test_leaving_keeps_a_deal_and_makes_none():
    agreed = talk("$95.", "Deal!")
    left = Turn(2, 0, Action("leave", "Bye, no deal!"))
    assert follow(PRICE, [*agreed, left]).deal == {"price": 95}
    assert follow(PRICE, [*talk("$95."), Turn(1, 1, Action("leave", "Deal!"))]).deal is None


def test_a_failed_turn_carries_nothing():
    failed = Turn(1, 1, Action("none"), failed=True)
    assert follow(PRICE, [*talk("$95."), failed]).deal is None
    assert follow(PRICE, [*talk("$95."), Turn(1, 1, Action("speak", "Deal!"), failed=True)]).deal is None


def test_partial_terms_are_completed_from_the_latest_complete_offer():
    state = follow(MEETING, talk("Tuesday, 2 pm, the library.", "Wednesday instead?"))
    assert state.offers[1] == {"day": "Wednesday", "hour": "2 pm", "place": "the library"}
    assert state.deal is None
    state = state.step(Turn(2, 0, Action("speak", "Make it 5 pm.")))
    assert state.offers[0] == {"day": "Wednesday", "hour": "5 pm", "place": "the library"}
    assert state.step(Turn(3, 1, Action("speak", "Works for me."))).deal == state.offers[0]


def test_without_a_complete_offer_partial_terms_wait_for_more():
    state = follow(MEETING, talk("How about Tuesday?", "Hmm, go on.", "At 2 pm."))
    assert state.offers == (None, None) and state.partial[0] == {"day": "Tuesday", "hour": "2 pm"}
    state = state.step(Turn(3, 1, Action("speak", "Deal!")))
    assert state.deal is None
    state = state.step(Turn(4, 0, Action("speak", "At the park.")))
    assert state.offers[0] == {"day": "Tuesday", "hour": "2 pm", "place": "the park"}


def test_issues_settled_one_after_the_other_make_a_deal():
    state = follow(MEETING, talk("How about Tuesday?", "Tuesday works for me.", "At 2 pm in the library?", "Deal!"))
    assert state.deal == {"day": "Tuesday", "hour": "2 pm", "place": "the library"}


def test_items_left_out_of_both_lists_leave_the_offer_open():
    assert follow(ITEMS, talk("I keep the lamp and you keep the rug.", "Deal!")).deal is None
    deal = follow(ITEMS, talk("I keep the lamp and you keep the rest.", "Deal!")).deal
    assert deal == {"lamp": 0, "rug": 1, "clock": 1}


def test_states_are_values_and_stepping_leaves_the_old_one_alone():
    before = follow(PRICE, talk("$95."))
    after = before.step(Turn(1, 1, Action("speak", "Deal!")))
    assert before.deal is None and before.offers == ({"price": 95}, None)
    assert after.deal == {"price": 95}


readings = st.builds(
    Reading,
    terms=st.sampled_from([{}, {"price": 80}, {"price": 95}, {"price": 110}]),
    accepts=st.booleans(),
    rejects=st.booleans(),
    withdraws=st.booleans(),
)


@given(st.lists(readings, max_size=12))
def test_no_deal_stands_on_terms_that_only_one_side_ever_took_up(heard):
    state = DealState(PRICE)
    for index, reading in enumerate(heard):
        side = index % 2
        state = state.hear(side, reading)
        if reading.withdraws and not reading.terms and not reading.accepts:
            assert state.offers[side] is None and state.deal is None
        if state.deal is not None:
            assert state.offers[0] == state.offers[1] == state.deal
            stated = {r.terms["price"] for r in heard[: index + 1] if r.terms}
            assert state.deal["price"] in stated
            if not any(r.accepts for r in heard[: index + 1]):
                both = [{r.terms["price"] for r in heard[: index + 1][s::2] if r.terms} for s in (0, 1)]
                assert state.deal["price"] in both[0] & both[1]
