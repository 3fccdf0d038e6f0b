"""The last layer computed for some rows: there it answers as it does for all, with the same gradients."""

import asyncio
from contextlib import nullcontext

import pytest
import torch
from torch import nn
from toy_mistral import save_mistral
from transformers import AutoModelForCausalLM

from sotopia_pi.models import engine
from sotopia_pi.models.last_layer import only_for
from sotopia_pi.models.local_model import LocalModel
from sotopia_pi.models.seam import Message, Request, Sampling
from sotopia_pi.models.weights import TINY_MODEL, prepare
from sotopia_pi.stages import batches
from sotopia_pi.stages.batches import summed_loss
from sotopia_pi.stages.examples import SFTExample
from sotopia_pi.stages.lora import LoraSettings, adapter_tensors, base_with_adapter

IDS = torch.arange(2 * 30).reshape(2, -1) % 50
ROWS = torch.tensor([3, 29, 30, 41])


@pytest.fixture
def decoder(tmp_path) -> nn.Module:
    return AutoModelForCausalLM.from_pretrained(save_mistral(tmp_path, vocab_size=64, context=128)).eval().model


def hidden(decoder: nn.Module) -> torch.Tensor:
    return decoder(input_ids=IDS, use_cache=False).last_hidden_state.flatten(0, 1)


def rows_computed(part: nn.Module, counts: list[int]) -> None:
    part.register_forward_pre_hook(lambda _, args: counts.append(args[0].flatten(0, -2).shape[0]))


@torch.no_grad()
def test_it_answers_for_the_rows_as_it_does_for_all_and_computes_no_others(decoder):
    counts: list[int] = []
    rows_computed(decoder.layers[-1].mlp.up_proj, counts)
    rows_computed(decoder.layers[-2].mlp.up_proj, counts)
    plain = hidden(decoder)
    with only_for(decoder, ROWS):
        some = hidden(decoder)
    torch.testing.assert_close(some[ROWS], plain[ROWS])
    assert counts == [60, 60, 60, len(ROWS)]
    assert torch.equal(hidden(decoder), plain), "afterwards it answers for all again"
    assert "forward" not in vars(decoder.layers[-1].mlp)


@torch.no_grad()
def test_a_way_that_somebody_else_gave_a_part_stays_its_way(decoder):
    mlp = decoder.layers[-1].mlp
    mlp.forward = theirs = lambda x: x * 2
    plain = hidden(decoder)
    with only_for(decoder, ROWS):
        torch.testing.assert_close(hidden(decoder)[ROWS], plain[ROWS])
    assert mlp.forward is theirs


@torch.no_grad()
@pytest.mark.parametrize("other", ["no such part", "recomputed"])
def test_other_decoders_answer_for_all(decoder, other):
    plain = hidden(decoder)
    if other == "recomputed":
        decoder.layers[-1].gradient_checkpointing = True
    else:
        attention = decoder.layers[-1].self_attn
        attention.query, attention.forward = attention.q_proj, lambda hidden_states, **_: (hidden_states, None)
        del attention.q_proj
        plain = hidden(decoder)
    with only_for(decoder, ROWS):
        assert torch.equal(hidden(decoder), plain)


def test_a_training_asks_for_the_supervised_rows_and_learns_the_same(tmp_path, monkeypatch):
    folder = save_mistral(tmp_path, vocab_size=64, context=128)
    examples = [
        SFTExample(f"e-{n}", 0, tuple(k % 50 for k in range(n)), tuple(k % 3 == 1 for k in range(n))) for n in (20, 33)
    ]
    found, counts = [], []
    for narrowed in (True, False):
        if not narrowed:
            monkeypatch.setattr(batches, "only_for", lambda *_: nullcontext())
        model = base_with_adapter(folder, LoraSettings(dtype="float32"))
        rows_computed(model.get_base_model().model.layers[-1].mlp.down_proj, counts)
        with torch.no_grad():
            for tensor in adapter_tensors(model).values():
                tensor.copy_(torch.randn(tensor.shape, generator=torch.Generator().manual_seed(1)) * 0.1)
        loss = summed_loss(model, examples)
        loss.backward()
        found.append((loss.detach(), {name: p.grad for name, p in adapter_tensors(model).items()}))
    torch.testing.assert_close(*found)
    assert counts == [sum(sum(e.own[1:]) for e in examples), 2 * 33]


def test_a_player_asks_for_the_last_token_of_a_prompt(monkeypatch):
    asked = []

    def watched(decoder, rows):
        asked.append(rows.tolist())
        return only_for(decoder, rows)

    monkeypatch.setattr(engine, "only_for", watched)
    request = Request((Message("user", "a few words to read"),), Sampling(0.0, max_new_tokens=3))
    with LocalModel(prepare(TINY_MODEL), dtype="float32") as model:
        asyncio.run(model.chat().complete(request))
        long = Request((Message("user", "word " * engine.STEP_TOKENS),), Sampling(0.0, max_new_tokens=3))
        assert asyncio.run(model.chat().complete(long)).outcome in ("ok", "truncated"), "steps that end no prompt"
    assert len(asked[0]) == 1 and asked[0][0] > 3 and len(asked) == 2, "once a prompt, not for single tokens"
