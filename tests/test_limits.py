"""What holds calls back and what counts them: concurrency, the budget, the meter."""

import asyncio
import time

import pytest
from fault_server import Faults, FaultServer

from sotopia_pi.models.failures import ServerReply, StopAsking, StreamFailed
from sotopia_pi.models.limits import SHARE_APART, Budget, BudgetSpent, Limited
from sotopia_pi.models.meter import Meter, Tally
from sotopia_pi.models.openai_chat import OpenAIChat, Retries
from sotopia_pi.models.prices import Cost, Price, most_prompt_tokens, price_of
from sotopia_pi.models.seam import Message, Reply, Request, Sampling, ScriptedReplies

PRICES = {"gpt": (10.0, 30.0), "mine": (0, 0)}
USAGE = {"prompt_tokens": 20, "cached_tokens": 8, "completion_tokens": 10}


def request(text="Say hello.", tokens=50, item="item-1", **settings):
    return Request((Message("user", text),), Sampling(max_new_tokens=tokens), item_id=item, turn=3, **settings)


class Toy:
    """Answers with 20 prompt and 10 completion tokens, a moment later; counts how many calls it had at once."""

    def __init__(self, reply=None, takes_s=0.005):
        self.reply, self.takes_s = reply or Reply("Hello.", usage=USAGE), takes_s
        self.calls = self.now = self.most = 0

    async def complete(self, request):
        self.calls += 1
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await asyncio.sleep(self.takes_s)
        finally:
            self.now -= 1
        if isinstance(self.reply, Exception):
            raise self.reply
        return self.reply

    async def stream(self, request):
        reply = await self.complete(request)
        if reply.outcome == "refused":
            raise StreamFailed("declined", "refused")
        yield "Hel"
        yield "lo."


def gather(*calls):
    async def all_of_them():
        return await asyncio.gather(*calls, return_exceptions=True)

    return asyncio.run(all_of_them())


async def pieces(chat, one):
    return [piece async for piece in chat.stream(one)]


def test_64_calls_16_at_a_time_take_about_a_sixteenth_of_the_time_of_one_after_the_other():
    async def timed(url):
        client = OpenAIChat("toy", url, None, retries=Retries(0))
        await client.complete(request())
        started = time.monotonic()
        for i in range(8):
            await client.complete(request(item=f"alone-{i}"))
        alone, chat, started = (time.monotonic() - started) / 8, Limited(client, 16), time.monotonic()
        replies = await asyncio.gather(*(chat.complete(request(item=f"item-{i}")) for i in range(64)))
        return alone, time.monotonic() - started, replies

    with FaultServer(latency_s=0.05) as server:
        alone, seconds, replies = asyncio.run(timed(server.url))
    assert all(reply.outcome == "ok" for reply in replies)
    assert 64 / 16 * 0.05 <= seconds < 64 * alone, "what a busy machine adds to each call is in both"
    assert 4 < server.most_at_once <= 16


def test_calls_that_could_begin_together_begin_apart_once_it_is_known_how_long_one_takes():
    begun = []

    class Timed:
        async def complete(self, request):
            begun.append(time.monotonic())
            await asyncio.sleep(0.1)
            return Reply("Hello.")

    chat = Limited(Timed(), 50)

    async def two_rounds():
        for _ in range(2):
            await asyncio.gather(*(chat.complete(request(item=f"item-{i}")) for i in range(20)))

    asyncio.run(two_rounds())
    together, apart = begun[19] - begun[0], begun[39] - begun[20]
    assert together < 19 * SHARE_APART * 0.1 / 50 <= apart


def test_a_stream_takes_a_place_until_it_ends():
    toy = Toy()
    chat = Limited(toy, 1)
    assert (
        gather(pieces(chat, request()), pieces(chat, request()), chat.complete(request()))[:2] == [["Hel", "lo."]] * 2
    )
    assert (toy.calls, toy.most) == (3, 1)


def test_the_token_bound_is_above_what_any_tokenizer_makes_of_the_prompt():
    plain = request("Zwölf Boxkämpfer 🥊" * 10)
    assert most_prompt_tokens(plain) > len(("Zwölf Boxkämpfer 🥊" * 10).encode())
    assert most_prompt_tokens(request("x", schema={"a": "b" * 500})) > most_prompt_tokens(request("x")) + 500


@pytest.mark.parametrize("limits", [{"max_tokens_spent": 1000}, {"max_usd": 0.02}])
def test_the_budget_is_never_exceeded_however_many_calls_start_together(limits):
    toy = Toy()
    budget = Budget(prices=PRICES, **limits)
    chat = budget.around(toy, "gpt", "judge")
    results = gather(*(chat.complete(request(item=f"item-{i}")) for i in range(100)))
    stopped = [result for result in results if isinstance(result, BudgetSpent)]
    done = [result for result in results if isinstance(result, Reply)]
    assert len(done) + len(stopped) == 100 and stopped and done
    assert toy.calls == len(done), "a call that could exceed the budget is not made"
    usd = (10 * 20 + 30 * 10) / 1e6
    assert budget.spent.tokens == 30 * len(done) and budget.spent.usd == pytest.approx(usd * len(done))
    assert budget.reserved == Cost(0, pytest.approx(0, abs=1e-12))
    tokens_left, usd_left = 1000 - budget.spent.tokens, 0.02 - budget.spent.usd
    most = Price(10, 30).cost(most_prompt_tokens(request(item="item-99")), 50)
    if "max_tokens_spent" in limits:
        assert 0 <= tokens_left < most.tokens
    else:
        assert 0 <= usd_left < most.usd, "it stops no earlier than it must"


def test_calls_in_flight_are_counted_and_waited_for():
    """One call could take 300 tokens and takes 30: at most three fit beside each other, and all of them in turn."""
    toy = Toy()
    chat = Budget(max_tokens_spent=1000).around(toy, "gpt")
    most = most_prompt_tokens(request(tokens=100)) + 100
    results = gather(*(chat.complete(request(tokens=100)) for _ in range(20)))
    assert all(isinstance(result, Reply) for result in results)
    assert toy.most == 1000 // most < 20


def test_the_message_says_who_what_was_spent_and_what_to_raise():
    chat = Budget(max_usd=0.009, prices=PRICES).around(Toy(), "gpt", "judge")
    with pytest.raises(BudgetSpent) as raised:
        for _ in range(20):
            asyncio.run(chat.complete(request()))
    assert isinstance(raised.value, StopAsking)
    spent = "360 tokens, $0.0060 in 12 calls"
    for part in ("role 'judge', item 'item-1', turn 3", "max_usd = 0.009", spent, "Raise max_usd", "up to"):
        assert part in str(raised.value)


def test_what_earlier_sittings_spent_counts():
    chat = Budget(max_tokens_spent=1000, already=Cost(990, 0.0)).around(Toy(), "gpt")
    with pytest.raises(BudgetSpent, match="990 tokens"):
        asyncio.run(chat.complete(request()))


def test_money_cannot_be_limited_where_the_price_is_unknown_but_tokens_can():
    with pytest.raises(ValueError, match=r"role 'judge': model 'gpt-9' has no price.*priced: gpt, mine"):
        Budget(max_usd=1, prices=PRICES).around(Toy(), "gpt-9", "judge")
    assert Budget(max_usd=0, prices=PRICES).around(Toy(), "mine")
    assert Budget(max_tokens_spent=1, prices=PRICES).around(Toy(), "gpt-9")


@pytest.mark.parametrize("bad", [(1,), "dear", (-1, 2), (float("nan"), 1), None])
def test_a_price_that_is_none_is_refused_with_its_model(bad):
    with pytest.raises(ValueError, match=r"price of model 'gpt' is .* per million prompt"):
        price_of({"gpt": bad}, "gpt")


def test_a_call_without_usage_counts_with_all_it_can_have_cost_and_a_failed_one_with_nothing():
    budget = Budget(max_tokens_spent=10_000)
    asyncio.run(budget.around(Toy(Reply("Hello.")), "gpt").complete(request()))
    assert budget.spent.tokens == most_prompt_tokens(request()) + 50
    failed = ServerReply("", outcome="api_error", failure="HTTP 500")
    asyncio.run(budget.around(Toy(failed), "gpt").complete(request()))
    assert budget.spent.tokens == most_prompt_tokens(request()) + 50


def test_a_call_that_raises_or_is_given_up_frees_what_it_had_set_aside():
    async def given_up(chat):
        task = asyncio.create_task(chat.complete(request()))
        await asyncio.sleep(0.01)
        task.cancel()
        return await asyncio.gather(task, return_exceptions=True)

    budget = Budget(max_tokens_spent=10_000)
    gather(budget.around(Toy(RuntimeError("no")), "gpt").complete(request()))
    asyncio.run(given_up(budget.around(Toy(takes_s=5), "gpt")))
    assert budget.reserved == budget.spent == Cost()


def test_a_stream_stands_under_the_budget_with_all_it_can_cost():
    budget = Budget(max_tokens_spent=400)
    chat, most = budget.around(Toy(), "gpt"), most_prompt_tokens(request()) + 50
    assert asyncio.run(pieces(chat, request())) == ["Hel", "lo."] and budget.spent.tokens == most
    with pytest.raises(BudgetSpent):
        asyncio.run(pieces(chat, request()))


def test_the_meter_counts_calls_tokens_cost_failures_and_retries_by_role():
    failed = ServerReply("", outcome="api_error", failure="HTTP 500", retries=4)
    refused = ServerReply("No.", outcome="refused", usage=USAGE, retries=1, latency_s=0.5)
    meter = Meter(PRICES)
    judge = meter.around(ScriptedReplies([Reply("Hi", usage=USAGE, latency_s=1.0), failed, refused]), "gpt", "judge")
    partner = meter.around(ScriptedReplies([Reply("Hi", usage=USAGE)]), "mine", "partner")
    for chat in (judge, judge, judge, partner):
        asyncio.run(chat.complete(request()))
    tally = meter.tallies["judge"]
    assert (tally.calls, tally.failed, tally.retries) == (3, 2, 5)
    assert tally.outcomes == {"ok": 1, "api_error": 1, "refused": 1}
    assert (tally.prompt_tokens, tally.cached_tokens, tally.completion_tokens) == (40, 16, 20)
    assert tally.usd == pytest.approx(2 * (20 * 10 + 10 * 30) / 1e6) and tally.latency_s == 1.5
    assert meter.tallies["partner"].usd == 0 and meter.unpriced == []
    assert str(meter) == "4 calls, 2 failed, 90 tokens, $0.00"
    assert {role: Tally.from_dict(t) for role, t in meter.to_dict().items()} == meter.tallies


def test_an_unknown_price_is_said_and_a_local_model_is_free():
    meter = Meter(PRICES)
    asyncio.run(meter.around(Toy(), "gpt-9", "judge").complete(request()))
    asyncio.run(meter.around(Toy(), "smollm2", "agent", free=True).complete(request()))
    assert meter.unpriced == ["gpt-9"] and meter.tallies["judge"].usd is None
    assert str(meter) == "2 calls, 0 failed, 60 tokens, $0.00 (price unknown: gpt-9)"


def test_a_stream_is_metered_as_a_call_with_its_outcome():
    meter = Meter()
    asyncio.run(pieces(meter.around(Toy(), "gpt", "agent"), request()))
    with pytest.raises(StreamFailed):
        asyncio.run(pieces(meter.around(Toy(Reply("", outcome="refused")), "gpt", "agent"), request()))
    assert meter.tallies["agent"].outcomes == {"ok": 1, "refused": 1}


def test_retries_of_a_real_client_reach_the_meter():
    async def metered(url):
        meter = Meter()
        client = OpenAIChat("toy", url, None, retries=Retries(3, 0.001, 1))
        await meter.around(client, "toy", "judge").complete(request())
        return meter.tallies["judge"]

    with FaultServer(faults=Faults(1.0, ("server_error",), first=2)) as server:
        tally = asyncio.run(metered(server.url))
    assert (tally.calls, tally.failed, tally.retries) == (1, 0, 2)


@pytest.mark.parametrize(
    "wrong", [lambda: Limited(Toy(), 0), lambda: Budget(max_usd=-1), lambda: Budget(max_tokens_spent=-1)]
)
def test_limits_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValueError, match=r"allowed|at least 1"):
        wrong()
