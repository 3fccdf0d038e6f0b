"""Sweeps: a file is checked before anything runs, points share what does not change, and goal is drawn by point."""

from dataclasses import replace
from pathlib import Path

import matplotlib
import pandas as pd
import pytest
from synthetic_run import complete, many_tasks, write_run
from toy_project import ToyProject

matplotlib.use("Agg")

from sotopia_pi.analysis.sweep_tables import sweep_figure, sweep_table
from sotopia_pi.analysis.tables import results_frame
from sotopia_pi.app.sweep import write_sweep
from sotopia_pi.app.sweep_file import Sweep, read_sweep, sweep_plans
from sotopia_pi.store.manifest import read_manifest
from sotopia_pi.store.params import ParameterError, Plan, plan_run

ROOT = Path(__file__).parents[1]
FILE = "base: toy\nfactor: 03_alone.word\npoints: [one, two, perhaps]\nseeds: [4]\n"


@pytest.fixture(scope="module")
def swept(tmp_path_factory) -> ToyProject:
    """Three points of a parameter of the last of three stages, run through the command line."""
    project = ToyProject(tmp_path_factory.mktemp("toy"), "01_items", "02_depends", "03_alone")
    (project.root / "params" / "sweeps").mkdir()
    (project.root / "params" / "sweeps" / "word.yaml").write_text(FILE)
    project.answer = project.command("sweep", "params/sweeps/word.yaml", "--set", "n=5")
    assert project.answer.returncode == 0, project.answer.stderr
    return project


def said(project: ToyProject, point: str) -> str:
    return (project.root / f"outputs/word-{point}-seed4/03_alone/words/said.txt").read_text()


def test_every_point_is_a_run_of_its_own_with_its_value_and_seed(swept):
    assert [said(swept, point) for point in ("one", "two", "perhaps")] == ["one", "two", "perhaps"]
    for point in ("one", "two", "perhaps"):
        params = read_manifest(swept.root / f"outputs/word-{point}-seed4/01_items")["params"]
        assert (params["run"], params["seed"], params["n"]) == (f"word-{point}-seed4", 4, 5)


def test_stages_before_the_factor_are_made_once_and_taken_over(swept):
    lines = [line.split() for line in swept.answer.stdout.splitlines()]
    started = [words[0] for words in lines if words[1:2] == ["started"]]
    assert started == ["01_items", "02_depends", "03_alone", "03_alone", "03_alone"]
    first, second = (swept.root / f"outputs/word-{point}-seed4/01_items" for point in ("one", "two"))
    assert (first / "items.jsonl").read_bytes() == (second / "items.jsonl").read_bytes()
    assert read_manifest(second)["notes"]["taken over from run"] == "word-one-seed4"


def test_a_second_start_finds_everything_done(swept):
    again = swept.command("sweep", "params/sweeps/word.yaml", "--set", "n=5")
    assert again.returncode == 0 and "started" not in again.stdout and again.stdout.count("unchanged") == 9


def test_a_stage_whose_files_were_changed_is_not_taken_over(swept):
    project = swept
    path = project.root / "outputs/word-one-seed4/02_depends/total.json"
    before = path.read_text()
    path.write_text('{"total": 0}')
    (project.root / "params/sweeps/more.yaml").write_text(FILE.replace("[one, two, perhaps]", "[one]"))
    from sotopia_pi.app.shared_stages import take_over

    plans = {
        run: plan_run(project.root, project.preset, ["seed=4", "n=5", f"word={run[5:8]}"], run=run)
        for run in ("word-one-seed4", "word-new-seed4")
    }
    shared = take_over(project.root, plans["word-new-seed4"], [plans["word-one-seed4"]])
    path.write_text(before)
    assert shared == ["01_items"]


def test_points_may_set_several_parameters_under_a_name(tmp_path):
    (tmp_path / "toy.yaml").write_text("")
    text = "base: toy\nfactor: LoRA\npoints:\n  small: {a.r: 4, a.lr: 0.00005}\n  wide: {a.targets: [q, v]}\n"
    (tmp_path / "lora.yaml").write_text(text)
    sweep = read_sweep(tmp_path / "lora.yaml")
    assert sweep.points == {"small": ("a.r=4", "a.lr=5.0e-05"), "wide": ("a.targets=[q, v]",)}
    assert sweep.seeds == (0,) and sweep.base == tmp_path / "toy.yaml"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("base: toy\npoints: [1]\n", "missing ['factor']"),
        ("base: toy\nfactor: a\npoints: [1]\nrepeats: 3\n", "unknown ['repeats']"),
        ("base: toy\nfactor: a\npoints: [1]\nseeds: 3\n", "list of whole numbers"),
        ("base: other\nfactor: a\npoints: [1]\n", "no preset other.yaml"),
        ("base: toy\nfactor: a\npoints: {one: 3}\n", "points must be"),
        ("base: toy\nfactor: a\npoints: ['a/b']\n", "cannot name a folder"),
        ("base: toy\nfactor: a\npoints: [1]\nchained: 1\n", "chained must be true or false"),
        ("- 1\n", "is a mapping"),
        ("a: [\n", "not readable as YAML"),
    ],
)
def test_a_file_that_is_no_sweep_says_what_is_wrong(tmp_path, text, told):
    (tmp_path / "toy.yaml").write_text("")
    (tmp_path / "sweep.yaml").write_text(text)
    with pytest.raises(ParameterError) as error:
        read_sweep(tmp_path / "sweep.yaml")
    assert told in str(error.value) and ("sweep.yaml" in str(error.value) or "folder" in told)


@pytest.mark.parametrize("path", sorted((ROOT / "params" / "sweeps").glob("*.yaml")), ids=lambda p: p.stem)
def test_every_sweep_that_comes_along_resolves(path):
    sweep = read_sweep(path)
    plans = sweep_plans(ROOT, sweep)
    assert len(plans) >= 3
    params = [{stage: {**given, "run": ""} for stage, given in plan.params.items()} for (plan,) in plans.values()]
    assert all(params.count(one) == 1 for one in params)


def test_every_point_of_a_chained_sweep_continues_the_run_before_it_of_the_same_seed():
    sweep = replace(read_sweep(ROOT / "params/sweeps/rounds.yaml"), seeds=(3, 5))
    plans = sweep_plans(ROOT, sweep)
    for stage in ("04_agent_episodes", "05_self_reinforcement"):
        found = {plan.run: plan.params[stage]["continues"] for of_point in plans.values() for plan in of_point}
        assert found == {
            **{f"rounds-1-seed{seed}": "" for seed in (3, 5)},
            **{f"rounds-{n}-seed{seed}": f"rounds-{n - 1}-seed{seed}" for n in (2, 3) for seed in (3, 5)},
        }


def test_training_turns_limit_the_talks_learned_from_and_no_others():
    for (plan,) in sweep_plans(ROOT, read_sweep(ROOT / "params/sweeps/training_turns.yaml")).values():
        turns = {stage: params.get("turn_limit") for stage, params in plan.params.items()}
        assert turns["02_expert_episodes"] == turns["04_agent_episodes"] == int(plan.run.split("-")[1])
        assert turns["06_social_evaluation"] == 20


def test_goal_is_drawn_by_point_and_what_is_not_complete_is_named(tmp_path):
    goals = {"low": 2.0, "high": 4.0, "later": 0.0}
    plans = {point: [plan_of(tmp_path, f"s-{point}-seed{seed}") for seed in (0, 1)] for point in goals}
    for point in ("low", "high"):
        for plan in plans[point]:
            run = write_run(tmp_path / "outputs" / plan.run, many_tasks(), ("BC",), lambda *_, p=point: goals[p])
            for stage in plan.stages:
                complete(run / stage)
    (tmp_path / "notebooks").mkdir()
    for stage in plans["low"][0].stages:
        (tmp_path / "notebooks" / f"{stage}.ipynb").write_text((ROOT / "notebooks" / f"{stage}.ipynb").read_text())
    sweep = Sweep("s", tmp_path / "toy.yaml", "cloned <share>", dict.fromkeys(goals, ()), (0, 1))
    write_sweep(tmp_path, tmp_path / "outputs" / "s-sweep", sweep, plans)
    table = pd.read_csv(tmp_path / "outputs/s-sweep/tables/goal.csv")
    assert table[["point", "mean", "n_runs", "n_episodes"]].values.tolist() == [
        ["low", 2.0, 2, 128],
        ["high", 4.0, 2, 128],
    ]
    page = (tmp_path / "outputs/s-sweep/report/index.html").read_text()
    assert "Not drawn: s-later-seed0 (not started)" in page and "cloned &lt;share&gt;" in page
    assert 'src="data:image/png;base64,' in page and "toy-model, scored by payoff" in page


def plan_of(root: Path, run: str) -> Plan:
    stages = ("01_social_tasks", "06_social_evaluation")
    return Plan(run, root / "toy.yaml", stages, {stages[1]: {"model": "toy-model", "judge": "payoff"}})


def test_the_figure_says_what_varies_how_many_and_how_the_interval_was_made(tmp_path):
    frames = {
        point: results_frame(write_run(tmp_path / point, many_tasks(), ("BC", "expert"), lambda *_, g=goal: g))
        for point, goal in (("0.2", 3.0), ("0.8", 5.0))
    }
    figure = sweep_figure(sweep_table(frames), "share", "toy")
    (ax,) = figure.axes
    assert [text.get_text() for text in ax.get_xticklabels()] == ["0.2", "0.8"]
    assert ax.lines[0].get_ydata().tolist() == [3.0, 5.0]
    text = "\n".join(t.get_text() for t in figure.findobj(matplotlib.text.Text)).replace("\n", " ")
    assert "n: 64 rated episodes a point and variant" in text and "bootstrap" in text and "against share" in text


def test_a_sweep_without_a_complete_point_says_so():
    text = "".join(t.get_text() for t in sweep_figure(sweep_table({}), "share", "toy").findobj(matplotlib.text.Text))
    assert "no point of this sweep is complete" in text
