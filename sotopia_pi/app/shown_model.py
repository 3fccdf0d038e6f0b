"""A model string as a stranger may read it."""

import re
from pathlib import Path


def shown_model(text: str) -> str:
    """A model string without addresses of servers, names of keys and places of this machine.

    `openai:gpt-4@http://10.0.0.5/v1?key=MINE` becomes `openai:gpt-4`, a folder its name. Whatever is no model string
    stays as it is.
    """
    kind, colon, rest = text.partition("?")[0].partition(":")
    if not colon or kind not in ("openai", "local"):
        return text
    name = re.split(r"@(?=https?://)", rest, maxsplit=1)[0]
    adapter = ""
    if kind == "local":
        name, plus, folder = name.partition("+")
        adapter = f"+{_last(folder)}" if plus else ""
    return f"{kind}:{_last(name)}{adapter}"


def _last(name: str) -> str:
    """A folder's own name; a model id as it is."""
    return Path(name).name if name.startswith(("/", ".", "~")) else name
