"""A local model in several processes answers as in one, and tells of whatever ends them."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import talkative
from talkative import GREEDY, TEXTS, ask

from sotopia_pi.models import engine_pool, local_model
from sotopia_pi.models.engine import ContextTooLong
from sotopia_pi.models.engine_pool import _sendable
from sotopia_pi.models.local_model import LocalModel, fastest_processes
from sotopia_pi.models.seam import Message, Request, Sampling

folder, adapter = talkative.folder, talkative.adapter
LONG = Request((Message("user", "Hi"),), Sampling(temperature=0, max_new_tokens=1900))


@pytest.fixture(scope="module")
def pooled(folder, adapter):
    with LocalModel(folder, dtype="float32", adapters={"BC": adapter}, processes=2) as model:
        yield model


def wait_until(true) -> bool:
    """Whether it becomes true within ten seconds."""
    end = time.monotonic() + 10
    while not true() and time.monotonic() < end:
        time.sleep(0.05)
    return true()


def test_two_processes_answer_as_one_does(folder, adapter, pooled):
    letters = Request((Message("user", "Which one?"),), GREEDY)
    with LocalModel(folder, dtype="float32", adapters={"BC": adapter}, processes=1) as alone:
        for name in (None, "BC"):
            ours, theirs = (ask(model, *TEXTS, adapter=name) for model in (pooled, alone))
            assert [reply.token_ids for reply in ours] == [reply.token_ids for reply in theirs]
            assert ours[0].model == theirs[0].model == pooled.digest(name)
            for ask_for in ("choice_logprobs", "text_logprobs"):
                asked = [asyncio.run(getattr(m.chat(name), ask_for)(letters, (" A", " Bee"))) for m in (pooled, alone)]
                assert asked[0] == pytest.approx(asked[1], abs=1e-4)
            drawn = {"sampling": Sampling(temperature=1, top_p=0.9, max_new_tokens=12), "seeds": [5] * 4}
            ours, theirs = (ask(model, *TEXTS, adapter=name, **drawn) for model in (pooled, alone))
            assert [reply.token_ids for reply in ours] == [reply.token_ids for reply in theirs]


def test_interrupting_a_cell_does_not_reach_the_processes(pooled):
    """Jupyter sends the signal to the kernel's whole group."""
    groups = {os.getpgid(worker.process.pid) for worker in pooled._engine._workers}
    assert len(groups) == 2 and os.getpgid(0) not in groups


def test_a_reply_comes_piece_by_piece(pooled):
    async def pieces():
        return [piece async for piece in pooled.chat().stream(Request((Message("user", TEXTS[0]),), GREEDY))]

    *said, whole = asyncio.run(pieces())
    assert len(said) > 2 and "".join(said) == whole.text == ask(pooled, TEXTS[0])[0].text


def test_conversations_are_spread_and_each_goes_on_where_it_began(pooled):
    async def talk(k: int) -> list[int]:
        messages, anew = [Message("system", f"{k} is a person who likes lamps, chairs and old tables. " * 5)], []
        for turn in range(4):
            messages.append(Message("user", f"Turn {turn}: what do you say to that?"))
            reply = await pooled.chat().complete(Request(tuple(messages), GREEDY))
            messages.append(Message("assistant", reply.text, reply.token_ids))
            anew.append(reply.usage["prompt_tokens"] - reply.usage["cached_tokens"])
        return anew

    async def all_of_them():
        return await asyncio.gather(*(talk(k) for k in range(8)))

    before = [len(worker.known) for worker in pooled._engine._workers]
    anew = asyncio.run(all_of_them())
    assert all(len(w.known) > n for w, n in zip(pooled._engine._workers, before, strict=True)), "one process did it all"
    later = [n for talked in anew for n in talked[1:]]
    assert sum(n > 100 for n in later) <= len(later) // 4, "most turns read only what is new"


def test_what_goes_wrong_in_a_process_is_raised_here(pooled, tmp_path):
    with pytest.raises(ContextTooLong, match="Raise max_context"):
        ask(pooled, "a" * 3000)
    with pytest.raises(ValueError, match="adapter_config"):
        pooled.add_adapter("none", tmp_path)
    assert "none" not in pooled._engine.digests and ask(pooled, "Hi")[0].token_ids


class Picky(Exception):
    """An error that cannot be put together again from what it was told."""

    def __init__(self, what, why):
        super().__init__(f"{what}: {why}")


def test_an_error_that_cannot_travel_is_sent_in_words():
    sent = _sendable(Picky("the lamp", "too dear"))
    assert isinstance(sent, RuntimeError) and str(sent) == "Picky: the lamp: too dear"
    assert _sendable(None) is None and isinstance(_sendable(ContextTooLong("long")), ContextTooLong)


def test_nobody_computes_what_nobody_waits_for(pooled, monkeypatch):
    ends = []
    take = pooled._engine._take
    monkeypatch.setattr(pooled._engine, "_take", lambda *given: ends.append(given[3:]) or take(*given))
    monkeypatch.setattr(engine_pool, "LOOK_EVERY_S", 0.02)  # the whole reply takes a second

    async def give_up():
        asked = [asyncio.create_task(pooled.chat().complete(LONG)) for _ in range(4)]
        await asyncio.sleep(0.05)
        for one in asked:
            one.cancel()

    asyncio.run(give_up())
    assert wait_until(lambda: not any(worker.calls for worker in pooled._engine._workers))
    assert ends == [(None, None)] * 4, "a process went on to the end of a reply"


def test_a_process_that_dies_is_told_of(folder):
    model = LocalModel(folder, dtype="float32", processes=2)

    async def ask_and_kill():
        asked = [asyncio.create_task(model.chat().complete(LONG)) for _ in range(2)]
        await asyncio.sleep(0.1)
        for worker in model._engine._workers:
            worker.process.kill()
        return await asyncio.gather(*asked, return_exceptions=True)

    errors = asyncio.run(ask_and_kill())
    assert any("ended by itself with status -9: most often the machine ran out of memory" in str(e) for e in errors)
    assert all(isinstance(error, RuntimeError) for error in errors)
    model.close()


def test_a_model_that_cannot_be_opened_is_told_of_and_leaves_no_process(folder, tmp_path):
    broken = shutil.copytree(folder, tmp_path / "broken")
    (broken / "model.safetensors").write_bytes(b"no weights")
    before = set(psutil.Process().children())
    with pytest.raises(Exception, match="header"):
        LocalModel(broken, dtype="float32", processes=2)
    assert set(psutil.Process().children()) <= before


def test_the_processes_end_with_the_one_that_opened_them(folder):
    code = f"""
import time
from sotopia_pi.models.local_model import LocalModel
model = LocalModel({str(folder)!r}, dtype="float32", processes=2)
print(*(worker.process.pid for worker in model._engine._workers), flush=True)
time.sleep(60)
"""
    opener = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=os.environ, cwd=Path(__file__).parents[1]
    )
    pids = [int(pid) for pid in opener.stdout.readline().split()]
    assert len(pids) == 2 and all(map(psutil.pid_exists, pids))
    opener.send_signal(signal.SIGKILL)
    opener.wait()
    assert wait_until(lambda: not any(map(psutil.pid_exists, pids)))


def test_what_is_to_be_exact_is_computed_by_one_process(folder):
    with LocalModel(folder, exact=True, processes=2) as model:
        assert model.processes == 1


def test_there_are_as_many_processes_as_are_fast(folder, tmp_path, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(local_model, "own_cores", lambda: 3)
    monkeypatch.setattr(local_model, "ROOM", 1)
    assert fastest_processes(folder, "cpu") == 1, "a tiny model answers before a process has started"
    with (tmp_path / "model.safetensors").open("wb") as file:
        file.truncate(local_model.SMALLEST)
        assert fastest_processes(tmp_path, "cpu") == 3
        assert fastest_processes(tmp_path, "cuda:0") == 1
        monkeypatch.setattr(local_model, "own_cores", lambda: 64)
        assert fastest_processes(tmp_path, "cpu") == local_model.MOST_PROCESSES
        monkeypatch.setattr(local_model, "ROOM", psutil.virtual_memory().total)
        assert fastest_processes(tmp_path, "cpu") == 1, "memory is short"
        file.truncate(local_model.LARGEST + 1)
        assert fastest_processes(tmp_path, "cpu") == 1, "not every process can hold such a model"
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert fastest_processes(folder, "cpu") == 1
