"""Processes of a training's own make the adapter that one makes, and tell of whatever ends them."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import torch
from test_finetune import metrics, toy_examples
from test_ranks import SHORT, planned, tensors

from sotopia_pi.models.weights import prepare
from sotopia_pi.stages import train_processes, training_plan
from sotopia_pi.stages.finetune import train_adapter
from sotopia_pi.stages.train_processes import TrainingStopped, n_processes, train_in_processes
from sotopia_pi.stages.training_plan import train_as_planned
from sotopia_pi.store.items import ItemFile

ROOT = Path(__file__).parents[1]


class Steps:
    """Counts what it is told."""

    def __init__(self):
        self.losses = []

    def advance(self, failed=False, **info):
        self.losses.append(float(info["loss"]))


@pytest.fixture
def two_cores(monkeypatch):
    """A machine of two cores that takes any training for a long one."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(train_processes, "own_cores", lambda: 2)
    monkeypatch.setattr(train_processes, "WORTHWHILE_TOKENS", 1)


def test_two_processes_make_the_adapter_that_one_makes_and_report_every_step(tmp_path, two_cores):
    plan, out_dir = planned(tmp_path / "two")
    steps = Steps()
    result = train_as_planned(plan, out_dir, progress=steps)
    assert json.loads((out_dir / "settings.json").read_text())["processes"] == 2
    assert len(steps.losses) == result.steps == len(metrics(out_dir))
    alone = train_adapter(prepare("tiny-random"), toy_examples(), SHORT, tmp_path / "one")
    assert result.loss_last == pytest.approx(alone.loss_last, rel=1e-4)
    for name, tensor in tensors(tmp_path / "one").items():
        torch.testing.assert_close(tensors(out_dir)[name], tensor, rtol=1e-3, atol=1e-5)


def test_what_is_trained_starts_no_process(tmp_path, two_cores, monkeypatch):
    plan, out_dir = planned(tmp_path)
    first = train_as_planned(plan, out_dir)
    monkeypatch.setattr(training_plan, "train_in_processes", lambda *_: pytest.fail("started again"))
    assert train_as_planned(plan, out_dir) == first


def test_a_process_that_fails_is_quoted_and_the_other_ends(tmp_path, two_cores):
    plan, out_dir = planned(tmp_path, replace(SHORT, max_tokens=20))
    before = set(psutil.Process().children())
    with pytest.raises(TrainingStopped, match="more than max_tokens = 20; raise max_tokens"):
        train_as_planned(plan, out_dir)
    assert set(psutil.Process().children()) <= before


def test_a_killed_training_leaves_no_process_and_goes_on(tmp_path, two_cores):
    """Rows of metrics that lie there from before are not reported as new ones until the training has taken them up."""
    _, out_dir = planned(tmp_path / "killed", replace(SHORT, epochs=60, keep_epochs=False, checkpoint_s=0))
    code = f"""
from pathlib import Path
from sotopia_pi.stages.train_processes import train_in_processes
train_in_processes(Path({str(out_dir)!r}), 2)
"""
    trainer = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, env=os.environ)
    rows = ItemFile(out_dir / "metrics.jsonl")
    end = time.monotonic() + 90
    while (not rows.path.exists() or len(rows.read()) < 10) and time.monotonic() < end:
        time.sleep(0.05)
    children = psutil.Process(trainer.pid).children()
    trainer.send_signal(signal.SIGKILL)
    trainer.wait()
    gone, alive = psutil.wait_procs(children, timeout=10)
    assert len(gone) == 2 and not alive
    assert not (out_dir / "settings.json").exists(), "it was killed before its end"
    steps = Steps()
    train_in_processes(out_dir, 2, steps)
    assert [row["step"] for row in metrics(out_dir)] == list(range(len(steps.losses)))


def test_there_are_as_many_processes_as_are_fast(tmp_path, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(train_processes, "own_cores", lambda: 8)
    examples, folder = toy_examples(), prepare("tiny-random")
    assert n_processes(folder, examples, SHORT) == 1, "a short training ends before another process has started"
    many = replace(SHORT, epochs=1 + train_processes.WORTHWHILE_TOKENS // sum(len(e.ids) for e in examples))
    assert n_processes(folder, examples, many) == SHORT.batch_size
    assert n_processes(folder, examples, replace(many, batch_size=20)) == 8
    with (tmp_path / "model.safetensors").open("wb") as file:
        file.truncate(train_processes.LARGEST_BASE + 1)
    assert n_processes(tmp_path, examples, many) == 1
    monkeypatch.setattr(train_processes, "own_device", lambda: "cuda:0")
    assert n_processes(folder, examples, many) == 1
    monkeypatch.undo()
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert n_processes(folder, examples, many) == 1
