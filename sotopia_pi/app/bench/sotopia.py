"""Playing the same tasks with the same model: ours in this process, the `sotopia` package through `transformers serve`.

The package sends its whole prompt at every turn and asks for JSON, which this model does not write, so that nearly all
its turns count as silence and the history in its prompts stays short: in its favour. It ends by its limit of turns
alone here, and the server answers one call after the other.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sotopia_pi.app.bench.peers import run_peer, transformers_serve
from sotopia_pi.app.bench.play import EPISODES, REPLY_TOKENS, TURNS, Played, play_episodes
from sotopia_pi.app.bench.work import Contest, Unequal
from sotopia_pi.models.local_model import LocalModel
from sotopia_pi.models.precision import fast_dtype
from sotopia_pi.models.weights import DEFAULT_MODEL, prepare
from sotopia_pi.stages.tasks import TaskCounts, draw_tasks
from sotopia_pi.world.tasks import SocialTask

PEER_EPISODES, PAIRS = 8, 3
FEWEST_TOKENS = 0.9
"""Least tokens a call of the peer, as a share of ours: both stop at the same limit, and few replies end before it."""
CHARACTER = (
    "first_name last_name age gender gender_pronoun occupation public_info big_five personality_and_values "
    "decision_making_style secret"
)


@contextmanager
def open_sotopia(
    name: str = DEFAULT_MODEL,
    episodes: int = EPISODES,
    peer_episodes: int = PEER_EPISODES,
    turns: int = TURNS,
    pairs: int = PAIRS,
) -> Iterator[Contest]:
    """The peer plays another part of its episodes in each pair: it takes its calls one by one, however many play."""
    folder, dtype = prepare(name), fast_dtype()
    tasks = draw_tasks("eval", TaskCounts(episodes), seed=0)[:peer_episodes]
    parts = [tasks[k::pairs] for k in range(pairs) if tasks[k::pairs]]
    said: list[dict[str, Any]] = []
    last = Played(0.0, [])

    with transformers_serve(folder, dtype) as url:
        asked = {"url": url, "model": str(folder), "turns": turns, "tokens": REPLY_TOKENS}
        run_peer("sotopia", {**asked, "turns": 1, "tasks": [peer_task(tasks[0])]})

        def ours() -> float:
            nonlocal last
            last = _played(folder, dtype, episodes, turns)
            return 60 * episodes / last.seconds

        def theirs() -> float:
            part = parts[len(said) % len(parts)]
            said.append(run_peer("sotopia", {**asked, "tasks": [peer_task(task) for task in part]}))
            return 60 * len(part) / said[-1]["seconds"]

        yield Contest(ours, theirs, check=lambda: same_turns(last, said, turns))


def peer_task(task: SocialTask) -> dict[str, Any]:
    """A task as the peer's script reads it."""
    characters = [{name: getattr(one, name) for name in CHARACTER.split()} for one in task.characters]
    return {"scenario": task.scenario.text, "goals": list(task.scenario.goals), "characters": characters}


def same_turns(ours: Played, said: list[dict[str, Any]], turns: int) -> str:
    """In words that both played all turns with about as many tokens each; raises Unequal."""
    theirs = {key: sum(one[key] for one in said) for key in ("episodes", "turns", "calls", "tokens", "spoken")}
    episodes = 1 + max(call.episode for call in ours.calls)
    figures = [(len(ours.calls), episodes, ours.tokens), (theirs["calls"], theirs["episodes"], theirs["tokens"])]
    words = " and ".join(f"{calls / n:.1f} turns of {tokens / calls:.1f} tokens" for calls, n, tokens in figures)
    a_call = [tokens / calls for calls, _, tokens in figures]
    if any(calls != n * turns for calls, n, _ in figures) or a_call[1] < FEWEST_TOKENS * a_call[0]:
        raise Unequal(f"ours and the peer played {words}; wanted: {turns} turns, as many tokens")
    return f"ours and the peer played {words}; {theirs['spoken']} of the peer's {theirs['turns']} turns could be read"


def _played(folder: Path, dtype: str, episodes: int, turns: int) -> Played:
    with LocalModel(folder, dtype=dtype, max_batch=episodes) as model:
        return play_episodes(model, episodes, turns)
