"""Export of a trained variant as a whole model: the base in full precision with the adapter added to its weights."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from sotopia_pi.app.export_folder import ExportReport
from sotopia_pi.app.finished_run import FinishedRun, NotFinished, TrainedVariant
from sotopia_pi.app.share import base_of, model_facts, training_record
from sotopia_pi.formats.cards import README, CardOptions, model_card
from sotopia_pi.models.weights import prepare, weights_digest
from sotopia_pi.store.items import write_atomically
from sotopia_pi.store.params import ParameterError

if TYPE_CHECKING:
    import torch

DTYPES = ("auto", "float32", "bfloat16")
TOKENIZER = ("tokenizer*", "*.jinja", "vocab*", "merges.txt", "special_tokens_map.json", "added_tokens.json")
QUANTISED = (
    "the adapter was trained on a base held in four bits; here it is added to the full-precision weights, which "
    "answer a little differently from what it was trained on"
)


def write_merged(
    run: FinishedRun, folder: Path, variant: TrainedVariant, dtype: str, options: CardOptions
) -> ExportReport:
    """Write a model folder with tokenizer, chat template and card that anything can serve which reads the base.

    dtype: of the weights written, one of DTYPES; "auto" is that of the base's own files. The change is added in
    float32 and rounded once. Raises NotFinished where the base here is not the one that was trained on, and
    ParameterError where its weights are quantised or the adapter is more than LoRA on linear layers.
    """
    from transformers import AutoModelForCausalLM
    from transformers.utils.logging import disable_progress_bar

    from sotopia_pi.models.adapters import AdapterError, carrying, merged_weights

    disable_progress_bar()
    base_folder = _same_base(run, variant)
    adapter = run.file(variant.stage, f"{variant.folder}/adapter/adapter_model.safetensors").parent
    model = AutoModelForCausalLM.from_pretrained(base_folder, dtype=dtype)
    try:
        merged = merged_weights(model, adapter)
    except AdapterError as error:
        raise ParameterError(f"{run.name}, {variant.name}: {error}") from error
    with carrying(merged):
        model.save_pretrained(folder)
    for path in sorted({path for pattern in TOKENIZER for path in base_folder.glob(pattern) if path.is_file()}):
        shutil.copyfile(path, folder / path.name)
    written = _name_of(model.dtype)
    write_atomically(folder / README, model_card(model_facts(run, variant, options, merged=written)).encode())
    counts = {variant.name: {"weights changed": len(merged), "parameters": model.num_parameters()}}
    remarks = [f"serve it: transformers serve FOLDER --dtype {written}"]
    remarks += [QUANTISED] if training_record(run, variant)["settings"]["quantisation"] != "none" else []
    what = {"kind": "merged", "run": run.name, "variant": variant.name}
    more = {"base": base_of(run, variant).name, "dtype": written}
    return ExportReport(what, counts, remarks=remarks, more=more)


def _same_base(run: FinishedRun, variant: TrainedVariant) -> Path:
    """Folder of the base's weights, which must be those that were trained on."""
    model, wanted = base_of(run, variant), training_record(run, variant)["base_digest"]
    folder = prepare(_as_trained(run, variant))
    found = weights_digest(folder)
    if found != wanted:
        raise NotFinished(
            f"{run.name}, {variant.name}: the base {model.name} has the digest {found} here, and the adapter was "
            f"trained on {wanted}. Bring those weights here, or train again: {run.advice(variant.stage)}"
        )
    return folder


def _as_trained(run: FinishedRun, variant: TrainedVariant) -> str:
    from sotopia_pi.stages.training_plan import TrainingPlan

    return TrainingPlan.read(run.dir / variant.stage / variant.folder).model


def _name_of(dtype: "torch.dtype") -> str:
    return str(dtype).removeprefix("torch.")
