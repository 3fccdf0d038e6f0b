"""One stage after an evaluated run, in a project of its own."""

import io
import shutil
from pathlib import Path

from toy_raters import write_evaluation

from sotopia_pi.app.console import Lines
from sotopia_pi.app.pipeline import Settings, run_pipeline
from sotopia_pi.store.manifest import read_manifest
from sotopia_pi.store.params import plan_run

REPOSITORY = Path(__file__).parents[1]


class ToyStage:
    """A project with an evaluated run `toy` and the notebook of one stage. preset: YAML laid over `stages`."""

    def __init__(self, root: Path, stage: str, preset: str):
        self.root, self.dir = root, root / "outputs" / "toy" / stage
        (root / "notebooks").mkdir()
        for name in ("01_social_tasks", "06_social_evaluation", stage):
            shutil.copy(REPOSITORY / "notebooks" / f"{name}.ipynb", root / "notebooks")
        (root / "params").mkdir()
        (root / "params" / "toy.yaml").write_text(f"stages: [{stage}]\n{preset}")
        write_evaluation(root, "toy")

    def run(self, *settings: str, force: bool = False) -> list[str]:
        """Names of the stages that ran."""
        plan = plan_run(self.root, self.root / "params" / "toy.yaml", settings)
        return run_pipeline(self.root, plan, Settings(force=force), Lines(io.StringIO()))

    def counts(self) -> dict:
        return read_manifest(self.dir)["counts"]

    def page(self) -> str:
        return (self.dir / "report.html").read_text()
