"""The style of transcripts and token masks: scoped to their classes, light and dark, on one line."""

_LIGHT = (
    "--paper:#ffffff;--ink:#1f2328;--soft:#57606a;--line:#d0d7de;--one:#e8f1fa;--two:#fdf0e3;--one-edge:#0072b2;"
    "--two-edge:#d55e00;--bad:#b3261e;--bad-paper:#fdecea;--tag:#eaeef2"
)
_DARK = (
    "--paper:#16191d;--ink:#e6e6e6;--soft:#a0a8b0;--line:#3b424a;--one:#16293a;--two:#33230f;--one-edge:#56b4e9;"
    "--two-edge:#e69f00;--bad:#ff9b92;--bad-paper:#3a1a18;--tag:#2a3037"
)


def themed(name: str, width: str = "56em") -> str:
    """Colours of a class in light and dark: by the reader's system, or by JupyterLab's theme where there is one.

    width: the most it takes of a wide page, in CSS.
    """
    return (
        f".{name}{{{_LIGHT};color-scheme:light}}"
        f"@media (prefers-color-scheme:dark){{.{name}{{{_DARK};color-scheme:dark}}}}"
        f'[data-jp-theme-light="true"] .{name}{{{_LIGHT};color-scheme:light}}'
        f'[data-jp-theme-light="false"] .{name}{{{_DARK};color-scheme:dark}}'
        f".{name}{{background:var(--paper);color:var(--ink);border:1px solid var(--line);border-radius:8px;"
        f"padding:1em 1.2em;margin:1em 0;max-width:{width};font:15px/1.5 system-ui,sans-serif;overflow-wrap:anywhere}}"
        f".{name} .hidden-character{{background:var(--bad-paper);color:var(--bad);font:.75em monospace;padding:0 .25em;"
        "border-radius:3px}"
    )


_RULES = {
    "p": "margin:.35em 0",
    ".reason": "font-weight:600",
    ".head,.by,.stakes,.between": "color:var(--soft);font-size:.87em",
    ".scene": "font-size:1.08em",
    ".cast": "display:grid;grid-template-columns:repeat(auto-fit,minmax(17em,1fr));gap:.8em;margin:.8em 0",
    ".person": "border:1px solid var(--line);border-top-width:4px;border-radius:6px;padding:.5em .8em",
    ".person.side0": "border-top-color:var(--one-edge)",
    ".person.side1": "border-top-color:var(--two-edge)",
    "h4": "margin:.1em 0;font-size:1.05em",
    "summary": "cursor:pointer;color:var(--soft);font-size:.87em",
    "dl": "margin:.4em 0;font-size:.87em",
    "dt": "font-weight:600;margin-top:.35em;float:none;width:auto",
    "dd": "margin:0 0 0 .8em;float:none;width:auto",
    ".mark": "font-size:.78em;font-weight:400;border-radius:3px;padding:.05em .4em;background:var(--tag)",
    ".mark.private": "background:var(--bad-paper);color:var(--bad)",
    ".turns": "list-style:none;margin:1em 0;padding:0",
    ".turn": "border-left:4px solid;border-radius:4px;padding:.35em .8em;margin:.45em 0;width:fit-content",
    ".turn.side0": "max-width:86%;background:var(--one);border-color:var(--one-edge);margin-right:auto",
    ".turn.side1": "max-width:86%;background:var(--two);border-color:var(--two-edge);margin-left:auto",
    ".kind": "color:var(--soft);font-size:.85em",
    ".turn .said": "margin:.1em 0",
    ".turn.gesture .said,.turn.action .said": "font-style:italic",
    ".turn.silent,.turn.leave": "border-left-style:dashed",
    ".turn.failed": "background:var(--bad-paper);border-color:var(--bad);border-left-style:double",
    ".turn.failed .kind,.warning": "color:var(--bad)",
    ".raw": "font:.85em monospace",
    ".played": "display:flex;flex-wrap:wrap;gap:0 1.4em;align-items:flex-start",
    ".played .turns": "flex:3 1 26em",
    ".outcome": "border-top:1px solid var(--line);padding-top:.5em;flex:2 1 18em;position:sticky;top:0",
    ".outcome .why": "border-top:0;padding:0 .6em .3em;font-size:.95em",
    ".outcome .why p": "margin:.15em 0",
    "table": "border-collapse:collapse;font-size:.87em;color:inherit",
    "caption": "text-align:left;color:var(--soft)",
    "th,td": "border:1px solid var(--line);padding:.2em .6em;text-align:left;color:inherit;background:none",
    ".outcome th,.outcome td": "white-space:normal",
    "tr th": "font-weight:400",
}


def scoped(name: str, rules: dict[str, str]) -> str:
    """CSS in which every selector is below one class."""
    return "".join(
        ",".join(f".{name} {part}" for part in selector.split(",")) + f"{{{body}}}" for selector, body in rules.items()
    )


STYLE = themed("sotopia-play", width="66em") + scoped("sotopia-play", _RULES)

PAIR_STYLE = (
    ".sotopia-pair{display:grid;grid-template-columns:repeat(2,minmax(0,1fr));gap:.8em}"
    ".sotopia-pair .cast{grid-template-columns:1fr}"
    "@media(max-width:48em){.sotopia-pair{grid-template-columns:1fr}}"
)
"""Two transcripts in a `<div class="sotopia-pair">` stand beside each other where the page is wide enough."""
