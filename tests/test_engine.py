"""The thread in which a local model computes: what it opens, takes in, gives back, and tells of errors."""

import asyncio
import threading

import psutil
import pytest
import talkative
from talkative import GREEDY, TEXTS, ask

from sotopia_pi.models import local_model
from sotopia_pi.models.engine import PATIENCE
from sotopia_pi.models.local_model import LocalModel
from sotopia_pi.models.seam import Message, Request, Sampling

folder, adapter = talkative.folder, talkative.adapter


def test_an_error_in_the_models_thread_reaches_the_caller_and_the_thread_lives_on(folder):
    with LocalModel(folder, dtype="float32") as model:
        intact = model.renderer.tokenizer.chat_template
        model.renderer.tokenizer.chat_template = "{{ raise_exception('refused') }}"
        with pytest.raises(ValueError, match="refused"):
            asyncio.run(model.chat().complete(Request((Message("user", "a"), Message("user", "b")))))
        model.renderer.tokenizer.chat_template = intact
        assert ask(model, "Hi")[0].token_ids


def test_a_request_that_nobody_waits_for_any_more_gives_its_slot_back(folder):
    async def give_up_and_ask_again(chat):
        request = Request((Message("user", "Hi"),), Sampling(temperature=1, max_new_tokens=1900))
        asked = asyncio.create_task(chat.complete(request))
        await asyncio.sleep(0.05)
        asked.cancel()
        return await chat.complete(Request((Message("user", "Hi"),), GREEDY))

    with LocalModel(folder, dtype="float32", max_batch=1, slots=1) as model:
        assert asyncio.run(give_up_and_ask_again(model.chat())).usage["completion_tokens"] <= 12


@pytest.mark.parametrize("processes", [1, 2])
def test_a_closed_model_has_no_thread_and_no_process_and_says_that_it_is_closed(folder, processes):
    before = [t.name for t in threading.enumerate()].count("local-model")
    others = set(psutil.Process().children())
    model = LocalModel(folder, dtype="float32", processes=processes)
    assert len(set(psutil.Process().children()) - others) == (processes if processes > 1 else 0)
    chat = model.chat()

    async def ask_and_close():
        request = Request((Message("user", "Hi"),), Sampling(temperature=1, max_new_tokens=1500))
        asked = asyncio.create_task(chat.complete(request))
        await asyncio.sleep(0.02)
        await asyncio.to_thread(model.close)
        with pytest.raises(RuntimeError, match="closed before it answered"):
            await asked

    asyncio.run(ask_and_close())
    assert [t.name for t in threading.enumerate()].count("local-model") == before
    assert set(psutil.Process().children()) <= others
    with pytest.raises(RuntimeError, match="is closed"):
        asyncio.run(chat.complete(Request((Message("user", "Hi"),))))


def test_two_adapters_that_take_turns_both_step_full_batches(folder, adapter, monkeypatch):
    with LocalModel(folder, dtype="float32", max_batch=2, adapters={"BC": adapter}, slots=3) as model:
        batches = []
        step = model._engine._step
        monkeypatch.setattr(
            model._engine, "_step", lambda jobs, name: batches.append((name, len(jobs))) or step(jobs, name)
        )

        async def all_of_them():
            request = Request((Message("user", TEXTS[0]),), GREEDY)
            return await asyncio.gather(*(model.chat(name).complete(request) for name in ("BC", None) * 3))

        replies = asyncio.run(all_of_them())
        assert len({reply.text for reply in replies[::2]}) == len({reply.text for reply in replies[1::2]}) == 1
        assert max(n for name, n in batches if name) == 2, "the bare model's requests take no room of the adapter's"
        assert {name for name, _ in batches[:4]} == {"BC", None}


def test_a_model_is_opened_in_the_thread_that_computes_with_it(folder, monkeypatch):
    """A second thread that computes would slow both down; what goes wrong there is the caller's to know."""
    threads = []
    pack = local_model.pack_linear_maps
    monkeypatch.setattr(
        local_model, "pack_linear_maps", lambda model: threads.append(threading.current_thread()) or pack(model)
    )
    with LocalModel(folder, dtype="float32") as model:
        assert threads == [model._engine._thread]

    def refuse(model):
        raise OSError("no room")

    monkeypatch.setattr(local_model, "pack_linear_maps", refuse)
    with pytest.raises(OSError, match="no room"):
        LocalModel(folder, dtype="float32")


def test_a_small_batch_waits_for_company_but_not_for_long(folder, adapter, monkeypatch):
    with LocalModel(folder, dtype="float32", max_batch=16, adapters={"BC": adapter}) as model:
        steps = []
        step = model._engine._step
        monkeypatch.setattr(model._engine, "_step", lambda jobs, name: steps.append(name) or step(jobs, name))
        request = Request((Message("user", TEXTS[0]),), Sampling(temperature=0, max_new_tokens=60))

        async def all_of_them():
            many = [model.chat().complete(request) for _ in range(12)]
            return await asyncio.gather(model.chat("BC").complete(request), *many)

        replies = asyncio.run(all_of_them())
        assert [reply.usage["completion_tokens"] for reply in replies] == [60] * 13
        beside = steps[: len(steps) - steps[::-1].index(None)]
        alone = beside.count("BC")
        assert beside.count(None) / (PATIENCE + 2) <= alone <= beside.count(None) / PATIENCE + 2
        assert steps[-1] == "BC" and steps.count("BC") >= 60, "nobody is left out"


def test_a_prompt_that_another_request_is_reading_is_read_once(folder):
    """Side by side from the first step, and still each goes on from what the first one read."""
    request = Request((Message("user", "word " * 80),), GREEDY)
    with LocalModel(folder, dtype="float32", max_batch=8) as model:

        async def all_of_them():
            other = Request((Message("user", "other " * 80),), GREEDY)
            return await asyncio.gather(*(model.chat().complete(one) for one in (request, request, other, request)))

        first, second, other, third = asyncio.run(all_of_them())
    n = first.usage["prompt_tokens"]
    assert [reply.usage["cached_tokens"] for reply in (first, second, third)] == [0, n - 1, n - 1]
    assert first.token_ids == second.token_ids == third.token_ids
    assert other.usage["cached_tokens"] < n / 2, "what begins otherwise waits for nobody"


def test_one_who_waits_for_a_prompt_goes_on_when_its_reader_is_gone(folder, monkeypatch):
    request = Request((Message("user", "word " * 80),), GREEDY)
    with LocalModel(folder, dtype="float32", max_batch=8) as model:
        engine, compute, failed = model._engine, model._engine._compute, []

        def once(*arguments):
            if not failed:
                failed.append(True)
                raise RuntimeError("no room")
            return compute(*arguments)

        monkeypatch.setattr(engine, "_compute", once)

        async def both():
            replies = (model.chat().complete(request) for _ in range(2))
            return await asyncio.gather(*replies, return_exceptions=True)

        lost, answered = asyncio.run(both())
    assert isinstance(lost, RuntimeError) and answered.token_ids
