"""Playing over HTTP: how near the client comes to what a server's latency allows, and what a call costs of the CPU.

The whole stack a stage uses is at work: 64 of 256 episodes in play, both sides asked over the protocol, every call
metered, under a budget and kept in a cache, every episode written as it ends.
"""

import asyncio
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sotopia_pi.app.bench.answering import answering, ceiling
from sotopia_pi.app.bench.peers import run_peer
from sotopia_pi.app.bench.sotopia import peer_task
from sotopia_pi.app.bench.work import Contest, Silent, Unequal
from sotopia_pi.models.limits import Budget
from sotopia_pi.models.meter import Meter
from sotopia_pi.models.opening import open_chat, open_policy
from sotopia_pi.models.roles import parse_model
from sotopia_pi.models.seam import Sampling
from sotopia_pi.stages.simulate import collect
from sotopia_pi.stages.tasks import TaskCounts, draw_tasks
from sotopia_pi.store.items import ItemFile
from sotopia_pi.world.episode import EpisodePlan, Rules
from sotopia_pi.world.tasks import SocialTask

EPISODES, TURNS, AT_ONCE, LATENCY_S, REPLY_TOKENS = 256, 20, 64, 0.2, 20
CEILING_CALLS = 6400


@contextmanager
def open_calls(value: str, episodes: int = EPISODES, turns: int = TURNS, at_once: int = AT_ONCE) -> Iterator[Contest]:
    """value: "share" of the ideal (calls x latency / at once), or "cpu_ms" a call. The peer plays `at_once` episodes,
    all side by side: it has no limit of its own."""
    tasks = draw_tasks("eval", TaskCounts(episodes), seed=0)
    said: dict[str, dict[str, Any]] = {}

    def valued(figures: dict[str, Any]) -> float:
        ideal = figures["calls"] * LATENCY_S / at_once
        return ideal / figures["seconds"] if value == "share" else 1000 * figures["cpu_s"] / figures["calls"]

    with answering(LATENCY_S) as url, answering(0.0) as at_once_url:

        def ours() -> float:
            said["ours"] = played(url, tasks, turns, at_once)
            return valued(said["ours"])

        def theirs() -> float:
            few = [peer_task(task) for task in tasks[:at_once]]
            settings = {"url": url, "model": "bench", "turns": turns, "tokens": REPLY_TOKENS}
            said["peer"] = run_peer("sotopia", {**settings, "tasks": few})
            return valued(said["peer"])

        def check() -> str:
            able = asyncio.run(ceiling(at_once_url, CEILING_CALLS, at_once))
            return f"{same_calls(said, episodes, turns)}; the server alone answers {able:,.0f} calls/s without latency"

        yield Contest(ours, theirs, check)


def played(url: str, tasks: list[SocialTask], turns: int, at_once: int) -> dict[str, Any]:
    """Play every task once over HTTP: {"seconds", "cpu_s", "calls", "tokens", "turns"}, CPU of this process alone."""
    meter, budget = Meter(), Budget(max_tokens_spent=10**9)
    opened = open_chat(parse_model("agent", f"openai:bench@{url}"))
    with tempfile.TemporaryDirectory() as folder:
        cache, file = (ItemFile(Path(folder) / name) for name in ("replies.jsonl", "episodes.jsonl"))
        behind = opened.behind(at_once=at_once, budget=budget, meter=meter, cache=cache)
        policy = open_policy(opened.spec, behind, sampling=Sampling(max_new_tokens=REPLY_TOKENS))
        plans = [EpisodePlan(task, (policy, policy), Rules(turn_limit=turns), seed=0) for task in tasks]

        async def play_all() -> int:
            episodes = (await collect(plans, file, Silent(), at_once)).episodes
            await opened.close()
            return sum(len(episode.turns) for episode in episodes)

        started, cpu = time.perf_counter(), time.process_time()
        n_turns = asyncio.run(play_all())
        seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    tally = meter.tallies["agent"]
    return {"seconds": seconds, "cpu_s": cpu, "calls": tally.calls, "tokens": tally.completion_tokens, "turns": n_turns}


def same_calls(said: dict[str, dict[str, Any]], episodes: int, turns: int) -> str:
    """In words that each turn of each episode was one call on both sides; raises Unequal."""
    for who, figures in said.items():
        wanted = episodes * turns if who == "ours" else figures["episodes"] * turns
        if not figures["calls"] == figures["turns"] == wanted or figures["tokens"] != wanted * REPLY_TOKENS:
            raise Unequal(f"{who}: {figures}; wanted were {wanted} turns, a call of {REPLY_TOKENS} tokens each")
    cpu = ", ".join(f"{who} {1000 * f['cpu_s'] / f['calls']:.2f} ms" for who, f in said.items())
    return f"every turn a call of {REPLY_TOKENS} tokens, no failure; CPU a call: {cpu}"
