"""Benchmarks of playing and training: both sides do the same work, and what differs is told."""

import json
import threading
from dataclasses import replace

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, MistralConfig

from sotopia_pi.analysis.bench_figure import growth_figure, growth_frame
from sotopia_pi.app.bench import command, growth, large, mmlu, play, sft
from sotopia_pi.app.bench.arithmetic import ModelCost
from sotopia_pi.app.bench.limits import Limits, measure_limits
from sotopia_pi.app.bench.own_process import in_a_thread
from sotopia_pi.app.bench.report import open_report
from sotopia_pi.app.bench.work import Skipped, Unequal
from sotopia_pi.app.console import Lines
from sotopia_pi.formats.question_sources import questions_from
from sotopia_pi.models.weights import TINY_MODEL, prepare
from sotopia_pi.stages.examples import SFTExample
from sotopia_pi.stages.finetune import train_adapter
from sotopia_pi.stages.quiz_prompt import quiz_prompt
from sotopia_pi.store.items import ItemFile

SIDE = SFTExample("episode", 0, range(10, 20), (0, 0, 1, 1, 0, 0, 0, 1, 1, 1))
MACHINE = Limits(flops=1e9, copy=1e12, dtype="float32", threads=1, device="cpu")


def test_the_limit_of_work_is_its_arithmetic_or_its_traffic_whichever_is_longer():
    limits = Limits(flops=100.0, copy=10.0, dtype="bfloat16", threads=1, device="cpu")
    assert limits.seconds(200.0) == 2 and limits.seconds(200.0, 30.0) == 3
    measured = measure_limits("float32", side=64, copied=2**16)
    assert measured.flops > 0 and measured.copy > 0


def test_the_cost_of_a_token_is_counted_from_the_model_itself():
    config = AutoModelForCausalLM.from_pretrained(prepare(TINY_MODEL)).config
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    maps = sum(m.weight.numel() for m in model.model.modules() if isinstance(m, torch.nn.Linear))
    cost = ModelCost.of(config, "float32")
    assert cost.layers == 2 * maps and cost.head == 2 * model.lm_head.weight.numel()
    assert cost.weights == 4 * (maps + model.lm_head.weight.numel())
    width = config.hidden_size // config.num_attention_heads * config.num_attention_heads
    looked_at = sum(position + 1 for position in range(5, 9))
    assert cost.reading(5, 9) == 4 * cost.layers + 4 * width * config.num_hidden_layers * looked_at


def test_every_turn_of_a_side_becomes_an_example_that_ends_with_it():
    first, second = sft.turn_examples([SIDE])
    assert first == {"input_ids": [10, 11, 12, 13], "labels": [-100, -100, 12, 13]}
    assert second["input_ids"] == list(SIDE.ids) and second["labels"] == [-100] * 7 + [17, 18, 19]


@pytest.mark.slow
def test_playing_draws_the_peers_tokens_and_another_token_is_told(monkeypatch):
    with play.open_play(TINY_MODEL, episodes=3, turns=4, dtype="float32") as contest:
        assert contest.ours() > 0 and contest.peer() > 0
        assert contest.limit(MACHINE) > 0
        assert "tokens of 4 episodes are the peer's" in contest.check()
        right = play.Generator.replies
        monkeypatch.setattr(play.Generator, "replies", lambda *a: [[1, *ids[1:]] for ids in right(*a)])
        with pytest.raises(Unequal, match="in float32, episode 0, turn 0"):
            contest.check()


@pytest.mark.slow
def test_logits_in_bfloat16_are_held_against_those_of_the_peer(monkeypatch):
    with play.open_play(TINY_MODEL, episodes=3, turns=4, dtype="bfloat16") as contest:
        contest.ours()
        assert "bfloat16 logits lie" in contest.check()
        right = play._slot_logits
        monkeypatch.setattr(play, "_slot_logits", lambda *a: right(*a) + 0.1)
        with pytest.raises(Unequal, match="times the peer's"):
            contest.check()


def turn_by_turn(shift: int = 0):
    """A peer that trains on turns with our own trainer; shift: positions by which its labels are off."""

    def peer(name: str, request: dict) -> dict:
        assert name == "sft"
        examples = []
        for k, example in enumerate(request["examples"]):
            own = [int(label >= 0) for label in example["labels"]]
            own = own[shift:] + own[:shift]
            examples.append(SFTExample(f"turn-{k}", 0, example["input_ids"], own))
        settings = sft.LoraSettings(
            dtype=request["dtype"],
            batch_size=len(examples),
            epochs=request["epochs"],
            schedule="constant",
            warmup_ratio=0,
            lr=request["lr"],
        )
        out = f"{request['adapter']}-peer"
        result = train_adapter(request["folder"], examples, settings, out, request["adapter"])
        losses = [row["loss"] for row in ItemFile(f"{out}/metrics.jsonl").read()]
        return {"seconds": result.wall_s, "supervised": result.supervised_tokens, "losses": losses}

    return peer


@pytest.mark.slow
def test_one_forward_a_side_has_the_losses_of_one_a_turn_and_other_labels_are_told(monkeypatch, tmp_path):
    monkeypatch.setattr(sft, "run_peer", turn_by_turn())
    with sft.open_sft(TINY_MODEL, episodes=4, subsample=2, dtype="float32") as contest:
        assert contest.ours() > 0 and contest.peer() > 0 and contest.limit(MACHINE) > 0
        assert "losses of two steps in float32" in contest.check()
    monkeypatch.setattr(sft, "run_peer", turn_by_turn(shift=1))
    folder = prepare(TINY_MODEL)
    with pytest.raises(Unequal, match="allowed difference"):
        sft.same_losses(folder, sft.expert_sides(folder, 2), tmp_path)


def test_a_report_is_held_against_its_first_version_where_both_cards_are_there(tmp_path, monkeypatch):
    monkeypatch.setenv("SOTOPIA_PI_HOME", str(tmp_path))
    done = {"status": "complete", "wall_s": 30.0}
    mine, first = tmp_path / "outputs" / "laptop" / "run.json", tmp_path / "first.json"
    mine.parent.mkdir(parents=True)
    first.write_text(json.dumps({"stages": {"01_a": done, "02_b": {**done, "wall_s": 90.0}}}))
    with pytest.raises(Skipped, match="--first"), open_report(None):
        pass
    with pytest.raises(Skipped, match="is not there"), open_report(first):
        pass
    mine.write_text(json.dumps({"stages": {"01_a": done, "02_b": done, "07_c": done}}))
    with open_report(first) as contest:
        assert (contest.ours(), contest.peer()) == (60, 120)
    broken = {"status": "not complete", "wall_s": None}
    first.write_text(json.dumps({"stages": {"01_a": done, "02_b": {**done, "wall_s": 90.0}, "07_c": broken}}))
    with open_report(first) as contest:
        assert (contest.ours(), contest.peer()) == (60, 120) and "07_c" not in contest.note
    first.write_text(json.dumps({"stages": {"07_c": broken}}))
    with pytest.raises(Skipped, match="in common"), open_report(first):
        pass


def test_a_curve_is_on_disk_when_it_is_whole_and_every_value_has_a_panel(tmp_path):
    toy = growth.Curve("toy", "things", lambda: iter([(1, {"s": 2.0, "GiB": 1.0}), (8, {"s": 4.0, "GiB": 1.5})]))
    file = tmp_path / "growth.json"
    for curve in (toy, replace(toy, name="other"), toy):
        command.run_curves([curve], file, Lines())
    points = json.loads(file.read_text())
    assert [(p["curve"], p["x"]) for p in points] == [("other", 1), ("other", 8), ("toy", 1), ("toy", 8)]
    frame = growth_frame(points)
    assert len(frame) == 8
    figure = growth_figure(frame[frame["curve"] == "toy"])
    assert [ax.get_ylabel() for ax in figure.axes if ax.axison] == ["s", "GiB"]


def test_the_limit_of_questions_reads_what_a_subject_shares_once():
    folder, own = prepare(TINY_MODEL), questions_from("own")
    subject, asked = next(iter(own.test.items()))
    one, two = (own.first(n, [subject]) for n in (1, 2))
    cost = ModelCost.of(AutoConfig.from_pretrained(folder), mmlu.DTYPE)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    lengths = [len(tokenizer(quiz_prompt(q, own.examples[subject]))["input_ids"]) for q in asked[:2]]
    seconds = (cost.reading(0, lengths[0]) + cost.head) / MACHINE.flops
    assert mmlu.most_questions(folder, one, MACHINE) == pytest.approx(1 / seconds)
    apart = (sum(cost.reading(0, length) for length in lengths) + 2 * cost.head) / MACHINE.flops
    assert 2 / apart < mmlu.most_questions(folder, two, MACHINE) < 1.95 / seconds


@pytest.mark.slow
def test_growth_is_measured_in_processes_of_their_own(monkeypatch):
    ((episodes, values),) = growth.at_once((2,), TINY_MODEL)
    assert episodes == 2 and values["tokens/s"] > 0 and 0.1 < values["GiB at most"] < 4
    points = list(growth.dialogue(2, 6, TINY_MODEL))
    assert [x for x, _ in points] == [1.5, 4.5] and all(v["seconds a turn"] > 0 for _, v in points)
    ((length, values),) = growth.training((256,), TINY_MODEL)
    assert length == 256 and values["tokens/s"] > 0
    ((size, values),) = growth.results((40,))
    assert size == 40 and values["seconds"] > 0


@pytest.mark.slow
def test_a_large_model_is_measured_by_the_same_way_on_a_small_one():
    small = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
    shape = large.Shape(small | {"num_key_value_heads": 2, "head_dim": 16, "max_position_embeddings": 2048}, 600)
    ((length, values),) = large.qlora(shape, replace(large.papers_settings(), max_tokens=64, batch_size=2))
    assert length == 64 and values["tokens/s"] > 0 and 0 < values["share of the limit"] < 1
    ((episodes, values),) = large.generation(shape, (3,))
    assert episodes == 3 and values["tokens/s"] > 0


def test_the_large_model_has_the_shape_of_mistral_7b():
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(MistralConfig(vocab_size=32_000, **large.MISTRAL_7B))
    assert sum(p.numel() for p in model.parameters()) == 7_241_732_096
    asked = large.papers_settings()
    assert (asked.r, asked.alpha, asked.dropout, asked.batch_size, asked.max_tokens) == (8, 16, 0.05, 4, 4096)
    assert asked.quantisation == "nf4" and asked.gradient_checkpointing and asked.target_modules == ("q_proj", "v_proj")


def test_curves_of_a_large_model_wait_for_a_graphics_card(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert "qlora" not in [curve.name for curve in growth.curves()]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert [curve.name for curve in growth.curves()][-2:] == ["qlora", "generation"]


def test_what_is_measured_in_a_thread_leaves_none_and_its_errors_are_the_callers():
    before = threading.active_count()
    assert in_a_thread(lambda: threading.current_thread().name) != threading.current_thread().name
    with pytest.raises(ZeroDivisionError):
        in_a_thread(lambda: 1 / 0)
    assert threading.active_count() == before
