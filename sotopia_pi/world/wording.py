"""Terms in plain words: how a deal is said aloud so that nobody can misread it."""

from collections.abc import Sequence

from sotopia_pi.world.payoffs import Deal, Issue


def spoken_terms(issues: Sequence[Issue], deal: Deal, speaker: int, clause: bool = False) -> str:
    """A complete deal as its speaker says it, without a final full stop.

    "$85" | "6 days" | "Tuesday, 2 pm, the library" | "me paying $40 and you paying $60" |
    "the lamp and the rug for me, the clock for you". clause: shares and items as short sentences instead
    ("I pay $40 and you pay $60", "I take the lamp and the rug, you take the clock").
    """
    items = [issue for issue in issues if issue.kind == "item"]
    parts = [_items(items, deal, speaker, clause)] if items else []
    parts += [_settled(issue, deal[issue.name], speaker, clause) for issue in issues if issue.kind != "item"]
    return ", ".join(parts)


def kept_terms(issues: Sequence[Issue], deal: Deal, speaker: int, answered: Deal | None = None) -> str:
    """A complete deal in the shortest words that are still clear: items by what the speaker keeps, choices by what is
    to be other than in the offer that it answers.

    "I keep the lamp and the rug, you get the rest" | "Tuesday and 2 pm, the rest as you wish" | otherwise as
    `spoken_terms`, shares as short sentences. issues: items are named in this order. answered: the other's offer,
    where it was the last thing said; without it choices are named in full.
    """
    items = [issue.name for issue in issues if issue.kind == "item"]
    mine = [name for name in items if deal[name] == speaker]
    if not items:
        other = [
            str(deal[i.name])
            for i in issues
            if i.kind == "choice" and answered and answered.get(i.name) != deal[i.name]
        ]
        if 0 < len(other) < len(issues):
            return f"{' and '.join(other)}, the rest as you wish"
        return spoken_terms(issues, deal, speaker, clause=True)
    if len(mine) == len(items):
        return f"I keep {listed(mine)}"
    return f"I keep {listed(mine)}, you get the rest" if mine else f"you get {listed(items)}"


def given_terms(
    issues: Sequence[Issue], before: Deal, after: Deal, speaker: int, rising: bool, answered: Deal | None = None
) -> str:
    """A new offer of the speaker as a step from its last one, with the whole of the new terms.

    "I come down to $85" | "I go up to 6 days" | "you can have the rug: I keep the lamp, you get the rest" |
    "I ask for Tuesday and 2 pm, the rest as you wish". rising: whether the number goes up. Where more than one item
    changed, the terms alone. answered: as for `kept_terms`.
    """
    terms = kept_terms(issues, after, speaker, answered)
    changed = [issue for issue in issues if before[issue.name] != after[issue.name]]
    if any(issue.kind == "choice" for issue in issues):
        return f"I ask for {terms}"
    if len(changed) != 1:
        return f"how about this: {terms}"
    issue = changed[0]
    if issue.kind == "item":
        return f"you can have {listed([issue.name])}: {terms}" if after[issue.name] != speaker else terms
    if issue.payer >= 0:
        return terms
    return f"I go up to {terms}" if rising else f"I come down to {terms}"


def listed(names: Sequence[str]) -> str:
    """`the lamp`, `the lamp and the rug`, `the lamp, the rug and the clock`."""
    named = [name if name.startswith("the ") else f"the {name}" for name in names]
    return named[0] if len(named) == 1 else f"{', '.join(named[:-1])} and {named[-1]}"


def _items(items: Sequence[Issue], deal: Deal, speaker: int, clause: bool) -> str:
    mine = [issue.name for issue in items if deal[issue.name] == speaker]
    yours = [issue.name for issue in items if deal[issue.name] != speaker]
    halves = []
    if mine:
        halves.append(f"I take {listed(mine)}" if clause else f"{listed(mine)} for me")
    if yours:
        halves.append(f"you take {listed(yours)}" if clause else f"{listed(yours)} for you")
    return ", ".join(halves)


def _settled(issue: Issue, option: int | str, speaker: int, clause: bool) -> str:
    if issue.kind == "choice":
        return str(option)
    if issue.payer >= 0:
        own = int(option) if issue.payer == speaker else issue.total - int(option)
        mine, yours = _quantity(issue.unit, own), _quantity(issue.unit, issue.total - own)
        return f"I pay {mine} and you pay {yours}" if clause else f"me paying {mine} and you paying {yours}"
    return _quantity(issue.unit, int(option))


def _quantity(unit: str, number: int) -> str:
    if unit == "$":
        return f"${number}"
    return f"{number} {unit[:-1] if number == 1 and unit.endswith('s') else unit}"
