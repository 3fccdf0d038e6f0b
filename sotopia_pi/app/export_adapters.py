"""Export of a run's adapters as PEFT folders that name their base model, each with its card."""

import json
import shutil
from collections.abc import Iterable
from pathlib import Path

from sotopia_pi.app.export_folder import ExportReport
from sotopia_pi.app.export_sft import trained_variants
from sotopia_pi.app.finished_run import FinishedRun, TrainedVariant
from sotopia_pi.app.share import base_of, model_facts
from sotopia_pi.formats.base_weights import BaseWeights
from sotopia_pi.formats.cards import README, CardOptions, model_card
from sotopia_pi.store.items import write_atomically

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
BASE, REVISION = "base_model_name_or_path", "revision"


def write_adapters(run: FinishedRun, folder: Path, options: CardOptions) -> ExportReport:
    """Write the adapter of every variant that a run trained, a folder each, as PEFT reads it, with a card.

    A base model from the hub is named by its hub id, so that PEFT finds it, any other by a name that no hub has.
    Raises NotFinished where nothing was trained or an adapter is not what its stage wrote.
    """
    trained, left_out = trained_variants(run)
    counts, bases = {}, {}
    for variant in trained:
        place = folder / f"{run.name}-{variant.folder}"
        base = write_adapter(run, variant, place, options)
        counts[variant.name] = {"bytes": (place / WEIGHTS).stat().st_size}
        bases[variant.name] = base.name
    remarks = base_remarks(base_of(run, variant) for variant in trained)
    return ExportReport({"kind": "adapters", "run": run.name}, counts, left_out, remarks, {"bases": bases})


def write_one(run: FinishedRun, folder: Path, variant: TrainedVariant, options: CardOptions) -> ExportReport:
    """Write one variant's adapter and card as the folder itself."""
    base = write_adapter(run, variant, folder, options)
    counts = {variant.name: {"bytes": (folder / WEIGHTS).stat().st_size}}
    what = {"kind": "adapter", "run": run.name, "variant": variant.name}
    return ExportReport(what, counts, remarks=base_remarks([base]), more={"base": base.name})


def write_adapter(run: FinishedRun, variant: TrainedVariant, place: Path, options: CardOptions) -> BaseWeights:
    """Write one variant's adapter and card into a folder; returns the base that it names."""
    inside = f"{variant.folder}/adapter"
    base = base_of(run, variant)
    config = json.loads(run.file(variant.stage, f"{inside}/{CONFIG}").read_text(encoding="utf-8"))
    config |= {BASE: base.name, REVISION: base.revision or None}
    write_atomically(place / CONFIG, (json.dumps(config, indent=2, sort_keys=True) + "\n").encode())
    shutil.copyfile(run.file(variant.stage, f"{inside}/{WEIGHTS}"), place / WEIGHTS)
    write_atomically(place / README, model_card(model_facts(run, variant, options)).encode())
    return base


def base_remarks(bases: Iterable[BaseWeights]) -> list[str]:
    """How to get the bases that no hub has under their name, a sentence each."""
    return [
        f"{name} is no hub id: its folder is what prepare({name!r}) of sotopia_pi.models.weights returns"
        if obtain
        else f"{name} is no hub id: its folder lies with whoever trained this"
        for name, obtain in sorted({(base.name, bool(base.obtain)) for base in bases if not base.exact})
    ]
