"""A merged variant behind `transformers serve` answers as its adapter does here, token by token."""

import sys
from functools import partial
from pathlib import Path

import openai
import pytest
import torch
from finished_run import RUN
from peft import PeftModel
from shared_run import SharedToy
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerBase

from sotopia_pi.app.bench.peers import transformers_serve
from sotopia_pi.app.bench.work import PeerFailed
from sotopia_pi.app.export_adapters import write_adapters
from sotopia_pi.app.export_merged import write_merged
from sotopia_pi.app.finished_run import FinishedRun
from sotopia_pi.app.share import named_variant
from sotopia_pi.formats.cards import CardOptions
from sotopia_pi.models.render import Renderer
from sotopia_pi.models.seam import Message
from sotopia_pi.models.weights import prepare

pytestmark = pytest.mark.slow
TALKS = (
    (("system", "You sell a lamp."), ("user", "How about $55?")),
    (("user", "Let us meet on Tuesday."), ("assistant", "In the park."), ("user", "Deal!")),
)
WORDS = 24


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """Folders of a variant: its adapter and the merged model."""
    root = tmp_path_factory.mktemp("project")
    toy = SharedToy(root, measured=False)
    run = FinishedRun(root, toy.dir)
    adapters, merged = root / "adapters", root / "merged"
    write_adapters(run, adapters, CardOptions())
    write_merged(run, merged, named_variant(run, "BC+SR"), "float32", CardOptions())
    return adapters / f"{RUN}-bc_sr", merged


@pytest.fixture(scope="module")
def client(shared):
    with transformers_serve(shared[1], "float32", Path(sys.executable).parent) as url:
        yield openai.OpenAI(base_url=url, api_key="none")


def greedy_here(adapter: Path, talk) -> tuple[list[int], PreTrainedTokenizerBase]:
    """Ids of the adapter's own greedy answer on the base in float32, the end marker left out, and their tokenizer."""
    tokenizer = AutoTokenizer.from_pretrained(prepare("tiny-random"))
    renderer = Renderer(tokenizer)
    base = AutoModelForCausalLM.from_pretrained(prepare("tiny-random"), dtype=torch.float32)
    model = PeftModel.from_pretrained(base, adapter).eval()
    ids = renderer.render([Message(role, content) for role, content in talk]).ids
    answer = model.generate(
        input_ids=torch.tensor([ids]), attention_mask=torch.ones(1, len(ids)), max_new_tokens=WORDS, do_sample=False
    )[0, len(ids) :].tolist()
    return [token for token in answer if token not in renderer.end_ids], tokenizer


@pytest.mark.parametrize("talk", TALKS)
def test_the_served_variants_greedy_answer_is_the_local_adapters_token_by_token(shared, client, talk):
    adapter, merged = shared
    messages = [{"role": role, "content": content} for role, content in talk]
    ask = partial(client.chat.completions.create, model=str(merged), messages=messages, temperature=0.0)
    whole = ask(max_tokens=WORDS)
    pieces = [c.choices[0].delta.content or "" for c in ask(max_tokens=WORDS, stream=True) if c.choices]
    expected, tokenizer = greedy_here(adapter, talk)
    assert whole.choices[0].message.content == tokenizer.decode(expected, skip_special_tokens=True)
    assert whole.usage.completion_tokens - len(expected) in (0, 1), "the end marker may be counted"
    assert "".join(pieces) == whole.choices[0].message.content
    assert len(expected) >= 3, "an answer long enough to differ"


def test_the_base_alone_would_have_answered_otherwise(shared):
    adapter, _ = shared
    base = AutoModelForCausalLM.from_pretrained(prepare("tiny-random"), dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(prepare("tiny-random"))
    ids = Renderer(tokenizer).render([Message(role, content) for role, content in TALKS[0]]).ids
    plain = base.generate(input_ids=torch.tensor([ids]), max_new_tokens=WORDS, do_sample=False)[0, len(ids) :].tolist()
    assert plain[: len(greedy_here(adapter, TALKS[0])[0])] != greedy_here(adapter, TALKS[0])[0]


def test_an_adapter_by_itself_cannot_be_served(shared):
    failing = pytest.raises(PeerFailed, match="Unrecognized processing class")
    with failing, transformers_serve(shared[0], "float32", Path(sys.executable).parent):
        pass
