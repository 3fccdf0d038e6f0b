"""Models by one string: what stands behind each role, read from a parameter and checked without opening anything.

openai:MODEL                     OpenAI; the key comes from OPENAI_API_KEY
openai:MODEL@BASE_URL            any server of that protocol, without a key
openai:...?key=NAME              the key comes from the environment variable NAME (`?key=`: no key)
local:NAME_OR_FOLDER             a model on this machine: a known name, a folder, or a hub id
local:NAME_OR_FOLDER+ADAPTER     the same with a LoRA adapter folder
scripted:NAME                    a scripted policy, one of SCRIPTED
payoff                           the rule, where a judge is asked for
"""

import os
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from sotopia_pi.models.weights import CONVERSION, DEFAULT_MODEL, TINY_MODEL, cache_folder
from sotopia_pi.store.params import ParameterError, closest, refuse_secret

Kind = Literal["openai", "local", "scripted", "payoff"]

FORMS: dict[str, str] = {
    "openai": "openai:MODEL[@BASE_URL][?key=NAME]",
    "local": "local:NAME_OR_FOLDER[+ADAPTER]",
    "scripted": "scripted:NAME",
    "payoff": "payoff",
}
KINDS_OF_ROLE: dict[str, tuple[Kind, ...]] = {
    "writer": ("openai", "local"),
    "expert": ("openai", "local", "scripted"),
    "partner": ("openai", "local", "scripted"),
    "agent": ("openai", "local", "scripted"),
    "judge": ("openai", "local", "payoff"),
}
SCRIPTED = (
    "expert",
    "partner",
    "training-partner",
    "always-accept",
    "never-concede",
    "stall-then-accept",
    "random-valid",
    "step-conceder",
    "split-the-difference",
)

OPENAI_URL = "https://api.openai.com/v1"
OPENAI_KEY = "OPENAI_API_KEY"
ENV_NAME = re.compile(r"[A-Z_][A-Z0-9_]*")


@dataclass(frozen=True)
class ModelSpec:
    """What one string says; checks itself, and `str` writes it out again.

    name: of the model as its server knows it, of the local model or its folder, of the scripted policy, or "payoff".
    base_url, key_env: of a server; an empty key_env means that no key is sent. adapter: LoRA folder of a local model.
    Raises ParameterError, without ever repeating what might be a key.
    """

    role: str
    kind: Kind
    name: str
    base_url: str = ""
    key_env: str = ""
    adapter: str = ""

    def __post_init__(self):
        if self.role not in KINDS_OF_ROLE:
            raise ParameterError(f"there is no role {self.role!r}.{_nearest(self.role, KINDS_OF_ROLE)}")
        for part in (self.name, self.base_url, self.key_env, self.adapter):
            refuse_secret(f"role {self.role!r}", "model", part)
        kinds = KINDS_OF_ROLE[self.role]
        if self.kind not in kinds:
            raise self._wrong(f"this role cannot be {self.kind}; it can be {', '.join(FORMS[k] for k in kinds)}.")
        if not self.name:
            raise self._wrong(f"no name is given; write it as {FORMS[self.kind]}.")
        if self.kind == "openai":
            self._check_server()
        elif self.base_url or self.key_env:
            raise self._wrong("an address and a key belong to a server; write openai:MODEL@BASE_URL for one.")
        if self.adapter and self.kind != "local":
            raise self._wrong(f"an adapter belongs to a local model: {FORMS['local']}.")
        if self.kind == "scripted" and self.name not in SCRIPTED:
            raise self._wrong(f"there is no scripted policy {self.name!r}.{_nearest(self.name, SCRIPTED)}")

    def __str__(self) -> str:
        match self.kind:
            case "openai":
                own = self.base_url == OPENAI_URL
                key = "" if self.key_env == (OPENAI_KEY if own else "") else f"?key={self.key_env}"
                return f"openai:{self.name}{'' if own else f'@{self.base_url}'}{key}"
            case "local":
                return f"local:{self.name}{f'+{self.adapter}' if self.adapter else ''}"
            case "scripted":
                return f"scripted:{self.name}"
            case "payoff":
                return "payoff"

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> "ModelSpec":
        return cls(**record)

    def _check_server(self) -> None:
        try:
            address = urlsplit(self.base_url)
            usable = address.scheme in ("http", "https") and address.hostname and (address.port or True)
        except ValueError:
            usable = False
        if not usable or address.query or address.fragment or re.search(r"\s", self.base_url):
            raise self._wrong("the address after @ must be like http://127.0.0.1:8000/v1.")
        if address.username is not None or address.password is not None:
            raise self._wrong("the address after @ holds a user or a password; put keys into the environment only.")
        if self.key_env and not ENV_NAME.fullmatch(self.key_env):
            raise self._wrong(
                "?key= takes the NAME of an environment variable, in capitals, like OPENAI_API_KEY; the key itself "
                "belongs into that variable and nowhere else (what came is not shown, it might be one)."
            )

    def _wrong(self, what: str) -> ParameterError:
        return ParameterError(f"role {self.role!r}, {self.kind} model {self.name!r}: {what}")


def parse_model(role: str, text: str) -> ModelSpec:
    """What stands behind a role. role: one of KINDS_OF_ROLE; text: see the top of this module.

    A key is never sent to an address that was not meant for it: only OpenAI itself gets OPENAI_API_KEY unasked.
    Raises ParameterError naming the role, what came, what is allowed and the closest name.
    """
    if role not in KINDS_OF_ROLE:
        raise ParameterError(f"there is no role {role!r}.{_nearest(role, KINDS_OF_ROLE)}")
    refuse_secret(f"role {role!r}", "model", text)
    head, question, option = text.strip().partition("?")
    kind, colon, rest = head.partition(":")
    if question and kind != "openai":
        raise ParameterError(f"role {role!r}, model {head!r}: only {FORMS['openai']} takes something after a `?`.")
    match kind if colon else head:
        case "openai" if colon:
            return _server(role, rest, option if question else None)
        case "local" if colon:
            name, _, adapter = rest.partition("+")
            return ModelSpec(role, "local", name, adapter=adapter)
        case "scripted" if colon:
            return ModelSpec(role, "scripted", rest)
        case "payoff" if not colon:
            return ModelSpec(role, "payoff", "payoff")
    forms = ", ".join(FORMS[kind] for kind in KINDS_OF_ROLE[role])
    near = closest(kind, FORMS)
    hint = f" Did you mean {FORMS[near]}?" if near else ""
    raise ParameterError(f"role {role!r}: {_shown(head)!r} names no model.{hint} Allowed for this role: {forms}.")


def missing_for(spec: ModelSpec) -> list[str]:
    """What a model needs and is not there, one sentence each; nothing is opened and no network is used."""
    who = f"role {spec.role!r}, model {spec.name!r}"
    match spec.kind:
        case "openai" if spec.key_env and not os.environ.get(spec.key_env, "").strip():
            return [f"{who}: the environment variable {spec.key_env} is not set; export it before you start"]
        case "local":
            lacking = [_missing_weights(spec.name), *(_missing_adapter(spec.adapter) if spec.adapter else ())]
            return [f"{who}: {what}" for what in lacking if what]
        case _:
            return []


def _server(role: str, rest: str, option: str | None) -> ModelSpec:
    name, *address = re.split(r"@(?=https?://)", rest, maxsplit=1)
    if "@" in name:
        raise ParameterError(
            f"role {role!r}, model {_shown(name)!r}: the address after @ begins with http:// or https://, like "
            f"openai:MODEL@http://127.0.0.1:8000/v1."
        )
    base_url = address[0].rstrip("/") if address else OPENAI_URL
    if option is None:
        return ModelSpec(role, "openai", name, base_url, "" if address else OPENAI_KEY)
    setting, equals, key_env = option.partition("=")
    if setting != "key" or not equals:
        raise ParameterError(
            f"role {role!r}, openai model {name!r}: after the `?` only key=NAME is known, the NAME of the environment "
            f"variable that holds the key (what came is not shown, it might be a key)."
        )
    return ModelSpec(role, "openai", name, base_url, key_env)


def _missing_weights(name: str) -> str:
    folder = Path(name).expanduser()
    if name == TINY_MODEL:
        return ""
    if name == DEFAULT_MODEL:
        here = (cache_folder() / f"{DEFAULT_MODEL}-{CONVERSION}").is_dir()
        return "" if here else f"its weights are not in {cache_folder()} yet; the first use downloads them (0.1 GB)"
    if folder.is_dir():
        return "" if (folder / "config.json").is_file() else f"{folder} has no config.json, so it is no model folder"
    if folder.is_absolute() or name.startswith((".", "~")):
        return f"there is no folder {folder}"
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", name):
        return f"it is neither a folder here, nor a hub id, nor one of {DEFAULT_MODEL}, {TINY_MODEL}"
    from huggingface_hub import try_to_load_from_cache

    here = isinstance(try_to_load_from_cache(name, "config.json"), str)
    return "" if here else "its weights are not in the hub's cache here; the first use downloads them"


def _missing_adapter(adapter: str) -> list[str]:
    folder = Path(adapter).expanduser()
    needed = ("adapter_config.json", "adapter_model.safetensors")
    if not folder.is_dir():
        return [f"there is no adapter folder {folder}"]
    return [f"adapter folder {folder} has no {file}" for file in needed if not (folder / file).is_file()]


def _shown(text: str) -> str:
    """A text as an error may repeat it: without a user and password in an address."""
    return re.sub(r"[^/@\s]*:[^/@\s]*@", "...@", text)


def _nearest(asked: str, known: Any) -> str:
    near = closest(asked, known)
    return f" Did you mean {near!r}?" if near else f" Known: {', '.join(known)}."
