"""Stance: whether words offer, refuse, quote or remember a term; accept an offer; or take one back."""

import re
from collections.abc import Sequence

from sotopia_pi.world.reader_clauses import Clause

OFFERED, NAMED, BLOCKED = 2, 1, 0
"""How firmly a clause stands on a term it names: with words of offering, plainly, or not at all."""

_REFUSED = re.compile(
    r"\b(?:not|never|no|nor|neither|without|nothing|hardly|unable|refuse|decline|reject|impossible|unacceptable|out of the question)\b"
    r"|\btoo (?:much|high|low|steep|little|few|early|late|far|expensive|long|short|many|soon|pricey|rich|generous|big|small)\b"
    r"|\b(?:is|seems|sounds|feels|looks) (?:(?:a (?:bit|little|tad)|kind of|rather|pretty|very|really|way|quite|so|just|still) )*"
    r"(?:much|high|low|steep|expensive|unfair|unreasonable|ridiculous|insulting|crazy|tough|hard|difficult|far|tight|bad|off)\b"
    r"|\ba (?:bit|little|tad) (?:much|high|low|steep|expensive|far|early|late)\b"
    r"|\b(?:beyond|out of|over|above) my (?:budget|reach|range|limit|means)\b|\bmore than i\b"
    r"|\bi (?:am|will be) (?:busy|booked|away|working|out of town|tied up|unavailable)\b|\bi (?:already )?have (?:a|an|to|my) (?!deal)"
    r"|\bi work\b|\b(?:is|are) (?:closed|booked|taken|full)\b|\brules? out\b|\binsult|\bjoking\b|\bforget\b|\bnever mind\b"
)
_QUOTED = re.compile(
    r"\byou (?:just |first |originally |also |really |already |still |both |had |have |were |are |do )*"
    r"(?:said|say|saying|asked?|asking|wanted|want(?! (?:it|this|to))|offered|offering|mentioned|proposed|proposing|suggested|suggesting|suggest"
    r"|quoted|named|started|told|insist|insisted|demand|demanded|keep)\b(?! (?:it|the) (?:for|at)\b)"
    r"|\byour (?:\w+ )?(?:offer|price|proposal|bid|ask|asking price|number|suggestion|idea|plan|counter\w*)\b|\byour (?:\$|\d)"
    r"|\bi (?:know|thought|heard|understand|see|get)\b|\bdid you\b|\byou mean\b|\byou think\b"
)
_ELSEWHERE = re.compile(
    r"\b(?:would|could|should|might) have\b|\bhad (?:offered|paid|said|been|asked)\b|\bpaid\b|\bbought\b|\bused to\b|\bsold\b|\bsells?\b"
    r"|\blast (?:year|month|week|time|summer|winter|spring|fall|night)\b|\bago\b|\boriginally\b|\bbrand new\b|\bnew ones?\b|\bretails?\b"
    r"|\bit costs?\b|\bcosts? (?:me|about|around|over|more|at)\b|\bcost\b(?! you)|\bworth\b|\bmarket\b|\bonline\b|\belsewhere\b|\baverage\b|\busually\b|\bnormally\b"
    r"|\blist(?:ed|s|ing)?\b|\bi was asking\b|\bvalued?\b|\bappraised\b|\bincome\b|\brent\b|\bbudget\b|\bsaved?\b"
    r"|\b(?:someone|somebody|another|others?|they|he|she|people|guys?|buyers?|sellers?|friends?|brother|sister|neighbou?r)\b.*"
    r"\b(?:offer(?:ed|s|ing)?|pa(?:y|ys|id)|wants?|wanted|asks?|asked|charg\w+|got|gets?|said|told)\b"
    r"|^(?:because|since)\b"
)
_QUESTIONED = re.compile(
    r"^(?:so |and |but |well |wait |really )*(?:why(?! (?:do )?not)|how (?:did|do you|come|is it)|what (?:makes|made|is wrong|is so|does)|"
    r"(?:is|are|was|were) (?!.*\b(?:okay|ok|good|possible|fine|all ?right|better|convenient|acceptable|fair|doable|too)\b)"
    r"|did|do you (?:mean|want|need|think|really)|are you (?:asking|saying|offering|serious|sure|kidding)|seriously|who|when)\b"
)
_OFFERING = re.compile(
    r"\b(?:how about|what about|what if|how does|how would|would you|could you|can you|can we|could we|let us|i (?:can|could|will|would|propose|suggest|offer|want"
    r"|need|prefer|am (?:offering|asking|thinking|at|free|available|hoping)|was (?:thinking|hoping)|accept|take|pay|give)|my (?:\w+ )?(?:\w+ )?(?:offer|price|proposal|suggestion|share|half|counter\w*|ask)|"
    r"make it|meet|say|deal|works?|work for|is (?:fine|good|okay|fair)|it is|final|best|lowest|highest|least|most|take|pay|give|settle|sounds?|agree\w*|then|and it is yours|do)\b"
)
_APART_BEFORE = re.compile(
    r"\b(?:than|instead of|except(?: for)?|apart from|other than|not|without|below|under|above|over|beyond|past|between|near|nearly|almost"
    r"|forget(?: about)?(?: the| my)?|never mind(?: the| my)?|no)\s(?:the |my |your |that |about )?$"
)
_FROM = re.compile(r"\bfrom (?:the |my |your )?$")

_DEAL = r"(?:it is|that is|we have(?: got)?|you have(?: got)?|you got|you have got yourself|we got|call it|there is|consider it|make it|then it is) (?:yourself )?an? (?:\w+ )?deal"
_AGREED = re.compile(
    rf"\b{_DEAL}\b|^(?:(?:it is )?a )?deal\b|\bdeal$|^done(?: deal)?$|\b(?:i|we) agree(?:d)?(?: (?:to|on|with) (?:that|this|it|your|the|those|these|\$?\d).*)?$"
    r"|^(?:ok |okay |all right |alright |yes |great |good |fine )*agreed\b|\bwe (?:are|have) agreed\b|\bi (?:(?:will|can|do|gladly|happily|am going to|hereby) )*accept\b|^accepted\b"
    r"|\bi (?:will|can|guess i will|am going to|shall) take (?:it|that|you up|your|this)\b|\b(?:works|work|good|fine|okay|ok|great|perfect|acceptable|fair) (?:for|by|with) (?:me|us)\b"
    r"|\bthat (?:\w+ )?works\b|\bthat works\b|^works$|\b(?:that|this|it|which) (?:is|would be|sounds|seems|will be) (?:\w+ )?(?:fine|fair|good|great|perfect|acceptable|okay|ok|reasonable|lovely|wonderful|ideal)$"
    r"|^(?:ok |okay |well |yes )*sounds (?:\w+ )?(?:good|great|fair|perfect|fine|reasonable|lovely|wonderful|like a (?:plan|deal|good \w+))\b"
    r"|\b(?:that|it|this|all) sounds (?:\w+ )?(?:good|great|fair|perfect|fine|reasonable|lovely|wonderful|like a (?:plan|deal|good \w+))\b"
    r"|\blet us (?:do|go with|go for|settle on|settle for|shake on) (?:it|that|this|your)\b|\byou are on\b|\bshake on (?:it|that)\b|\b(?:it|that) is settled\b|\bthat settles it\b|^settled$"
    r"|^(?:ok |okay )?(?:count me|i am) in$|\bi (?:am|would be|will be) (?:\w+ )?(?:happy|okay|ok|fine|good|comfortable|on board) with (?:that|this|it|your)\b"
    r"|\bi can (?:live with|do|work with|go with|agree to|accept|manage) (?:that|this|it)\b|^sold\b|\b(?:it is|it shall be) (?:then)?$|\bfine by me\b|\bsee you (?:then|there)\b"
    r"|\bi (?:will|can) go (?:with|along with|for) (?:that|it|this|your)\b|\byou (?:have )?(?:convinced|persuaded) me\b|\bi say yes\b|\bit is a date\b"
)
_IT_IS = re.compile(r"\bit is(?: then)?$")
_NODS = re.compile(
    r"(?:yes|yeah|yep|yup|sure|sure thing|ok|okay|all ?right|alright|fine|great|perfect|absolutely|of course|certainly|definitely"
    r"|excellent|wonderful|fantastic|good|very well|you bet|thanks?|thank you|thanks? (?:a lot|so much)|thank you (?:so|very) much|please|fair enough|then|my friend|why not|gladly|with pleasure|cool|awesome|nice|no problem)"
)
_ONLY_NODS = re.compile(rf"(?:{_NODS.pattern}[\s,.!-]*)+")
_ONLY_THANKS = re.compile(r"(?:(?:thanks?|thank you|thanks? (?:a lot|so much)|thank you (?:so|very) much|please|then|my friend|great|nice|good|cool|awesome|wonderful|excellent)[\s,.!-]*)+")
_UNSURE = re.compile(
    r"\b(?:not|never|no|can not|if|unless|once|when|until|would (?!be (?:\w+ )?(?:fine|great|perfect|good|lovely|ideal|wonderful))|could|might|may|maybe|perhaps|almost|nearly|close to|had|thought|you said|think about"
    r"|consider(?! it)|before|as long as|provided|assuming|hope|hoping|hopefully|wish|want|need|try|looking for|get to|reach|make)\b"
)
_CONDITION = re.compile(
    r"^(?:but(?! (?:only because|just this once|you (?:drive|are)|hurry|do not tell|this is my|i am (?:sad|sorry)|it (?:is|was) (?:a )?(?:tough|hard|close)))"
    r"|however|only if|if you (?!like|insist|say so|want|wish|are (?:happy|okay|ok|sure))|as long as|provided|on (?:the |one )?condition|except|unless|although|though)\b"
)
_WITHDRAWN = re.compile(
    r"\bi (?:(?:will|would|have to|must|want to|am going to|am|need to|would like to|hereby|am afraid i|actually|think i|should|do) )*"
    r"(?:(?:take|taking) (?:back (?:that|it|this|my|what|the|everything)|(?:that|it|this|my [\w$ ]+|the [\w$ ]+|everything) back)|withdraw|withdrawing|retract|retracting|revoke|rescind|cancel|canceling|cancelling|back out|backing out|call(?:ing)? (?:it|this|the (?:whole )?(?:thing|deal)) off)\b"
    r"|^(?:actually |ok |okay |no |well |please |just |you know what |wait |sorry |so |then )*(?:forget (?:it|that|the|my|about (?:it|that|the|my)|what i|i said)|never ?mind\b|scratch that|ignore (?:that|my)|disregard|strike that)"
    r"|\b(?:that|the|my|this) (?:\w+ )?(?:offer|price|proposal|deal|\$?\d+) (?:is|has been) (?:now )?(?:off\b|off the table|no longer|withdrawn|gone|canceled|cancelled|not on the table)"
    r"|\bdeal is off\b|\b(?:on )?second thoughts?$|\bi (?:have |just |have just )?changed my mind\b|\bi (?:am|would) no longer\b|\bi am (?:out$|backing out)|\bi am not (?:selling|interested|buying) (?:any ?more|any longer|after all)"
    r"|\boff the table\b|\bwe do not have a deal (?:any ?more|after all)\b|\bthe whole thing is off\b"
)
_NOT_MINE = re.compile(r"\b(?:you (?:can|could|may|should|want|take|took|taking|said|offered)|your|are you|do not|can not|will not|would not|never|not|if)\b")
_REJECTED = re.compile(
    r"\bno deal\b|\bno way\b|\bno thanks?\b|\bnot (?:a |the )?deal\b|\b(?:can|could|will|would|do) not (?:possibly |really |just )?(?:accept|agree|do|take|go|pay|afford|work|make|manage|sell|meet|live with)\b"
    r"|\b(?:have to|must|will|going to) (?:decline|pass|refuse|say no|reject)\b|\bi (?:decline|refuse|reject|pass)\b|\bnot interested\b|\bnot (?:going to )?(?:work|happen|possible|acceptable|enough|good enough|fair|what i)\b"
    r"|\btoo (?:much|high|low|steep|little|few|early|late|far|expensive|long|short|many|soon|pricey)(?: (?:for me|for us|for that|for it|for this))?$"
    r"|\bimpossible\b|\bout of the question\b|\bunacceptable\b|\b(?:beyond|out of|over) my (?:budget|reach|range)\b|\binsult|\bdoes not work\b|\bis not going to\b"
)


def firmness(clause: Clause, start: int, end: int) -> int:
    """OFFERED, NAMED or BLOCKED for a term at these characters of a clause."""
    text = clause.text
    before = text[:start]
    if _APART_BEFORE.search(before) or (_FROM.search(before) and re.search(r"\b(?:to|down|up)\b", text[end:])):
        return BLOCKED
    if _WITHDRAWN.search(text):
        return BLOCKED
    agreed = _AGREED.search(text) and not _REFUSED.search(text)
    if agreed:
        return OFFERED
    if _REFUSED.search(text) or _QUOTED.search(text) or _ELSEWHERE.search(text):
        return BLOCKED
    if clause.question and _QUESTIONED.match(text):
        return BLOCKED
    return OFFERED if _OFFERING.search(text) else NAMED


def refuses(clause: Clause) -> bool:
    """True when the clause turns something down (used where a bare "$90?" precedes it)."""
    return bool(_REFUSED.search(clause.text))


def rejects(found: Sequence[Clause]) -> bool:
    """True when the speaker turns the other's offer down."""
    return any(_REJECTED.search(c.text) and not c.question and not _ELSEWHERE.search(c.text) for c in found)


def withdraws(found: Sequence[Clause]) -> bool:
    """True when the speaker takes back an offer or an agreement of their own."""
    for clause in found:
        match = _WITHDRAWN.search(clause.text)
        if match and not clause.question and not _NOT_MINE.search(clause.text[: match.start()]):
            return True
    return False


def accepts(found: Sequence[Clause], offering: set[int], proposing: bool) -> bool:
    """True when the speaker agrees to what the other offered.

    offering: numbers of the clauses that hold the speaker's own terms; proposing: one of them asks for these terms.
    "If you make it 80 we have a deal", "is that a deal?" and "deal, but …" are no agreement.
    """
    if not found:
        return False
    whole = " ".join(clause.text for clause in found)
    if not any(c.question for c in found) and _ONLY_NODS.fullmatch(whole):
        return not _ONLY_THANKS.fullmatch(whole) or not whole.startswith(("thank", "please"))
    if proposing:
        return False
    for number, clause in enumerate(found):
        if _agreeing(clause) and not _hedged(found, number, offering):
            return True
    return False


def _agreeing(clause: Clause) -> bool:
    match = _AGREED.search(clause.text)
    if not match or clause.question:
        return False
    return not _UNSURE.search(clause.text.replace(match[0], " ") if match[0] != clause.text else "") and not _UNSURE.search(
        re.sub(r"\bwould be\b|\bmake it\b", "", match[0])
    )


def _hedged(found: Sequence[Clause], number: int, offering: set[int]) -> bool:
    clause = found[number]
    same = [i for i, other in enumerate(found) if other.sentence == clause.sentence]
    if any(i < number and (re.match(r"(?:only )?(?:if|once|when|unless)\b", found[i].text)) for i in same):
        return True
    if clause.text.startswith(("and ", "then ")) and any(i in offering for i in same if i < number):
        return True
    return any(_CONDITION.match(other.text) for other in found[number + 1 :])
