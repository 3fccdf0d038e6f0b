"""What a preset will ask of language models, told before anything is asked: calls, tokens and cost by role and stage.

Bounds, not forecasts: every episode is taken to use all its turns. Answers that cannot be read, and are asked for again
by writer and judge, come on top. How many episodes of a data round meet a partner
depends on the tasks' ids; the share that the preset asks for stands in for it. Only the run's own folder is read;
nothing is opened and no server is called.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from sotopia_pi.models.prices import price_of
from sotopia_pi.models.roles import ModelSpec, missing_for, parse_model
from sotopia_pi.stages.inspirations import clean, evaluation_prompts, own_prompts
from sotopia_pi.stages.task_sources import BUILT_IN, LAYOUTS, WRITER, TaskSources
from sotopia_pi.stages.tasks import TaskCounts
from sotopia_pi.store.items import ItemFile
from sotopia_pi.store.params import Plan
from sotopia_pi.store.run_card import graphics_cards
from sotopia_pi.store.unanswered import is_unanswered

TURN_PROMPT = {"chat": (210, 21), "sotopia": (600, 27)}
"""Prompt tokens of a turn by format: at the first turn, and more with every turn before it. Measured with SmolLM2's
tokenizer over expert episodes of the built-in tasks; other tokenizers differ by a tenth or two."""
TURN_COMPLETION = 60
"""Tokens of a reply. Scripted turns have 14 (`chat`) to 28 (`sotopia`) of them; models are wordier."""
JUDGE_PROMPT, JUDGE_TURN, JUDGE_COMPLETION = 1480, 26, 1100
"""Tokens of a judge's call, measured likewise; an answer holds fourteen reasonings of two sentences, and scores."""
ROLES = ("writer", "expert", "partner", "judge")
JUDGED_AGAIN = "judge_ratings.jsonl"
WRITER_PROMPT, WRITER_COMPLETION = 900, 350
"""Tokens of a task writer's call: the request with an example scenario, and a scenario with its goals."""
USES = {"bc": "behavior cloning", "sr": "self-reinforcement", "eval": "evaluation"}
"""What the tasks of each split are for."""
SAFETY_PROMPT, SAFETY_TURN, SAFETY_COMPLETION = 800, 40, 300
"""The same of a call about an episode of the safety tasks: three reasonings, two answers and a list."""
TRAINED, BASELINES = ("base", "BC", "SR", "BC+SR", "expert"), 6
"""Who plays the social evaluation, at most; the baselines only where goals can be checked by rule."""
SAFETY_AGENTS = ("base", "BC", "SR", "BC+SR")
"""Who plays the safety tasks at most, besides an expert that is a language model and further agents."""
PUBLISHED, PUBLISHED_HARD = 90, 14
"""Scenarios of SOTOPIA, and the hard ones among them (SOTOPIA, arXiv 2310.11667)."""


@dataclass(frozen=True)
class Asked:
    """What one role is asked at one stage. items: episodes; done: of them, those that lie there already.

    calls, prompt_tokens, completion_tokens: at most, for the items that are left. usd: None where the model's price is
    not in the preset.
    """

    stage: str
    role: str
    model: str
    items: int
    done: int
    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    usd: float | None = 0.0


def cost_table(root: Path, plan: Plan) -> pd.DataFrame:
    """One row per stage and role that a language model on a server stands behind; empty where none does."""
    run_dir = root / "outputs" / plan.run
    rows = [asked for stage in plan.stages for asked in _of_stage(stage, plan, run_dir)]
    return pd.DataFrame([vars(row) for row in rows], columns=list(Asked.__dataclass_fields__))


def missing(plan: Plan) -> list[str]:
    """What the run still needs, one sentence each: keys, adapters, weights, a graphics card."""
    found = [what for spec in _specs(plan) for what in missing_for(spec)]
    params = [plan.params[stage] for stage in plan.stages]
    if any(p.get("quantisation") == "nf4" for p in params) and not graphics_cards():
        found.append("quantisation nf4: no graphics card found; training a large model on the CPU takes days")
    found += _missing_prompts(plan.params.get("01_social_tasks", {}))
    return list(dict.fromkeys(found))


def _missing_prompts(tasks: Mapping[str, Any]) -> list[str]:
    """Files of inspirational prompts that are not there, or that a writer needs because our own are too few."""
    wanted = _n_scenarios(tasks) if tasks else 0
    if not wanted:
        return []
    files = tasks["prompts"]
    absent = [name for name in files.values() if not name.startswith("hf://") and not Path(name).is_file()]
    if absent:
        return [f"prompts: there is no file {name}" for name in absent]
    own = len(clean(own_prompts(), evaluation_prompts()).kept)
    if files or wanted <= own:
        return []
    return [f"prompts: the writer needs {wanted}, and {own} come along; name files of {', '.join(LAYOUTS)}"]


def cost_text(root: Path, plan: Plan) -> str:
    """The table, its sums, and what is missing, for a terminal."""
    table = cost_table(root, plan)
    lines = [
        f"Run {plan.run}, at most (every episode taken to use all its turns; answers that must be asked for again come "
        f"on top); nothing was asked of anybody."
    ]
    if tasks := plan.params.get("01_social_tasks"):
        lines.append(f"Tasks: {', '.join(f'{_n_tasks(tasks, split):,} for {use}' for split, use in USES.items())}.")
    if len(table):
        lines += ["", _shown(table), "", _sums(table)]
    else:
        lines += ["No language model on a server has a role in it: it costs time only."]
    lacking = missing(plan)
    lines += ["", "Still missing:", *(f"  {what}" for what in lacking)] if lacking else ["", "Nothing is missing."]
    return "\n".join(lines)


def _specs(plan: Plan) -> Iterable[ModelSpec]:
    for stage in plan.stages:
        for role in ROLES:
            text = plan.params[stage].get(role, "")
            if isinstance(text, str) and ":" in text:
                yield parse_model(role, text)
        for role, name in (("agent", "more_agents"), ("judge", "more_judges")):
            for text in plan.params[stage].get(name, []):
                yield parse_model(role, text)


def _of_stage(stage: str, plan: Plan, run_dir: Path) -> list[Asked]:
    params, tasks = plan.params[stage], plan.params.get("01_social_tasks", {})
    match stage:
        case "01_social_tasks":
            return [row for row in [_scenarios(stage, params, run_dir)] if row is not None]
        case "02_expert_episodes":
            episodes = _round(_n_tasks(tasks, "bc"), params)
            turns = {"expert": params["turn_limit"] / (1 + params["partner_share"]), "partner": _partnered(params)}
        case "04_agent_episodes":
            n_tasks = min(params["tasks_a_round"] or math.inf, _n_tasks(tasks, "sr"))
            probe = min(params["probe_tasks"], n_tasks)
            episodes = 2 * (_round(n_tasks, params) + _round(probe, {**params, "repeats": 1}))
            turns = {"partner": _partnered(params)}
        case "06_social_evaluation":
            agents = len(TRAINED) + (params["few_shot"] > 0) + len(params["more_agents"])
            agents += BASELINES if tasks["evaluation"] == BUILT_IN else 0
            episodes = 2 * agents * _n_tasks(tasks, "eval")
            turns = {"partner": _half(params), "expert": _half(params) / agents}
        case "07_safety":
            return _safety(params, run_dir / stage)
        case _:
            return []
    done = _answered(run_dir / stage / "episodes.jsonl")
    rows = [_turns(stage, role, params, episodes, done, per_episode) for role, per_episode in turns.items()]
    rows.append(_ratings(stage, params["judge"], params, episodes, _answered(run_dir / stage / "ratings.jsonl") // 2))
    others = params.get("more_judges", [])
    done_by_others = _answered(run_dir / stage / JUDGED_AGAIN) // 2
    rows += [_ratings(stage, judge, params, episodes, done_by_others // len(others)) for judge in others]
    return [row for row in rows if row is not None and row.calls + row.done]


def _n_tasks(tasks: Mapping[str, Any], split: str) -> int:
    """Tasks of a split: as drawn from templates, scenarios times pairs where they are written, or as published."""
    counts = {"bc": ("n_bc", "n_bc_no_zone"), "sr": ("n_sr",), "eval": ("n_eval", "n_eval_no_zone", "n_eval_held_out")}
    source = tasks["evaluation" if split == "eval" else "tasks_from"]
    first = tasks[counts[split][0]]
    if source == WRITER:
        return first * tasks["pairs"]
    if source == BUILT_IN:
        return sum(tasks[name] for name in counts[split])
    scenarios = first or PUBLISHED
    hard = min(PUBLISHED_HARD, scenarios)
    return (scenarios - hard) * tasks["eval_pairs"] + hard * tasks["eval_pairs_hard"]


def _n_scenarios(tasks: Mapping[str, Any]) -> int:
    sources = TaskSources(tasks["tasks_from"], tasks["evaluation"], tasks["prompts"])
    counts = {"bc": tasks["n_bc"], "sr": tasks["n_sr"], "eval": tasks["n_eval"]}
    return sum(sources.written({split: TaskCounts(n) for split, n in counts.items()}).values())


def _scenarios(stage: str, params: Mapping[str, Any], run_dir: Path) -> Asked | None:
    """What the task writer is asked: a scenario for every prompt, once each."""
    items = _n_scenarios(params)
    row = Asked(stage, "writer", params["writer"], items, min(items, _answered(run_dir / stage / "scenarios.jsonl")))
    return _priced(row, params, 1, WRITER_PROMPT, WRITER_COMPLETION) if items else None


def _round(n_tasks: int, params: Mapping[str, Any]) -> int:
    """Episodes of a data round: two for a task played with the partner, in both speaking orders, else one."""
    return round(n_tasks * params["repeats"] * (1 + params["partner_share"]))


def _partnered(params: Mapping[str, Any]) -> float:
    """The partner's turns in an episode of a data round, on average: half of those in two episodes a partnered task."""
    return params["turn_limit"] * params["partner_share"] / (1 + params["partner_share"])


def _half(params: Mapping[str, Any]) -> float:
    return params["turn_limit"] / 2


def _turns(
    stage: str, role: str, params: Mapping[str, Any], episodes: int, done: int, per_episode: float
) -> Asked | None:
    first, more = TURN_PROMPT[params["prompt_format"]]
    prompt = first + more * params["turn_limit"] / 2
    row = Asked(stage, role, params[role], episodes, min(done, episodes))
    return _priced(row, params, per_episode, prompt, TURN_COMPLETION)


def _ratings(stage: str, judge: str, params: Mapping[str, Any], episodes: int, done: int) -> Asked | None:
    row = Asked(stage, "judge", judge, episodes, min(done, episodes))
    return _priced(row, params, 1, JUDGE_PROMPT + JUDGE_TURN * params["turn_limit"], JUDGE_COMPLETION)


def _safety(params: Mapping[str, Any], folder: Path) -> list[Asked]:
    """Every agent in both roles, `episodes` times each, against the partner; one call of the judge an episode."""
    others = [("expert", params["expert"])] if not params["expert"].startswith("scripted:") else []
    others += [("agent", text) for text in params["more_agents"]]
    cell = 2 * params["episodes"]
    episodes = cell * (len(SAFETY_AGENTS) + len(others))
    done = _answered(folder / "episodes.jsonl")
    rows = [_turns(folder.name, "partner", params, episodes, done, _half(params))]
    rows += [_turns(folder.name, role, params | {role: text}, cell, 0, _half(params)) for role, text in others]
    answered = min(episodes, _answered(folder / "judgements.jsonl"))
    judged = Asked(folder.name, "judge", params["judge"], episodes, answered)
    prompt = SAFETY_PROMPT + SAFETY_TURN * params["turn_limit"]
    rows.append(_priced(judged, params, 1, prompt, SAFETY_COMPLETION))
    return [row for row in rows if row is not None]


def _priced(row: Asked, params: Mapping[str, Any], per_item: float, prompt: float, completion: float) -> Asked | None:
    """The row for what is left of its items; None where no server is asked."""
    if not row.model.startswith("openai:"):
        return None
    spec = parse_model(row.role, row.model)
    calls = round((row.items - row.done) * per_item)
    tokens = round(calls * prompt), round(calls * completion)
    price = price_of(params.get("prices", {}), spec.name)
    return replace(
        row,
        model=spec.name,
        calls=calls,
        prompt_tokens=tokens[0],
        completion_tokens=tokens[1],
        usd=price.cost(*tokens).usd if price else None,
    )


def _answered(path: Path) -> int:
    """Items that lie there and are not asked for again."""
    return sum(not is_unanswered(item) for item in ItemFile(path).read())


def _shown(table: pd.DataFrame) -> str:
    shown = table.assign(usd=["price unknown" if pd.isna(usd) else f"{usd:,.2f}" for usd in table["usd"]])
    for name in ("items", "done", "calls", "prompt_tokens", "completion_tokens"):
        shown[name] = [f"{number:,}" for number in shown[name]]
    return shown.to_string(index=False)


def _sums(table: pd.DataFrame) -> str:
    known = table["usd"].dropna().sum()
    unpriced = sorted(set(table.loc[table["usd"].isna(), "model"]))
    unknown = f", and what {', '.join(unpriced)} cost (no price in the preset's `prices`)" if unpriced else ""
    tokens = table["prompt_tokens"].sum() + table["completion_tokens"].sum()
    return f"In all at most {table['calls'].sum():,} calls, {tokens:,} tokens, ${known:,.2f}{unknown}."
