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
