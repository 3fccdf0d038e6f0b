"""A real OpenAI-compatible server over HTTP: `transformers serve` with the default model plays, and fails to judge."""

import asyncio
import json
import sys
from pathlib import Path

import pytest
from toy_talks import price_task

from sotopia_pi.app.bench.peers import transformers_serve
from sotopia_pi.models.llm_policy import LLMPolicy
from sotopia_pi.models.negotiator import expert
from sotopia_pi.models.opening import open_chat
from sotopia_pi.models.roles import parse_model
from sotopia_pi.models.seam import Sampling
from sotopia_pi.models.weights import prepare
from sotopia_pi.stages.judge import Judge
from sotopia_pi.world.episode import EpisodePlan, Rules, play

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def served():
    """Model name and address of a server that holds the default model."""
    folder = prepare()
    with transformers_serve(folder, "float32", Path(sys.executable).parent) as url:
        yield str(folder), url


def test_it_plays_a_short_episode_and_its_judgement_is_a_named_failure_and_no_score(served):
    model, url = served
    opened = open_chat(parse_model("partner", f"openai:{model}@{url}"), timeout_s=120)
    policy = LLMPolicy(opened.chat, "served", opened.digest, sampling=Sampling(0.0, 1.0, 24), retries=0)
    task = price_task()

    async def run():
        try:
            played = await play(EpisodePlan(task, (expert(), policy), Rules(turn_limit=4, on_failure="none"), 0))
            judge = Judge(opened.chat, "smollm2", opened.digest, Sampling(0.0, 1.0, 40), attempts=1)
            return played, await judge.rate(played, task)
        finally:
            await opened.close()

    episode, ratings = asyncio.run(run())
    calls = [call for turn in episode.turns if turn.side == 1 for call in turn.calls]
    assert len(calls) == 2 and all(call["usage"]["completion_tokens"] > 0 for call in calls)
    assert all(call["model"] and call["text"].strip() for call in calls)
    assert {rating.outcome for rating in ratings} <= {"invalid", "truncated"}
    assert all(score is None for rating in ratings for score in rating.scores.values())
    (record,) = ratings[0].raw
    assert record["schema"] in ("ignored", "unknown") and record["text"] and json.dumps(record)
