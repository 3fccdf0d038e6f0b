"""Where a run differs from the paper: its own parameters beside those of the paper's preset, and the paper's facts."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sotopia_pi.app.finished_run import CLONING, REINFORCEMENT, TASKS, TASKS_FILE
from sotopia_pi.app.fragments import Html, details, joined, paragraph, table, warning
from sotopia_pi.app.report_answer import EVALUATION, PEOPLE, model_name
from sotopia_pi.app.report_made import EXPERT, OWN
from sotopia_pi.app.report_run import ReportRun
from sotopia_pi.store.params import ParameterError, plan_run

PRESET = "paper"
SAFETY, KNOWLEDGE = "07_safety", "08_mmlu"
NAMED: dict[tuple[str, str], str] = {
    (CLONING, "model"): "base model",
    (EXPERT, "expert"): "the expert",
    (EVALUATION, "partner"): "partner in the evaluation",
    (EVALUATION, "judge"): "judge of the evaluation",
    (EXPERT, "judge"): "judge of the expert's episodes",
    (OWN, "judge"): "judge of own play",
    (TASKS, "tasks_from"): "where the training tasks come from",
    (TASKS, "evaluation"): "where the evaluation tasks come from",
    (TASKS, "writer"): "who writes the tasks",
    (TASKS, "n_bc"): "tasks asked for, behavior cloning",
    (TASKS, "n_sr"): "tasks asked for, self-reinforcement",
    (TASKS, "pairs"): "pairs of characters a written task",
    (EXPERT, "partner_share"): "share of expert talks against another partner (0: the expert plays both sides)",
    (EXPERT, "prompt_format"): "prompt (sotopia: one message a turn, JSON; chat: alternating turns)",
    (EXPERT, "on_failure"): "output that cannot be read",
    (CLONING, "recipe"): "selection for behavior cloning",
    (CLONING, "min_goal"): "least goal to be cloned",
    (CLONING, "lora_r"): "LoRA rank",
    (CLONING, "lora_alpha"): "LoRA alpha",
    (CLONING, "lora_dropout"): "LoRA dropout",
    (CLONING, "target_modules"): "LoRA on",
    (CLONING, "layers_share"): "share of layers with LoRA, from the top",
    (CLONING, "quantisation"): "base weights in training",
    (CLONING, "learning_rate"): "learning rate, behavior cloning",
    (CLONING, "batch_size"): "batch size",
    (CLONING, "epochs"): "epochs, behavior cloning",
    (CLONING, "max_tokens"): "longest example, tokens",
    (OWN, "partner_share"): "share of own talks against another partner (0: the agent plays both sides)",
    (OWN, "temperature"): "temperature of own play",
    (OWN, "max_new_tokens"): "longest turn of own play, tokens",
    (OWN, "probe_sides"): "sides of a probe that must reach the least goal, else no self-reinforcement",
    (REINFORCEMENT, "recipe"): "selection for self-reinforcement",
    (REINFORCEMENT, "min_goal"): "least goal to be reinforced",
    (REINFORCEMENT, "learning_rate"): "learning rate, self-reinforcement",
    (REINFORCEMENT, "epochs"): "epochs, self-reinforcement",
    (EVALUATION, "temperature"): "temperature in the evaluation",
    (EVALUATION, "turn_limit"): "most turns of an episode",
    (EVALUATION, "few_shot"): "episodes shown to a few-shot base (0: there is none)",
    (SAFETY, "tasks_from"): "safety tasks",
    (SAFETY, "partner"): "partner in the safety talks",
    (SAFETY, "turn_limit"): "most turns of a safety talk",
    (KNOWLEDGE, "questions"): "multiple-choice questions",
    (KNOWLEDGE, "subjects"): "subjects asked (–: all)",
    (KNOWLEDGE, "n_per_subject"): "questions a subject (0: all)",
}
"""Parameters in which a difference changes what was done, in words; all others are listed by their names."""
IN_WORDS: dict[tuple[str, Any], str] = {
    ("tasks_from", "templates"): "the workbench's own templates",
    ("tasks_from", "writer"): "a language model that writes them",
    ("tasks_from", "own"): "the workbench's own",
    ("tasks_from", "published"): "Sotopia's revenge_plot",
    ("evaluation", "templates"): "the workbench's own templates",
    ("judge", "payoff"): "a rule (payoff)",
    ("on_failure", "fail"): "the episode fails",
    ("on_failure", "none"): "a marked silence",
    ("quantisation", "none"): "not quantised",
    ("partner", "base"): "the base model",
    ("questions", "own"): "the workbench's own, not MMLU",
}
"""(parameter, value) -> what it means."""
PLUMBING = {"run", "prices", "max_usd", "max_tokens_spent", "at_once", "timeout_s", "max_batch", "max_context", "model"}
PLUMBING |= {"report_to", "train_here", "keep_epochs", "gradient_checkpointing", "show_results"}
"""Parameters that say how, where and at what price a machine works, not what is done."""


@dataclass(frozen=True)
class Fact:
    """Something the paper did that no parameter holds. here: what this run did, from its counts; None: not known."""

    what: str
    paper: str
    here: Callable[[ReportRun], str | None]


FACTS = (
    Fact(
        "tasks for training",
        "1000 from 100 scenarios for cloning, 1000 from 100 for reinforcement",
        lambda run: _training_tasks(run),
    ),
    Fact("characters of the training tasks", "Sotopia's", lambda run: "the workbench's own" if _tasks(run) else None),
    Fact("evaluation scenarios", "90, 14 of them hard", lambda run: _scenarios(run)),
    Fact("safety talks a variant and role", "9", lambda run: _text(run.param(SAFETY, "episodes"))),
    Fact("safety labels", "by hand", lambda run: _labels(run)),
    Fact("talks rated by people", "28 a model, two people each", lambda run: _people(run)),
)
"""What the paper reports of itself (sections 3 to 6 and the appendix) beside what a run's manifests say."""


def deviations_html(run: ReportRun) -> Html:
    """Two tables, the second folded up: what the paper did and what this run did, wherever they differ.

    "" where no stage is finished.
    """
    if not run.manifests:
        return Html()
    try:
        paper = plan_run(run.root, run.root / "params" / f"{PRESET}.yaml").params
    except (ParameterError, OSError) as error:
        return warning(f"The paper's preset could not be read, so differences from it are not listed: {error}")
    mine = {stage: manifest["params"] for stage, manifest in run.manifests.items()}
    differing = differences(mine, paper)
    rows = [
        (NAMED[place], in_words(place[1], theirs), in_words(place[1], ours))
        for place, ours, theirs in differing
        if place in NAMED
    ]
    rows += [(fact.what, fact.paper, here) for fact in FACTS if (here := fact.here(run)) not in (None, fact.paper)]
    rest = [
        (stage, key, shown(theirs), shown(ours))
        for (stage, key), ours, theirs in differing
        if (stage, key) not in NAMED and key not in PLUMBING
    ]
    if not rows and not rest:
        return paragraph(f"Every parameter of a finished stage is that of params/{PRESET}.yaml.")
    return joined(
        [
            paragraph(
                f"From the parameters that the finished stages ran with, beside params/{PRESET}.yaml, and from their "
                f"counts beside the paper's. What is alike is not listed."
            ),
            table(("what", "the paper", "this run"), rows) if rows else "",
            details(
                f"{len(rest)} further parameters that differ",
                table(("stage", "parameter", f"params/{PRESET}.yaml", "this run"), rest),
                "raw",
            )
            if rest
            else "",
        ]
    )


def differences(
    mine: Mapping[str, Mapping[str, Any]], paper: Mapping[str, Mapping[str, Any]]
) -> list[tuple[tuple[str, str], Any, Any]]:
    """((stage, parameter), value here, value in the paper's preset) of all that differ, in the order of NAMED first."""
    found = [
        ((stage, key), value, paper[stage][key])
        for stage, params in mine.items()
        for key, value in params.items()
        if key in paper.get(stage, {}) and value != paper[stage][key]
    ]
    order = {place: i for i, place in enumerate(NAMED)}
    return sorted(found, key=lambda one: order.get(one[0], len(order)))


def shown(value: Any) -> str:
    """A parameter's value in words: lists by their entries, what is empty as a dash."""
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "–"
    if isinstance(value, dict):
        return ", ".join(f"{key}: {inner}" for key, inner in value.items()) or "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    return "–" if value == "" else str(value)


def in_words(key: str, value: Any) -> str:
    """What a parameter's value means, for those whose names do not say it; models by their names."""
    if isinstance(value, str) and value.startswith("openai:"):
        return model_name(value)
    known = IN_WORDS.get((key, value)) if isinstance(value, str) else None
    return known or shown(value)


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _tasks(run: ReportRun) -> dict[str, list[dict[str, Any]]]:
    """Split -> its tasks; {} where stage 01 is not finished."""
    by_split: dict[str, list[dict[str, Any]]] = {}
    for task in run.items(TASKS, TASKS_FILE):
        by_split.setdefault(task["split"], []).append(task)
    return by_split


def _templates(tasks: Iterable[Mapping[str, Any]]) -> int:
    return len({task["scenario"]["template"] for task in tasks})


def _training_tasks(run: ReportRun) -> str | None:
    tasks = _tasks(run)
    if not tasks:
        return None
    bc, sr = tasks.get("bc", []), tasks.get("sr", [])
    return f"{len(bc)} from {_templates(bc)} scenarios for cloning, {len(sr)} from {_templates(sr)} for reinforcement"


def _scenarios(run: ReportRun) -> str | None:
    tasks = _tasks(run).get("eval")
    return f"{_templates(tasks)}, {_templates(t for t in tasks if t['hard'])} of them hard" if tasks else None


def _labels(run: ReportRun) -> str | None:
    if SAFETY not in run.manifests:
        return None
    sources = dict.fromkeys(label.get("kind", "unknown") for label in run.items(SAFETY, "labels.jsonl"))
    return f"by {', '.join(sources)}" if sources else "none; only what a rule says"


def _people(run: ReportRun) -> str | None:
    if PEOPLE not in run.manifests:
        return None
    people = {item["judge"] for item in run.items(PEOPLE, "ratings.jsonl")}
    return f"{run.counts(PEOPLE).get('datapoints', 0)} in all, {len(people)} people" if people else "none rated"
