"""Plays episodes with the `sotopia` package, its own functions and local storage; run by the peers' environment.

Reads JSON on stdin: `{"url", "model", "turns", "tokens", "tasks": [{"scenario", "goals", "characters"}]}`. Answers with
a last line of JSON on stdout: seconds, CPU seconds, episodes, their calls and turns, tokens that came, turns that could
be read as an action. Half of the actions of an episode are those of the side whose turn it is not.
Two things differ from the package as it is: it sends no limit of tokens, here every call has one; and no judge rates.
"""

import asyncio
import json
import logging
import os
import sys
import tempfile
import time

os.environ |= {"SOTOPIA_STORAGE_BACKEND": "local", "LITELLM_LOCAL_MODEL_COST_MAP": "True", "HOME": tempfile.mkdtemp()}

from sotopia.agents import LLMAgent
from sotopia.database import AgentProfile, EnvironmentProfile
from sotopia.envs import ParallelSotopiaEnv
from sotopia.envs.evaluators import Evaluator, RuleBasedTerminatedEvaluator
from sotopia.generation_utils import generate
from sotopia.messages import AgentAction
from sotopia.server import run_async_server


class Nobody(Evaluator):
    """A judge that rates nothing; the package needs one at the end of an episode."""

    prompt = ""

    def __call__(self, turn_number, messages):
        return []

    async def __acall__(self, turn_number, messages):
        return []


def limit_tokens(tokens: int) -> list[int]:
    """Give every call a limit; returns the list to which each adds the tokens that came."""
    complete, came = generate.acompletion, []

    async def limited(**asked):
        reply = await complete(**asked, max_tokens=tokens)
        came.append(reply.usage.completion_tokens)
        return reply

    generate.acompletion = limited
    return came


def combination(task: dict, model: str, turns: int):
    """Environment and agents of one task, with the speakers in turn and nothing but the limit to end it."""
    profile = EnvironmentProfile(scenario=task["scenario"], agent_goals=task["goals"], relationship=0)
    ends = RuleBasedTerminatedEvaluator(max_turn_number=turns, max_stale_turn=2 * turns)
    env = ParallelSotopiaEnv(
        action_order="round-robin",
        evaluators=[ends],
        terminal_evaluators=[Nobody()],
        model_name=model,
        env_profile=profile,
    )
    return env, [LLMAgent(agent_profile=AgentProfile(**one), model_name=model) for one in task["characters"]]


async def play(request: dict) -> dict:
    """Figures of playing all tasks side by side."""
    came = limit_tokens(request["tokens"])
    model = f"custom/{request['model']}@{request['url']}"
    combinations = [combination(task, model, request["turns"]) for task in request["tasks"]]
    started, cpu = time.perf_counter(), time.process_time()
    episodes = await run_async_server(env_agent_combo_list=combinations)
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    actions = [said for episode in episodes for _, _, said in episode if isinstance(said, AgentAction)]
    return {
        "seconds": seconds,
        "cpu_s": cpu,
        "episodes": len(episodes),
        "calls": len(came),
        "tokens": sum(came),
        "turns": len(actions) // 2,
        "spoken": sum(action.action_type != "none" for action in actions),
    }


async def main() -> None:
    logging.getLogger("sotopia.generation").setLevel(logging.ERROR)
    print(json.dumps(await play(json.load(sys.stdin))), flush=True)
    os._exit(0)  # some tasks of the package's client do not always let the loop end


if __name__ == "__main__":
    asyncio.run(main())
