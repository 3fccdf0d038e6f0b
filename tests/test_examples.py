"""Examples hold the ids that were played, and a loss on nothing but the agent's own words."""

import asyncio

import pytest
from toy_layouts import learnt_words
from transformers import AutoTokenizer

from sotopia_pi.models.llm_policy import LLMPolicy
from sotopia_pi.models.local_model import LocalModel
from sotopia_pi.models.prompts import sotopia_text
from sotopia_pi.models.render import Renderer
from sotopia_pi.models.seam import Reply, Sampling
from sotopia_pi.models.weights import prepare
from sotopia_pi.stages.examples import SFTExample, TooManyTooLong, build_examples, side_examples
from sotopia_pi.stages.selection import KeptSide
from sotopia_pi.stages.tasks import TaskCounts, draw_tasks
from sotopia_pi.world.actions import Action, Turn
from sotopia_pi.world.episode import Episode, EpisodePlan, Rules, play

RULES = Rules(turn_limit=8, on_failure="none")


@pytest.fixture(scope="module")
def tasks():
    return draw_tasks("bc", TaskCounts(zone=4), seed=0)


@pytest.fixture(scope="module")
def renderer():
    return Renderer(AutoTokenizer.from_pretrained(prepare("tiny-random")))


class Recorder:
    """A chat that hands on to another and keeps what went through."""

    def __init__(self, chat):
        self.chat, self.seen = chat, []

    async def complete(self, request):
        reply = await self.chat.complete(request)
        self.seen.append((request, reply))
        return reply


def written(task, *actions, name="episode-0000000000000001"):
    """An episode nobody played, with these actions in turn; a Turn is taken as it is."""
    turns = tuple(a if isinstance(a, Turn) else Turn(i, i % 2, a) for i, a in enumerate(actions))
    policy = {"name": "written", "digest": "written"}
    return Episode(
        name, task.id, task.template, task.family, (policy, policy), None, RULES.to_dict(), 0, 0, turns, "turn_limit",
        "completed",
    )  # fmt: skip


def kept(*sides):
    return [KeptSide(episode_id, side, 1, 9.0, "top 1") for episode_id, side in sides]


def learnt(example, renderer):
    return learnt_words(example, renderer.tokenizer.decode)


class OddSpelling:
    """A chat whose ids are not those of a tokenizer that reads the text: one character at a time, end marker last."""

    def __init__(self, renderer, texts):
        self.renderer, self.texts = renderer, iter(texts)

    async def complete(self, request):
        text = next(self.texts)
        ids = [i for character in text for i in self.renderer.content_ids(character)]
        assert tuple(ids) != self.renderer.content_ids(text)
        return Reply(text, (*ids, self.renderer.tokenizer.eos_token_id))


def played_positions(episode, side, recorder, renderer):
    """For each teaching turn of a side: the ids that went in and came out, and where its own words stand."""
    for turn in episode.turns:
        if turn.side == side and not turn.failed:
            asked = [(q, r) for q, r in recorder.seen if q.turn == turn.index]
            request, reply = asked[-1]
            prompt = renderer.render(request.messages).ids
            yield turn.index, [*prompt, *reply.token_ids], range(len(prompt), len(prompt) + len(reply.token_ids))


def test_ids_trained_on_are_the_ids_a_model_played(tasks):
    with LocalModel(prepare("tiny-random"), exact=True) as model:
        recorder = Recorder(model.chat())
        policy = LLMPolicy(recorder, "tiny", "digest", "chat", Sampling(max_new_tokens=24), retries=1)
        episode = asyncio.run(play(EpisodePlan(tasks[0], (policy, policy), RULES, seed=3)))
        assert len(episode.turns) > 3
        for side in (0, 1):
            example = side_examples(episode, side, tasks[0], model.renderer)[0]
            own = set()
            for _, ids, words in played_positions(episode, side, recorder, model.renderer):
                assert list(example.ids[: len(ids)]) == ids
                own |= set(words)
            assert own and {i for i, o in enumerate(example.own) if o} == own


@pytest.mark.parametrize("prompt_format", ["chat", "sotopia"])
def test_sampled_ids_are_kept_also_where_a_tokenizer_would_spell_otherwise(tasks, renderer, prompt_format):
    words = ["I ask 50 dollars.", "That is too much.", "How about 45?", "Deal at 45."]
    said = words if prompt_format == "chat" else [sotopia_text(Action("speak", w)) for w in words]
    recorder = Recorder(OddSpelling(renderer, said))
    policy = LLMPolicy(recorder, "odd", "digest", prompt_format)
    episode = asyncio.run(play(EpisodePlan(tasks[0], (policy, policy), Rules(turn_limit=4), seed=3)))
    for side in (0, 1):
        by_turn = {e.turn: e for e in side_examples(episode, side, tasks[0], renderer, prompt_format)}
        for turn, ids, own in played_positions(episode, side, recorder, renderer):
            example = by_turn[-1 if prompt_format == "chat" else turn]
            assert list(example.ids[: len(ids)]) == ids
            assert all(example.own[i] for i in own)


def test_the_loss_covers_own_words_and_end_marker_alone(tasks, renderer):
    episode = written(
        tasks[0], Action("speak", "I ask 50."), Action("speak", "Too much."), Action("action", "nods"),
        Action("speak", "So?"), Action("leave"),
    )  # fmt: skip
    first, second = (side_examples(episode, side, tasks[0], renderer)[0] for side in (0, 1))
    assert learnt(first, renderer) == ["I ask 50.<|im_end|>", "[action] nods<|im_end|>", "[leave]<|im_end|>"]
    assert learnt(second, renderer) == ["Too much.<|im_end|>", "So?<|im_end|>"]
    assert first.own[-1] == second.own[-1] == 1


def test_none_teaches_nothing_whether_chosen_or_failed(tasks, renderer):
    failed = Turn(2, 0, Action("none"), failed=True, calls=({"token_ids": [300, 301]},))
    episode = written(
        tasks[0], Action("none"), Action("speak", "Hello?"), failed, Action("speak", "Well?"), Action("speak", "Yes.")
    )
    built = build_examples([episode], kept((episode.id, 0)), tasks, renderer)
    assert learnt(built.examples[0], renderer) == ["Yes.<|im_end|>"]
    assert built.counts["own turns"] == 3 and built.counts["turns without loss"] == 2


def test_a_side_without_anything_to_learn_is_counted_and_left_out(tasks, renderer):
    episode = written(tasks[0], Action("none"), Action("speak", "Hello?"), Action("none"))
    built = build_examples([episode], kept((episode.id, 0), (episode.id, 1)), tasks, renderer)
    assert [e.side for e in built] == [1]
    assert built.counts["without a target"] == 1


def test_sotopia_examples_are_one_a_turn_with_the_json_as_target(tasks, renderer):
    episode = written(tasks[0], Action("speak", "I ask 50."), Action("speak", "No."), Action("none"), Action("leave"))
    first, second = (side_examples(episode, side, tasks[0], renderer, "sotopia") for side in (0, 1))
    assert [e.turn for e in first] == [0] and [e.turn for e in second] == [1, 3]
    assert learnt(first[0], renderer) == ['{"action_type": "speak", "argument": "I ask 50."}<|im_end|>']
    assert learnt(second[1], renderer) == ['{"action_type": "leave", "argument": ""}<|im_end|>']


def test_what_is_too_long_is_counted_never_cut_and_refused_above_a_share(tasks, renderer):
    short = written(tasks[0], Action("speak", "Hi."), Action("speak", "Hi."))
    long = written(tasks[0], Action("speak", "word " * 400), Action("speak", "Hi."), name="episode-0000000000000002")
    sides = kept((short.id, 0), (short.id, 1), (long.id, 0))
    cutoff = max(len(e.ids) for s in (0, 1) for e in side_examples(short, s, tasks[0], renderer))
    built = build_examples([short, long], sides, tasks, renderer, max_tokens=cutoff, max_dropped_share=0.5)
    assert len(built) == 2 and built.counts["over the cutoff"] == 1
    assert all(e in side_examples(short, e.side, tasks[0], renderer) for e in built)
    with pytest.raises(TooManyTooLong, match="1 of 3 examples"):
        build_examples([short, long], sides, tasks, renderer, max_tokens=cutoff, max_dropped_share=0.2)


def test_counts_add_up_and_examples_survive_the_file(tasks, renderer):
    episode = written(tasks[0], Action("speak", "Hi."), Action("speak", "Hello."), Action("leave"))
    built = build_examples([episode], kept((episode.id, 0), (episode.id, 1)), tasks, renderer)
    assert built.counts["examples"] == 2
    assert built.counts["tokens"] == sum(len(e.ids) for e in built)
    assert built.counts["supervised tokens"] == sum(sum(e.own) for e in built)
    assert [SFTExample.from_dict(e.to_dict()) for e in built] == list(built)
    assert len({e.id for e in built}) == 2


def test_a_kept_side_without_its_episode_is_an_error(tasks, renderer):
    with pytest.raises(KeyError, match="episode-missing was selected"):
        build_examples([], kept(("episode-missing", 0)), tasks, renderer)
