"""The answer of a run in plain words: what was found, with its interval, and what it does not mean."""

import json
from collections.abc import Mapping
from typing import Any

from sotopia_pi.analysis.published import judge_human
from sotopia_pi.analysis.tables import interval_text
from sotopia_pi.app.fragments import Html, bullets, joined, paragraph
from sotopia_pi.app.report_run import ReportRun
from sotopia_pi.app.results import RESULTS_FILE

RESULTS, EVALUATION, PEOPLE = "10_results", "06_social_evaluation", "09_human_evaluation"
HEADLINE = "headline.html"
"""HTML fragment that a results notebook writes: the goal figure, inside the page, and the table."""
RULE = "payoff"
TRAINED = ("BC+SR", "SR", "BC")
"""The one that the answer speaks of is the first of these that was evaluated."""

Scores = Mapping[str, Mapping[str, Any]]


def answer_html(run: ReportRun) -> Html:
    """Plain sentences, then figure and table as the results notebook wrote them; "" where no stage has results."""
    stages = [stage for stage in run.manifests if run.path(stage, HEADLINE)]
    if not stages:
        return Html()
    scores = _scores(run, stages[-1])
    return joined(
        [
            paragraph(" ".join(found_words(run, scores)), "found"),
            bullets(limits_words(run)),
            *(Html(run.path(stage, HEADLINE).read_text(encoding="utf-8")) for stage in stages),
        ]
    )


def found_words(run: ReportRun, scores: Scores) -> list[str]:
    """At most two sentences: what the trained agent reached beside base and expert, and what self-reinforcement added.

    scores: variant -> its row of results over all tasks. [] where no goal was scored.
    """
    trained = next((variant for variant in TRAINED if variant in scores), None)
    if trained is None:
        return ["No trained agent was evaluated in this run."] if scores else []
    others = {"base": "the base model", "expert": "the expert"}
    beside = [f"{words} {_interval(scores[name])}" for name, words in others.items() if name in scores]
    tasks = scores[trained].get("n_tasks")
    words = f"The trained agent ({trained}) reached {_interval(scores[trained])} of 10 goal points"
    words += f" on {tasks} tasks that training never saw" if tasks else ""
    words += f"; {' and '.join(beside)}." if beside else "."
    return [words, *_step_words(run)]


def limits_words(run: ReportRun) -> list[str]:
    """What the answer does not mean, as far as this run's own settings tell."""
    judge, partner = run.param(EVALUATION, "judge"), run.param(EVALUATION, "partner")
    words = [_judge_words(judge)] if judge else []
    if partner:
        kind = "a script" if partner.startswith("scripted:") else f"a language model ({model_name(partner)})"
        words.append(f"The partner was {kind}: doing well against it is not doing well with people.")
    if RESULTS in run.stages and not run.items(PEOPLE, "ratings.jsonl"):
        words.append("No person's ratings are part of it.")
    if run.param(EVALUATION, "seed") is not None:
        words.append(
            "It is one training with one seed. The intervals tell how far other tasks of this kind would move the "
            "figures, not how far another training would."
        )
    return words


def model_name(spec: str) -> str:
    """The name in a model string: `openai:gpt-4-0613@…` -> gpt-4-0613."""
    return spec.partition(":")[2].partition("@")[0].partition("?")[0] or spec


def _scores(run: ReportRun, stage: str) -> dict[str, Mapping[str, Any]]:
    """Variant -> the agent's goal over all tasks, of those that have one."""
    path = run.path(stage, RESULTS_FILE)
    rows = json.loads(path.read_text(encoding="utf-8"))["results"] if path else []
    return {
        row["variant"]: row
        for row in rows
        if (row["tasks"], row["side"], row["dimension"]) == ("all", "agent", "goal") and row["mean"] is not None
    }


def _interval(row: Mapping[str, Any]) -> str:
    """`4.37 [3.69, 5.08]`; the value alone where no interval could be made."""
    low, high = row.get("low"), row.get("high")
    return f"{row['mean']:.2f}" if low is None or high is None else interval_text(row["mean"], low, high)


def _step_words(run: ReportRun) -> list[str]:
    """What self-reinforcement added to cloning, where both were evaluated."""
    paired = run.table(RESULTS, "paired")
    if paired is None:
        return []
    step = paired[(paired["tasks"] == "all") & (paired["variant"] == "BC+SR") & (paired["reference"] == "BC")]
    if step.empty or step["difference"].isna().any():
        return []
    row = step.iloc[0]
    verdict = {"higher": "more", "lower": "less"}.get(row["ranked"])
    change = interval_text(row["difference"], row["low"], row["high"])
    if verdict:
        return [f"With self-reinforcement after cloning it reached {verdict} than by cloning alone: {change} points."]
    why = row["ranked"].removeprefix("not ranked: ")
    return [f"Whether self-reinforcement after cloning added anything is open: {change} points ({why})."]


def _judge_words(judge: str) -> str:
    if judge == RULE:
        return (
            "A rule scored the goals, from what both sides said: 0 is no deal or one no better than walking away, 10 "
            "the best a side hoped for. Believability, knowledge and whatever else it cannot check are missing, and "
            "the figures are on no common scale with the paper's, which a language model or people gave."
        )
    gaps = judge_human()
    gap = gaps[(gaps["statistic"] == "goal_judge_minus_human") & (gaps["of"] == "BC+SR")]["value"].iloc[0]
    return (
        f"A language model ({model_name(judge)}) scored the goals. In the paper gpt-4 rated the trained agent (BC+SR) "
        f"{gap:.2f} points above what people gave, so a rise by such a judge is no proof of skill."
    )
