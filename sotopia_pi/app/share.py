"""What the cards of a run say: collected from its manifests, plans and tables, and nothing that they do not hold."""

import importlib.metadata
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from sotopia_pi.app.export_sft import Taught, read_taught, trained_variants
from sotopia_pi.app.finished_run import PLAN_FILE, TASKS, TRAINING, FinishedRun, NotFinished, TrainedVariant
from sotopia_pi.app.measured import measured
from sotopia_pi.formats.base_weights import BaseWeights, base_weights
from sotopia_pi.formats.cards import CardOptions, ModelFacts, Round
from sotopia_pi.formats.sft_layouts import kept_turns
from sotopia_pi.formats.shown_model import shown_model, shown_role
from sotopia_pi.store.run_card import PACKAGE

SETTINGS_FILE = "settings.json"
KINDS = {"03_behavior_cloning": "Behavior cloning", "05_self_reinforcement": "Self-reinforcement"}
SOURCES = {"03_behavior_cloning": "02_expert_episodes", "05_self_reinforcement": "04_agent_episodes"}
"""Which stage played what a training stage learnt from."""
PLAYING = ("02_expert_episodes", "04_agent_episodes", "06_social_evaluation")
RECIPE = ("recipe", "group_by", "unit", "share", "min_goal", "keep_failed_turns")
LAST_STEP = "kept by the recipe"
SAW = ("examples", "own turns", "turns without loss", "over the cutoff", "without a target")
MACHINE_ONLY = {"micro_tokens", "checkpoint_s", "keep_epochs", "report_to", "attention", "gradient_checkpointing"}
"""Settings of a training that say how it was computed, not what was learnt."""


def version() -> str:
    """The workbench's version."""
    return importlib.metadata.version(PACKAGE)


def model_facts(run: FinishedRun, variant: TrainedVariant, options: CardOptions, merged: str = "") -> ModelFacts:
    """What the card of a trained variant tells. merged: dtype of a merged model. Raises NotFinished."""
    taught = read_taught(run, variant)
    record = training_record(run, variant)
    found, why = measured(run, variant)
    sources, free = terms(run, taught.model)
    return ModelFacts(
        run=run.name,
        variant=variant.name,
        version=version(),
        base=base_of(run, variant),
        adapter_digest=record["result"]["adapter_digest"],
        prompt_format=taught.prompt_format,
        rounds=[training_round(run, one) for one in _lineage(run, variant)],
        measured=found,
        unmeasured=why,
        sources=sources,
        free=free,
        example=_example(run, variant, taught),
        merged=merged,
        options=options,
    )


def base_of(run: FinishedRun, variant: TrainedVariant) -> BaseWeights:
    """The weights that a variant's adapter belongs to."""
    plan = _json(run, variant, PLAN_FILE)
    record = training_record(run, variant)
    return base_weights(plan["model"], record["base_digest"], record["base"])


def training_record(run: FinishedRun, variant: TrainedVariant) -> dict[str, Any]:
    """What a training wrote down of itself: settings, digests, result."""
    return _json(run, variant, SETTINGS_FILE)


def training_round(run: FinishedRun, variant: TrainedVariant) -> Round:
    """One training as a card tells it."""
    taught, record = read_taught(run, variant), training_record(run, variant)
    manifest = run.manifest(variant.stage)
    source = run.manifest(SOURCES[variant.stage])
    roles = source["notes"].get("roles", {})
    tags = sorted({one.tag for one in taught.kept})
    played = [episode for episode in taught.episodes if episode.tag in tags]
    cloned = variant.stage == TRAINING[0]
    steps, learnt = _counts(manifest["counts"], variant.name)
    told = {"tokens": record["result"]["tokens"], "supervised tokens": record["result"]["supervised_tokens"]}
    told |= {"optimiser steps": record["result"]["steps"]}
    told |= {"loss, first and last": [_loss(record["result"][key]) for key in ("loss_first", "loss_last")]}
    settings = {key: value for key, value in record["settings"].items() if key not in MACHINE_ONLY}
    return Round(
        name=KINDS[variant.stage],
        player=shown_model(roles.get("expert", "the expert")) if cloned else f"the variant {' and '.join(tags)}",
        partner=_opposite(roles, source["params"].get("partner_share")),
        judge=shown_model(roles.get("judge", "a judge that its stage does not name")),
        tasks=len({episode.task_id for episode in played}),
        episodes=len(played),
        recipe={key: manifest["params"][key] for key in RECIPE if key in manifest["params"]},
        steps=steps,
        learnt=learnt | told,
        settings=settings | {"continues the adapter": record["start_from_digest"] or "no, a new one"},
    )


def terms(run: FinishedRun, model: str) -> tuple[list[str], bool]:
    """Where a run's data come from and on what terms, a sentence each; whether the workbench's own licence covers all
    of them but the base model."""
    params = run.manifest(TASKS)["params"]
    told, free = [], True
    if params.get("tasks_from", "templates") == "templates":
        told.append("Training tasks: drawn from scenario templates of the workbench (Apache-2.0).")
    else:
        free = False
        told.append(
            f"Training tasks: written by {shown_model(params.get('writer', ''))} from inspirational prompts "
            f"({', '.join(params.get('prompts') or ['those that come along'])}); the terms of the prompts' data sets "
            f"and of that model apply."
        )
    if params.get("evaluation", "templates") == "templates":
        told.append("Evaluation tasks and characters: the workbench's own (Apache-2.0).")
    else:
        free = False
        told.append("Evaluation tasks and characters: Sotopia's published ones; the terms of that data set apply.")
    for role, speaker in _speakers(run).items():
        if speaker.startswith("openai:"):
            free = False
            told.append(f"Words and ratings of the {role} come from {speaker}; its provider's terms apply to them.")
        elif speaker.startswith("local:") and speaker != f"local:{model}":
            free = False
            told.append(f"Words and ratings of the {role} come from {speaker}; that model's licence applies.")
    return told, free


def _speakers(run: FinishedRun) -> dict[str, str]:
    """role -> who, over the stages that play and are complete."""
    return {
        shown_role(role): shown_model(who)
        for stage in run.stages_with("episodes.jsonl")
        if stage in PLAYING
        for role, who in run.manifest(stage)["notes"].get("roles", {}).items()
        if who
    }


def _lineage(run: FinishedRun, variant: TrainedVariant) -> list[TrainedVariant]:
    """A variant after those whose adapters it continues, first to last."""
    made = {training_record(run, one)["result"]["adapter_digest"]: one for one in trained_variants(run)[0]}
    chain = [variant]
    while (before := training_record(run, chain[0])["start_from_digest"]) is not None:
        if before not in made or made[before] in chain:
            raise NotFinished(
                f"{run.name}: {chain[0].name} continues the adapter {before}, which no complete stage has any more. "
                f"{run.advice(chain[0].stage)}"
            )
        chain.insert(0, made[before])
    return chain


def _opposite(roles: Mapping[str, str], share: float | None) -> str:
    """Who sat on the other side. share: of the tasks on which it was the partner, None where the stage has no such."""
    partner = shown_model(roles.get("partner", "a partner that its stage does not name"))
    if share in (0, 1):
        return partner if share else "itself"
    return (
        f"{partner} or itself" if share is None else f"{partner} on {share:.0%} of the tasks and itself on the others"
    )


def _counts(counts: Mapping[str, int], variant: str) -> tuple[dict[str, int], dict[str, int]]:
    """(sides after each filter, what the training saw) of a stage's counts, which may carry the variant's name."""
    own = {key.removeprefix(f"{variant}: "): n for key, n in counts.items() if key.startswith(f"{variant}: ")}
    own = own or dict(counts)
    last = list(own).index(LAST_STEP) + 1 if LAST_STEP in own else 0
    return dict(list(own.items())[:last]), {key: own[key] for key in SAW if key in own}


def _example(run: FinishedRun, variant: TrainedVariant, taught: Taught) -> dict[str, Any] | None:
    """The first kept side as the model reads it, and its first answer."""
    told = taught.sides[:1], taught.episodes, run.tasks(variant.stage).values(), taught.prompt_format, taught.turns
    for side in kept_turns(*told):
        for turn in side.taught[:1]:
            asked = [{"role": message.role, "content": message.content} for message in side.asked(turn)]
            return {"messages": asked, "answer": side.answer(turn)}
    return None


def named_variant(run: FinishedRun, name: str | None) -> TrainedVariant:
    """The trained variant of this name, or the only one. Raises NotFinished with those there are."""
    trained, left_out = trained_variants(run)
    if name is None and len(trained) == 1:
        return trained[0]
    for one in trained:
        if name in (one.name, one.folder):
            return one
    why = next((f" {name} was {one.why}." for one in left_out if one.what == f"variant {name}"), "")
    asked = "name one" if name is None else f"there is no trained variant {name!r}"
    raise NotFinished(f"Run {run.name}: {asked} with --variant.{why} Trained: {_names(trained)}.")


def _names(variants: Iterable[TrainedVariant]) -> str:
    return ", ".join(one.name for one in variants)


def _loss(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _json(run: FinishedRun, variant: TrainedVariant, name: str) -> dict[str, Any]:
    path: Path = run.file(variant.stage, f"{variant.folder}/{name}")
    return json.loads(path.read_text(encoding="utf-8"))
