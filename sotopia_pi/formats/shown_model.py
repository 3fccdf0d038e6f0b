"""Model strings, and what is made of them, as a stranger may read them."""

import re
from pathlib import Path

_ADDRESS = re.compile(r"\b[a-z]+://[^\s'\"<>)]+")


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
        adapter = f"+{shown_name(folder)}" if plus else ""
    return f"{kind}:{shown_name(name)}{adapter}"


def shown_role(role: str) -> str:
    """A role's name, which holds the model string where a stage plays or rates with several: `agent openai:...`."""
    name, space, model = role.partition(" ")
    return f"{name} {shown_model(model)}" if space else role


def without_addresses(text: str) -> str:
    """What a failure says, without the addresses of servers in it."""
    return _ADDRESS.sub("(address)", text)


def shown_name(name: str) -> str:
    """A folder's own name; a model id as it is."""
    return Path(name).name if name.startswith(("/", ".", "~")) else name
