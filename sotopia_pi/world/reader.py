"""The reader of terms: what one utterance offers, and whether it accepts, refuses or takes back.

Rules, not a model: the same words always read the same, so a payoff judge built on it cannot be talked round. It is
measured on hand-labelled utterances (tests/data/utterances.jsonl). When in doubt it reads no offer.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from sotopia_pi.world.payoffs import Issue
from sotopia_pi.world.reader_agreement import accepts, rejects, withdraws
from sotopia_pi.world.reader_amounts import Mention, amounts
from sotopia_pi.world.reader_choices import choices
from sotopia_pi.world.reader_clauses import Clause, clauses, plain, sentences
from sotopia_pi.world.reader_items import divide, names_item
from sotopia_pi.world.reader_shares import share
from sotopia_pi.world.reader_stance import BLOCKED, NAMED, OFFERED, firmness, refuses

Option = int | str
_FEW_WORDS = 2
"""Words that may stand around a term without words of offering; with more it is mostly talk about the place or day."""
_FILLING = re.compile(
    r"\b(?:at|in|on|the|and|then|instead|please|ok|okay|maybe|so|well|a|an|\d+(?::\d\d)?|am|pm|oclock|around|would|be|is|are"
    r"|better|great|nicer|\w+day|just|only|with|for|of|my|your|me|you)\b"
)
_TURNS = ("but ", "so ", "however ", "yet ", "though ")


@dataclass(frozen=True)
class Reading:
    """What one utterance says. terms: issue name -> option the speaker stands on, perhaps not all issues, {} for none.

    accepts: agrees to the other's offer; rejects: turns it down; withdraws: takes back an own offer or agreement.
    """

    terms: Mapping[str, Option] = field(default_factory=dict)
    accepts: bool = False
    rejects: bool = False
    withdraws: bool = False


@dataclass(frozen=True)
class _Term:
    option: Option
    firm: int
    clause: int
    mention: Mention


def read(text: str, issues: Sequence[Issue], speaker: int) -> Reading:
    """What `text`, said by side `speaker`, means for these issues.

    Amounts outside an issue's options are kept: they are legal terms off the usual grid. Of several offers in one
    utterance the last one counts; two in one sentence that cannot be told apart count as none.
    """
    reading = _read(text, tuple(issues), speaker)
    return Reading(dict(reading.terms), reading.accepts, reading.rejects, reading.withdraws)


@lru_cache(maxsize=8192)
def _read(text: str, issues: tuple[Issue, ...], speaker: int) -> Reading:
    words = plain(text)
    found = clauses(words)
    terms: dict[str, Option] = {}
    offering: set[int] = set()
    settlements: dict[str, _Term] = {}
    in_numbers = [issue for issue in issues if issue.kind == "amount"]
    for issue in issues:
        if issue.kind == "item":
            continue
        settled = _settled(_terms(found, issue, speaker, alone=len(in_numbers) == 1), found)
        if settled:
            settlements[issue.name] = settled
    if not _passing(settlements, issues, found):
        terms = {name: settled.option for name, settled in settlements.items()}
        offering = {settled.clause for settled in settlements.values()}
    items = [issue for issue in issues if issue.kind == "item"]
    if items:
        divided = divide(sentences(words), items, speaker)
        terms |= divided
        offering |= {n for n, clause in enumerate(found) if divided and names_item(clause.text, items)}
    ordered = {issue.name: terms[issue.name] for issue in issues if issue.name in terms}
    return Reading(ordered, accepts(found, offering), rejects(found), withdraws(found))


def _terms(found: Sequence[Clause], issue: Issue, speaker: int, alone: bool) -> list[_Term]:
    terms = []
    for number, clause in enumerate(found):
        if issue.kind == "choice":
            mentions = list(choices(clause.text, issue))
        elif issue.payer >= 0:
            mentions = share(clause.text, issue, speaker, alone)
        else:
            mentions = list(amounts(clause.text, issue, alone))
        for mention in mentions:
            firm = firmness(clause, mention.start, mention.end, issue.kind == "amount")
            if firm != BLOCKED and not _echo(found, number, mention) and not _dropped_if(found, number):
                terms.append(_Term(mention.option, firm, number, mention))
    return terms


def _settled(terms: Sequence[_Term], found: Sequence[Clause]) -> _Term | None:
    """The offer that counts: of the last sentence that makes one clearly, preferring words of offering."""
    for least in (OFFERED, NAMED):
        for sentence in sorted({found[term.clause].sentence for term in terms}, reverse=True):
            here = _after_turn([term for term in terms if found[term.clause].sentence == sentence], found)
            here = [term for term in here if term.firm >= least]
            if len({term.option for term in here}) == 1:
                return here[-1]
    return None


def _after_turn(terms: Sequence[_Term], found: Sequence[Clause]) -> Sequence[_Term]:
    """The terms of a sentence from its last "but", "so" or "however" on, when any stand there."""
    sentence = {found[term.clause].sentence for term in terms}
    turns = [n for n, clause in enumerate(found) if clause.sentence in sentence and clause.text.startswith(_TURNS)]
    return [term for term in terms if turns and term.clause >= turns[-1]] or terms


def _echo(found: Sequence[Clause], number: int, mention: Mention) -> bool:
    """True for a bare "$90?" that something else follows: it repeats the other's words."""
    clause = found[number]
    alone = mention.end - mention.start >= len(clause.text.removeprefix("only ").removesuffix(" dollars")) - 1
    later = [other for other in found if other.sentence > clause.sentence]
    return clause.question and alone and any(refuses(other) or any(map(str.isdigit, other.text)) for other in later)


def _passing(settlements: Mapping[str, _Term], issues: Sequence[Issue], found: Sequence[Clause]) -> bool:
    """True for a lone day or place in a tale ("the pub is where I met him"): named, but neither offered nor bare."""
    if len(settlements) != 1 or len(issues) == 1:
        return False
    (settled,) = settlements.values()
    clause, mention = found[settled.clause].text, settled.mention
    around = f"{clause[: mention.start]} {clause[mention.end :]}"
    return settled.firm == NAMED and len(_FILLING.sub(" ", around).split()) > _FEW_WORDS


def _dropped_if(found: Sequence[Clause], number: int) -> bool:
    """True for the `if` half of "if it is Tuesday, I can not come"."""
    clause = found[number]
    if not clause.text.startswith("if ") or number + 1 >= len(found):
        return False
    after = found[number + 1]
    return after.sentence == clause.sentence and refuses(after)
