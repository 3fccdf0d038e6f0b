"""Puts multiple-choice questions with lm-evaluation-harness, by its own `mmlu` task; run by the peers' environment.

Reads JSON on stdin: `{"model", "dtype", "batch_size", "device", "shots", "questions": {subject: {"test", "dev":
[{"question", "choices", "answer"}]}}}`. Answers with a last line of JSON: the seconds of its `evaluate`, and by subject
the log probabilities of the four letters for each question.
"""

import json
import os
import sys
import tempfile
import time
from pathlib import Path

SCRATCH = tempfile.TemporaryDirectory()
os.environ["HF_DATASETS_CACHE"] = SCRATCH.name

import lm_eval  # noqa: E402
import yaml  # noqa: E402
from lm_eval.evaluator import evaluate  # noqa: E402
from lm_eval.models.huggingface import HFLM  # noqa: E402
from lm_eval.tasks import TaskManager, get_task_dict  # noqa: E402

TEMPLATES = Path(lm_eval.__file__).parent / "tasks" / "mmlu" / "default"


def task(subject: str, splits: dict, folder: Path) -> dict:
    """The harness's task of one subject, with these questions instead of those of the hub."""
    files = {}
    for split, questions in splits.items():
        files[split] = str(folder / f"{subject}_{split}.jsonl")
        Path(files[split]).write_text("".join(json.dumps(question) + "\n" for question in questions))
    own = yaml.safe_load((TEMPLATES / f"mmlu_{subject}.yaml").read_text())
    shared = yaml.safe_load((TEMPLATES / "_default_template_yaml").read_text())
    here = {"task": f"local_{subject}", "description": own["description"], "num_fewshot": SHOTS}
    return {**shared, **here, "dataset_path": "json", "dataset_kwargs": {"data_files": files}}


request = json.load(sys.stdin)
SHOTS = request["shots"]
model = HFLM(
    pretrained=request["model"], dtype=request["dtype"], batch_size=request["batch_size"], device=request["device"]
)
configs = [task(subject, splits, Path(SCRATCH.name)) for subject, splits in request["questions"].items()]
tasks = get_task_dict(configs, TaskManager())
started = time.perf_counter()
results = evaluate(lm=model, task_dict=tasks, bootstrap_iters=0, log_samples=True)
seconds = time.perf_counter() - started
found = {
    subject: [
        [float(response[0][0]) for response in sample["resps"]]
        for sample in sorted(results["samples"][f"local_{subject}"], key=lambda sample: sample["doc_id"])
    ]
    for subject in request["questions"]
}
print(json.dumps({"seconds": seconds, "logprobs": found}), flush=True)
