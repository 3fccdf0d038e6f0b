"""The figures published in the Sotopia-π paper (arXiv 2403.08715, Tables 3 to 9 and Figure 4) as tidy frames.

Every row names the table it comes from, who rated, and how many episodes, scenarios or subjects it rests on. Language
models and people gave these scores; they are on no common scale with scores by rule, so a figure draws them in a
panel of their own. `variant` is this workbench's name for the agent: Mistral-7B is the base, GPT-4 the expert.
"""

from functools import cache
from pathlib import Path

import pandas as pd

PAPER = "Sotopia-π (arXiv 2403.08715)"
FOLDER = Path(__file__).parent / "data" / "paper"
VARIANT_OF = {"Mistral-7B": "base", "GPT-4": "expert"}
"""Agent's name in the paper -> variant; BC, SR, BC+SR and SR+BC are called alike, GPT-3.5-turbo is its partner."""

JUDGE, HUMAN, PARTNER = "gpt-4", "human", "GPT-3.5-turbo"
LOW_IS_GOOD = ("injury_rate", "toxic_words_per_episode")
"""Measures of the agent as an aggressor of which less is better; of all others more is better."""


def social_scores(side: str = "agent") -> pd.DataFrame:
    """Tables 5 and 9: mean score by rater, tasks ("all", "hard"), n_episodes, agent and dimension ("overall", too).

    side: "agent" (Table 5) or "partner" (Table 9, of GPT-3.5-turbo as the agents met it, rated by people).
    """
    if side not in ("agent", "partner"):
        raise ValueError(f"side = {side!r}; allowed: 'agent' and 'partner'")
    rows = _read("social_scores")
    return rows[rows["side"] == side].reset_index(drop=True)


def paired_tests() -> pd.DataFrame:
    """Table 6: paired t-tests of BC+SR against every other agent, scores by people; columns t, p, df, n_scenarios.

    df is inferred: 13 (14 hard scenarios) gives every printed p back except those against GPT-3.5-turbo, all of which
    come from 11 and from no other number. reference: our name of compared_with.
    """
    rows = _read("paired_tests")
    return rows.assign(reference=rows["compared_with"].replace(VARIANT_OF))


def safety() -> pd.DataFrame:
    """Table 3: by agent and role ("aggressor", "preventer"), labelled by hand over n_episodes.

    Rates are shares in [0, 1]; toxic_words_per_episode and solutions_per_episode are counts.
    """
    return _read("safety")


def mmlu() -> pd.DataFrame:
    """Table 4: accuracy_percent, 5 shots, the first letter of a generated reply, over n_subjects."""
    return _read("mmlu")


def judge_human() -> pd.DataFrame:
    """Figure 4, Tables 7 and 8: how judge and people agree; columns statistic, of (agent or dimension), value.

    statistic: goal_judge_minus_human (points of 10), pearson_goal_judge_vs_human, pairwise_agreement (share) and
    randolph_kappa. n_episodes is missing where the paper names none (Table 8).
    """
    return _read("judge_human", agent="of")


def goal_by_rater() -> pd.DataFrame:
    """The paper's Figure 4: goal of the agent on hard tasks by the same 28 episodes' judge and human scores."""
    rows = social_scores()
    return rows[(rows["dimension"] == "goal") & (rows["n_episodes"] == 28)].reset_index(drop=True)


def gaps_shown() -> pd.DataFrame:
    """Figure 4 for reading: a row an agent with both raters' goal and their difference, in the figure's order."""
    wide = goal_by_rater().pivot(index=["source", "n_episodes", "agent"], columns="rater", values="score").reset_index()
    gaps = judge_human()
    gaps = gaps[gaps["statistic"] == "goal_judge_minus_human"].set_index("of")["value"]
    wide["judge − people"] = wide["agent"].map(gaps)
    order = {name: i for i, name in enumerate(gaps.index)}
    shown = wide.dropna(subset=["judge − people"]).sort_values("agent", key=lambda names: names.map(order))
    return shown.rename(columns={JUDGE: "goal, judge gpt-4", HUMAN: "goal, people"}).rename_axis(None, axis=1)


def agreement_shown() -> pd.DataFrame:
    """Tables 7 and 8 for reading: statistic, of which agent or dimension, value."""
    rows = judge_human()
    rows = rows[rows["source"] != "Figure 4"].drop(columns="variant")
    named = rows["n_episodes"].map(lambda n: "not told" if pd.isna(n) else f"{n:.0f}")
    return rows.assign(n_episodes=named).reset_index(drop=True)


def safety_shown() -> pd.DataFrame:
    """Table 3 for reading: a row an agent, a column a role and measure."""
    rows = safety()
    rows = rows.assign(measure=rows["role"] + ": " + rows["metric"].str.replace("_", " "))
    by = ["source", "rater", "n_episodes", "agent"]
    wide = rows.pivot(index=by, columns="measure", values="value")[list(dict.fromkeys(rows["measure"]))].reset_index()
    order = {name: i for i, name in enumerate(dict.fromkeys(rows["agent"]))}
    return wide.sort_values("agent", key=lambda names: names.map(order)).rename_axis(None, axis=1)


def changes() -> pd.DataFrame:
    """What each trained agent gained or lost against the base, measure by measure (Tables 3, 4 and 5).

    Columns measure, unit, rater, n, variant, base, value, change, better (whether the change is for the better;
    missing where nothing changed).
    """
    goal = goal_by_rater()
    parts = [
        _change(goal[goal["rater"] == JUDGE], "goal, judge", "points of 10", "score", n="n_episodes"),
        _change(goal[goal["rater"] == HUMAN], "goal, people", "points of 10", "score", n="n_episodes"),
        _change(mmlu().assign(rater="answer key"), "MMLU accuracy", "percent", "accuracy_percent", n="n_subjects"),
    ]
    for (role, metric), rows in safety().groupby(["role", "metric"], sort=False):
        name = f"{role}: {metric.replace('_', ' ')}"
        unit = "share" if metric.endswith("rate") else "an episode"
        parts.append(_change(rows, name, unit, "value", n="n_episodes", low_is_good=metric in LOW_IS_GOOD))
    return pd.concat(parts, ignore_index=True)


def shown_as(rows: pd.DataFrame) -> str:
    """Where published rows come from, who rated and over how many: the label of their panel."""
    tables = ", ".join(dict.fromkeys(rows["source"]))
    raters = " and ".join(sorted(set(rows["rater"])))
    n = " or ".join(str(int(n)) for n in sorted(rows["n_episodes"].dropna().unique()))
    return f"{PAPER}, {tables}: scores by {raters}, n = {n} episodes an agent; no intervals were published"


@cache
def _file(name: str) -> pd.DataFrame:
    return pd.read_csv(FOLDER / f"{name}.csv")


def _read(name: str, agent: str = "agent") -> pd.DataFrame:
    rows = _file(name).copy()
    rows.insert(0, "variant", rows[agent].map(VARIANT_OF).fillna(rows[agent]))
    return rows


def _change(rows: pd.DataFrame, measure: str, unit: str, value: str, n: str, low_is_good: bool = False) -> pd.DataFrame:
    base = float(rows.loc[rows["variant"] == "base", value].iloc[0])
    trained = rows[rows["variant"].isin(["SR", "BC", "BC+SR"])]
    change = (trained[value] - base).round(4)
    better = (change < 0) if low_is_good else (change > 0)
    columns = {
        "measure": measure,
        "unit": unit,
        "rater": trained["rater"],
        "n": trained[n],
        "variant": trained["variant"],
        "base": base,
        "value": trained[value],
        "change": change,
        "better": better.astype(object).where(change != 0, None),
    }
    return pd.DataFrame(columns)
