"""The paper's preset, whole, over HTTP: only model names, addresses, counts and device are other ones."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
from fault_server import Faults, FaultServer
from role_player import in_role
from sotopia_records import agent, combination, environment, folder, relationship
from toy_mistral import save_mistral
from transformers import AutoTokenizer

from sotopia_pi.models.seam import Message, messages_hash
from sotopia_pi.models.weights import prepare
from sotopia_pi.store.items import ItemFile
from sotopia_pi.store.manifest import read_manifest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
AT_ONCE = 16
"""Calls to one server at a time (the stages' default); what is in flight at a kill may be lost."""
SLOW_S = 0.3
"""Of an answer while a run is to be killed, so that the stage is still far from its end then."""
KEY = "-".join(("sk", "planted", "0123456789abcdefghij"))
"""Looks like a key and is none."""
PRESET = """
extends: paper
model: {model}
dtype: float32
expert: openai:big@{url}?key=PLANTED_KEY
judge: openai:big@{url}?key=PLANTED_KEY
prices: {{big: [1, 2], small: [1, 2]}}
turn_limit: 6
01_social_tasks: {{writer: "openai:big@{url}?key=PLANTED_KEY", n_bc: 4, n_sr: 2, pairs: 2, evaluation: "{profiles}"}}
03_behavior_cloning: {{epochs: 2}}
04_agent_episodes: {{max_new_tokens: 4, probe_tasks: 1}}
05_self_reinforcement: {{epochs: 1}}
06_social_evaluation: {{partner: "openai:small@{url}?key=PLANTED_KEY", max_new_tokens: 40,
  more_judges: ["openai:small@{url}?key=PLANTED_KEY"]}}
08_mmlu: {{questions: own, subjects: [anatomy], n_per_subject: 1, max_new_tokens: 4}}
"""


@pytest.fixture(scope="module")
def mistral(tmp_path_factory) -> Path:
    """Random weights of Mistral's architecture, with the tiny model's tokenizer."""
    place = tmp_path_factory.mktemp("mistral")
    tokenizer = AutoTokenizer.from_pretrained(prepare("tiny-random"))
    save_mistral(place, len(tokenizer), context=8192, eos_token_id=tokenizer.eos_token_id)
    tokenizer.save_pretrained(place)
    return place


def profiles(tmp_path: Path) -> Path:
    """Two published scenarios, one of them hard, between two people."""
    scenarios = [environment(), environment("e-sail", "share_sail", scenario="Two sailors mend one sail in a loft.")]
    place = folder(tmp_path, environments=scenarios, combinations=[combination(), combination("c-2", "e-sail")])
    (place / "hard_env_ids.jsonl").write_text(json.dumps({"env_id": "e-sail"}) + "\n")
    assert agent() and relationship()
    return place


def project(root: Path, mistral: Path, url: str) -> Path:
    for name in ("notebooks", "params"):
        shutil.copytree(ROOT / name, root / name)
    preset = PRESET.format(model=mistral, url=url, profiles=profiles(root))
    (root / "params" / "tiny.yaml").write_text(preset)
    return root


def start(root: Path, *words: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "SOTOPIA_PI_HOME": str(root), "OMP_NUM_THREADS": "1", "PLANTED_KEY": KEY}
    command = [sys.executable, "-m", "sotopia_pi.app.cli", "run", "params/tiny.yaml", *words]
    heard = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, cwd=root, env=environment, start_new_session=True, **heard)


def run(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    process = start(root, *words)
    said = process.communicate(timeout=600)
    return subprocess.CompletedProcess(process.args, process.returncode, *said)


def kill_after(root: Path, stage: str, replies: int, *words: str) -> None:
    """Start the run and SIGKILL it with its kernel once a stage has that many replies; it is not at its end then."""
    process = start(root, *words)
    while len(items(root, stage, "replies.jsonl")) < replies:
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert read_manifest(root / "outputs" / "tiny" / stage) is None


Question = tuple[str, str, int]
"""Model, prompt hash and seed."""


def paid_for(root: Path) -> set[Question]:
    """Every question to which a run keeps the reply."""
    files = (root / "outputs" / "tiny").glob("*/replies.jsonl")
    replies = [reply for file in files for reply in ItemFile(file).read()]
    return {(reply["reply"]["model"], reply["prompt_hash"], reply["seed"]) for reply in replies}


def questions(bodies: list[dict]) -> list[Question]:
    """What the server was asked, under the names by which it calls its models in replies."""
    asked = [[Message(message["role"], message["content"]) for message in body["messages"]] for body in bodies]
    return [(f"{b['model']}-0001", messages_hash(m), b["seed"]) for m, b in zip(asked, bodies, strict=True)]


def items(root: Path, stage: str, file: str) -> list[dict]:
    return ItemFile(root / "outputs" / "tiny" / stage / file).read()


def test_it_runs_to_a_trained_adapter_and_a_results_page_with_a_third_of_all_calls_failing(mistral, tmp_path):
    faults = Faults(share=0.3, kinds=("rate_limit", "server_error", "cut", "torn_json", "empty"), first=2)
    with FaultServer(in_role, faults=faults) as server:
        root = project(tmp_path, mistral, server.url)
        done = run(root)
        assert done.returncode == 0, done.stdout + done.stderr
        assert set(server.keys) == {f"Bearer {KEY}"} and sum(server.given.values()) > 20
        asked = len(server.requests)
        assert run(root).returncode == 0 and len(server.requests) == asked, "finished stages ask nobody again"
    ratings = items(root, "02_expert_episodes", "ratings.jsonl")
    assert {r["outcome"] for r in ratings} <= {"ok", "invalid", "api_error", "truncated", "refused"}
    assert all(r["scores"]["goal"] is None for r in ratings if r["outcome"] != "ok")
    assert sum(r["outcome"] == "ok" for r in ratings) >= len(ratings) / 2
    settings = json.loads((root / "outputs/tiny/03_behavior_cloning/bc/settings.json").read_text())
    assert settings["settings"]["quantisation"] == "nf4" and settings["settings"]["r"] == 8
    assert len(list((root / "outputs/tiny/03_behavior_cloning/bc/epochs").iterdir())) == 2
    page = (root / "outputs/tiny/10_results/report.html").read_text()
    assert "rule-scored" not in page and "judged by big" in page
    agreement = pd.read_csv(root / "outputs/tiny/10_results/tables/agreement.csv")
    assert set(agreement["first"]) == {"big"} and set(agreement["second"]) == {"small"} and agreement["n"].max() > 0
    assert read_manifest(root / "outputs/tiny/06_social_evaluation")["notes"]["roles"]["partner"].startswith(
        "openai:small"
    )
    written = [path for path in (root / "outputs").rglob("*") if path.is_file()]
    assert len(written) > 40 and not [path for path in written if KEY.encode() in path.read_bytes()]
    assert KEY not in done.stdout + done.stderr


def test_killed_while_playing_and_while_evaluating_it_ends_as_if_nothing_had_been(mistral, tmp_path):
    """`exact` plays the local model bit-equal however its conversations meet; server and training are so anyway."""
    words = ("--set", "exact=true")
    with FaultServer(in_role) as server:
        whole, killed = (project(tmp_path / name, mistral, server.url) for name in ("whole", "killed"))
        done = run(whole, *words)
        assert done.returncode == 0, done.stdout + done.stderr
        begun = len(server.requests)
        for stage in ("02_expert_episodes", "06_social_evaluation"):
            server.latency_s = SLOW_S
            kill_after(killed, stage, 10, *words)
            server.latency_s = 0.0
            kept, asked = paid_for(killed), len(server.requests)
            done = run(killed, *words, "--only", stage)
            assert done.returncode == 0, done.stdout + done.stderr
            later = questions(server.requests[asked:])
            assert later and not kept & set(later), f"{stage}: a reply that is kept was asked for again"
        done = run(killed, *words)
        assert done.returncode == 0, done.stdout + done.stderr
        first, second = (Counter(questions(part)) for part in (server.requests[:begun], server.requests[begun:]))
    assert set(first) == set(second) == paid_for(whole) == paid_for(killed) and set(first.values()) == {1}
    assert sum(second.values()) - len(second) <= 2 * AT_ONCE, "asked twice is at most what was in flight at a kill"
    for stage in sorted(path.parent.name for path in (whole / "outputs" / "tiny").glob("*/manifest.json")):
        one, other = (read_manifest(root / "outputs" / "tiny" / stage) for root in (whole, killed))
        assert one["items"] == other["items"] and not other["unanswered"], stage
        assert all(one["digests"][file] == other["digests"][file] for file in one["items"]), stage
