"""The local model: the same words as plain generation, whatever else is in flight."""

import asyncio

import pytest
import talkative
import torch
from peft import PeftModel
from talkative import GREEDY, TEXTS, ask, make_adapter
from toy_talk import task
from transformers import AutoModelForCausalLM, AutoTokenizer

from sotopia_pi.models.engine import STEP_TOKENS
from sotopia_pi.models.llm_policy import LLMPolicy
from sotopia_pi.models.local_model import ContextTooLong, LocalModel
from sotopia_pi.models.render import Renderer
from sotopia_pi.models.seam import Message, Request, Sampling
from sotopia_pi.models.slots import BLOCK
from sotopia_pi.models.weights import WeightsError, prepare
from sotopia_pi.world.episode import EpisodePlan, Rules, play

folder, adapter = talkative.folder, talkative.adapter


@pytest.fixture(scope="module")
def model(folder, adapter):
    with LocalModel(folder, dtype="float32", max_batch=4, adapters={"BC": adapter}, slots=6) as opened:
        yield opened


def generated(folder, ids, adapter=None, n=GREEDY.max_new_tokens):
    """What transformers' own generation says, one conversation at a time."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    if adapter:
        model = PeftModel.from_pretrained(model, adapter)
    out = model.generate(torch.tensor([ids]), attention_mask=torch.ones(1, len(ids)), max_new_tokens=n, do_sample=False)
    return tuple(out[0, len(ids) :].tolist())


def prompt_ids(model, *messages):
    return Renderer(AutoTokenizer.from_pretrained(model.folder)).render(messages).ids


def test_a_ragged_batch_says_what_plain_generation_says(model, folder):
    for text, reply in zip(TEXTS, ask(model, *TEXTS), strict=True):
        assert reply.token_ids == generated(folder, prompt_ids(model, Message("user", text)))


def test_an_adapter_changes_the_words_and_leaves_the_bare_model_alone(model, folder, adapter):
    text = TEXTS[1]
    ids = prompt_ids(model, Message("user", text))
    bare, tuned = ask(model, text)[0], ask(model, text, adapter="BC")[0]
    assert tuned.token_ids == generated(folder, ids, adapter)
    assert bare.token_ids == generated(folder, ids) != tuned.token_ids
    assert ask(model, text)[0].token_ids == bare.token_ids
    assert bare.model == model.digest() != model.digest("BC") == tuned.model


def test_in_bfloat16_the_words_are_those_of_the_merged_weights_packed_or_not(folder, adapter, monkeypatch):
    def words() -> list:
        with LocalModel(folder, dtype="bfloat16", max_batch=4, adapters={"BC": adapter}) as opened:
            return [r.token_ids for name in (None, "BC") for r in ask(opened, *TEXTS, adapter=name)]

    with_packing = words()
    assert with_packing[:4] != with_packing[4:]
    monkeypatch.setattr("sotopia_pi.models.local_model.pack_linear_maps", lambda model: None)
    assert words() == with_packing


def test_both_variants_may_be_asked_at_once(model, folder, adapter):
    async def together():
        requests = [Request((Message("user", text),), GREEDY) for text in TEXTS]
        return await asyncio.gather(
            *(model.chat(name).complete(request) for request in requests for name in (None, "BC"))
        )

    replies = asyncio.run(together())
    for k, text in enumerate(TEXTS):
        ids = prompt_ids(model, Message("user", text))
        assert replies[2 * k].token_ids == generated(folder, ids)
        assert replies[2 * k + 1].token_ids == generated(folder, ids, adapter)


def test_a_conversation_is_continued_from_what_is_remembered(model, folder):
    talk, known = [Message("user", TEXTS[2])], 0
    for turn in range(4):
        reply = asyncio.run(model.chat().complete(Request(tuple(talk), GREEDY)))
        ids = prompt_ids(model, *talk)
        assert reply.token_ids == generated(folder, ids)
        assert reply.usage["cached_tokens"] >= known
        known = len(ids) + len(reply.token_ids) - 1
        talk += [Message("assistant", reply.text, reply.token_ids), Message("user", f"And ${turn}?")]


def test_a_shared_beginning_is_computed_once_and_copied(model, folder):
    shared = "Here are examples of talks between people. " * 8
    replies = ask(model, *(shared + text for text in TEXTS[:3]))
    again = ask(model, *(shared + text for text in ("one", "two", "three")))
    assert all(reply.usage["cached_tokens"] > 60 for reply in again)
    for text, reply in zip(("one", "two", "three"), again, strict=True):
        assert reply.token_ids == generated(folder, prompt_ids(model, Message("user", shared + text)))
    assert len(replies) == 3


def test_more_requests_than_slots_are_all_answered(model):
    texts = [f"Offer number {k}" for k in range(25)]
    replies = ask(model, *texts)
    alone = [ask(model, text)[0] for text in texts[::8]]
    assert [r.token_ids for r in replies[::8]] == [r.token_ids for r in alone]


def test_long_prompts_are_computed_in_parts_while_others_go_on(model, folder):
    texts = [f"{k} " + "a long story about a lamp and its price. " * 14 for k in range(4)]
    for text, reply in zip(texts, ask(model, *texts), strict=True):
        ids = prompt_ids(model, Message("user", text))
        assert 4 * len(ids) > 2 * STEP_TOKENS
        assert reply.token_ids == generated(folder, ids)


def test_sampling_depends_on_the_request_and_not_on_its_company(model):
    warm = Sampling(temperature=1.0, top_p=0.9, max_new_tokens=10)
    alone = ask(model, TEXTS[0], sampling=warm, seeds=[5])[0]
    crowd = ask(model, *TEXTS, sampling=warm, seeds=[5, 6, 7, 8])
    other = ask(model, TEXTS[0], sampling=warm, seeds=[6])[0]
    assert crowd[0].token_ids == alone.token_ids != other.token_ids


def test_exact_replies_are_bit_equal_in_any_order(folder):
    warm = Sampling(temperature=1.0, max_new_tokens=10)
    said = []
    for order in ((0, 1, 2, 3), (3, 1, 0, 2)):
        with LocalModel(folder, exact=True) as model:
            replies = ask(model, *(TEXTS[k] for k in order), sampling=warm, seeds=order)
            said.append(dict(zip(order, replies, strict=True)))
    assert said[0] == said[1]
    assert all(reply.usage["cached_tokens"] == 0 for reply in said[0].values())


def test_the_end_marker_ends_a_reply_and_stays_out_of_its_text():
    with LocalModel(prepare("tiny-random"), dtype="float32") as model:
        replies = ask(model, *TEXTS * 6, sampling=Sampling(temperature=1.0, max_new_tokens=40))
    ended = [reply for reply in replies if reply.finish_reason == "stop"]
    cut = [reply for reply in replies if reply.finish_reason == "length"]
    assert len(ended) > len(cut) and len(ended) + len(cut) == len(replies)
    assert all(reply.token_ids[-1] == 2 and reply.outcome == "ok" for reply in ended)
    assert all(2 not in reply.token_ids[:-1] and "<|im_end|>" not in reply.text for reply in ended)
    assert all(reply.outcome == "truncated" and len(reply.token_ids) == 40 for reply in cut)


def test_the_stream_adds_up_to_the_reply_and_ends_with_it(model):
    async def both():
        request = Request((Message("user", TEXTS[2]),), GREEDY)
        pieces = [piece async for piece in model.chat().stream(request)]
        return pieces, await model.chat().complete(request)

    (*pieces, last), reply = asyncio.run(both())
    assert "".join(pieces) == reply.text and len(pieces) > 1
    assert (last.text, last.token_ids, last.outcome) == (reply.text, reply.token_ids, reply.outcome)
    assert last.usage["completion_tokens"] == len(reply.token_ids) and last.model == reply.model


def test_choices_are_scored_by_their_probability(model, folder):
    choices = ["Yes", "No, sorry", "$"]
    request = Request((Message("user", TEXTS[2]),), GREEDY)
    scores = asyncio.run(model.chat().choice_logprobs(request, choices))
    plain = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    prompt = prompt_ids(model, *request.messages)
    for choice, score in zip(choices, scores, strict=True):
        words = AutoTokenizer.from_pretrained(folder)(choice)["input_ids"]
        shares = plain(torch.tensor([prompt + words])).logits[0].log_softmax(-1).detach()
        expected = sum(float(shares[len(prompt) - 1 + k, word]) for k, word in enumerate(words))
        assert score == pytest.approx(expected, abs=1e-3)


def test_bare_text_goes_on_without_a_chat_template_and_one_step_scores_all_single_tokens(model, folder, monkeypatch):
    text, choices = "Is $40 enough?\nA. yes\nB. no\nAnswer:", ["$", "?", "$ A", " B and A"]
    steps = []
    compute = model._engine._compute
    monkeypatch.setattr(model._engine, "_compute", lambda *given: steps.append(1) or compute(*given))
    request = Request((Message("user", text),), GREEDY)
    single = asyncio.run(model.chat().text_logprobs(request, choices[:2]))
    assert len(steps) == 1
    scores = asyncio.run(model.chat().text_logprobs(request, choices))
    plain, tokenizer = (
        AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32),
        AutoTokenizer.from_pretrained(folder),
    )
    start = len(tokenizer(text)["input_ids"])
    for choice, score in zip(choices, scores, strict=True):
        ids = tokenizer(text + choice)["input_ids"]
        shares = plain(torch.tensor([ids])).logits[0].log_softmax(-1).detach()
        assert score == pytest.approx(sum(float(shares[k - 1, ids[k]]) for k in range(start, len(ids))), abs=1e-3)
    assert single == pytest.approx(scores[:2], abs=1e-4)


def test_bare_text_is_one_message_and_no_choice_is_empty(model):
    one, other = Message("user", "Is it?"), Message("assistant", "Yes")
    with pytest.raises(ValueError, match="2 messages, but bare text is one"):
        asyncio.run(model.chat().text_logprobs(Request((one, other)), [" A"]))
    with pytest.raises(ValueError, match="an empty choice"):
        asyncio.run(model.chat().text_logprobs(Request((one,)), [" A", ""]))


def test_a_conversation_beyond_the_context_is_refused_and_others_go_on(folder):
    with LocalModel(folder, dtype="float32", max_context=80) as model:
        with pytest.raises(ContextTooLong, match=r"item 'task-1', turn 6: \d+ prompt tokens .* 80 "):
            request = Request((Message("user", "word " * 100),), GREEDY, item_id="task-1", turn=6)
            asyncio.run(model.chat().complete(request))
        assert ask(model, "Hi")[0].token_ids


def test_retraining_an_adapter_changes_the_digest(model, folder, tmp_path):
    model.add_adapter("again", make_adapter(folder, tmp_path / "a", seed=1))
    model.add_adapter("other", make_adapter(folder, tmp_path / "b", seed=2))
    assert model.digest("again") == model.digest("BC") != model.digest("other")
    with pytest.raises(ValueError, match="is not loaded"):
        model.chat("unknown")
    with pytest.raises(ValueError, match="adapter_config"):
        model.add_adapter("none", tmp_path)


@pytest.mark.parametrize("on_processor", [True, False])
@pytest.mark.parametrize("n_tokens", [BLOCK, 2 * BLOCK + 5])
def test_pieces_of_any_length_are_attended_to_alike(model, folder, n_tokens, on_processor, monkeypatch):
    """Within one block and over several, as a processor does it and as a graphics card."""
    monkeypatch.setattr(model._engine, "_remember", False)
    monkeypatch.setattr(model._engine._slots, "on_processor", on_processor)
    text = "a" * (n_tokens - len(prompt_ids(model, Message("user", ""))))
    ids = prompt_ids(model, Message("user", text))
    assert len(ids) == n_tokens and ask(model, text)[0].token_ids == generated(folder, ids)


@pytest.mark.slow
def test_the_default_model_answers_a_question_and_plays_an_episode():
    try:
        folder = prepare()
    except WeightsError as error:
        pytest.skip(f"the default model is neither cached nor to be downloaded here: {error}")
    with LocalModel(folder, max_batch=2, dtype="float32") as model:  # its two likeliest answers lie 0.1 nats apart
        reply = ask(model, "What is the capital of France?", sampling=Sampling(0, 1, 20))[0]
        assert "Paris" in reply.text and reply.outcome == "ok"
        policy = LLMPolicy(model.chat(), "base", model.digest(), sampling=Sampling(0.7, 0.95, 48), retries=3)
        rules = Rules(turn_limit=4, on_failure="none")
        episode = asyncio.run(play(EpisodePlan(task(), (policy, policy), rules, seed=1)))
    spoken = [turn for turn in episode.turns if not turn.failed]
    assert episode.outcome == "completed" and spoken
    assert all(turn.calls[-1]["token_ids"] and turn.calls[-1]["model"] == model.digest() for turn in spoken)
    later = [turn.calls[0]["usage"] for turn in episode.turns[2:] if not turn.failed]
    assert all(usage["cached_tokens"] > 100 for usage in later)
