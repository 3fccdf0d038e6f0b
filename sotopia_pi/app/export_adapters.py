"""Export of a run's adapters as PEFT folders that name their base model."""

import json
import shutil
from pathlib import Path

from sotopia_pi.app.export_folder import ExportReport
from sotopia_pi.app.export_sft import trained_variants
from sotopia_pi.app.finished_run import PLAN_FILE, FinishedRun
from sotopia_pi.store.items import write_atomically

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
BASE = "base_model_name_or_path"


def write_adapters(run: FinishedRun, folder: Path) -> ExportReport:
    """Write the adapter of every variant that a run trained, a folder each, as PEFT reads it.

    A base model from the hub is named by its hub id, so that PEFT finds it. Raises NotFinished where nothing was
    trained or an adapter is not what its stage wrote.
    """
    trained, left_out = trained_variants(run)
    counts, bases = {}, {}
    for variant in trained:
        inside = f"{variant.folder}/adapter"
        model = json.loads(run.file(variant.stage, f"{variant.folder}/{PLAN_FILE}").read_text(encoding="utf-8"))[
            "model"
        ]
        config = json.loads(run.file(variant.stage, f"{inside}/{CONFIG}").read_text(encoding="utf-8"))
        if _is_hub_id(model):
            config[BASE] = model
        place = folder / f"{run.name}-{variant.folder}"
        write_atomically(place / CONFIG, (json.dumps(config, indent=2, sort_keys=True) + "\n").encode())
        shutil.copyfile(run.file(variant.stage, f"{inside}/{WEIGHTS}"), place / WEIGHTS)
        counts[variant.name] = {"bytes": (place / WEIGHTS).stat().st_size}
        bases[variant.name] = model
    remarks = [
        f"{model} is no hub id: its folder is what prepare({model!r}) of sotopia_pi.models.weights returns"
        for model in sorted(set(bases.values()))
        if not _is_hub_id(model)
    ]
    return ExportReport({"kind": "adapters", "run": run.name}, counts, left_out, remarks, {"bases": bases})


def _is_hub_id(model: str) -> bool:
    return model.count("/") == 1 and not model.startswith((".", "~", "/")) and not Path(model).is_dir()
