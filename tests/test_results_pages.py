"""The results pages on whatever there is of a run: nothing, tasks alone, the rule's scores, judges and people."""

import shutil
from pathlib import Path

import pandas as pd
import pytest
from synthetic_run import complete, many_tasks, write_run

from sotopia_pi.store.items import ItemFile, write_items
from sotopia_pi.store.manifest import read_manifest
from sotopia_pi.store.notebook import read_notebook
from sotopia_pi.world.episode import Episode
from sotopia_pi.world.ratings import DIMENSIONS, Rating

REPOSITORY = Path(__file__).parents[1]
PAGES = ("10_results", "10b_paper_comparison")
MEANS = {"base": 1.0, "BC": 4.0, "BC+SR": 5.0, "expert": 6.0}
JUDGE_IS_OVER = {"base": 0.5, "BC": 1.5, "BC+SR": 2.0, "expert": 1.0}
"""Points by which the synthetic judge overrates each variant; people give what the rule gives."""


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    """A project of its own with the repository's notebooks and no run."""
    for name in ("notebooks", "params"):
        shutil.copytree(REPOSITORY / name, tmp_path / name)
    monkeypatch.setenv("SOTOPIA_PI_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run_cells(project: Path, name: str, **params: object) -> Path:
    """Run a notebook's code cells in this process, as Run All would; returns the stage's folder."""
    notebook = read_notebook(project / "notebooks" / f"{name}.ipynb")
    namespace = {parameter.name: parameter.default for parameter in notebook.parameters.values()} | params
    for cell in notebook.code:
        exec(compile(cell, name, "exec"), namespace)
    return project / "outputs" / namespace["run"] / name


def scored(variant: str, number: int, side: int) -> float | None:
    if variant == "base" and number % 8 == 0:
        return None
    return MEANS[variant] + (0.5 if number % 2 else -0.5)


def by_all(episode: Episode, side: int, judge: str, goal: float) -> Rating:
    scores = {name: float(low + 0.75 * (high - low)) for name, (low, high) in DIMENSIONS.items()}
    return Rating(f"{judge}-{episode.id}-{side}", episode.id, side, judge, "ok", {**scores, "goal": goal})


@pytest.fixture
def rated(project) -> Path:
    """A run with scores by the rule on all episodes, a judge on all, and two people on every fourth."""
    run = write_run(project / "outputs" / "full", many_tasks(), tuple(MEANS), scored, manifest=False)
    folder, human = run / "06_social_evaluation", run / "09_human_evaluation"
    episodes = {e["id"]: Episode.from_dict(e) for e in ItemFile(folder / "episodes.jsonl").read()}
    judged, people = [], []
    for number, item in enumerate(ItemFile(folder / "ratings.jsonl").read()):
        episode, side, goal = episodes[item["episode_id"]], item["side"], item["scores"]["goal"]
        over = JUDGE_IS_OVER[episode.tag] if side == episode.agent_side else 0.0
        judged.append(by_all(episode, side, "judge-x", min(10.0, goal + over)))
        if number % 4 < 2:
            off = 0.5 if 0.5 <= goal <= 9.5 else 0.0
            people += [by_all(episode, side, "human:ann", goal - off), by_all(episode, side, "human:ben", goal + off)]
    write_items(folder / "judge_ratings.jsonl", [r.to_dict() for r in judged])
    write_items(folder / "variants.jsonl", [{"id": "SR", "trained": False, "reason": "nothing worth keeping"}])
    write_items(human / "ratings.jsonl", [r.to_dict() for r in people])
    for stage in (run / "01_social_tasks", folder, human):
        complete(stage, model="toy")
    return run


def table(folder: Path, name: str) -> pd.DataFrame:
    return pd.read_csv(folder / "tables" / f"{name}.csv")


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("there", ["nothing", "tasks alone"])
def test_an_empty_or_partial_run_gives_a_page_that_says_what_is_missing(project, capsys, name, there):
    if there == "tasks alone":
        folder = project / "outputs" / "part" / "01_social_tasks"
        write_items(folder / "tasks.jsonl", [task.to_dict() for task in many_tasks(2)])
        complete(folder)
    folder = run_cells(project, name, run="part")
    said = capsys.readouterr().out
    assert "Not there, so left out:" in said and "06_social_evaluation (" in said
    assert ("01_social_tasks (" in said) == (there == "nothing")
    assert read_manifest(folder)["inputs"]["06_social_evaluation/episodes.jsonl"] is None
    assert {path.suffix for path in (folder / "figures").iterdir()} == {".png", ".svg"}


@pytest.mark.parametrize("name", PAGES)
def test_an_unfinished_evaluation_is_no_result(project, capsys, name):
    write_run(project / "outputs" / "part", many_tasks(2), ("BC",), scored_alike, manifest=False)
    complete(project / "outputs" / "part" / "01_social_tasks")
    folder = run_cells(project, name, run="part")
    assert "06_social_evaluation (" in capsys.readouterr().out
    assert read_manifest(folder)["counts"]["episodes read"] == 0


def scored_alike(*_: object) -> float:
    return 5.0


def test_the_page_beside_the_paper_shows_every_rater_and_how_far_they_are_apart(project, rated, capsys):
    folder = run_cells(project, "10b_paper_comparison", run="full")
    gaps = table(folder, "gaps").set_index(["variant", "first", "second"])
    for variant, over in JUDGE_IS_OVER.items():
        assert gaps.loc[(variant, "judge-x", "people"), "difference"] == pytest.approx(over)
        assert gaps.loc[(variant, "judge-x", "payoff"), "difference"] == pytest.approx(over)
        assert gaps.loc[(variant, "payoff", "people"), "difference"] == pytest.approx(0.0)
    assert gaps.loc[("BC", "judge-x", "people"), "n_episodes"] < gaps.loc[("BC", "judge-x", "payoff"), "n_episodes"]
    steps = table(folder, "steps").set_index(["rater", "variant"])
    assert steps.loc[("payoff", "BC"), "mean"] == pytest.approx(4.0)
    assert steps.loc[("payoff", "base"), ["attempted", "n_episodes"]].tolist() == [64, 56]
    assert "find a true difference of" in capsys.readouterr().out


def test_the_results_show_people_beside_rule_and_judge_and_how_far_each_is_apart_from_them(project, rated):
    folder = run_cells(project, "10_results", run="full")
    steps = table(folder, "steps").set_index(["rater", "variant"])
    assert set(steps.index.get_level_values("rater")) == {"payoff", "judge-x", "people"}
    assert steps.loc[("payoff", "BC"), "n_episodes"] > steps.loc[("people", "BC"), "n_episodes"] > 0
    gaps = table(folder, "gaps").set_index(["first", "variant"])
    assert set(gaps["second"]) == {"people"} and len(gaps) == 2 * len(MEANS)
    for variant, over in JUDGE_IS_OVER.items():
        assert gaps.loc[("judge-x", variant), "difference"] == pytest.approx(over)
        assert gaps.loc[("payoff", variant), "difference"] == pytest.approx(0.0)
    assert (folder / "figures" / "steps.svg").is_file()
    assert "09_human_evaluation/ratings.jsonl" in read_manifest(folder)["inputs"]


def test_results_that_nobody_rated_say_so(project, rated, capsys):
    shutil.rmtree(rated / "09_human_evaluation")
    folder = run_cells(project, "10_results", run="full")
    assert "Nobody has rated episodes of this run yet" in capsys.readouterr().out
    assert not (folder / "tables" / "gaps.csv").exists()


def test_a_rule_gives_three_dimensions_and_a_judge_all_of_them(project, rated):
    profile = table(run_cells(project, "10b_paper_comparison", run="full"), "profile_agent")
    given = profile.groupby("rater")["dimension"].agg(set)
    assert given["payoff"] == {"goal", "financial_and_material_benefits", "secret"}
    assert given["judge-x"] == given["people"] == {*DIMENSIONS, "overall"}


def test_published_tables_stand_in_files_of_their_own(project, rated):
    folder = run_cells(project, "10b_paper_comparison", run="full")
    names = {path.stem for path in (folder / "tables").iterdir() if "published" in path.stem}
    assert {f"table_{n}_published" for n in (3, 4, 5, 6, 9)} | {"tables_7_8_published", "figure_4_published"} == names
    own = [path for path in (folder / "tables").iterdir() if "published" not in path.stem]
    assert not any("Table" in path.read_text() or "gpt-4" in path.read_text() for path in own)


def test_runs_are_compared_over_the_tasks_they_share_and_an_unfinished_one_is_named(project, rated, capsys):
    other = write_run(project / "outputs" / "other", many_tasks(), tuple(MEANS), one_less, manifest=False)
    write_items(other / "06_social_evaluation" / "judge_ratings.jsonl", [])
    for stage in (other / "01_social_tasks", other / "06_social_evaluation"):
        complete(stage, model="toy")
    folder = run_cells(project, "10c_run_comparison", run="both", runs=["full", "other", "absent"])
    differences = table(folder, "differences").set_index("variant")
    # The base has 0.5 or 1.5: of its 56 rated episodes 24 lose half a point, down to 0, and 32 a whole one.
    assert differences["difference"].to_dict() == pytest.approx({"base": 44 / 56, "BC": 1, "BC+SR": 1, "expert": 1})
    assert (differences["p_holm"] >= differences["p"]).all()
    assert table(folder, "runs").set_index("run").loc["absent", "state"].startswith("left out: 01_social_tasks")
    assert read_manifest(folder)["inputs"]["absent:06_social_evaluation/ratings.jsonl"] is None


def one_less(variant: str, number: int, side: int) -> float | None:
    goal = scored(variant, number, side)
    return None if goal is None else max(0.0, goal - 1)


def test_no_runs_named_give_a_page_too(project, capsys):
    run_cells(project, "10c_run_comparison", run="none", runs=[])
    assert "No two of these runs" in capsys.readouterr().out
