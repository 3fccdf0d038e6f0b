"""Stance: whether a clause offers, names, refuses, quotes or remembers a term."""

import re

from sotopia_pi.world.reader_agreement import AGREED, WITHDRAWN
from sotopia_pi.world.reader_clauses import Clause, any_of

OFFERED, NAMED, BLOCKED = 2, 1, 0
"""How firmly a clause stands on a term it names: with words of offering, plainly, or not at all."""

_REFUSED = any_of(
    r"\b(?:not|never|no|nor|neither|without|nothing|hardly|unable|refuse|decline|reject|impossible|unacceptable)\b",
    r"\bout of the question\b|\brules? out\b|\binsult|\bjoking\b|\bbe late\b|\bforget\b|\bnever mind\b",
    r"\btoo (?:much|high|low|steep|little|few|early|late|far|expensive|long|short|many|soon|pricey|loud|crowded|big"
    r"|small)\b",
    r"\b(?:is|seems|sounds|feels|looks) (?:(?:a (?:bit|little|tad)|kind of|rather|pretty|very|really|way|quite|so"
    r"|just|still) )*"
    r"(?:much|high|low|steep|expensive|unfair|unreasonable|ridiculous|insulting|crazy|tough|hard|difficult|far"
    r"|tight|bad|off)\b",
    r"\ba (?:bit|little|tad) (?:much|high|low|steep|expensive|far|early|late)\b",
    r"\b(?:beyond|out of|over|above) my (?:budget|reach|range|limit|means)\b",
    r"\bmore than i (?!hoped|expected|asked|need|wanted)",
    r"\bi (?:am|will be) (?:busy|booked|away|working|out of town|tied up|unavailable)\b|\bi work\b",
    r"\bi (?:already )?have (?:an?|my|to (?:work|be|go|leave|attend|visit|study|travel|pick|see)) "
    r"(?!\w* ?(?:deal|agreement|offer|proposal))",
    r"\b(?:is|are) (?:closed|booked|taken|full)\b",
)
_QUOTED = any_of(
    r"\byou (?:just |first |originally |also |really |already |still |both |had |have |were |are |do )*"
    r"(?:said|say|saying|asked?|asking|wanted|want(?! (?:it|this|to))|offered|offering|mentioned|propos(?:ed|ing)"
    r"|suggest(?:ed|ing)?|quoted|named|started|told|insist(?:ed)?|demand(?:ed)?|keep)\b(?! (?:it|the) (?:for|at)\b)",
    r"\byour (?:\w+ )?(?:offer|price|proposal|bid|ask|asking price|number|suggestion|idea|plan|counter\w*)\b"
    r"|\byour (?:\$|\d)",
    r"\bi (?:know|thought|heard|understand|see|get)\b|\bagree (?:with you )?that\b|\bbetween (?!us\b|you\b|me\b"
    r"|friends\b)",
    r"\bdid you\b|\byou mean\b|\byou think\b",
)
"""The other's words or wishes, and vague ranges."""
_ELSEWHERE = any_of(
    r"\b(?:would|could|should|might) have\b|\bhad (?:offered|paid|said|been|asked)\b",
    r"(?<!if i )(?<!if you )(?<!if we )\bpaid\b|\b(?:bought|used to|sold|sells|(?:ones?|they|people|shops?"
    r"|stores?) sell|ago|originally)\b",
    r"\btakes? (?:me|us|you|him|her|them)\b|\blast (?:year|month|week|time|summer|winter|spring|fall|night)\b",
    r"\b(?:elsewhere|usually|normally)\b",
    r"\bi was asking\b|\bi have been\b|\bi (?:\w+ )?(?:went|visited|met|tried|saved)\b",
    r"\b(?:someone|somebody|another|others?|they|he|she|people|guys?|buyers?|sellers?|friends?|brother|sister"
    r"|neighbou?r)\b.*"
    r"\b(?:offer(?:ed|s|ing)?|pa(?:y|ys|id)|wants?|wanted|asks?|asked|charg\w+|got|gets?|said|told|set)\b",
    r"^(?:because|since)\b",
)
"""Past, other people, reasons."""
_OTHER_SUMS = any_of(
    r"\bit costs?\b|\bcosts? (?:me|about|around|over|more|at)\b|\bcost\b(?! you)",
    r"\b(?:worth|market|online|average|list(?:ed|s|ing)?|valued?|appraised|income|refund|rent|budget"
    r"|brand new|new ones?|retails?)\b",
)
"""What other goods cost, or the same ones elsewhere. Said of sums only: one may well meet at "the market hall"."""
_QUESTIONED = any_of(
    r"^(?:so |and |but |well |wait |really )*(?:why(?! (?:do )?not)|how (?:did|do you|come|is it)"
    r"|what (?:makes|made|is wrong|is so|does)|did|do you (?:mean|want|need|think|really|like|know|remember)"
    r"|are you (?:asking|saying|offering|serious|sure|kidding)|seriously|who|when)\b",
    r"^(?:so |and |but |well |wait |really )*(?:is|are|was|were) (?!.*\b(?:okay|ok|good|possible|free|available"
    r"|fine|all ?right"
    r"|better|convenient|acceptable|fair|doable|too)\b)",
)
_OFFERING = any_of(
    r"\b(?:how about|what about|what if|how does|how would|would you|could you|can you|can we|could we|let us"
    r"|make it|meet|say"
    r"|deal|works?|work for|is (?:fine|good|okay|fair)|it is|final|best|lowest|highest|least|most|take|pay|give"
    r"|settle|sounds?"
    r"|agree\w*|then|do)\b",
    r"\bi (?:can|could|will|would|propose|suggest|offer|want|need|prefer|accept|am (?:offering|asking|thinking|at|free"
    r"|available|hoping)|was (?:thinking|hoping))\b",
    r"\bmy (?:\w+ )?(?:\w+ )?(?:offer|price|proposal|suggestion|share|half|counter\w*|ask)\b",
)
_APART = any_of(
    r"\b(?:than|instead of|except(?: for)?|apart from|other than|not|without|below|under|above|over|beyond|past"
    r"|between|near"
    r"|nearly|almost|forget(?: about)?(?: the| my)?|never mind(?: the| my)?|no)\s(?:the |my |your |that |about )?$"
)
_FROM = re.compile(r"\bfrom (?:the |my |your )?$")
_ONWARD = re.compile(r"\b(?:to|down|up)\b")


def firmness(clause: Clause, start: int, end: int, is_sum: bool) -> int:
    """OFFERED, NAMED or BLOCKED for a term at these characters of a clause. is_sum: an amount, not a day or a place."""
    text = clause.text
    before = text[:start]
    if _APART.search(before) or (_FROM.search(before) and _ONWARD.search(text, end)):
        return BLOCKED
    if WITHDRAWN.search(text):
        return BLOCKED
    agreed = AGREED.search(text) and not _REFUSED.search(text)
    if agreed:
        return OFFERED
    if _REFUSED.search(text) or _QUOTED.search(text) or _ELSEWHERE.search(text):
        return BLOCKED
    if is_sum and _OTHER_SUMS.search(text):
        return BLOCKED
    if clause.question and _QUESTIONED.match(text):
        return BLOCKED
    return OFFERED if _OFFERING.search(text) else NAMED


def refuses(clause: Clause) -> bool:
    """True when the clause turns something down (used where a bare "$90?" precedes it)."""
    return bool(_REFUSED.search(clause.text))
