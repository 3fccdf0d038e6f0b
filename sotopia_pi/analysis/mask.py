"""The loss mask of one training example, as coloured tokens: what the model learns to say, and what it only reads."""

from collections.abc import Sequence

from sotopia_pi.analysis.escaping import STANDS_ALONE, escaped
from sotopia_pi.analysis.transcript_style import scoped, themed

_RULES = {
    ".tokens": "font:13px/1.9 monospace;white-space:pre-wrap",
    "span.own": "background:var(--one-edge);color:var(--paper);border-radius:2px",
    "span.read": "background:var(--tag);color:var(--soft);border-radius:2px",
    "span.own,span.read": "padding:.1em 0;margin-right:1px",
    "p": "margin:.3em 0",
    ".key": "padding:.1em .5em",
}
_STYLE = themed("sotopia-mask") + scoped("sotopia-mask", _RULES)


def mask_html(tokens: Sequence[str], own: Sequence[bool]) -> str:
    """Tokens of one example in order, those that carry loss in colour, with a legend and the counts.

    tokens: the text of each token (as `tokenizer.decode([id])` gives it); own: whether it carries loss, of the same
    length. Raises ValueError when the lengths differ.
    """
    if len(tokens) != len(own):
        raise ValueError(f"{len(tokens)} tokens and {len(own)} mask entries; the mask needs one entry a token")
    learnt = sum(map(bool, own))
    share = f"{learnt / len(tokens):.0%}" if tokens else "0%"
    shown = "".join(_token(text, mine) for text, mine in zip(tokens, own, strict=True))
    return (
        f'<div class="sotopia-mask {STANDS_ALONE}"><style>{_STYLE}</style>'
        f'<p><span class="own key">the agent\'s own words and end marker: trained on ({learnt})</span> '
        f'<span class="read key">read only: no loss ({len(tokens) - learnt})</span> '
        f"{len(tokens)} tokens, {share} trained on</p>"
        f'<div class="tokens">{shown}</div></div>'
    )


def _token(text: str, own: bool) -> str:
    return f'<span class="{"own" if own else "read"}">{escaped(text).replace("<br>", "↵<br>")}</span>'
