"""Fine-tuning learns from the supervised tokens alone, and a kill changes nothing."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from sotopia_pi.models.weights import prepare
from sotopia_pi.stages import finetune
from sotopia_pi.stages.batches import micro_batches, split, steps_of_epoch, summed_loss
from sotopia_pi.stages.examples import SFTExample
from sotopia_pi.stages.finetune import planned_steps, train_adapter
from sotopia_pi.stages.lora import LoraSettings, adapter_tensors, base_with_adapter, lr_share
from sotopia_pi.store.items import without_times

SETTINGS = LoraSettings(r=4, alpha=8, dtype="float32", epochs=3, batch_size=4, validation_share=0.1)
VOCABULARY = 500


def toy_examples(n=24, seed=0):
    """Examples of random ids and lengths with a random mask, two sides an episode."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(12, 50, n)
    return [
        SFTExample(f"episode-{i // 2}", i % 2, rng.integers(0, VOCABULARY, length), rng.random(length) < 0.4)
        for i, length in enumerate(lengths)
    ]


@pytest.fixture(scope="module")
def tiny():
    return prepare("tiny-random")


def adapter_bytes(folder):
    return (Path(folder) / "adapter" / "adapter_model.safetensors").read_bytes()


def metrics(folder):
    return [json.loads(line) for line in (Path(folder) / "metrics.jsonl").read_text().splitlines()]


def moved_adapter(tiny, settings=SETTINGS):
    """A model whose adapter is no longer nothing."""
    model = base_with_adapter(tiny, settings)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in adapter_tensors(model).values():
            p.copy_(torch.randn(p.shape, generator=generator) * 0.1)
    return model


def gradient(model, loss):
    model.zero_grad()
    loss.backward()
    return torch.cat([p.grad.flatten() for p in adapter_tensors(model).values()])


def test_the_loss_equals_that_of_all_logits_one_example_at_a_time(tiny):
    model, examples = moved_adapter(tiny), toy_examples(8)
    expected = 0.0
    with torch.no_grad():
        for example in examples:
            log_p = model(input_ids=torch.tensor([example.ids])).logits[0].log_softmax(-1)
            expected -= sum(log_p[i - 1, example.ids[i]].item() for i in range(1, len(example.ids)) if example.own[i])
        found = summed_loss(model, examples).item()
    assert found == pytest.approx(expected, rel=1e-5)


def test_one_example_a_side_has_the_gradient_of_one_example_a_turn(tiny):
    model, side = moved_adapter(tiny), toy_examples(1)[0]
    stretches, turns = [i for i, own in enumerate(side.own) if own and not side.own[i - 1]], []
    for start in stretches:
        end = next((i for i in range(start, len(side.own)) if not side.own[i]), len(side.own))
        own = [int(start <= i < end) for i in range(end)]
        turns.append(SFTExample(side.episode_id, side.side, side.ids[:end], own))
    assert len(turns) > 2
    whole = gradient(model, summed_loss(model, [side]) / side.n_supervised)
    apart = gradient(model, summed_loss(model, turns) / sum(t.n_supervised for t in turns))
    torch.testing.assert_close(whole, apart, rtol=1e-4, atol=1e-7)


def test_parts_of_a_step_add_up_to_the_step(tiny):
    model, examples = moved_adapter(tiny), toy_examples(9)
    whole = gradient(model, summed_loss(model, examples))
    parts = list(micro_batches(examples, 100))
    assert len(parts) > 2 and sorted(e.id for p in parts for e in p) == sorted(e.id for e in examples)
    torch.testing.assert_close(whole, gradient(model, sum(summed_loss(model, p) for p in parts)), rtol=1e-4, atol=1e-6)


def test_only_unsupervised_tokens_may_change_without_changing_their_own_loss(tiny):
    """A target that is masked out adds no loss: with the last token unsupervised, its id does not matter."""
    model, example = moved_adapter(tiny), toy_examples(1)[0]
    masked = replace(example, own=(*example.own[:-1], 0))
    other = replace(masked, ids=(*masked.ids[:-1], (masked.ids[-1] + 1) % VOCABULARY))
    with torch.no_grad():
        assert summed_loss(model, [masked]).item() == summed_loss(model, [other]).item()


def test_training_lowers_the_loss_and_leaves_the_base_alone(tiny, tmp_path):
    example = toy_examples(1)[0]
    same = [replace(example, episode_id=f"episode-{i}") for i in range(16)]
    result = train_adapter(tiny, same, replace(SETTINGS, lr=1e-2, epochs=6, validation_share=0.0), tmp_path / "out")
    assert result.loss_last < result.loss_first - 0.5
    assert result.steps == 24 and result.tokens == 6 * 16 * len(example.ids)
    assert result.supervised_tokens == 6 * 16 * example.n_supervised
    model = base_with_adapter(tiny, SETTINGS, None)
    assert all("lora_" in name for name in adapter_tensors(model))


def test_each_epoch_sees_every_example_once_in_another_order():
    examples = toy_examples(30)
    orders = [[e.id for step in steps_of_epoch(examples, SETTINGS, epoch) for e in step] for epoch in (0, 1)]
    assert sorted(orders[0]) == sorted(orders[1]) == sorted(e.id for e in examples)
    assert orders[0] != orders[1]


def test_held_out_episodes_are_never_trained_on_and_scored_each_epoch(tiny, tmp_path):
    parts = split(toy_examples(), SETTINGS)
    assert parts.held_out and not {e.episode_id for e in parts.train} & {e.episode_id for e in parts.held_out}
    train_adapter(tiny, toy_examples(), SETTINGS, tmp_path / "out")
    rows = metrics(tmp_path / "out")
    assert [r["step"] for r in rows] == list(range(planned_steps(toy_examples(), SETTINGS)))
    assert sum(r["held_out_loss"] is not None for r in rows) == SETTINGS.epochs
    assert sum(r["tokens"] for r in rows) == SETTINGS.epochs * sum(len(e.ids) for e in parts.train)


def test_the_learning_rate_warms_up_and_falls_to_nothing():
    settings = LoraSettings(warmup_ratio=0.1)
    shares = [lr_share(step, 100, settings) for step in range(100)]
    assert shares[0] < shares[5] < shares[10] == 1.0
    assert shares[55] == pytest.approx(0.5) and shares[99] < 0.001


KILLED = """
import sys, json
from tests.test_finetune import SETTINGS, toy_examples
from dataclasses import replace
from sotopia_pi.stages.finetune import train_adapter
train_adapter(sys.argv[1], toy_examples(), replace(SETTINGS, epochs=15, dropout=0.1, checkpoint_s=float(sys.argv[3])), sys.argv[2])
"""  # noqa: E501


@pytest.mark.slow
def test_killed_and_started_again_training_ends_with_the_same_adapter(tiny, tmp_path):
    settings = replace(SETTINGS, epochs=15, dropout=0.1, checkpoint_s=0.05)
    train_adapter(tiny, toy_examples(), settings, tmp_path / "whole")
    killed = tmp_path / "killed"
    root = Path(__file__).parents[1]
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tiny), str(killed), "0.05"],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": str(torch.get_num_threads())},
    )
    deadline = time.monotonic() + 120
    while not (killed / "checkpoint.pt").exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert process.returncode == -signal.SIGKILL, "it was over before it could be killed"
    assert not (killed / "settings.json").exists()
    train_adapter(tiny, toy_examples(), settings, killed)
    assert adapter_bytes(killed) == adapter_bytes(tmp_path / "whole")
    assert without_times(metrics(killed)) == without_times(metrics(tmp_path / "whole"))
    assert not (killed / "checkpoint.pt").exists()


def test_stopped_at_a_checkpoint_training_ends_with_the_same_adapter(tiny, tmp_path):
    """As above, in one process: the progress bar raises in the middle, as a full disk would."""

    class Stops:
        def __init__(self, at):
            self.left = at

        def advance(self, failed=False, **info):
            self.left -= 1
            if self.left == 0:
                raise KeyboardInterrupt

    settings = replace(SETTINGS, dropout=0.1, checkpoint_s=0)
    train_adapter(tiny, toy_examples(), settings, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train_adapter(tiny, toy_examples(), settings, tmp_path / "stopped", progress=Stops(8))
    train_adapter(tiny, toy_examples(), settings, tmp_path / "stopped")
    assert adapter_bytes(tmp_path / "stopped") == adapter_bytes(tmp_path / "whole")
    assert len(metrics(tmp_path / "stopped")) == len(metrics(tmp_path / "whole"))


def test_finished_training_is_not_repeated_and_other_settings_move_it_aside(tiny, tmp_path):
    first = train_adapter(tiny, toy_examples(), SETTINGS, tmp_path)
    written = (tmp_path / "settings.json").stat().st_mtime_ns
    assert train_adapter(tiny, toy_examples(), replace(SETTINGS, checkpoint_s=1), tmp_path) == first
    assert (tmp_path / "settings.json").stat().st_mtime_ns == written
    second = train_adapter(tiny, toy_examples(), replace(SETTINGS, lr=5e-3), tmp_path)
    assert second.adapter_digest != first.adapter_digest
    (aside,) = (tmp_path / "previous").iterdir()
    assert json.loads((aside / "settings.json").read_text())["result"]["adapter_digest"] == first.adapter_digest
    assert (aside / "adapter" / "adapter_model.safetensors").exists() and (aside / "metrics.jsonl").exists()
    third = train_adapter(tiny, toy_examples(seed=1), replace(SETTINGS, lr=5e-3), tmp_path)
    assert third.adapter_digest != second.adapter_digest


def test_a_lost_adapter_is_trained_again_to_the_same_bytes(tiny, tmp_path):
    train_adapter(tiny, toy_examples(), SETTINGS, tmp_path)
    before = adapter_bytes(tmp_path)
    (tmp_path / "adapter" / "adapter_model.safetensors").unlink()
    train_adapter(tiny, toy_examples(), SETTINGS, tmp_path)
    assert adapter_bytes(tmp_path) == before


def test_training_continues_an_adapter_from_where_it_stands(tiny, tmp_path):
    train_adapter(tiny, toy_examples(), replace(SETTINGS, lr=1e-2), tmp_path / "bc")
    still = replace(SETTINGS, lr=1e-12, epochs=1)
    start = tmp_path / "bc" / "adapter"
    train_adapter(tiny, toy_examples(seed=1), still, tmp_path / "bc_sr", start_from=start)
    before, after = (base_with_adapter(tiny, SETTINGS, tmp_path / name / "adapter") for name in ("bc", "bc_sr"))
    for a, b in zip(adapter_tensors(before).values(), adapter_tensors(after).values(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-9)
    with pytest.raises(ValueError, match="takes that adapter's shape"):
        train_adapter(tiny, toy_examples(), replace(still, r=8), tmp_path / "other", start_from=start)


def test_only_the_upper_layers_get_an_adapter_when_asked(tiny):
    model = base_with_adapter(tiny, replace(SETTINGS, layers_share=0.5))
    assert {name.split(".layers.")[1].split(".")[0] for name in adapter_tensors(model)} == {"1"}


def test_the_adapter_acts_in_another_model_as_in_training(tiny, tmp_path):
    from peft import PeftModel

    train_adapter(tiny, toy_examples(), replace(SETTINGS, lr=1e-2), tmp_path)
    plain = AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float32)
    ids = torch.tensor([toy_examples(1)[0].ids])
    with torch.no_grad():
        base = plain(input_ids=ids).logits
        loaded = PeftModel.from_pretrained(plain, str(tmp_path / "adapter"))(input_ids=ids).logits
        trained = base_with_adapter(tiny, SETTINGS, tmp_path / "adapter").eval()(input_ids=ids).logits
    torch.testing.assert_close(loaded, trained)
    assert (loaded - base).abs().max() > 0.01


def test_errors_say_what_is_allowed(tiny, tmp_path):
    with pytest.raises(ValueError, match="no examples to train on"):
        train_adapter(tiny, [], SETTINGS, tmp_path)
    with pytest.raises(ValueError, match="more than max_tokens = 5"):
        train_adapter(tiny, toy_examples(), replace(SETTINGS, max_tokens=5), tmp_path)
    with pytest.raises(ValueError, match="allowed: cosine, linear, constant"):
        LoraSettings(schedule="step")
    with pytest.raises(ValueError, match="unknown LoRA settings: rank"):
        LoraSettings.from_dict({"rank": 3})
    assert LoraSettings.from_dict(SETTINGS.to_dict()) == SETTINGS


def test_a_base_that_lets_no_gradient_through_is_an_error_and_no_training(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(finetune, "summed_loss", lambda model, part: sum(0 * p.sum() for p in model.parameters()))
    with pytest.raises(FloatingPointError, match="step 0: no gradient reached the adapter"):
        train_adapter(tiny, toy_examples(), SETTINGS, tmp_path)
    assert not (tmp_path / "settings.json").exists()
