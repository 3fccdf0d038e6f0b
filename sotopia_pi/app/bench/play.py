"""Playing 32 episodes at once, against generating from whole prompts.

The peer is what most people write: at every turn `model.generate` of transformers on the whole prompts of all episodes,
one batch of the same size, left-padded, in the same dtype and threads, with the library's own attention (sdpa) and its
own key-value cache within the call. It is handed token ids, so that it pays for no rendering, and the prompts that we
had, so that both read and write the same; every reply is its own. Greedy, at most 20 tokens a turn; of the 20 turns
the peer takes five.
"""

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM

from sotopia_pi.app.bench.arithmetic import ModelCost
from sotopia_pi.app.bench.limits import Limits
from sotopia_pi.app.bench.own_process import in_a_process
from sotopia_pi.app.bench.work import Contest, Unequal
from sotopia_pi.models.local_model import LocalModel
from sotopia_pi.models.precision import fast_dtype, own_device
from sotopia_pi.models.prompts import messages_for
from sotopia_pi.models.seam import Chat, Message, Reply, Request, Sampling
from sotopia_pi.models.slots import ATTENTION, Slots, Step
from sotopia_pi.models.weights import DEFAULT_MODEL, prepare
from sotopia_pi.stages.tasks import TaskCounts, draw_tasks
from sotopia_pi.world.actions import Action
from sotopia_pi.world.episode import Decision, EpisodePlan, Observation, Rules, play

EPISODES, TURNS, REPLY_TOKENS = 32, 20, 20
PEER_EVERY = 4
"""The peer replies at every fourth turn, of which the middle one lies at the middle of the dialogue: all of them take
it minutes."""
SAMPLE_EPISODES, SAMPLE_TURNS = 4, 6
"""What is played again in float32, where the tokens must be the peer's."""

ROUNDING = 1.25
"""In bfloat16 our logits may be so many times as far from those in float32 as the peer's are (root mean square)."""


@dataclass(frozen=True)
class Call:
    """One turn of one episode: the ids of its whole prompt, and what was replied."""

    episode: int
    turn: int
    prompt: list[int]
    reply: Reply


@dataclass(frozen=True)
class Speaker:
    """A policy that says whatever the model writes, also what the limit cut, so that every episode has all turns."""

    chat: Chat
    episode: int
    said: list[tuple[int, int, tuple[Message, ...], Reply]]
    reply_tokens: int = REPLY_TOKENS
    name: str = "speaker"
    digest: str = "policy-speaker"

    async def act(self, observation: Observation, seed: int) -> Decision:
        messages = tuple(messages_for(observation, "chat"))
        sampling = Sampling(temperature=0, max_new_tokens=self.reply_tokens)
        reply = await self.chat.complete(Request(messages, sampling, seed=seed, item_id=observation.task_id))
        self.said.append((self.episode, len(observation.turns), messages, reply))
        record = {"token_ids": list(reply.token_ids)}
        return Decision(Action("speak", reply.text or "…"), (record,))


@dataclass(frozen=True)
class Played:
    """What one go of ours left: the calls of all episodes, and the seconds it took."""

    seconds: float
    calls: list[Call]

    @property
    def tokens(self) -> int:
        return sum(len(call.reply.token_ids) for call in self.calls)

    def turns(self) -> Iterator[list[Call]]:
        """The calls of each turn, all episodes side by side."""
        for turn in range(1 + max(call.turn for call in self.calls)):
            yield sorted((call for call in self.calls if call.turn == turn), key=lambda call: call.episode)


def play_episodes(model: LocalModel, episodes: int, turns: int, reply_tokens: int = REPLY_TOKENS) -> Played:
    """Play that many episodes side by side, the model on both sides, on tasks that are always the same."""
    said: list[tuple[int, int, tuple[Message, ...], Reply]] = []
    speakers = [Speaker(model.chat(), k, said, reply_tokens) for k in range(episodes)]
    tasks = draw_tasks("eval", TaskCounts(zone=episodes, no_zone=0, held_out=0), seed=0)

    async def all_of_them() -> None:
        rules = Rules(turn_limit=turns)
        await asyncio.gather(
            *(play(EpisodePlan(task, (s, s), rules, 0)) for task, s in zip(tasks, speakers, strict=True))
        )

    started = time.perf_counter()
    asyncio.run(all_of_them())
    seconds = time.perf_counter() - started
    return Played(seconds, [Call(k, turn, model.renderer.render(asked).ids, reply) for k, turn, asked, reply in said])


class Generator:
    """The peer: `generate` on whole prompts, one batch a turn."""

    def __init__(self, folder: Path, dtype: str):
        self.model = AutoModelForCausalLM.from_pretrained(
            folder, dtype=getattr(torch, dtype), attn_implementation="sdpa"
        )
        self.model.eval().to(own_device())
        self.pad = self.model.generation_config.pad_token_id

    @torch.inference_mode()
    def replies(self, prompts: Sequence[list[int]], reply_tokens: int = REPLY_TOKENS) -> list[list[int]]:
        """Greedy replies, each up to and including its end marker."""
        longest = max(map(len, prompts))
        ids = torch.tensor([[self.pad] * (longest - len(p)) + p for p in prompts], device=self.model.device)
        mask = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in prompts], device=self.model.device)
        drawn = self.model.generate(
            input_ids=ids, attention_mask=mask, max_new_tokens=reply_tokens, do_sample=False, pad_token_id=self.pad
        )
        return [self._ended(row) for row in drawn[:, longest:].tolist()]

    def _ended(self, ids: list[int]) -> list[int]:
        end = self.model.generation_config.eos_token_id
        ends = {end} if isinstance(end, int) else set(end)
        return ids[: next((k + 1 for k, token in enumerate(ids) if token in ends), len(ids))]


@contextmanager
def open_play(
    name: str = DEFAULT_MODEL, episodes: int = EPISODES, turns: int = TURNS, dtype: str = "auto"
) -> Iterator[Contest]:
    """The peer's model in memory and warm. Ours is loaded anew for every go (that is not counted), for one that has
    played these episodes before would remember them; in a process of its own, as a stage's is, for the peer's threads
    would slow it down here."""
    folder, dtype = prepare(name), fast_dtype(dtype)
    peer, last = Generator(folder, dtype), Played(0.0, [])
    peer.replies([[peer.pad] * 8])

    def ours() -> float:
        nonlocal last
        last = in_a_process(_play, folder, episodes, turns, dtype)["played"]
        return last.tokens / last.seconds

    def theirs() -> float:
        started, drawn = time.perf_counter(), 0
        for calls in list(last.turns())[PEER_EVERY // 2 :: PEER_EVERY]:
            drawn += sum(map(len, peer.replies([call.prompt for call in calls])))
        return drawn / (time.perf_counter() - started)

    yield Contest(
        ours,
        theirs,
        check=lambda: f"{same_tokens(folder)}; {close_logits(folder, last, dtype)}",
        note=f"every {PEER_EVERY}th turn for the peer",
        limit=lambda limits: most_tokens(last, ModelCost.of(peer.model.config, dtype), limits),
    )


def _play(folder: Path, episodes: int, turns: int, dtype: str) -> dict[str, Played]:
    with LocalModel(folder, dtype=dtype, max_batch=episodes) as model:
        return {"played": play_episodes(model, episodes, turns)}


def same_tokens(folder: Path, episodes: int = SAMPLE_EPISODES, turns: int = SAMPLE_TURNS) -> str:
    """Play a sample in float32 and have the peer reply to the same prompts; raises Unequal at the first other token."""
    with LocalModel(folder, dtype="float32", max_batch=episodes) as model:
        played = play_episodes(model, episodes, turns)
    peer = Generator(folder, "float32")
    for calls in played.turns():
        for call, theirs in zip(calls, peer.replies([call.prompt for call in calls]), strict=True):
            if list(call.reply.token_ids) != theirs:
                raise Unequal(
                    f"in float32, episode {call.episode}, turn {call.turn}: ours drew {list(call.reply.token_ids)}, "
                    f"the peer {theirs}"
                )
    return f"in float32 all {played.tokens} tokens of {episodes} episodes are the peer's"


@torch.inference_mode()
def close_logits(folder: Path, played: Played, dtype: str) -> str:
    """How far our logits and the peer's lie from those in float32, behind the last prompts; raises Unequal."""
    if dtype == "float32":
        return "computed in float32"
    prompts = [call.prompt for call in list(played.turns())[-1][:SAMPLE_EPISODES]]
    load = partial(AutoModelForCausalLM.from_pretrained, folder)
    exact = _logits(load(dtype=torch.float32, attn_implementation="sdpa"), prompts)
    away = [
        float((found - exact).pow(2).mean().sqrt())
        for found in (
            _slot_logits(load(dtype=getattr(torch, dtype), attn_implementation=ATTENTION), prompts),
            _logits(load(dtype=getattr(torch, dtype), attn_implementation="sdpa"), prompts),
        )
    ]
    words = f"{dtype} logits lie {away[0]:.3f} from those in float32, the peer's {away[1]:.3f} (root mean square)"
    if not away[0] <= ROUNDING * away[1]:
        raise Unequal(f"{words}; allowed: {ROUNDING:g} times the peer's")
    return words


def most_tokens(played: Played, cost: ModelCost, limits: Limits) -> float:
    """Tokens per second that the machine would allow for what we computed.

    Operations: every token that was not in a cache goes through the layers once and looks at all before it, every drawn
    one through the output layer. Bytes: all weights once for each of the fewest possible steps, and the keys and values
    of its conversation for every drawn token.
    """
    operations = moved = 0.0
    steps = dict.fromkeys({call.episode for call in played.calls}, 0)
    for call in played.calls:
        usage, n = call.reply.usage, len(call.reply.token_ids)
        end = usage["prompt_tokens"] + n - 1
        operations += cost.reading(usage["cached_tokens"], end) + n * cost.head
        moved += n * end * cost.kept
        steps[call.episode] += n
    moved += max(steps.values()) * cost.weights
    return played.tokens / limits.seconds(operations, moved)


def _logits(model: torch.nn.Module, prompts: Sequence[list[int]]) -> torch.Tensor:
    return torch.stack([model.eval()(input_ids=torch.tensor([ids])).logits[0, -1].float() for ids in prompts])


def _slot_logits(model: torch.nn.Module, prompts: Sequence[list[int]]) -> torch.Tensor:
    """Logits behind prompts that are read in three pieces, as play does: most of it, a short piece, one token."""
    longest = max(map(len, prompts))
    slots = Slots(model.config, len(prompts), longest, model.dtype)
    feeds = [slots.take(ids, "sample") for ids in prompts]
    for begin, end in ((0, -21), (-21, -1), (-1, None)):
        fed = [(slot, ids[begin:end]) for slot, ids in zip(feeds, prompts, strict=True)]
        step = Step(slots, fed)
        hidden = model.eval().base_model(
            input_ids=step.ids, position_ids=step.positions, past_key_values=step, use_cache=True, slots_step=step
        )
        for slot, new in fed:
            slot.tokens += new
    return model.get_output_embeddings()(hidden.last_hidden_state[0, step.last]).float()
