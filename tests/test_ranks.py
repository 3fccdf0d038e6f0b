"""Two processes share the examples of every step and end with the adapter that one process makes."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from test_finetune import SETTINGS, adapter_bytes, metrics, toy_examples

from sotopia_pi.models.weights import prepare
from sotopia_pi.stages.finetune import train_adapter
from sotopia_pi.stages.ranks import Ranks
from sotopia_pi.stages.training_plan import NotTrainedYet, TrainingPlan, train_as_planned
from sotopia_pi.store.items import write_items

ROOT = Path(__file__).parents[1]
LAUNCHERS = {
    "torchrun": ["torch.distributed.run", "--standalone", "--nproc-per-node", "2"],
    "accelerate launch": [
        "accelerate.commands.launch",
        "--multi_gpu",
        "--num_processes",
        "2",
        "--main_process_port",
        "0",
    ],
}
SHORT = replace(SETTINGS, epochs=2, lr=1e-2, keep_epochs=True)


def planned(folder: Path, settings=SHORT) -> tuple[TrainingPlan, Path]:
    """A stage's folder with examples, and the plan for its adapter."""
    examples = toy_examples()
    write_items(folder / "examples.jsonl", [example.to_dict() for example in examples])
    out_dir = folder / "bc"
    plan = TrainingPlan.of(out_dir, "tiny-random", settings, folder / "examples.jsonl", examples)
    plan.write(out_dir)
    return plan, out_dir


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "adapter" / "adapter_model.safetensors")


def launch(out_dir: Path, launcher: str) -> str:
    command = [sys.executable, "-m", *LAUNCHERS[launcher]]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [*command, "-m", "sotopia_pi.app.train", str(out_dir)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_two_processes_make_the_adapter_that_one_makes(tmp_path, launcher):
    plan, out_dir = planned(tmp_path / "two")
    said = launch(out_dir, launcher)
    assert json.loads((out_dir / "settings.json").read_text())["processes"] == 2
    alone = train_adapter(prepare("tiny-random"), toy_examples(), SHORT, tmp_path / "one")
    assert f"{alone.steps} steps" in said
    ours, theirs = tensors(tmp_path / "one"), tensors(out_dir)
    assert set(ours) == set(theirs)
    for name, tensor in ours.items():
        torch.testing.assert_close(theirs[name], tensor, rtol=1e-3, atol=1e-5)
    for one, two in zip(metrics(tmp_path / "one"), metrics(out_dir), strict=True):
        assert two["loss"] == pytest.approx(one["loss"], rel=1e-4)
        assert two["supervised_tokens"] == one["supervised_tokens"], "the step counts all examples, not one's share"
    assert train_as_planned(plan, out_dir, here=False).steps == alone.steps
    assert [path.name for path in sorted((out_dir / "epochs").iterdir())] == ["01", "02"]


def test_every_example_goes_to_exactly_one_process():
    items = list(range(11))
    shares = [Ranks(rank, 3).share(items) for rank in range(3)]
    assert sorted(item for share in shares for item in share) == items
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    assert Ranks().share(items) == items and Ranks().first


def test_told_not_to_train_here_it_says_how_to_train_elsewhere(tmp_path):
    plan, out_dir = planned(tmp_path)
    with pytest.raises(NotTrainedYet, match=r"torchrun --nproc-per-node 2 -m sotopia_pi\.app\.train"):
        train_as_planned(plan, out_dir, here=False)
    here = train_as_planned(plan, out_dir)
    assert train_as_planned(plan, out_dir, here=False) == here


def test_a_plan_survives_moving_its_folder_and_names_what_is_missing(tmp_path):
    plan, out_dir = planned(tmp_path / "here")
    (tmp_path / "here").rename(tmp_path / "there")
    moved = TrainingPlan.read(tmp_path / "there" / "bc")
    assert moved == plan and len(moved.read_examples(tmp_path / "there" / "bc")) == len(toy_examples())
    write_items(tmp_path / "there" / "examples.jsonl", [e.to_dict() for e in toy_examples()[1:]])
    with pytest.raises(ValueError, match="1 of 24 planned examples are not there"):
        moved.read_examples(tmp_path / "there" / "bc")
    with pytest.raises(FileNotFoundError, match="train_here=false"):
        TrainingPlan.read(out_dir)


def test_the_adapter_of_every_epoch_is_kept_where_asked_and_the_last_is_the_result(tmp_path):
    train_adapter(prepare("tiny-random"), toy_examples(), SHORT, tmp_path)
    kept = [path / "adapter_model.safetensors" for path in sorted((tmp_path / "epochs").iterdir())]
    assert [path.parent.name for path in kept] == ["01", "02"]
    assert kept[1].read_bytes() == adapter_bytes(tmp_path) != kept[0].read_bytes()


def test_metrics_go_to_a_tracker_as_well_and_an_absent_one_is_refused(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    told = replace(SHORT, report_to=("tensorboard",), keep_epochs=False)
    result = train_adapter(prepare("tiny-random"), toy_examples(), told, tmp_path / "out")
    files = (tmp_path / "out").rglob("events.out.tfevents.*")
    logs = [EventAccumulator(str(file)).Reload() for file in files]
    (curve,) = (log.Scalars("loss") for log in logs if "loss" in log.Tags()["scalars"])
    assert [point.value for point in curve] == pytest.approx([row["loss"] for row in metrics(tmp_path / "out")])
    assert len(curve) == result.steps
    plain = train_adapter(prepare("tiny-random"), toy_examples(), SHORT, tmp_path / "plain")
    assert plain.adapter_digest == result.adapter_digest, "being watched changes nothing"
    with pytest.raises(ValueError, match="report_to names 'tensorbord'; allowed: "):
        train_adapter(prepare("tiny-random"), toy_examples(), replace(told, report_to=("tensorbord",)), tmp_path / "no")
