"""The plan of a run says what it will ask, of whom, at what cost, and what is missing, without asking anybody."""

from pathlib import Path

import pandas as pd
import pytest
from fault_server import FaultServer

from sotopia_pi.app.cli import main
from sotopia_pi.app.costs import cost_table, cost_text, missing
from sotopia_pi.store.items import write_items
from sotopia_pi.store.params import plan_run

ROOT = Path(__file__).parents[1]
PAID = ["expert=openai:big", "partner=openai:small", "judge=openai:big", "turn_limit=10"]
SIZES = ["01_social_tasks.n_bc=8", "01_social_tasks.n_bc_no_zone=2", "02_expert_episodes.partner_share=0.5"]


def planned(*settings: str, run: str = "planned"):
    return plan_run(ROOT, ROOT / "params" / "laptop.yaml", settings, run=run)


def row(table, stage: str, role: str):
    (found,) = table[table["stage"].str.startswith(stage) & (table["role"] == role)].to_dict("records")
    return found


def test_scripted_roles_cost_nothing_and_say_so(tmp_path):
    assert cost_table(tmp_path, planned()).empty
    assert "No language model on a server has a role in it" in cost_text(tmp_path, planned())


def test_calls_are_counted_by_role_as_the_stage_will_make_them(tmp_path):
    table = cost_table(tmp_path, planned(*PAID, *SIZES, "prices={big: [10, 20]}"))
    expert, partner = row(table, "02", "expert"), row(table, "02", "partner")
    # Ten tasks: five with the expert on both sides, five with the partner in both speaking orders; ten turns each.
    assert expert["items"] == 15 and expert["calls"] == 5 * 10 + 10 * 5 and partner["calls"] == 10 * 5
    assert row(table, "02", "judge")["calls"] == 15
    tokens = expert["prompt_tokens"], expert["completion_tokens"]
    assert expert["usd"] == pytest.approx((10 * tokens[0] + 20 * tokens[1]) / 1e6)
    assert expert["prompt_tokens"] == expert["calls"] * (210 + 21 * 5)


def test_every_further_judge_is_counted_apart(tmp_path):
    others = "06_social_evaluation.more_judges=['openai:small', 'openai:big?key=OTHER_KEY', 'payoff']"
    plan = planned("06_social_evaluation.judge=openai:big", others, *SIZES)
    rows = [row for row in cost_table(tmp_path, plan).to_dict("records") if row["role"] == "judge"]
    assert [row["model"] for row in rows] == ["big", "small", "big"] and len({row["calls"] for row in rows}) == 1
    assert any("OTHER_KEY" in what for what in missing(plan))


def test_a_round_of_own_play_costs_no_more_than_the_tasks_it_is_given(tmp_path):
    sizes = ["01_social_tasks.n_sr=64", "04_agent_episodes.partner_share=0", "04_agent_episodes.repeats=1"]
    whole, fewer = (planned(*PAID, *sizes, f"04_agent_episodes.tasks_a_round={n}") for n in (0, 16))
    # Base and BC, four tasks of the probe each, then all tasks of the round.
    assert row(cost_table(tmp_path, whole), "04", "judge")["items"] == 2 * (4 + 64)
    assert row(cost_table(tmp_path, fewer), "04", "judge")["items"] == 2 * (4 + 16)


def test_safety_is_counted_by_cell_and_one_call_of_the_judge_an_episode(tmp_path):
    table = cost_table(tmp_path, planned(*PAID, "07_safety.episodes=9", "07_safety.more_agents=['openai:other']"))
    # base, BC, SR, BC+SR, the expert and one more agent, in two roles of 9 episodes each; ten turns, half of each side.
    assert row(table, "07", "judge")["calls"] == 6 * 2 * 9 and row(table, "07", "partner")["calls"] == 6 * 2 * 9 * 5
    assert row(table, "07", "expert")["calls"] == row(table, "07", "agent")["calls"] == 2 * 9 * 5
    folder = tmp_path / "outputs" / "planned" / "07_safety"
    write_items(folder / "judgements.jsonl", [{"id": f"judgement-{k}"} for k in range(8)])
    assert row(cost_table(tmp_path, planned(*PAID, "07_safety.episodes=9")), "07", "judge")["calls"] == 5 * 2 * 9 - 8
    assert cost_table(tmp_path, planned()).empty, "the base as partner asks no server"


def test_an_unknown_price_is_said_and_not_guessed(tmp_path):
    plan = planned(*PAID, *SIZES, "prices={big: [10, 20]}")
    assert pd.isna(row(cost_table(tmp_path, plan), "02", "partner")["usd"])
    assert "and what small cost (no price" in cost_text(tmp_path, plan)


def test_what_lies_there_already_is_not_counted_again(tmp_path):
    plan = planned(*PAID, *SIZES)
    before = row(cost_table(tmp_path, plan), "02", "judge")
    folder = tmp_path / "outputs" / "planned" / "02_expert_episodes"
    write_items(folder / "episodes.jsonl", [{"id": f"episode-{k}"} for k in range(6)])
    write_items(folder / "ratings.jsonl", [{"id": f"rating-{k}"} for k in range(8)])
    after = cost_table(tmp_path, plan)
    assert row(after, "02", "judge")["done"] == 4 and row(after, "02", "judge")["calls"] == before["calls"] - 4
    assert row(after, "02", "expert")["done"] == 6


def test_what_got_no_answer_is_still_to_be_asked(tmp_path):
    plan = planned(*PAID, *SIZES)
    folder = tmp_path / "outputs" / "planned" / "02_expert_episodes"
    outcomes = ["completed", "policy_failed", "policy_api_error", "policy_api_error"]
    write_items(folder / "episodes.jsonl", [{"id": f"e-{k}", "outcome": o} for k, o in enumerate(outcomes)])
    write_items(folder / "ratings.jsonl", [{"id": f"r-{k}", "outcome": "api_error"} for k in range(2)])
    table = cost_table(tmp_path, plan)
    assert row(table, "02", "expert")["done"] == 2 and row(table, "02", "judge")["done"] == 0


def test_it_counts_the_tasks_and_asks_nobody(tmp_path):
    with FaultServer() as server:
        text = cost_text(tmp_path, planned(f"expert=openai:big@{server.url}", f"judge=openai:big@{server.url}", *SIZES))
        assert not server.requests
    assert "Tasks: 10 for behavior cloning, 64 for self-reinforcement, 42 for evaluation." in text


def test_it_lists_what_is_missing(monkeypatch, tmp_path):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    lacking = missing(planned(*PAID, "quantisation=nf4"))
    assert any("OPENAI_API_KEY" in what for what in lacking)
    monkeypatch.setenv("OPENAI_API_KEY", "not-a-real-one")
    assert not any("OPENAI_API_KEY" in what for what in missing(planned(*PAID)))
    assert "not-a-real-one" not in cost_text(tmp_path, planned(*PAID))


def test_the_command_prints_it_and_a_wrong_model_string_is_refused(capsys):
    assert main(["plan", str(ROOT / "params" / "laptop.yaml")]) == 0
    assert "nothing was asked of anybody" in capsys.readouterr().out
    assert main(["plan", str(ROOT / "params" / "laptop.yaml"), "--set", "judge=openia:gpt-4"]) == 2
    assert "Did you mean openai:" in capsys.readouterr().err


def test_a_writer_without_enough_prompts_is_told_before_it_begins(tmp_path):
    settings = ["tasks_from=writer", "writer=openai:big@http://127.0.0.1:1/v1", "01_social_tasks.n_bc=300", "n_sr=32"]
    assert [what for what in missing(planned(*settings)) if "the writer needs 332, and" in what]
    named = f"prompts={{social_iqa: {tmp_path}/iqa.jsonl}}"
    assert [what for what in missing(planned(*settings, named)) if "there is no file" in what]
    (tmp_path / "iqa.jsonl").write_text("{}\n")
    assert not [what for what in missing(planned(*settings, named)) if "prompts" in what]
    assert row(cost_table(tmp_path, planned(*settings, named)), "01", "writer")["calls"] == 332
