"""Clauses: an utterance in plain lower-case words, cut where what is said changes direction."""

import re
import unicodedata
from dataclasses import dataclass

_LETTERS = str.maketrans({"’": "'", "‘": "'", "“": '"', "”": '"', "—": " - ", "–": "-", "*": "", "…": ". "})

_REWRITES = tuple(
    (re.compile(pattern), words)
    for pattern, words in (
        (r"\bcan'?t\b|\bcannot\b", "can not"),
        (r"\bwon'?t\b", "will not"),
        (r"\b(do|does|did|is|are|was|were|would|could|should|has|have|had|ain)n'?t\b", r"\1 not"),
        (r"\blet'?s\b", "let us"),
        (r"\bi'?m\b", "i am"),
        (r"\b(i|you|we|they|he|she|it|that|there|this)'ll\b", r"\1 will"),
        (r"\b(i|you|we|they|he|she|it|that)'d\b", r"\1 would"),
        (r"\b(i|you|we|they|that)'ve\b|\b(i)ve\b", r"\1\2 have"),
        (r"\b(you|we|they)'re\b", r"\1 are"),
        (r"\b(that|it|he|she|there|what|here|who|how|where|deal|offer)'s\b|\b(that)s\b", r"\1\2 is"),
    )
)
_CONTRACTED = re.compile(r"'|\b(?:can|won|don|doesn|didn|isn|wouldn|couldn)t\b|\bcannot\b|\b(?:lets|im|ive|thats)\b")
_SHORTENED = tuple(
    (re.compile(pattern), words)
    for pattern, words in (
        (r"\b([ap])\.\s?m\b\.?", r"\1m"),
        (r"\bo ?'? ?clock\b", "oclock"),
        (r"\bgonna\b", "going to"),
        (r"\bwanna\b", "want to"),
        (r"\bgotta\b", "got to"),
        (r"\bi would be (?:willing|happy|glad|able|prepared) to\b", "i would"),
        (r"\bi am (?:willing|happy|glad|able|prepared) to\b", "i can"),
        (r"\s+", " "),
    )
)

_SENTENCE = re.compile(r"(?<=[.!?;])[\"')\]]*\s+|(?<=[?!])(?=\w)")

_CLAUSE = re.compile(
    r"\s*,\s+|\s+-+\s+|(?<!\d):\s+|\s*\(|\)\s*"
    r"|\s+(?=(?:but|however|though|although|because|since|unless|while|whereas|yet|if)\s)"
    r"|\s+(?=so (?!much|far|many|that|long))"
    r"|\s+(?=(?:and|or) (?:i|you|we|it|that|this|let|then|maybe|how|what|would|could|can|agree|settle|say|call"
    r"|make it|meet at)\b)"
)

_HARMLESS = re.compile(
    r"\b(?:no|not a) (?:problem|worries|rush|pressure|doubt|question|hard feelings|matter|big deal|offen[sc]e)\b"
    r"|\bwhy (?:do )?not (?:we|you|i)?|\b(?:can|could|would|will|do|does|is|are) not (?:we|you)\b"
    r"|\bwould not (?=\S+ be\b)"
    r"|\bnot (?:bad|at all|only|just)\b|\b(?:do|would) not mind\b|\bcan not (?:wait|complain|argue|say no)\b"
    r"|\b(?:and )?(?:no|not (?:a|one) \w+) (?:more|less|lower|higher|further)\b(?! than)|\bcan not (?:do|go"
    r"|get) (?:any )?better than\b"
    r"|\bif not\b|\bor not\b|\bno (?:longer|more) than fair\b"
)
_ANNOUNCING = re.compile(r"\bthis(?=:\s)")
"""The `this` of "I can do this: 8 days": it points to own terms that follow, not to the other's."""


def any_of(*ways: str) -> re.Pattern:
    """One pattern of several ways to say a thing."""
    return re.compile("|".join(ways))


@dataclass(frozen=True)
class Clause:
    """A stretch of words with one direction. sentence: number of its sentence; question: that sentence ends in `?`."""

    text: str
    sentence: int
    question: bool


def plain(text: str) -> str:
    """Lower case, straight quotes, no accents, contractions written out, `a.m.` as `am`."""
    text = text.translate(_LETTERS).lower()
    if not text.isascii():
        text = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    rewrites = _REWRITES + _SHORTENED if _CONTRACTED.search(text) else _SHORTENED
    for pattern, words in rewrites:
        text = pattern.sub(words, text)
    return text.strip().strip('"').strip()


def sentences(text: str) -> list[str]:
    """Sentences of a plain text, with their closing marks."""
    return [part for part in _SENTENCE.split(text) if part.strip()]


def clauses(text: str) -> list[Clause]:
    """All clauses of a plain text in order, without a `this:` and turns of phrase that hold a harmless `not`."""
    found = []
    for number, sentence in enumerate(sentences(text)):
        question = sentence.rstrip("\"') ").endswith("?")
        body = _ANNOUNCING.sub(" ", _HARMLESS.sub(" ", sentence.strip().rstrip(".!?;\"' ")))
        found += [Clause(part.strip(), number, question) for part in _CLAUSE.split(body) if part.strip()]
    return found
