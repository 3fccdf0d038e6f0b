"""Items: who gets what, as in "I take the lamp and the rug, you get the clock" or "you can have the rest"."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from sotopia_pi.world.payoffs import Issue
from sotopia_pi.world.reader_agreement import takes_back

_MODAL = (
    r"(?:(?:will|would|can|could|should|shall|may|might|just|also|really|then|only|still|rather|gladly|happily"
    r"|at least|to|"
    r"be|get|do|definitely|am going|are going|like|love|prefer|want|need|happy|have|please|all|both|not|never"
    r"|either) )*"
)
_TAKE = (
    r"(?:take|get|keep|have|claim|receive|hold on to|walk away with|go home with|end up with|choose|pick|taking"
    r"|getting|keeping|having)"
)
_IS = (
    r"(?:(?:is|are|goes|go|going|stays?|would be|would go|will be|will go|can be|can go|could go|should go"
    r"|should be|be|all) )?"
)
_REST = (
    r"\b(?:the rest|everything else|all (?:of )?the (?:rest|others?)|the others?(?: (?:two|three|one"
    r"|things?|items?|stuff))?|what(?:ever)? is left|(?:the )?remaining(?: \w+)?|the remainder)\b"
)
_CUES = re.compile(
    r"(?P<past>\b(?:i|we|you|they|he|she) (?:bought|got|had|gave|took|used to|have (?:had|been|always)|would have)\b)"
    r"|(?P<told>\byou (?:really |also |still |both |just |do )?(?:want|wanted|said|say|asked?(?: for)?|need|like"
    r"|love|prefer|told|mentioned|offered|would like)\b(?! to (?:take|keep|have|get)))"
    rf"|(?P<give_me>\b(?:(?:give|leave|hand|offer|grant|giving|leaving) me\b(?: {_TAKE})?|(?:let"
    rf"|letting) me {_TAKE}\b))"
    rf"|(?P<give_you>\b(?:(?:give|leave|hand|offer|grant|giving|leaving) you\b(?: {_TAKE})?|(?:let"
    rf"|letting) you {_TAKE}\b))"
    rf"|(?P<me>\bi {_MODAL}(?:{_TAKE}|ask for|am (?:taking|keeping|getting|after|asking for)"
    r"|(?<=would )(?:like|love|prefer)|want|need)\b(?! (?:you|to)\b)|\bme (?:taking|getting|keeping|having)\b"
    r"|\bfor me:)"
    rf"|(?P<you>\byou {_MODAL}(?:{_TAKE}|are (?:taking|keeping|getting))\b|\bfor you:|(?:^|, |\b(?:then|please|so"
    rf"|okay|ok|fine|just) )(?:take|keep|have)\b(?= (?:the|my|it|both|all)\b))"
    rf"|(?P<mine>\b{_IS}(?:mine\b|(?:to|for|with) me\b))"
    rf"|(?P<yours>\b{_IS}(?:yours\b|(?:to|for|with) you\b))"
    r"|(?P<except>\b(?:except(?: for)?|apart from|other than|all but|everything but|besides)\b)"
    r"|(?P<without>\b(?:than|instead of|rather than|not|without)\b)"
    rf"|(?P<rest_yours>{_REST} (?:(?:is|are) )?(?:as you (?:wish|like|please|want|prefer)|up to you)\b)"
    rf"|(?P<rest>{_REST})"
    r"|(?P<all>\b(?:everything|it all|all (?:of )?(?:it|them|the items|two|three|four|five)|both of them|the lot)\b)"
    r"|(?P<it>\b(?:it|them|that one|those)\b)"
    r"|(?P<or>\bor\b)"
    r"|(?P<and>,|\band\b)"
    r"|(?P<turn>\bbut\b|[.!?;]|(?<!take)(?<!get)(?<!keep)(?<!have):)"
)
_NOT_A_CLAIM = re.compile(
    r"\b(?:matters?|important|means?|lot|much|good|fine|fair|okay|valuable|special|seems?|sounds?|dear|more|most"
    r"|worth|useful"
    r"|works?|great|enough|perfect|up|belongs?|next|close|new|best|better|nothing|hard|easy|ok|well|much|look"
    r"|appeal)s? (?:is |are )?$"
)
_PLURAL = re.compile(r"^(?:are|all|go|both)\b")
_ASKING_WHY = re.compile(
    r"^(?:so |but |and )?(?:why(?! (?:do )?not)|what (?:do|would) you (?:want|need|like)|which|who)\b"
)
_ASKING_WISHES = re.compile(r".*\byou (?:really |also )?(?:want|need|like|said)\b.*\?")
NOBODY = -1


@dataclass
class _Division:
    """The division as it grows while the words are read from left to right.

    given: items that the sentence at hand gave to a side; earlier: the side, for those it then names again;
    contested: items that it gave to both sides.
    """

    speaker: int
    names: Sequence[str]
    holders: dict[str, int] = field(default_factory=dict)
    rest: int | None = None
    holder: int | None = None
    run: list[str] = field(default_factory=list)
    named: list[str] = field(default_factory=list)
    given: set[str] = field(default_factory=set)
    earlier: dict[str, int] = field(default_factory=dict)
    contested: set[str] = field(default_factory=set)
    local: str = ""

    def give(self, names: Sequence[str], side: int) -> None:
        for name in names:
            self.holders[name] = side
            self.given.add(name)
            self.contested.discard(name)


def divide(sentences: Sequence[str], items: Sequence[Issue], speaker: int) -> dict[str, int]:
    """Item name -> side that gets it, as far as the speaker offers or claims it.

    With one side's list only, everything unnamed goes to the other side; with both lists, what is left out stays
    out. An item that one sentence gives to both sides goes to neither. What the other is said to want, what was the
    case in the past, and "A or B" divide nothing.
    """
    pattern = _items_pattern(tuple(issue.name for issue in items))
    division = _Division(speaker, [issue.name for issue in items])
    for sentence in sentences:
        if not (_ASKING_WHY.match(sentence) or _ASKING_WISHES.match(sentence) or takes_back(sentence)):
            _read_sentence(division, sentence, pattern)
            _contest(division)
        division.holder, division.run, division.local = None, [], ""
    return _completed(division)


def names_item(clause: str, items: Sequence[Issue]) -> bool:
    """True when a plain clause names one of the items."""
    return bool(_items_pattern(tuple(issue.name for issue in items)).search(clause))


def _completed(division: _Division) -> dict[str, int]:
    held = {name: side for name, side in division.holders.items() if side != NOBODY}
    unheld = [name for name in division.names if name not in division.holders]
    if division.rest is not None:
        return held | dict.fromkeys(unheld, division.rest)
    sides = {0, 1} if division.contested else set(held.values())
    if len(sides) == 1 and unheld:
        return held | dict.fromkeys([n for n in division.names if n not in held], 1 - sides.pop())
    return held


def _contest(division: _Division) -> None:
    """Takes from both sides what the sentence just read gave to one and then to the other."""
    for name, side in division.earlier.items():
        if {side, division.holders.get(name)} == {0, 1}:
            division.contested.add(name)
            division.holders[name] = NOBODY
    division.earlier, division.given = {}, set()


def _read_sentence(division: _Division, sentence: str, pattern: re.Pattern) -> None:
    marks = [(m.start(), m, None) for m in _CUES.finditer(sentence)]
    marks += [(m.start(), m, _name_of(m, division.names)) for m in pattern.finditer(sentence)]
    marks.sort(key=lambda mark: (mark[0], mark[2] is None))
    ahead = [name for _, _, name in marks]
    for position, (_, match, name) in enumerate(marks):
        if name is not None:
            if name in division.given:
                division.earlier.setdefault(name, division.holders[name])
            _item(division, name)
        else:
            _cue(division, match, sentence, bool(set(ahead[position + 1 :]) - {None}))


def _item(division: _Division, name: str) -> None:
    division.named.append(name)
    if division.local == "except":
        side = division.rest if division.rest is not None else division.holder
        if side is not None and side != NOBODY:
            division.give([name], 1 - side)
        return
    if division.local == "without":
        division.local = ""
        return
    if division.local == "or" and division.run:
        division.give([division.run[-1], name], NOBODY)
        division.holder, division.run = NOBODY, [name]
        return
    division.local = ""
    division.run.append(name)
    if division.holder is not None:
        division.give([name], division.holder)


def _cue(division: _Division, match: re.Match, sentence: str, more_items: bool) -> None:
    kind, me = match.lastgroup, division.speaker
    match kind:
        case "past" | "told":
            _start(division, NOBODY)
        case "give_me" | "me" | "give_you" | "you":
            side = me if kind in ("give_me", "me") else 1 - me
            side = NOBODY if _denied(match, sentence) else side
            if division.holder is None and division.run and not more_items:
                division.give(division.run, side)
            _start(division, side)
        case "mine" | "yours":
            _suffix(division, match, sentence, me if kind == "mine" else 1 - me)
        case "rest_yours":
            if me in division.holders.values():
                division.rest = 1 - me
            _start(division, NOBODY)
        case "rest" | "all":
            _sweep(division, kind)
        case "it":
            if division.holder not in (None, NOBODY) and not division.run and division.named and not more_items:
                division.give([division.named[-1]], division.holder)
        case "turn":
            division.holder, division.run, division.local = None, [], ""
        case "and":
            division.local = division.local if division.local == "except" else ""
        case _:
            division.local = kind


def _start(division: _Division, side: int) -> None:
    division.holder, division.run, division.local = side, [], ""


def _suffix(division: _Division, match: re.Match, sentence: str, side: int) -> None:
    if _NOT_A_CLAIM.search(sentence[: match.start()]) or _denied(match, sentence):
        return
    run = division.run
    if run and division.holder is not None and not _PLURAL.match(match[0]):
        run = run[-1:]
    if run and division.holder != NOBODY:
        division.give(run, side)
    elif division.local == "rest":
        division.rest = side
    elif not run:
        return
    division.holder, division.run = None, []


def _sweep(division: _Division, kind: str) -> None:
    if division.holder is None:
        division.local = "rest"
    elif division.holder != NOBODY:
        division.rest = division.holder
        if kind == "all":
            division.run = []


def _denied(match: re.Match, sentence: str) -> bool:
    before = re.split(r"[,.!?;]|\b(?:and|but|if|so)\b", sentence[: match.start()])[-1]
    return bool(re.search(r"\b(?:not|never|no|cannot)\b", before + " " + match[0]))


@lru_cache(maxsize=1024)
def _items_pattern(names: tuple[str, ...]) -> re.Pattern:
    ways = []
    for number, name in enumerate(names):
        words = re.sub(r"^(?:the|a|an) ", "", name.lower())
        one = words[:-1] if words.endswith("s") and not words.endswith("ss") else words
        forms = [re.escape(one) + "(?:s|es)?"]
        last = one.split()[-1]
        if " " in one and sum(last in other.lower() for other in names) == 1:
            forms.append(re.escape(last) + "(?:s|es)?")
        ways.append(rf"(?P<item{number}>\b(?:{'|'.join(forms)})\b)")
    return re.compile("|".join(ways))


def _name_of(match: re.Match, names: Sequence[str]) -> str:
    return names[int(match.lastgroup.removeprefix("item"))]
