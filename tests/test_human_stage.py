"""Stage 09 in the pipeline: a page for an unrated run, and ratings that no second start can lose."""

from pathlib import Path

import pytest
from toy_raters import EPISODES, VARIANTS, rate, write_evaluation
from toy_stage import ToyStage

from sotopia_pi.app.status import run_status
from sotopia_pi.stages.human_ratings import HumanRatings
from sotopia_pi.store.items import ItemFile
from sotopia_pi.store.lock import RunLock, let_go, lock_for_notebook
from sotopia_pi.store.params import plan_run

REPOSITORY = Path(__file__).parents[1]
STAGE = "09_human_evaluation"
PRESET = f"model: toy\n{STAGE}:\n  variants: [base, BC, expert]\n  datapoints: 4\n"


class Evaluated(ToyStage):
    """An evaluated run and the notebook that people rate in."""

    def __init__(self, root: Path):
        super().__init__(root, STAGE, PRESET)
        self.ratings = HumanRatings(self.dir / "human_ratings.jsonl")

    def planned(self) -> list[str]:
        return [point["id"] for point in ItemFile(self.dir / "assignments.jsonl").read()]


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Evaluated:
    """The run after its first start, when nobody has rated."""
    made = Evaluated(tmp_path_factory.mktemp("evaluated"))
    assert made.run() == [STAGE]
    return made


@pytest.mark.slow
def test_an_unrated_run_has_its_plan_and_a_page_that_says_so(project):
    assert len(project.planned()) == 12
    assert project.counts() == {"datapoints": 12, "datapoints rated by 0 people": 12}
    page = project.page()
    assert "Nobody has rated yet: open this notebook to rate." in page
    assert "Nora Lindqvist" in page and "whole numbers" in page, "the form's static twin"
    assert "widget-view" not in page and "<script" not in page
    assert project.run() == [], "and it is skipped while nothing changes"


@pytest.mark.slow
def test_ratings_outlive_every_further_start_and_make_the_stage_run_again(project):
    ratings, kept = project.ratings, b""

    def as_people_left_it() -> bytes:
        assert ratings.path.read_bytes() == kept
        assert not list(project.dir.glob("*.stale.jsonl"))
        return kept

    for episode_id in project.planned():
        rate(ratings, "Ann", episode_id, 6, 2)
        rate(ratings, "Bob", episode_id, 5, 2)
    kept = ratings.path.read_bytes()
    (status,) = [row for row in run_status(project.root, "toy") if row.name == STAGE]
    assert (status.state, status.detail) == ("changed", "human_ratings.jsonl is gone or changed")
    assert project.run() == [STAGE]
    as_people_left_it()
    assert project.counts()["rated by Ann"] == 12 and project.counts()["datapoints rated by 2 people"] == 12
    assert "Nobody has rated yet" not in project.page()
    assert (project.dir / "figures/gap.png").stat().st_size > 1000
    tables = {path.stem for path in (project.dir / "tables").glob("*.csv")}
    assert tables == {"annotators", "agreement", "people", "correlations", "gap"}

    assert project.run("datapoints=1", "annotators=[Ann, Bob]", force=True) == [STAGE]
    as_people_left_it()
    assert len(project.planned()) == 3 and project.counts()["rated by Ann"] == 3
    assert len(ItemFile(project.dir / "ratings.jsonl").read()) == 12, "3 datapoints, 2 people, 2 sides"

    write_evaluation(project.root, "toy", [e for e in EPISODES if e.id not in set(project.planned())])
    (project.dir / "manifest.json").unlink()
    with ratings.path.open("ab") as file:
        file.write(b'{"schema": "rating/1", "id": "torn')
    assert project.run() == [STAGE]
    as_people_left_it()


@pytest.mark.slow
def test_a_sheet_named_by_a_parameter_is_added_to_what_people_rated(project):
    before = project.ratings.path.read_bytes()
    heading = (project.dir / "human_ratings.csv").read_text().splitlines()[0]
    rows = [f"Cleo,{project.planned()[0]},{side},8,0,0,0,0,0,{5 + side},Rated on paper only,,," for side in (0, 1)]
    (project.root / "made_elsewhere.csv").write_text("\n".join([heading, *rows]) + "\n")
    assert project.run("sheets=[made_elsewhere.csv]") == [STAGE]
    assert project.counts()["rated by Cleo"] == 1 and project.ratings.path.read_bytes().startswith(before)


def test_a_notebook_that_only_waits_for_people_gives_the_run_back(tmp_path, monkeypatch):
    monkeypatch.delenv("SOTOPIA_PI_PIPELINE_RUN", raising=False)
    lock_for_notebook(tmp_path / "run")
    assert RunLock(tmp_path / "run").is_held()
    let_go(tmp_path / "run")
    assert not RunLock(tmp_path / "run").is_held() and not RunLock(tmp_path / "run", "kernel").is_held()
    let_go(tmp_path / "run")


@pytest.mark.parametrize(
    ("preset", "drawn"),
    [
        ("smoke", (8, False)),
        ("laptop", (8, False)),
        ("paper", (28, True)),
        ("paper_code", (28, True)),
        ("open", (28, True)),
    ],
)
def test_every_preset_shares_out_ratings(preset, drawn):
    plan = plan_run(REPOSITORY, REPOSITORY / "params" / f"{preset}.yaml")
    params = plan.params[STAGE]
    assert STAGE in plan.stages and params["raters"] == 2 and set(VARIANTS) <= set(params["variants"])
    assert (params["datapoints"], params["hard_only"]) == drawn
