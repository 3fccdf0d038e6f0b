"""Data rounds: who meets whom, and what counts as the policy's own."""

import asyncio
from dataclasses import replace

import pytest
from toy_talks import Lines, price_task

from sotopia_pi.models.negotiator import expert
from sotopia_pi.models.partner import training_partner
from sotopia_pi.stages.evaluate import baseline_agents
from sotopia_pi.stages.probe import Probe
from sotopia_pi.stages.simulate import against, collect, training_plans
from sotopia_pi.stages.tasks import TaskCounts, draw_tasks
from sotopia_pi.store.items import ItemFile
from sotopia_pi.world.actions import Action
from sotopia_pi.world.baselines import always_accept
from sotopia_pi.world.episode import Episode, Rules
from sotopia_pi.world.ratings import DIMENSIONS, Rating

RULES = Rules()
TASKS = draw_tasks("sr", TaskCounts(40), seed=0)


def plans(share, tasks=TASKS, seed=0, repeats=1):
    return training_plans(tasks, Lines("$100."), training_partner(), RULES, seed, "BC", share, repeats)


def test_without_a_partner_the_policy_has_both_sides_as_in_the_paper():
    alone = plans(0.0, repeats=2)
    assert len(alone) == 80 and len({plan.id for plan in alone}) == 80
    assert all(plan.policies[0] is plan.policies[1] and plan.agent_side is None for plan in alone)


def test_with_a_partner_it_speaks_first_once_and_second_once_and_only_its_side_is_under_study():
    met = plans(1.0)
    assert [plan.agent_side for plan in met] == [0, 1] * 40
    assert all(plan.policies[plan.agent_side].name == "lines" for plan in met)
    assert all(plan.policies[1 - plan.agent_side].name == "evaluation partner" for plan in met)


def test_which_tasks_meet_the_partner_does_not_depend_on_the_other_tasks():
    all_of_them, some = plans(0.5), plans(0.5, TASKS[:8])
    assert [plan.id for plan in some] == [plan.id for plan in all_of_them][: len(some)]
    share = len({plan.task.id for plan in all_of_them if plan.agent_side is not None}) / len(TASKS)
    assert 0.25 < share < 0.75
    assert [plan.id for plan in plans(0.5, seed=1)] != [plan.id for plan in all_of_them]


def test_a_share_outside_of_zero_to_one_is_refused():
    with pytest.raises(ValueError, match=r"partner_share is 1\.5"):
        plans(1.5)


@pytest.mark.parametrize("scripted", [training_partner(), always_accept(), expert()], ids=lambda policy: policy.name)
def test_a_scripted_policy_is_given_no_deals_that_it_has_no_words_for(tmp_path, scripted):
    of_prices = price_task()
    of_pieces = replace(of_prices, payoff=replace(of_prices.payoff, family="deal-or-no-deal"))
    file = ItemFile(tmp_path / "episodes.jsonl")
    for tasks, met in (([of_prices, of_pieces], scripted), ([of_pieces], Lines("Hi.", Action("leave")))):
        planned = against(tasks, Lines("Hello.", Action("leave")), met, Rules(turn_limit=2), 0, "BC")
        if met is scripted:
            with pytest.raises(ValueError, match=rf"{of_pieces.id}.*{scripted.name}.* has no words for such deals"):
                asyncio.run(collect(planned, file, Quiet()))
            assert not file.read()
        else:
            assert len(asyncio.run(collect(planned, file, Quiet())).episodes) == 2
    assert baseline_agents([of_prices]) and not baseline_agents([of_prices, of_pieces])


class Quiet:
    def advance(self, failed=False, **info):
        pass


def test_a_probe_counts_what_the_variant_reached_and_not_its_partner():
    task = price_task()
    policy = {"name": "p", "digest": "d"}
    common = {"task_id": task.id, "template": "t", "family": "bargaining", "policies": (policy, policy), "seed": 0}
    common |= {"rules": {}, "repeat": 0, "turns": (), "ending": "left", "outcome": "completed", "tag": "base"}
    episodes = [Episode(id="met", agent_side=1, **common), Episode(id="alone", agent_side=None, **common)]
    goals = {("met", 0): 9.0, ("met", 1): 0.0, ("alone", 0): 5.0, ("alone", 1): 0.0}
    ratings = [
        Rating(f"{name}{side}", name, side, "rule", "ok", {**dict.fromkeys(DIMENSIONS), "goal": goal})
        for (name, side), goal in goals.items()
    ]
    verdict = Probe(needed=2, min_goal=1.0).judge("base", episodes, ratings)
    assert (verdict.n_rated_sides, verdict.good, verdict.passed) == (3, 1, False)


def test_who_plays_with_the_same_adapter_plays_together(tmp_path):
    """Plans that alternate between two agents are begun one agent after the other, and handed back as planned."""
    begun = []

    class Named(Lines):
        def __init__(self, name, line):
            super().__init__(line)
            self.name = name

        async def act(self, observation, seed):
            begun.append(self.name)
            return await super().act(observation, seed)

    agents = [Named("BC", "$100."), Named("base", "$90.")]
    pairs = [(task, agent) for task in TASKS[:3] for agent in agents]
    mixed = [plan for task, agent in pairs for plan in against([task], agent, agent, RULES, 0, agent.name)]
    played = asyncio.run(collect(mixed, ItemFile(tmp_path / "episodes.jsonl"), Quiet(), at_once=1))
    assert [episode.id for episode in played.episodes] == [plan.id for plan in mixed]
    assert begun == sorted(begun) and set(begun) == {"BC", "base"}
