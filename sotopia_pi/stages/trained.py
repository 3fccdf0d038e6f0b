"""Which variants a run has trained so far, and why the others are not there."""

from pathlib import Path

from sotopia_pi.store.stage import Stage

CLONING, REINFORCEMENT = "03_behavior_cloning", "05_self_reinforcement"


def trained_adapters(stage: Stage) -> tuple[dict[str, Path], dict[str, str]]:
    """Adapter folders by variant, and of each variant that has none, why.

    stage: the one that reads them. A training stage that is not complete is a reason, not an error.
    """
    found, absent = {}, {}
    if stage.has_input(CLONING, "bc/adapter"):
        found["BC"] = stage.input_path(CLONING, "bc/adapter")
    else:
        absent["BC"] = f"not trained: {CLONING} of this run is not complete"
    if not stage.has_input(REINFORCEMENT, "variants.jsonl"):
        reason = f"not trained: {REINFORCEMENT} of this run is not complete"
        return found, absent | dict.fromkeys(("SR", "BC+SR"), reason)
    for variant in stage.input(REINFORCEMENT, "variants.jsonl"):
        if variant["trained"]:
            found[variant["id"]] = stage.input_path(REINFORCEMENT, f"{variant['folder']}/adapter")
        else:
            absent[variant["id"]] = f"not trained: {variant['reason']}"
    return found, absent
