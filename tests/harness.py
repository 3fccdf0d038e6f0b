"""lm-evaluation-harness beside stage 08: the same questions, put to the same weights by its own template of MMLU."""

import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sotopia_pi.formats.question_sets import LETTERS, Question, QuestionSet

WHERE = "import lm_eval.tasks; print(lm_eval.tasks.__path__[0])"
TEMPLATE = Path("mmlu", "default", "_default_template_yaml")


@dataclass(frozen=True)
class Harness:
    """python: an interpreter that has lm-eval. folder: where tasks and samples are kept; a subject asked once is not
    asked again."""

    python: str
    folder: Path

    def version(self) -> str:
        return self._said("import lm_eval; print(lm_eval.__version__)")

    def logprobs(self, model: Path, questions: QuestionSet, subject: str) -> list[list[float]]:
        """Log probabilities of the four letters for every question of a subject, in their order, in float32."""
        found = self._samples(subject) or self._ask(model, questions, subject)
        lines = sorted(map(json.loads, found.read_text(encoding="utf-8").splitlines()), key=lambda s: s["doc_id"])
        assert [s["doc"]["question"] for s in lines] == [q.text for q in questions.test[subject]]
        return [[float(response[0][0]) for response in sample["resps"]] for sample in lines]

    def _ask(self, model: Path, questions: QuestionSet, subject: str) -> Path:
        self._write_task(questions, subject)
        words = ["--model", "hf", "--model_args", f"pretrained={model},dtype=float32", "--num_fewshot", "5"]
        words += ["--tasks", f"own_{subject}", "--include_path", str(self.folder), "--batch_size", "4"]
        words += ["--device", "cpu", "--log_samples", "--output_path", str(self.folder / "out")]
        offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_CACHE": str(self.folder / "cache")}
        command = [self.python, "-m", "lm_eval", *words]
        answer = subprocess.run(command, env={**os.environ, **offline}, capture_output=True, text=True)
        assert answer.returncode == 0, answer.stderr[-2000:]
        return self._samples(subject)

    def _write_task(self, questions: QuestionSet, subject: str) -> None:
        """The harness's own template of MMLU, pointed at these questions."""
        data = {"test": questions.test[subject], "dev": questions.examples[subject]}
        for split, rows in data.items():
            _write_lines(self.folder / "data" / subject / f"{split}.jsonl", rows)
        files = {split: str(self.folder / "data" / subject / f"{split}.jsonl") for split in data}
        about = subject.replace("_", " ")
        task = {
            "task": f"own_{subject}",
            "include": str(Path(self._said(WHERE)) / TEMPLATE),
            "description": f"The following are multiple choice questions (with answers) about {about}.\n\n",
            "dataset_path": "json",
            "dataset_kwargs": {"data_files": files},
        }
        (self.folder / f"own_{subject}.yaml").write_text(json.dumps(task), encoding="utf-8")

    def _samples(self, subject: str) -> Path | None:
        return next(self.folder.glob(f"out/*/samples_own_{subject}_*.jsonl"), None)

    def _said(self, code: str) -> str:
        answer = subprocess.run([self.python, "-c", code], capture_output=True, text=True, check=True)
        return answer.stdout.strip().splitlines()[-1]


def _write_lines(path: Path, questions: Sequence[Question]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [{"question": q.text, "choices": q.choices, "answer": LETTERS.index(q.answer)} for q in questions]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
