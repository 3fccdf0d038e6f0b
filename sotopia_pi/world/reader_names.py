"""Names of friends: whom a speaker names as a friend, asks after or does not know, and whether it says yes to one.

Measured as `reader_pieces` is. Who is named or denied:

    batch           n   first reading: precision   recall          after mending: precision   recall
    1              60   0.974 (of 38)              0.949 (of 39)   1.000                      1.000
    2 (long)       26   0.944 (of 18)              1.000 (of 17)   1.000                      1.000
    3              22   0.875 (of 16)              0.933 (of 15)   1.000                      1.000

A yes to everything is read as a yes to the friend in common, too, once the other asks after that one: whether somebody
says yes to friends it does not have is for a judge to see.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from sotopia_pi.world.reader import Reading
from sotopia_pi.world.reader_agreement import withdraws
from sotopia_pi.world.reader_clauses import Clause, clauses, plain

KNOWN, UNKNOWN = "known", "unknown"

_MARK = "qqfriend{}qq"
_MARKED = re.compile(r"qqfriend(\d+)qq")
_SELF = re.compile(r"\b(?:i am|i'm|i’m|my name is|my name's|my name’s|call me)\s$", re.IGNORECASE)
_GREETED = re.compile(
    r"\b(?:hi|hello|hey|thanks|thank you|bye|goodbye|meet you|see you|later|good (?:evening|morning|afternoon)|welcome"
    r"|take care|dear|likewise|pleasure)(?: there| too| as well)?,?\s$",
    re.IGNORECASE,
)
_ADDRESSED = re.compile(
    r",\s(?:nice|pleased|lovely|thank|it (?:was|is) (?:\w+ )?(?:nice|great|lovely|good)|great (?:to|talking))"
)
_PLACE = re.compile(
    r"(?:['’]s)?\s(?:University|College|School|Institute|Academy|Street|Avenue|Road|State|Hall|County|Hospital|Inc|Corp"
    r"|Company|Group|Industries)\b"
)
_CAPITAL = re.compile(r"\b([A-Z][\w.]*)\s$")
_AROUND = 60
"""Characters before and after a name in which something may show that somebody else is meant."""
_SMALL_WORDS = (
    "do does did is are was were have has had yes no not and or but so oh with my our your his her the a an i know "
    "knew met meet neither nor either if when because maybe perhaps like that then both ever actually well also even "
    "only just for about from to at in of on by as what who which how could would can will should named called friend "
    "friends ah hmm um it's its it she he they we you there this sure yeah great wow unfortunately sadly "
)
_SMALL = frozenset(_SMALL_WORDS.split())
"""Words that may stand with a capital before a name without being a part of it."""
_KNOW = (
    r"(?:know|knew|known|met|meet|heard?|remember|recogni[sz]e|recall|acquainted|familiar|friends?|bell|come across"
    r"|among|aware)"
)
_NOT = r"(?:not|never|no|none|neither|nor|nobody|unfamiliar|without)"
_DENIES = re.compile(
    rf"\b{_NOT}\b.*\b{_KNOW}\b|\b(?:nor|not|neither) (?:\w+ )?qqfriend|\b(?:wish|thought) i (?:knew|had)"
    rf"|\bno idea who\b|\bunfamiliar\b|\b{_KNOW}\b.*\b(?:none|nobody|no one)\b"
)
_KNOWS_LITTLE = re.compile(r"\bnot know (?:\S+ )+?(?:well|that well|very well|personally)\b")
_NO_LONGER = re.compile(r"\b(?:any ?more|any longer|no longer)\b")
_BACK = re.compile(r"\b(?:him|her|them|that name|he|she|they|anybody|anyone|somebody|someone)\b")
_ONLY_NAMES = re.compile(r"(?:\s|\b(?:and|or|nor|also|maybe|even)\b|qqfriend\d+qq)+")
_QUOTED = re.compile(
    r"\byou (?:just |already |also |have )*(?:said|say|told|mentioned|know|knew|talked|claimed)\b|\byour friend\b"
    r"|\btell me (?:more )?about\b|\b(?:who|which|what) (?:is|was|does|did)?\s?(?:this |that |the |an? )?qqfriend"
    r"|\b(?:my|the|a) (?:brother|sister|mother|father|boss|neighbou?r|cousin|wife|husband|partner|uncle|aunt|roommate)"
    r" (?:\w+ )?(?:knows?|knew|mention\w+|met|likes?|sa(?:id|ys)|told)\b"
)
_AS_SAID = re.compile(
    r"(?:and |so |but )?(?:as|like) (?:you|we) (?:just |already |have )*(?:said|told|mentioned|agreed)\b"
)
_IF_YOU_KNOW = re.compile(r"\bif you (?:\w+ )?(?:know|knew|have met|met)\b")
_YES = re.compile(
    r"(?:oh |ah |well |why |wow )*(?:yes|yeah|yep|yup|sure|absolutely|of course|certainly|definitely|indeed|exactly"
    r"|that is (?:right|true|correct|him|her|it)|correct|right"
    r"|i (?:sure |really |certainly )?(?:do|am)|(?:it|that|the name) does)"
    r"(?: indeed| of course| yes| sure| i do| i am| we do| we are)*"
)
_CLAIM = re.compile(
    r"\b(?:i|we) (?:(?:do|also|actually|really|both|have|had|am|are|used to|still|sure) )*(?:know|knew|met|remember"
    r"|friends with|acquainted with|work(?:ed)? with|stud(?:y|ied) with) (?:him|her|them|that (?:guy|person))\b"
    r"|\b(?:he|she|they|that) (?:is|was|are) (?:(?:also|a|an|my|one of|good|old|close|actually|really|indeed|too) )*"
    r"(?:friends?\b|mine\b)"
)
_STAYS = re.compile(
    r"\b(?:he|she|him|her|his|they|them|we|us|together|small world|coincidence|mutual|in common|qqfriend\d+qq)\b"
    r"|^i (?:sure |really |certainly )?(?:do|am)$"
)
_OF_THEM = re.compile(r"\b(?:him|her|them)\b")
_TOO = re.compile(r"\b(?:too|as well|we both)\b")
_ANOTHER = re.compile(r"\bi (?:\w+ )?(?:have|had|know|met) (?:an?|another|some(?:one|body))\b")
"""Somebody of whom the other has not spoken yet; "he" in what follows is that one."""
_WRONG = re.compile(r"\bi (?:was|am|must (?:be|have been)) (?:\w+ )?(?:wrong|mistaken|confused)\b")
_FEW_WORDS = 3


@dataclass(frozen=True)
class NamesReading(Reading):
    """terms: friend's name -> "known" (named as a friend, or asked after) or "unknown" (the speaker says not to know
    them). accepts: says yes to the one the other named, by name or without; answers: without naming anybody first;
    claims: in words that mean a person ("I know him"). asks: a plain yes in answer can be about those named, as the
    last question, if any, asks after them."""

    answers: bool = False
    claims: bool = False
    asks: bool = False

    def of(self, stance: str) -> frozenset[str]:
        """The names of a stance."""
        return frozenset(name for name, said in self.terms.items() if said == stance)


def read_names(text: str, names: Sequence[str]) -> NamesReading:
    """What an utterance says about these friends. names: as they are written, with capitals.

    Names of oneself, of the one spoken to, of places and of people with another first name ("Bruce Lee") are none.
    What one asks about the other's words ("Alvin?", "who is Alvin?", "you said you know Alvin") names nobody.
    """
    found = clauses(plain(_marked(text, tuple(names))))
    terms: dict[str, str] = {}
    last: list[str] = []
    stance: str | None = None
    for number, clause in enumerate(found):
        named = [names[int(match[1])] for match in _MARKED.finditer(clause.text)]
        before = found[number - 1] if number and found[number - 1].sentence == clause.sentence else None
        if not named:
            if last and _denies(clause) and _BACK.search(clause.text):
                terms |= dict.fromkeys(last, UNKNOWN)
        elif before and _ONLY_NAMES.fullmatch(clause.text) and _MARKED.search(before.text):
            last = [*last, *named]
        else:
            stance, last = _stance(clause, before), named
        if named and stance is not None:
            terms |= dict.fromkeys(named, stance)
    taken_back = withdraws(found) or any(_WRONG.search(clause.text) and not clause.question for clause in found)
    answers = _answers(found)
    return NamesReading(
        terms,
        answers or _accepts_by_name(found, terms),
        withdraws=taken_back,
        answers=answers,
        claims=_claims(found),
        asks=_asks(found),
    )


def _marked(text: str, names: tuple[str, ...]) -> str:
    """The text with every mention of a friend replaced by a mark that survives rewriting to plain words."""
    lower = not any(map(str.isupper, text))
    places = {name.lower(): place for place, name in enumerate(names)}

    def mark(match: re.Match) -> str:
        if not lower and _someone_else(text, match):
            return match[0]
        return _MARK.format(places[match[0].lower()])

    return _names_pattern(names, lower).sub(mark, text)


def _someone_else(text: str, match: re.Match) -> bool:
    """True for oneself, the one addressed, a place, or somebody of whom this is the family name."""
    before = text[max(0, match.start() - _AROUND) : match.start()]
    after = text[match.end() : match.end() + _AROUND]
    if _SELF.search(before) or _GREETED.search(before) or _ADDRESSED.match(after) or _PLACE.match(after):
        return True
    first = _CAPITAL.search(before)
    return bool(first) and first[1].lower() not in _SMALL


def _stance(clause: Clause, before: Clause | None) -> str | None:
    """Whether the one who speaks knows those named in this clause; None where nothing is said of that."""
    if (before and _AS_SAID.match(before.text)) or _echoes(clause):
        return None
    if clause.question and re.search(r"\byou\b|\bis it\b|\bdo we\b", clause.text):
        return None if re.search(r"\byou (?:\w+ )?(?:said|told|mentioned)\b", clause.text) else KNOWN
    if _NO_LONGER.search(clause.text):
        return None
    if _denies(clause) or (before and _ONLY_NAMES.fullmatch(clause.text) and _denies(before)):
        return UNKNOWN
    if _QUOTED.search(clause.text) and not _IF_YOU_KNOW.search(clause.text):
        return None
    return KNOWN


def _echoes(clause: Clause) -> bool:
    """True for a bare "Alvin?", which repeats the other's word."""
    return clause.question and bool(_MARKED.fullmatch(clause.text))


def _denies(clause: Clause) -> bool:
    return bool(_DENIES.search(clause.text)) and not _KNOWS_LITTLE.search(clause.text) and not clause.question


def _answers(found: Sequence[Clause]) -> bool:
    """True for a yes to somebody whom this utterance has not named yet; it may go on to ask after others."""
    if any(_denies(clause) for clause in found):
        return False
    found = [clause for clause in found if not _echoes(clause)]
    naming = [clause for clause in found if _MARKED.search(clause.text)]
    if naming and not naming[0].question:
        return False
    own = [clause for clause in found if not naming or clause.sentence < naming[0].sentence]
    return bool(own) and (_claims(own) or (_nods(own[0]) and all(_stays(clause) for clause in own[1:])))


def _accepts_by_name(found: Sequence[Clause], terms: Mapping[str, str]) -> bool:
    """True for "yes, I know Alvin" and "I know Alvin, too"."""
    if KNOWN not in terms.values() or any(clause.question for clause in found[1:]):
        return False
    said_too = any(_TOO.search(clause.text) for clause in found)
    return said_too or _claims(found) or any(map(_nods, found))


def _claims(found: Sequence[Clause]) -> bool:
    own_tale = any(_ANOTHER.search(clause.text) for clause in found)
    return not own_tale and any(_CLAIM.search(clause.text) and not clause.question for clause in found)


def _nods(clause: Clause) -> bool:
    return bool(_YES.fullmatch(clause.text)) and not clause.question


def _stays(clause: Clause) -> bool:
    """True where what follows a yes does not turn to something else."""
    if clause.question:
        return bool(_OF_THEM.search(clause.text))
    return bool(_STAYS.search(clause.text)) or (
        len(clause.text.split()) <= _FEW_WORDS and not re.search(r"\b(?:i|no|not)\b", clause.text)
    )


def _asks(found: Sequence[Clause]) -> bool:
    questions = [clause for clause in found if clause.question]
    if not questions:
        return True
    last = [clause for clause in questions if clause.sentence == questions[-1].sentence]
    return any(_MARKED.search(clause.text) or _OF_THEM.search(clause.text) for clause in last)


@lru_cache(maxsize=256)
def _names_pattern(names: tuple[str, ...], lower: bool) -> re.Pattern:
    longest_first = sorted(names, key=len, reverse=True)
    ways = "|".join(re.escape(name) for name in longest_first)
    return re.compile(rf"(?<![\w'’-])(?:{ways})(?!['’]t\b)(?![\w-])", re.IGNORECASE if lower else 0)
