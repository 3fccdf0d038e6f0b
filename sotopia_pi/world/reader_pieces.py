"""Pieces of several kinds: who gets how many, as in "I take two books and a hat, you get the ball and the rest"."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from sotopia_pi.world.payoffs import Issue
from sotopia_pi.world.pieces_named import Named, names_piece, pieces_in
from sotopia_pi.world.reader import Reading
from sotopia_pi.world.reader_agreement import accepts, rejects, takes_back, withdraws
from sotopia_pi.world.reader_clauses import clauses, plain, sentences

NOBODY, EACH = -1, 2
"""Beside sides 0 and 1: the words give to nobody, or the same to both."""

_TAKE = (
    r"(?:take|taking|get|getting|keep|keeping|claim|claiming|receive|receiving|hold on to|walk away with|go home with"
    r"|end up with|choose|pick|grab|pack)"
)
_TOOK = r"(?:took|got|kept|had|received)"
_ABLE = r"(?:will|would|can|could|should|shall|may|might|to|gladly|happily|get to)"
_BETWEEN = (
    rf"(?:(?:{_ABLE}|just|also|really|then|only|still|rather|definitely|simply|am|are|be|going|happy|like|love|prefer|want"
    r"|need|hope|please|not|never|do|both|in turn|ask|okay|fine) )*"
)
_WORD = r"(?:(?!you|me|i\b)\w+ )?"
_ALREADY = r"(?:(?:really|also|still|both|just|already|do|did|would|have|had) )*"
_GIVE = r"(?:give|giving|leave|leaving|hand|handing|offer|offering|grant|granting)"
_WISH = r"(?:(?<=would )(?:like|love|prefer)|want|need|ask for|asking for|settle for|be keen on|see myself with)"
_CONTENT = r"\bi (?:would be|will be|am) (?:\w+ )?(?:fine|happy|okay|ok|good|content|comfortable) with\b"
"""Before pieces these words ask for them; they accept nothing of the other's."""
_CUES = re.compile(
    r"(?P<reason>\b(?:since|because|as (?=(?:i|you|they|we)\b)))"
    r"|(?P<others>\b(?:someone|somebody|anyone|nobody|people|he|she|they|everyone|others)(?: else)?(?: \w+)?"
    rf" (?:{_TAKE}|{_TOOK}|have|wants?)\b)"
    r"|(?P<recalled>\bwe (?:already |had |have )*(?:agreed|said|decided) (?:that|on)\b)"
    rf"|(?P<quoted>\byou {_ALREADY}(?:sa(?:id|y)|told|promised|mentioned|offered|asked|agreed|claim(?:ed)?)\b)"
    rf"|(?P<told>\byou {_ALREADY}(?:want(?:ed)?|need(?:ed)?|liked?|love|prefer(?:red)?|wish)\b)"
    r"|(?P<past>\b(?:i|you|we) (?:\w+ )?(?:bought|gave|used to|read|paid|found|brought|owned?|have had|would have)\b)"
    rf"|(?P<give_me>\b(?:{_GIVE}|let|letting|save|saving) me\b(?: (?:have|with|{_TAKE}))?)"
    rf"|(?P<give_you>\b(?:{_GIVE}|let|letting|save|saving) you\b(?: (?:have|with|{_TAKE}))?)"
    r"|(?P<give>\b(?:give up|giving up|part with|parting with|let go of|hand over)\b)"
    rf"|(?P<each>\bwe (?:\w+ ){{0,2}}?(?:each|both) (?:\w+ )?(?:{_TAKE}|have)\b|\bwe each\b"
    rf"|\beach of us (?:\w+ )?(?:{_TAKE}|have)\b|\blet us each (?:{_TAKE}|have)\b)"
    rf"|(?P<me>\b(?:{_ABLE} i|i {_BETWEEN}{_ABLE}) {_WORD}have\b|\bi {_BETWEEN}(?:{_TAKE}|{_WISH})\b(?! you\b)"
    rf"|\bme (?:taking|getting|keeping|having)\b|\b(?:for )?me:|{_CONTENT})"
    rf"|(?P<you>\b(?:{_ABLE} you|you {_BETWEEN}{_ABLE}) {_WORD}have\b|\byou {_BETWEEN}{_TAKE}\b"
    r"|\byou (?:(?:feel|think) about )?(?:taking|getting|keeping|having)\b|\b(?:for )?you:"
    r"|(?:^|, |\b(?:then|please|so|okay|ok|just) )(?:take|keep|have)\b)"
    rf"|(?P<i_did>\bi {_TOOK}\b)|(?P<you_did>\byou {_TOOK}\b)"
    r"|(?P<halves>\b(?:(?:go|going) halves (?:on|with)|(?:(?P<n>\d+)[-/](?P=n)|even|equal) (?:split|division) of)\b)"
    r"|(?P<split>\b(?:split|divid|shar)(?:e|s|ing|ting)?\b)"
    r"|(?P<even>\b(?:evenly|equally|in half|in two|fifty[- ]fifty|50[-/ ]50|down the middle|half and half)\b)"
    r"|(?P<pair>\b\d+\s?[-/]\s?\d+\b)"
    r"|(?P<all_each>\b(?:for |to )?(?:each|both) of us\b|\bapiece\b"
    r"|(?<!of )\beach\b(?=\s*(?:$|[,.;:!?]|(?:and|would|for)\b)))"
    r"|(?P<mine>\b(?:mine|(?<=- )me|(?:to|for|with) me|(?:to|for) myself)\b)"
    r"|(?P<yours>\b(?:yours|(?<=- )you|(?:to|for|with) you|(?:to|for) yourself)\b)"
    r"|(?P<so>\band so (?:is|are|can|do|does|goes?|should)\b)"
    r"|(?P<barter>(?<!as )\bfor (?=(?:one|two|three|four|five|six|\d|all|both|the|your|my)\b(?! of us)))"
    r"|(?P<swap>\bin (?:exchange|return|trade)(?: for)?\b)"
    r"|(?P<without>\b(?:not|instead of|than|without)\b)"
    r"|(?P<rest>\b(?:the rest|everything else|all the rest|the others?(?: (?:items?|things?|stuff))?"
    r"|what(?:ever)? (?:is left|remains)|(?:the )?remaining (?:items?|things?|ones)|the remainder)\b)"
    r"|(?P<all>\b(?:everything|it all|all of it|the (?:whole )?lot|any of it)\b)"
    r"|(?P<except>\b(?:except(?: for)?|apart from|other than|(?<=everything )but|(?<=all )but)\b)"
    r"|(?P<correct>\b(?:no|sorry|wait|i mean|or rather|make that)\b(?=,| wait| make| rather))"
    r"|(?P<or>\bor\b)"
    r"|(?P<comma>,)"
    r"|(?P<turn>\b(?:while|if)\b)"
)
_DENIED = re.compile(r"\b(?:not|never|no|neither|nor|unable|refuse)\b")
_NOT = re.compile(r"\b(?:not|never|neither|nor)\b")
"""Beside these "no" may stand before words that say whose pieces are: "no books for me"."""
_UNFAIR = re.compile(
    r"\b(?:unfair|not (?:\w+ )?(?:fair|right|enough|acceptable|okay|happy)|too (?:much|many|few|little)|unacceptable"
    r"|ridiculous|greedy|worth|points?|values?|valued)\b"
)
_NO_CLAIM = re.compile(
    r"\b(?:matters?|important|means?|lot|much|good|fine|fair|okay|ok|valuable|special|seems?|sounds?|dear|more|most"
    r"|useful|works?|great|enough|perfect|belongs?|close|best|better|hard|easy|appeals?|talk\w*|listen\w*"
    r"|explain\w*|thanks?) $"
)
_ASKING = re.compile(
    r"^(?:so |but |and |well )*(?:why(?! (?:do )?not)|which|who|what (?:do|would) you (?:want|need|like|prefer|value)"
    r"|do you (?:want|need|like))\b"
)
_ADDED = re.compile(r"\b(?:as well|too|also|another|more|extra|additional(?:ly)?|on top)\b")
_CLAIMED = re.compile(r"\b(?:as (?:we|you) (?:\w+ )?|as )(?:agreed|discussed|said|promised)\b")
_REWRITES = (
    (re.compile(r"\bu\b"), "you"),
    (_CLAIMED, " "),
    (re.compile(r"\b(?:do|would) not mind\b"), "gladly"),
    (re.compile(r"\b(?:can|could|would|will|why (?:do )?) ?not (?=(?:i|you|we)\b)"), "can "),
)
"""Short forms, deals that one side claims, and turns of phrase whose `not` refuses nothing."""
_PART = re.compile(r"\s*;\s*|,?\s(?=(?:however|so(?! (?:can|are|is|should))|(?<!everything )(?<!all )but)\s)")
_HYPOTHETICAL = re.compile(r"\b(?:if|suppose|rather)\b")
_REST = "the rest"
_LOOK_BACK = 100
"""Characters before a cue in which words may refuse it."""


@dataclass(frozen=True)
class PiecesReading(Reading):
    """terms: item -> pieces that the issue's payer gets. rest_to: the side that gets what is left out where no offer
    stands yet: the words tell the other's share alone, and not as something on top; NOBODY where they do not."""

    rest_to: int = NOBODY


@dataclass
class _Sharing:
    """What has been given while the words are read from left to right.

    run: pieces named since the last cue, each with the mark that it was excepted and its number of comma; holder: the
    side that they go to, unless words after them say otherwise. given: per item the (turn, side, count) in order.
    """

    speaker: int
    totals: Mapping[str, int]
    holder: int | None = None
    run: list[tuple[str, int | None, bool, int]] = field(default_factory=list)
    given: dict[str, list[tuple[int, int, int | None]]] = field(default_factory=dict)
    rest: int | None = None
    last: str | None = None
    before: int | None = None
    turn: int = 0
    commas: int = 0
    local: str = ""
    quoting: str = ""

    def give(self, item: str, count: int | None, side: int) -> None:
        self.given.setdefault(item, []).append((self.turn, side, count))

    def start(self, holder: int | None) -> None:
        """End a run, and begin one for another holder."""
        self.close(self.run, self.holder)
        self.holder, self.run, self.local = holder, [], ""

    def close(self, run: Sequence[tuple[str, int | None, bool, int]], holder: int | None) -> None:
        if holder is None or holder == NOBODY or not run:
            return
        self.before = holder
        for item, count, excepted, _ in {(entry[0], entry[2]): entry for entry in run}.values():
            if item == _REST:
                self.rest = holder if holder in (0, 1) else self.rest
            elif holder == EACH:
                self.give(item, count, EACH)
            else:
                self.give(item, count, 1 - holder if excepted else holder)


def read_pieces(text: str, issues: Sequence[Issue], speaker: int) -> PiecesReading:
    """What `text`, said by side `speaker`, means for issues that each count the pieces of one item.

    issues: kind `amount`, `name` the item in the plural, `total` how many there are, `payer` the side that the option
    counts for. Of several sentences about an item the last one counts; counts in one sentence that do not add up, or
    more pieces than there are, count as none.
    """
    sharing = _Sharing(speaker, {issue.name: issue.total for issue in issues})
    words = plain(text)
    for pattern, by in _REWRITES:
        words = pattern.sub(by, words)
    for sentence in sentences(words):
        void = bool(_ASKING.match(sentence)) or takes_back(sentence)
        for part in _PART.split(sentence.rstrip(".!? ")):
            sharing.turn += 1
            _read_part(sharing, part, void or bool(_UNFAIR.search(part)))
    terms = _terms(sharing, issues)
    found = clauses(words)
    offering = {n for n, clause in enumerate(found) if terms and names_piece(clause.text, list(sharing.totals))}
    found = [replace(c, text=re.sub(_CONTENT, "i take", c.text)) if n in offering else c for n, c in enumerate(found)]
    rest_to = NOBODY if _ADDED.search(words) else _open_to(sharing)
    return PiecesReading(terms, accepts(found, offering), rejects(found), withdraws(found), rest_to)


def _terms(sharing: _Sharing, issues: Sequence[Issue]) -> dict[str, int]:
    """Item -> pieces of the issue's payer, where the words settle it."""
    terms: dict[str, int] = {}
    for issue in issues:
        if issue.name in sharing.given:
            share = _share(sharing.given[issue.name], issue.total)
            if share is not None:
                terms[issue.name] = share if issue.payer == 0 else issue.total - share
        elif sharing.rest is not None:
            terms[issue.name] = issue.total if issue.payer == sharing.rest else 0
    return terms


def _share(given: Sequence[tuple[int, int, int | None]], total: int) -> int | None:
    """What side 0 gets by the last sentence that says so; None where it is unclear or does not add up."""
    latest = [(side, count) for turn, side, count in given if turn == given[-1][0]]
    if any(count is None or count > total or (side == EACH and 2 * count != total) for side, count in latest):
        return None
    shares = {total - count if side == 1 else count for side, count in latest}
    return shares.pop() if len(shares) == 1 else None


def _open_to(sharing: _Sharing) -> int:
    """The side that gets what is left out, where the words tell the other's share alone; else nobody."""
    sides = {side for given in sharing.given.values() for _, side, _ in given}
    unclear = any(_share(given, sharing.totals[item]) is None for item, given in sharing.given.items())
    if len(sides) != 1 or EACH in sides or sharing.rest is not None or unclear:
        return NOBODY
    return 1 - sides.pop()


def _read_part(sharing: _Sharing, part: str, void: bool) -> None:
    """One stretch of a sentence. void: it gives nothing, but what it names may be meant by a later "two of them"."""
    named = pieces_in(part, sharing.totals, sharing.last)
    if void:
        sharing.last = named[-1].item if named else sharing.last
        return
    marks: list[tuple[int, int, Named | re.Match]] = [(one.start, one.end, one) for one in named]
    marks += [(match.start(), match.end(), match) for match in _CUES.finditer(part)]
    end = 0
    for start, stop, mark in sorted(marks, key=lambda found: (found[0], -found[1])):
        if start < end:
            continue
        end = stop
        if isinstance(mark, Named):
            _piece(sharing, mark)
        else:
            _cue(sharing, mark, part)
    sharing.start(None)
    sharing.quoting = ""


def _piece(sharing: _Sharing, named: Named) -> None:
    sharing.last = named.item
    if sharing.local == "without":
        sharing.local = ""
    elif sharing.local == "or":
        sharing.run = sharing.run[:-1]
        sharing.start(NOBODY)
    else:
        count = named.count
        if sharing.local == "halves":
            total = sharing.totals[named.item]
            count = total // 2 if total % 2 == 0 else None
        sharing.run.append((named.item, count, sharing.local == "except", sharing.commas))


def _cue(sharing: _Sharing, match: re.Match, part: str) -> None:
    kind, me = match.lastgroup, sharing.speaker
    match kind:
        case "reason" | "others" | "told" | "past" | "barter":
            sharing.start(NOBODY)
        case "quoted" | "recalled":
            sharing.start(NOBODY)
            sharing.quoting = kind
        case "give_me" | "me" | "give_you" | "you" | "i_did" | "you_did" | "give" | "each":
            others_words = sharing.quoting == "recalled" or (sharing.quoting and kind == "you")
            sharing.start(NOBODY if others_words else _holder(kind, match, part, me))
        case "mine" | "yours":
            if not _NO_CLAIM.search(_before(match, part)) and not _denied(match, part, _NOT):
                _suffix(sharing, me if kind == "mine" else 1 - me)
        case "all_each":
            _suffix(sharing, EACH)
        case "split":
            sharing.start(None)
        case "even":
            _evenly(sharing)
        case "pair":
            if sharing.run:
                item = sharing.run.pop()[0]
                one, two = re.split(r"\s?[-/]\s?", match[0])
                sharing.give(item, int(one) if one == two else None, EACH)
        case "swap":
            sharing.start(1 - sharing.holder if sharing.holder in (0, 1) else None)
        case "rest" | "all":
            sharing.run.append((_REST, None, False, sharing.commas))
        case "correct":
            holder = sharing.holder
            sharing.start(holder)
            sharing.holder = holder
            sharing.turn += 1
        case "comma":
            sharing.commas += 1
            sharing.local = sharing.local if sharing.local == "except" else ""
        case "turn":
            sharing.start(None)
        case "so":
            sharing.start(sharing.before)
        case "halves":
            sharing.start(EACH)
            sharing.local = kind
        case _:
            sharing.local = kind


def _holder(kind: str, match: re.Match, part: str, me: int) -> int:
    """Who gets what is named after a cue."""
    if kind in ("i_did", "you_did") and not _HYPOTHETICAL.search(_before(match, part)):
        return NOBODY
    if _denied(match, part):
        return NOBODY
    if kind == "each":
        return EACH
    return me if kind in ("give_me", "me", "i_did") else 1 - me


def _suffix(sharing: _Sharing, side: int) -> None:
    """Words after the pieces say whose they are: all of the run's, or the last ones where the run has a holder."""
    run = sharing.run
    if sharing.holder == NOBODY or not run:
        return
    mine = run
    if sharing.holder is not None and sharing.holder != side:
        mine = [entry for entry in run if entry[3] == run[-1][3]]
        mine = run[-1:] if len(mine) == len(run) else mine
    sharing.close(run[: len(run) - len(mine)], sharing.holder)
    sharing.close(mine, side)
    sharing.holder, sharing.run, sharing.local = None, [], ""


def _evenly(sharing: _Sharing) -> None:
    """Half of everything in the run to each side."""
    items = [item for item, *_ in sharing.run]
    for item in sharing.totals if _REST in items else items:
        total = sharing.totals[item]
        sharing.give(item, total // 2 if total % 2 == 0 else None, EACH)
    sharing.run = []


def _before(match: re.Match, part: str) -> str:
    return part[max(0, match.start() - _LOOK_BACK) : match.start()]


def _denied(match: re.Match, part: str, words: re.Pattern = _DENIED) -> bool:
    before = re.split(r"[,;:]|\b(?:and|but|if|so)\b", _before(match, part))[-1]
    return bool(words.search(f"{before} {match[0]}"))
