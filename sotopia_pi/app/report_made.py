"""How a run was made, for readers: models, data, selection, training, machine and times, from card and manifests."""

import json
from collections.abc import Mapping
from typing import Any

from sotopia_pi.app.console import duration
from sotopia_pi.app.finished_run import CLONING, REINFORCEMENT, TASKS, VARIANTS
from sotopia_pi.app.fragments import Html, details, facts, joined, link, paragraph, table, warning
from sotopia_pi.app.report_answer import EVALUATION
from sotopia_pi.app.report_run import ReportRun
from sotopia_pi.store.run_card import CARD

EXPERT, OWN = "02_expert_episodes", "04_agent_episodes"
ROLES = (
    ("agent (the base model)", ((CLONING, "model"), (EVALUATION, "model"))),
    ("expert, cloned", ((EXPERT, "expert"),)),
    ("partner while data were made", ((EXPERT, "partner"), (OWN, "partner"))),
    ("partner in the evaluation", ((EVALUATION, "partner"),)),
    ("judge of the data", ((EXPERT, "judge"), (OWN, "judge"))),
    ("judge of the evaluation", ((EVALUATION, "judge"),)),
    ("further judges", ((EVALUATION, "more_judges"),)),
    ("writer of the tasks", ((TASKS, "writer"),)),
)
"""Who plays which part, and the parameters that say so."""
SPLITS = {"bc": "behavior cloning", "sr": "self-reinforcement", "eval": "evaluation"}
PLAYED = {
    EXPERT: "expert episodes",
    OWN: "own episodes",
    EVALUATION: "evaluation episodes",
    "07_safety": "safety talks",
}
ADAPTERS = {"BC": (CLONING, "bc"), "SR": (REINFORCEMENT, "sr"), "BC+SR": (REINFORCEMENT, "bc_sr")}
TRAINING_HEAD = ("variant", "examples from", "kept of", "LoRA", "learning rate", "epochs", "steps", "tokens", "loss")


def made_html(run: ReportRun) -> Html:
    """Models, data, training, machine; the whole card folded up. A part of which nothing is known is left out."""
    if not run.manifests:
        return warning("No stage is complete yet, so nothing can be told about how this run was made.")
    return joined(
        [
            "<h3>Models</h3>",
            facts(_models(run)),
            "<h3>Data</h3>",
            facts(_data(run)),
            *_training(run),
            "<h3>Machine, seeds and times</h3>",
            facts(_machine(run)),
            _whole_card(run),
        ]
    )


def _models(run: ReportRun) -> dict[str, Any]:
    """Role -> model strings, as the stages ran with them; weights by their digest."""
    known: dict[str, Any] = {}
    for role, places in ROLES:
        named = [value for place in places if (value := run.param(*place))]
        flat = dict.fromkeys(one for value in named for one in (value if isinstance(value, list) else [value]))
        if flat:
            known[role] = ", ".join(flat)
    notes = run.notes(CLONING)
    if "weights" in notes:
        known["base weights"] = f"{notes['weights']}, trained in {notes.get('dtype', 'unknown precision')}"
    return known


def _data(run: ReportRun) -> dict[str, Any]:
    known: dict[str, Any] = {}
    counts = run.counts(TASKS)
    for split, words in SPLITS.items():
        if (n := counts.get(f"tasks for {split}")) is not None:
            known[f"tasks for {words}"] = f"{n}, {counts.get(f'hard tasks for {split}', 0)} of them hard"
    for stage, words in PLAYED.items():
        if counts := run.counts(stage):
            known[words] = _played(counts)
    return known


def _played(counts: Mapping[str, Any]) -> str:
    """`639; 0 failed, 1,278 sides rated`: how many were planned, how many failed, how many sides have a score."""
    planned = counts.get("episodes planned", 0)
    failed = sum(n for label, n in counts.items() if label.startswith("failed: "))
    parts = [f"{failed} failed", f"{counts.get('turns that failed to parse', 0)} turns could not be read"]
    if "sides rated" in counts:
        parts.append(f"{counts['sides rated']:,} sides rated")
    return f"{planned:,}; {', '.join(parts)}"


def _training(run: ReportRun) -> list[str]:
    reasons = {one["id"]: one["reason"] for one in run.items(REINFORCEMENT, VARIANTS) if not one["trained"]}
    rows = [row for variant in ADAPTERS if (row := _trained(run, variant))]
    if not rows and not reasons:
        return []
    return [
        "<h3>Selection and training</h3>",
        table(TRAINING_HEAD, rows, numbers=(5, 6, 7)) if rows else "",
        *(paragraph(f"{variant} was not trained: {why}.") for variant, why in reasons.items()),
    ]


def _trained(run: ReportRun, variant: str) -> tuple[Any, ...] | None:
    """A row about one adapter, from the settings its training wrote beside it; None where it was not trained."""
    stage, folder = ADAPTERS[variant]
    path = run.path(stage, f"{folder}/settings.json")
    if path is None:
        return None
    written = json.loads(path.read_text(encoding="utf-8"))
    settings, result = written["settings"], written["result"]
    counts = {label.removeprefix(f"{variant}: "): n for label, n in run.counts(stage).items()}
    lora = f"r {settings['r']}, alpha {settings['alpha']}, {', '.join(settings['target_modules'])}"
    return (
        variant,
        f"{run.param(stage, 'recipe')}, goal ≥ {run.param(stage, 'min_goal'):g}",
        f"{counts.get('kept by the recipe', '?')} of {counts.get('rated', '?')} sides",
        lora if settings["quantisation"] == "none" else f"{lora}, {settings['quantisation']}",
        f"{settings['lr']:g}",
        settings["epochs"],
        result["steps"],
        f"{result['tokens']:,}",
        f"{result['loss_first']:.2f} → {result['loss_last']:.2f}",
    )


def _machine(run: ReportRun) -> dict[str, Any]:
    walls = [row.wall_s for row in run.rows if row.wall_s is not None]
    peaks = [(row.peak_rss_mib, row.name) for row in run.rows if row.peak_rss_mib]
    seeds = dict.fromkeys(m["params"]["seed"] for m in run.manifests.values() if "seed" in m["params"])
    known: dict[str, Any] = {}
    if machine := run.card.get("machine"):
        known["machine"] = f"{machine['cores']} cores, {machine['memory_gib']} GiB, {machine['system']}"
        known["graphics card"] = machine["gpu"]
    known["seed"] = ", ".join(map(str, seeds)) or "none"
    known["time of all stages"] = duration(sum(walls))
    if peaks:
        most, stage = max(peaks)
        known["most memory"] = f"{most:,} MiB, in {stage}"
    if package := run.card.get("package"):
        git = run.card.get("git", {})
        version = " ".join(f"{name} {number}" for name, number in package.items())
        known["software"] = f"{version}, commit {git.get('commit', 'unknown')} ({git.get('state', 'unknown')})"
        known["card written"] = run.card["written"]
    return known


def _whole_card(run: ReportRun) -> Html:
    card = run.card
    if not card:
        return warning("There is no run card (run.json) yet; the next start of the pipeline writes it.")
    inside = [details(f"Notes of {stage}", facts(entry["notes"])) for stage, entry in _told(card).items()]
    inside += [details(f"Parameters of {stage}", facts(params)) for stage, params in card["params"].items()]
    inside.append(details("Library versions", facts({"Python": card["machine"]["python"], **card["libraries"]})))
    told = facts({"preset": card["preset"]["file"], "what it sets": card["preset"]["given"] or "nothing"})
    whole = paragraph(link(f"../{CARD}", f"The whole card as JSON ({CARD})"))
    return details("The whole run card: every parameter, note and version", joined([told, whole, *inside]), "raw")


def _told(card: Mapping[str, Any]) -> dict[str, Any]:
    return {stage: entry for stage, entry in card["stages"].items() if entry.get("notes")}
