"""Agreement: whether an utterance accepts the other's offer, turns it down, or takes something back."""

import re
from collections.abc import Collection, Sequence

from sotopia_pi.world.reader_clauses import Clause, any_of

_PRAISE = (
    r"(?:good|great|fair|perfect|fine|reasonable|lovely|wonderful|acceptable|okay|ok|ideal"
    r"|like a (?:plan|deal|good \w+))"
)
_OURS = "(?:it is|that is|we have(?: got)?|you have(?: got)?|you got|we got|call it|there is|consider it|make it)"
AGREED = any_of(
    rf"\b{_OURS} (?:yourself )?an? (?:(?!great|good|amazing|nice|big|bad|real|sweet|wonderful)\w+ )?(?:deal"
    rf"|agreement)\b|^(?:(?:it is )?a )?deal\b(?! (?:is|was|breaker"
    rf"|with))|\b(?:ok|okay|yes|then|right|fine|sure|well|good) deal$",
    r"^done(?: deal)?$|^accepted\b|^sold\b|^settled$|^works$|\bi say yes\b|\bit is a date\b|\bfine by me\b"
    r"|\byou are on\b",
    r"\b(?:i|we) agree(?:d)?(?: (?:to|on|with) (?:that|this|it|your|the|those|these|\$?\d).*)?$|\bwe (?:are"
    r"|have) agreed\b",
    r"^(?:ok |okay |all right |alright |yes |great |good |fine )*agreed\b",
    r"\bi (?:(?:will|can|do|gladly|happily|am going to|hereby) )*accept\b|\bi take your\b",
    r"\bi (?:will|can|guess i will|am going to|shall) take (?:it|that|you up|your|this)\b",
    r"\b(?:works|work|good|fine|okay|ok|great|perfect|acceptable|fair) (?:for|by|with) (?:me|us)\b"
    r"|\bthat (?:\w+ )?works\b",
    rf"\b(?:that|this|it|which) (?:is|would be|seems|will be) (?:\w+ )?{_PRAISE}$",
    rf"(?:^(?:ok |okay |well |yes )*|\b(?:that|it|this|all) )sounds (?:\w+ )?{_PRAISE}\b",
    r"\blet us (?:do|go with|go for|settle on|settle for|shake on) (?:it|that|this|your)\b|\bshake on (?:it|that)\b",
    r"\b(?:it|that) is settled\b|\bthat settles it\b|^(?:ok |okay )?(?:count me|i am) in$",
    r"\bi (?:am|would be|will be) (?:\w+ )?(?:happy|okay|ok|fine|good|comfortable|on board) with\b",
    r"\bi can (?:live with|do|work with|go with|agree to|accept|manage) (?:that|this|it)\b(?! all| with)",
    r"\b(?:can|will) say yes to (?:that|it|this|your)\b|\bi (?:will|can) go (?:with|along with|for) (?:that|it|this"
    r"|your)\b",
    r"\bsee you (?:then|there|on|at)\b|\byou (?:have )?(?:convinced|persuaded) me\b",
)
_LEAVING = re.compile(
    r"\b(?:last (?:chance|offer|time|word|call|round|one)|one last|final|walk away|leav(?:e|ing)|about to go"
    r"|out of patience)\b",
    re.IGNORECASE,
)
_AGREED_WITH_TERMS = any_of(
    r"\bit (?:is|shall be)(?: then)?$", r"\b(?:is|are|will be) (?:fine|good|perfect|great|okay|ok|all right)$"
)
"""Agreement only where terms stand beside it: "$85 it is", "four days is fine"."""
_AFFIRMED = "(?:yes|yeah|yep|yup|sure|absolutely|of course|certainly|definitely|gladly)"
_YES = re.compile(
    rf"(?:(?:ok|okay|well|oh|then|all ?right) )?{_AFFIRMED}(?: (?:please|then|thanks|thank you|sure|of course))?"
)
_THANKS = (
    "(?:thanks?(?: a lot| so much)?|thank you(?: (?:so|very) much)?|please|then|my friend|great|nice|good"
    "|cool|awesome|wonderful|excellent|fantastic)"
)
_NOD = re.compile(
    rf"(?:{_AFFIRMED}|sure thing|ok|okay|all ?right|fine|perfect|very well|you bet|with pleasure|{_THANKS})\b"
)
_ONLY_NODS = re.compile(rf"(?:{_NOD.pattern}[\s,.!-]*)+")
_ONLY_THANKS = re.compile(rf"(?:{_THANKS}\b[\s,.!-]*)+")
_UNSURE = any_of(
    r"\b(?:not|never|no|if|unless|once|when|until|could|might|may|maybe|perhaps|almost|nearly|close to|had|thought"
    r"|you said)\b",
    r"\bwould (?!be (?:\w+ )?(?:fine|great|perfect|good|lovely|ideal|wonderful))",
    r"\b(?:think about|consider(?! it)|before|as long as|provided|assuming|hope|hoping|hopefully|wish|want|need|try)\b",
    r"\b(?:looking for|get to|reach|make)\b",
)
_IN_AGREEING = re.compile(r"\bwould be\b|\bmake it\b")
_IF = re.compile(r"(?:only )?(?:if|once|when|unless)\b")
_IF_POLITE = re.compile(
    r"if (?:you (?:like|insist|say so|want|wish|are (?:happy|okay|ok|sure))|that is (?:okay|ok|fine|all right))\b"
)
_CONDITION = any_of(
    r"^but(?! (?:only because|just this once|you (?:drive|are)|hurry|do not tell|this is my|i am (?:sad|sorry)"
    r"|it (?:is|was) (?:a )?(?:tough|hard|close)))\b",
    r"^if you (?!like|insist|say so|want|wish|are\b)",
    r"^(?:however|only if|as long as|provided|on (?:the |one )?condition|except|unless|although|though)\b",
)
WITHDRAWN = any_of(
    r"\bi (?:(?:will|would|have to|must|want to|am going to|am|need to|like to|hereby|afraid i|actually|think i"
    r"|should|do) )*"
    r"(?:(?:take|taking) (?:back (?:that|it|this|my|what|the|everything)|(?:that|it|this|my [\w$ ]+|the [\w$ ]+"
    r"|everything) back)"
    r"|withdraw(?:ing)?|retract(?:ing)?|revoke|rescind|cancel(?:l?ing)?|back(?:ing)? out"
    r"|call(?:ing)? (?:it|this|the (?:whole )?(?:thing|deal)) off)\b",
    r"^(?:(?:actually|ok|okay|no|well|please|just|you know what|wait|sorry|so|then|let us) )*"
    r"(?:forget (?:it|that|the|my|about (?:it|that|the|my)|what i|i said)|never ?mind\b|scratch that|ignore (?:that"
    r"|my)|disregard"
    r"|strike that)",
    r"\b(?:that|the|my|this) (?:\w+ )?(?:offer|price|proposal|deal|\$?\d+) (?:is|has been) (?:now )?"
    r"(?:off\b|no longer|withdrawn|gone|cancell?ed|not on the table)",
    r"\b(?:deal|the whole thing) is off\b|\boff the table\b|\bsecond thoughts?$|\bi (?:have |just "
    r"|have just )?changed my mind\b",
    r"\bi (?:am|would) no longer\b|\bi am out$|\bi am not (?:selling|interested|buying) (?:any ?more|any longer"
    r"|after all)",
    r"\bwe do not have a deal (?:any ?more|after all)\b",
)
_NOT_MINE = re.compile(
    r"\b(?:you (?:can|could|may|should|want|take|took|taking|said|offered)|your|are you|do not|can not|will not"
    r"|would not|never"
    r"|not|if)\b"
)
_REJECTED = any_of(
    r"\bno (?:deal|way|thanks?)\b|\bnot (?:a |the )?deal\b|\bnot interested\b|\bdoes not work\b|\bis not going to\b",
    r"\b(?:can|could|will|would|do) not (?:possibly |really |just )?"
    r"(?:accept|agree|do|take|go|pay|afford|work|make|manage|sell|meet|live with)\b",
    r"\b(?:have to|must|will|going to) (?:decline|pass|refuse|say no|reject)\b|\bi (?:decline|refuse|reject|pass)\b",
    r"\bnot (?:going to )?(?:work|happen|possible|acceptable|enough|good enough|fair|what i)\b",
    r"\btoo (?:much|high|low|steep|little|few|early|late|far|expensive|long|short|many|soon|pricey)"
    r"(?: for (?:me|us|that|it|this))?$",
    r"\b(?:impossible|unacceptable|out of the question)\b|\b(?:beyond|out of|over) my (?:budget|reach|range)\b"
    r"|\binsult",
)
_PAST = re.compile(r"\b(?:would|could|should|might) have\b|\blast (?:year|month|week|time)\b|\bago\b")


def rejects(found: Sequence[Clause]) -> bool:
    """True when the speaker turns the other's offer down."""
    return any(_REJECTED.search(c.text) and not c.question and not _PAST.search(c.text) for c in found)


def withdraws(found: Sequence[Clause]) -> bool:
    """True when the speaker takes back an offer or an agreement of their own."""
    for clause in found:
        match = WITHDRAWN.search(clause.text)
        if match and not clause.question and not _NOT_MINE.search(clause.text[: match.start()]):
            return True
    return False


def takes_back(sentence: str) -> bool:
    """True when a plain sentence takes something back and makes no new offer."""
    return bool(WITHDRAWN.search(sentence)) and not re.search(r"\b(?:instead|make it|how about|rather)\b", sentence)


def accepts(found: Sequence[Clause], offering: Collection[int]) -> bool:
    """True when the speaker agrees to what the other offered.

    offering: numbers of the clauses that hold the speaker's own terms. "If you make it 80 we have a deal", "great,
    what about 80?", "is that a deal?" and "deal, but …" are no agreement; "$85? Deal!" is.
    """
    if not found:
        return False
    whole = " ".join(clause.text for clause in found)
    if not any(clause.question for clause in found) and _ONLY_NODS.fullmatch(whole):
        return not _ONLY_THANKS.fullmatch(whole) or not whole.startswith(("thank", "please"))
    asked = max((found[number].sentence for number in offering if found[number].question), default=-1)
    for number, clause in enumerate(found):
        if clause.sentence <= asked:
            continue
        agreeing = (
            _agreeing(clause, number in offering) or _nods_after(found, number, asked) or _yes(found, number, offering)
        )
        if agreeing and not _hedged(found, number, offering):
            return True
    return False


def _agreeing(clause: Clause, has_terms: bool) -> bool:
    match = AGREED.search(clause.text) or (_AGREED_WITH_TERMS.search(clause.text) if has_terms else None)
    if not match or clause.question:
        return False
    return not _UNSURE.search(clause.text.replace(match[0], " ")) and not _UNSURE.search(_IN_AGREEING.sub("", match[0]))


def _nods_after(found: Sequence[Clause], number: int, asked: int) -> bool:
    """True for the "Sure." of "Wednesday? Sure."."""
    clause = found[number]
    if asked < 0 or clause.question or clause.sentence != asked + 1:
        return False
    echo = [other for other in found if other.sentence == asked]
    nod = _NOD.match(clause.text)
    return (
        len(echo) == 1
        and (len(echo[0].text.split()) <= 3 or echo[0].text.startswith("so "))
        and bool(nod)
        and not _ONLY_THANKS.match(clause.text)
    )


def _yes(found: Sequence[Clause], number: int, offering: Collection[int]) -> bool:
    """True for a plain yes that ends the utterance, or that the terms agreed to follow ("yes, I can do $90")."""
    if not _YES.fullmatch(found[number].text) or found[number].question:
        return False
    after = found[number + 1 :]
    return all(_ONLY_NODS.fullmatch(other.text) for other in after) or (
        number + 1 in offering and not after[0].question
    )


def _hedged(found: Sequence[Clause], number: int, offering: Collection[int]) -> bool:
    clause = found[number]
    same = [i for i, other in enumerate(found) if other.sentence == clause.sentence]
    if any(i < number and _IF.match(found[i].text) for i in same):
        return True
    if any(i > number and found[i].text.startswith("if ") and not _IF_POLITE.match(found[i].text) for i in same):
        return True
    if clause.text.startswith(("and ", "then ")) and any(i in offering for i in same if i < number):
        return True
    return any(_CONDITION.match(other.text) for other in found[number + 1 :])


def announces_leaving(text: str) -> bool:
    """Whether an utterance says that its speaker is about to give up: a last offer, a last chance, going."""
    return bool(_LEAVING.search(text))
