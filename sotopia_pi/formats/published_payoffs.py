"""Published goals that a rule can check, read into payoffs: prices to reach, points per item, friends in common.

craigslist_bargains: both sides have a target price, with a penalty beyond it and a bonus for better. The goals name no
price at which one walks away, so what is shared out is the gap between the targets: a side's goal is 10 at its own
target, 0 at the other's, in proportion between. Where the buyer's target is above the seller's, one price pleases
both and nothing tells how much more one is worth than another: such a pair is not read. A side's walk-away value is the
other's target, so these stakes are for rating and for scripted policies; no prompt of a language model shows stakes.

deal-or-no-deal: how many there are of each item stands in the situation, points per piece in the goals. Value of a
deal: one's points; walking away is worth 0, everything is worth the most. goal = 10 * share of the most.

mutual_friends: each goal lists friends. Both naming one whom both lists hold, with the same particulars, is worth 10;
anything else is worth 0.

Whether the goals ask for more than that ("while dividing things fairly") is not checked; a judge does.
"""

import re
from collections.abc import Callable, Mapping
from math import ceil

from sotopia_pi.world.agreements import FOUND, FRIENDS, NOT_FOUND, PIECES
from sotopia_pi.world.payoffs import Issue, Payoff, SidePayoff
from sotopia_pi.world.tasks import Scenario

MOST_PRICES = 500
"""Prices on a grid: above this many whole dollars the step is 10, then 100 …; offers off the grid count as well."""
MOST_PIECES = 100
"""A larger number before a noun counts no pieces to share out."""
FRIEND = "mutual friend"
_WORDS = "one two three four five six seven eight nine ten"
NUMBER_WORDS = {word: n for n, word in enumerate(_WORDS.split(), 1)}

_ROLE = re.compile(r"\b(buyer|seller)\b", re.IGNORECASE)
_DOLLARS = r"\$\s?((?:\d{1,3}(?:,\d{3}){1,2}|\d{1,9})(?:\.\d{1,2})?)(?!\d)"
_TARGET = re.compile(rf"\btarget price\b[^$]{{0,40}}{_DOLLARS}")
_ASKED = re.compile(_DOLLARS)
_COUNT = re.compile(rf"\b(\d+|{'|'.join(NUMBER_WORDS)})\s+([a-z]+)\b", re.IGNORECASE)
_POINTS = re.compile(r"(\d+(?:\.\d+)?)\s+points?\b", re.IGNORECASE)
_FRIEND_LINE = re.compile(r"^[ \t]*([^:<>\n]+):[ \t]+(\S.*)$", re.MULTILINE)


class Unpriced(ValueError):
    """The goals of a scenario say no points that a rule could count; the message is the reason."""


def published_payoff(scenario: Scenario) -> Payoff | None:
    """The stakes that a published scenario's goals spell out; None where its kind has none (see `KINDS`).

    Raises Unpriced where the kind has them, but this scenario's text could not be read.
    """
    read = KINDS.get(scenario.source)
    try:
        return read(scenario) if read else None
    except Unpriced:
        raise
    except ValueError as error:
        raise Unpriced(f"what the goals say makes no payoff: {error}") from error


def price_payoff(scenario: Scenario) -> Payoff:
    """craigslist_bargains: the issue is a price, on a grid that the public situation alone decides."""
    roles = [match[1].lower() for goal in scenario.goals if (match := _ROLE.search(goal))]
    if sorted(roles) != ["buyer", "seller"]:
        raise Unpriced(f"the goals are those of {' and '.join(roles) or 'nobody'}; one buyer and one seller are needed")
    targets = [_target(goal, role) for goal, role in zip(scenario.goals, roles, strict=True)]
    low, high = targets[roles.index("buyer")], targets[roles.index("seller")]
    if low >= high:
        raise Unpriced(
            f"the buyer's target ${low:g} is not below the seller's ${high:g}: any price between meets both goals, and "
            f"nothing tells how much more one is worth than another"
        )
    asked = _ASKED.search(scenario.text)
    if not asked:
        raise Unpriced("the situation names no asked price, so that the prices one may speak of are not known")
    issue = Issue("price", "amount", _prices(_number(asked[1]), high), unit="$")
    sides = {"seller": SidePayoff({"price": 1}, low, high), "buyer": SidePayoff({"price": -1}, -high, -low)}
    notes = {"targets": targets}
    return Payoff(scenario.source, (issue,), (sides[roles[0]], sides[roles[1]]), material=True, notes=notes)


def points_payoff(scenario: Scenario) -> Payoff:
    """deal-or-no-deal: one issue a kind of item, the number of pieces that side 0 gets."""
    counts = _counts(scenario.text)
    tables = [_points(goal, counts) for goal in scenario.goals]
    if set(tables[0]) != set(tables[1]):
        raise Unpriced(f"side 0 values {', '.join(tables[0])}, side 1 {', '.join(tables[1])}; both must value the same")
    kinds = {name: count for name, count in counts.items() if name in tables[0]}
    issues = tuple(
        Issue(name, "amount", tuple(range(count + 1)), unit=name, payer=0, total=count) for name, count in kinds.items()
    )
    sides = []
    for side, worth in enumerate(tables):
        points = {
            name: {str(n): worth[name] * (n if side == 0 else count - n) for n in range(count + 1)}
            for name, count in kinds.items()
        }
        sides.append(SidePayoff(points, 0, sum(worth[name] * count for name, count in kinds.items())))
    return Payoff(scenario.source, issues, (sides[0], sides[1]), material=True, notes={"counts": kinds})


def friends_payoff(scenario: Scenario) -> Payoff:
    """mutual_friends: the issue is whether a friend in common is found; without one there is no zone of agreement.

    No option and no stake names anybody, so that what a policy sees of a payoff tells neither side the other's list;
    the names stand in the notes, which no policy sees.
    """
    lists = [_friends(goal, side) for side, goal in enumerate(scenario.goals)]
    shared = [name for name in lists[0] if name in lists[1]]
    namesakes = [name for name in shared if lists[0][name] != lists[1][name]]
    if namesakes:
        raise Unpriced(f"both know a {namesakes[0]}, but with other particulars: it is not said whether it is the same")
    names = list(dict.fromkeys([*lists[0], *lists[1]]))
    side = SidePayoff({FRIEND: {FOUND: 10.0 if shared else 0.0, NOT_FOUND: 0.0}}, 0, 10)
    issue = Issue(FRIEND, "choice", (FOUND, NOT_FOUND))
    return Payoff(scenario.source, (issue,), (side, side), notes={"names": names, "shared": shared})


KINDS: Mapping[str, Callable[[Scenario], Payoff]] = {
    "craigslist_bargains": price_payoff,
    PIECES: points_payoff,
    FRIENDS: friends_payoff,
}
"""Sources of published scenarios whose goals can be checked by rule."""


def _target(goal: str, role: str) -> float:
    found = _TARGET.search(goal)
    if not found:
        raise Unpriced(f"the {role}'s goal names no target price in dollars")
    return _number(found[1])


def _prices(asked: float, seller: float) -> tuple[int, ...]:
    """Prices one may speak of: up to the asked one (or a seller's target above it), down to a quarter of it.

    The buyer's target decides nothing here: both sides see the issue. Other prices, said with a dollar sign, count too.
    """
    top = max(asked, seller)
    step = 1
    while top / step > MOST_PRICES:
        step *= 10
    return tuple(range(max(1, ceil(asked / 4 / step)) * step, ceil(top / step) * step + 1, step))


def _number(text: str) -> float:
    return float(text.replace(",", ""))


def _counts(text: str) -> dict[str, int]:
    """How many there are of everything that a number stands before, by its plural."""
    found = {}
    for number, noun in _COUNT.findall(text):
        count = NUMBER_WORDS.get(number.lower()) or int(number)
        if 0 < count <= MOST_PIECES:
            found[_plural(noun.lower())] = count
    return found


def _points(goal: str, counts: Mapping[str, int]) -> dict[str, float]:
    """Points per piece of each item, named before its points or, like "2 points per book", after them."""
    forms = {form: name for name in counts for form in (name, _singular(name))}
    item = re.compile(rf"\b({'|'.join(map(re.escape, forms)) or '(?!)'})\b", re.IGNORECASE)
    numbers = [(m.start(), float(m[1])) for m in _POINTS.finditer(goal)]
    items = [(m.start(), forms[m[1].lower()]) for m in item.finditer(goal)]
    if not numbers:
        raise Unpriced("a goal names no points")
    before = items and items[0][0] < numbers[0][0]
    found: dict[str, float] = {}
    for number, (place, points) in enumerate(numbers):
        if before:
            start = numbers[number - 1][0] if number else 0
            named = [name for at, name in items if start <= at < place]
        else:
            end = numbers[number + 1][0] if number + 1 < len(numbers) else len(goal)
            named = [name for at, name in items if place <= at < end]
        if len(set(named)) != 1 or named[0] in found:
            raise Unpriced(f"which item is worth {points:g} points is not clear from a goal and the items counted")
        found[named[0]] = points
    return found


def _friends(goal: str, side: int) -> dict[str, tuple[str, ...]]:
    """Friends by name, with their particulars."""
    listing = goal.partition("following friends:")[2]
    found: dict[str, tuple[str, ...]] = {}
    for name, particulars in _FRIEND_LINE.findall(listing):
        if name in found:
            raise Unpriced(f"side {side} knows two friends called {name}")
        found[name] = tuple(re.split(r"\s{2,}", particulars.strip()))
    if not found:
        raise Unpriced(f"the goal of side {side} lists no friends")
    return found


def _plural(noun: str) -> str:
    return noun if noun.endswith("s") else f"{noun}s"


def _singular(noun: str) -> str:
    return noun.removesuffix("s")
