"""Seeds of one preset pooled: which runs count, what is paired with what, the unit of intervals, the page."""

import io
import json
import re
import shutil
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from synthetic_run import FAMILIES, task, write_run

from sotopia_pi.analysis.pooling import (
    behind,
    differing_parameters,
    missing_variants,
    pooled_tables,
    share_table,
    shares_by,
    shares_shown,
)
from sotopia_pi.analysis.tables import goal_table, pooled, results_frame
from sotopia_pi.app.results import NoResults
from sotopia_pi.app.seeds import read_pool, run_seeds, seed_plans, write_pool
from sotopia_pi.store.items import ItemFile, write_items

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
STAGES = ("01_social_tasks", "06_social_evaluation", "10_results")
TRIVIAL = ("always-accept", "never-concede", "stall-then-accept", "random-valid", "step-conceder")
VARIANTS = ("base", "BC", "BC+SR", "expert", *TRIVIAL)
MEANS = {"base": 1.0, "BC": 4.0, "BC+SR": 5.0, "expert": 6.0, "step-conceder": 3.5, **dict.fromkeys(TRIVIAL[:-1], 2.0)}
REASON = "2 of 40 own episodes had goal ≥ 1"
N_TEMPLATES = 8
LINE = ("BC", "all", "agent", "goal")


def goal(variant: str, run: int, template: int, side: int) -> float:
    """A made-up goal: templates differ much, runs a little, sides by half a point."""
    shift = (template % 4) * 0.5 - 0.75 + 0.2 * run + 0.25 * (2 * side - 1)
    return MEANS[variant] + shift * (1.2 if variant == "expert" else 1.0)


def tasks_of(run: int) -> list:
    """Two tasks a template, the second hard; numbers drawn anew per run."""
    return [
        task(1000 * run + 10 * t + i, f"{FAMILIES[t % 4]}-{t}", FAMILIES[t % 4], hard=i == 1)
        for t in range(N_TEMPLATES)
        for i in range(2)
    ]


def complete(run_dir: Path, stage: str, **params: object) -> None:
    """What the pipeline leaves last: the manifest that makes a stage complete."""
    path = run_dir / stage / "manifest.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    items = {f.name: [item["id"] for item in ItemFile(f).read()] for f in path.parent.glob("*.jsonl")}
    known = {"schema": "manifest/1", "items": items}
    known |= {"params": params, "files": {}, "digests": {}, "counts": {}, "wall_s": 1.0, "peak_rss_mib": 10, "key": "k"}
    path.write_text(json.dumps(known))


def make_run(root: Path, seed: int, variants: tuple[str, ...] = VARIANTS, **params: object) -> Path:
    """A complete run `toy-seed<n>`; variants that it lacks were not trained."""
    run_dir = root / "outputs" / f"toy-seed{seed}"
    write_run(run_dir, tasks_of(seed), variants, lambda v, n, side: goal(v, seed, n // 2, side), seed)
    told = [{"schema": "variant/1", "id": v, "trained": v in variants, "reason": ""} for v in VARIANTS]
    told = [{**v, "reason": "" if v["trained"] else REASON} for v in told]
    write_items(run_dir / "06_social_evaluation" / "variants.jsonl", told)
    for stage in STAGES:
        complete(run_dir, stage, run=run_dir.name, seed=seed, model="tiny-random", turn_limit=20, **params)
    report = run_dir / "report" / "index.html"
    report.parent.mkdir()
    report.write_text("its own report")
    return run_dir


def make_root(root: Path) -> Path:
    """A checkout with three of the notebooks and the preset params/toy.yaml."""
    (root / "notebooks").mkdir(parents=True)
    (root / "params").mkdir()
    (root / "params" / "toy.yaml").write_text("model: tiny-random\n")
    for stage in STAGES:
        shutil.copy(NOTEBOOKS / f"{stage}.ipynb", root / "notebooks")
    return root


def command(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sotopia_pi.app.cli", *words], cwd=root, capture_output=True, text=True
    )


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """Three complete runs, BC+SR not trained in the second, pooled by the command."""
    root = make_root(tmp_path_factory.mktemp("toy"))
    for seed in range(3):
        make_run(root, seed, tuple(v for v in VARIANTS if (v, seed) != ("BC+SR", 1)))
    answer = command(root, "seeds", "params/toy.yaml", "--pool-only")
    assert answer.returncode == 0, answer.stderr
    (root / "said.txt").write_text(answer.stdout)
    return root


@pytest.fixture(scope="module")
def frame(project) -> pd.DataFrame:
    return pooled(results_frame(project / "outputs" / f"toy-seed{seed}") for seed in range(3))


@pytest.fixture(scope="module")
def index(project) -> str:
    return (project / "outputs/toy-pooled/report/index.html").read_text()


def expected_mean(variant: str, runs: tuple[int, ...] = (0, 1, 2)) -> float:
    return float(np.mean([goal(variant, r, t, s) for r in runs for t in range(N_TEMPLATES) for s in (0, 1)]))


def row_of(table: pd.DataFrame, **wanted: object) -> pd.Series:
    (index,) = table.index[np.logical_and.reduce([table[name] == value for name, value in wanted.items()])]
    return table.loc[index]


def test_a_share_of_the_expert_is_over_the_runs_in_which_both_played(frame):
    table = share_table(frame)
    for tasks, per_template in (("all", 2), ("hard", 1)):
        bc = row_of(table, variant="BC", tasks=tasks)
        assert bc["ratio"] == pytest.approx(expected_mean("BC") / expected_mean("expert"))
        assert bc["n_pairs"] == 3 * N_TEMPLATES * per_template * 2 and bc["low"] < bc["ratio"] < bc["high"]
        both = row_of(table, variant="BC+SR", tasks=tasks)
        assert both["ratio"] == pytest.approx(expected_mean("BC+SR", (0, 2)) / expected_mean("expert", (0, 2)))
        assert both["n_pairs"] == 2 * N_TEMPLATES * per_template * 2


def test_shares_per_run_are_those_of_each_run_alone(frame):
    table = shares_by(frame, "run")
    for seed in range(3):
        row = row_of(table, run=f"toy-seed{seed}", variant="BC", tasks="all")
        assert row["ratio"] == pytest.approx(expected_mean("BC", (seed,)) / expected_mean("expert", (seed,)))
    wide = shares_shown(table)
    assert list(wide["run"]) == ["toy-seed0", "toy-seed1", "toy-seed2"]
    assert list(wide.columns[1:]) == ["BC, all tasks", "BC+SR, all tasks", "BC, hard tasks", "BC+SR, hard tasks"]
    assert list(wide["BC+SR, all tasks"] == "not played") == [False, True, False]


def test_pairs_stay_within_a_run_even_where_two_runs_drew_the_same_task(tmp_path):
    tasks = tasks_of(0)
    apart = [write_run(tmp_path / f"r{i}", tasks, (v,), lambda *_: 5.0, i) for i, v in enumerate(("BC", "expert"))]
    assert (share_table(pooled(map(results_frame, apart)))["n_pairs"] == 0).all()
    scores = {"a": {"BC": 2.0, "expert": 4.0}, "b": {"BC": 9.0, "expert": 6.0}, "c": {"BC": 1.0, "expert": None}}
    runs = [
        write_run(tmp_path / n, tasks, ("BC", "expert"), lambda v, *_, s=s: s[v], i)
        for i, (n, s) in enumerate(scores.items())
    ]
    tables = pooled_tables(pooled(map(results_frame, runs)))
    row = row_of(tables["share_of_expert"], variant="BC", tasks="all")
    assert (row["ratio"], row["n_pairs"], row["n_missing"]) == (pytest.approx(11 / 10), 2 * 32, 32)


def test_the_unit_of_an_interval_is_the_template_however_many_runs_drew_from_it(frame):
    row = row_of(goal_table(frame), variant="BC")
    assert (row["n_templates"], row["n_tasks"], row["n_episodes"]) == (8, 48, 96)
    means = np.array([np.mean([goal("BC", r, t, s) for r in range(3) for s in (0, 1)]) for t in range(N_TEMPLATES)])
    draws = np.random.default_rng(99).integers(N_TEMPLATES, size=(20_000, N_TEMPLATES))
    low, high = np.quantile(means[draws].mean(axis=1), [0.025, 0.975])
    assert (row["low"], row["high"]) == (pytest.approx(low, abs=0.05), pytest.approx(high, abs=0.05))
    cells = [(r, t) for r in range(3) for t in range(N_TEMPLATES)]
    by_run_too = np.array([np.mean([goal("BC", r, t, s) for s in (0, 1)]) for r, t in cells])
    draws = np.random.default_rng(99).integers(24, size=(20_000, 24))
    narrow = np.quantile(by_run_too[draws].mean(axis=1), [0.025, 0.975])
    assert row["high"] - row["low"] > 1.3 * (narrow[1] - narrow[0])


def test_the_counts_behind_the_answer(frame):
    n = behind(frame)
    assert (n.runs, n.tasks, n.hard, n.templates) == (3, 48, 24, 8)
    played = (3 * len(VARIANTS) - 1) * 32
    assert (n.episodes, n.rated, n.apart) == (played, played, 0)


def test_every_asked_comparison_has_its_difference(frame):
    tables = pooled_tables(frame)
    for reference in ("BC", "expert", *TRIVIAL):
        row = row_of(tables["paired"], variant="BC+SR", reference=reference)
        wanted = expected_mean("BC+SR", (0, 2)) - expected_mean(reference, (0, 2))
        assert row["difference"] == pytest.approx(wanted) and row["n_pairs"] == 64
    assert row_of(tables["paired"], variant="BC", reference="base")["difference"] == pytest.approx(3.0)
    check = row_of(tables["trivial_check"], reference="random-valid", tasks="all")
    assert check["difference"] == pytest.approx(expected_mean("expert") - expected_mean("random-valid"))
    assert check["beaten"] and check["n_pairs"] == 96


def test_a_variant_missing_in_a_run_is_named_with_its_reason_or_with_the_lack_of_one(frame):
    told = {f"toy-seed{s}": [{"id": "BC+SR", "trained": s != 1, "reason": REASON}] for s in range(3)}
    assert missing_variants(frame, told).values.tolist() == [["toy-seed1", "BC+SR", f"not trained: {REASON}"]]
    ((run, variant, reason),) = missing_variants(frame, {**told, "toy-seed1": []}).values.tolist()
    assert (run, variant) == ("toy-seed1", "BC+SR") and "gives no reason" in reason


def test_parameters_that_runs_do_not_share_are_named_but_for_the_seed():
    one = {"06_social_evaluation": {"run": "a", "seed": 0, "turn_limit": 20, "top_p": 0.9}}
    other = {"06_social_evaluation": {"run": "b", "seed": 1, "turn_limit": 12, "top_p": 0.9}}
    assert differing_parameters({"a": one, "b": other}) == ["06_social_evaluation.turn_limit: 20 in a, 12 in b"]


def test_no_rows_give_empty_tables():
    assert all(table.empty for table in pooled_tables(pooled([])).values())


def test_the_page_starts_with_the_answer_and_says_what_stands_behind_it(index):
    mean = f"{expected_mean('BC'):.2f} ["
    order = [
        index.index(words)
        for words in (
            "<h1>",
            mean,
            "Behind it: 48 tasks, 24 of them hard, from 8 scenario templates; 832 episodes, 832 of them rated, in 3",
            '<h2 id="shares">',
            '<h2 id="trivial">',
            '<h2 id="paired">',
            '<h2 id="families">',
            '<h2 id="runs">',
        )
    ]
    assert order == sorted(order)
    assert f"missing in 1 of 3 runs (toy-seed1: not trained: {REASON})" in index
    assert "Its mean is over 2 of 3 runs" in index and "not share a parameter" not in index


def test_the_page_opens_offline_and_links_to_each_run(project, index):
    addresses = re.findall(r'(?:href|src)="([^"]*)"', index)
    links = [a for a in addresses if not a.startswith(("data:", "#", "../figures/"))]
    assert links == [f"../../toy-seed{seed}/report/index.html" for seed in range(3)]
    for address in links:
        assert (project / "outputs/toy-pooled/report" / address).read_text() == "its own report"
    assert "<script" not in index and "@import" not in index and len(re.findall("<img ", index)) == 4


def test_files_for_scripts_and_spreadsheets_lie_beside_the_page(project, frame):
    folder = project / "outputs/toy-pooled"
    found = json.loads(command(project, "results", "toy-pooled", "--json").stdout)
    assert (found["run"], found["runs"]) == ("toy-pooled", ["toy-seed0", "toy-seed1", "toy-seed2"])
    wanted = {"tasks": "all", "variant": "BC", "side": "agent", "dimension": "goal"}
    (line,) = [x for x in found["results"] if wanted.items() <= x.items()]
    assert line["mean"] == pytest.approx(expected_mean("BC"), abs=1e-4) and line["n_episodes"] == 96
    saved = pd.read_csv(folder / "tables" / "share_of_expert.csv")
    pd.testing.assert_frame_equal(saved, share_table(frame), check_dtype=False)
    assert {p.stem for p in (folder / "tables").glob("*.csv")} == {*pooled_tables(frame), "missing_variants"}
    assert {p.name for p in (folder / "figures").iterdir()} >= {"goal.png", "goal.svg", "paired.png", "families.svg"}


def test_the_command_ends_with_shares_trivial_check_and_the_page(project):
    said = (project / "said.txt").read_text()
    ratio = expected_mean("BC") / expected_mean("expert")
    assert said.index(f"{ratio:.2f} [") < said.index("stall-then-accept") < said.index("Report: outputs/toy-pooled")
    assert said.rstrip().endswith("outputs/toy-pooled/report/index.html")


@pytest.mark.slow
def test_pooling_again_writes_the_same_bytes(project):
    folder = project / "outputs/toy-pooled"
    before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    write_pool(project, folder, seed_plans(project, project / "params/toy.yaml", (0, 1, 2), ()))
    assert {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()} == before


@pytest.mark.slow
def test_a_partial_pool_takes_the_complete_runs_and_names_the_others(tmp_path):
    root = make_root(tmp_path / "toy")
    make_run(root, 0)
    (make_run(root, 1) / "06_social_evaluation" / "manifest.json").unlink()
    said = io.StringIO()
    with redirect_stdout(said):
        assert run_seeds(root, root / "params/toy.yaml", (0, 1, 2), (), "the command", never, pool_only=True) == 0
    for words in ("toy-seed1 (06_social_evaluation unfinished)", "toy-seed2 (not started)"):
        assert words in said.getvalue()
        assert f"Not in this pool: {words}." in (root / "outputs/toy-pooled/report/index.html").read_text()
    results = json.loads((root / "outputs/toy-pooled/results.json").read_text())
    assert results["runs"] == ["toy-seed0"] and set(results["left_out"]) == {"toy-seed1", "toy-seed2"}
    (line,) = [x for x in results["results"] if (x["variant"], x["tasks"], x["side"], x["dimension"]) == LINE]
    assert line["mean"] == pytest.approx(expected_mean("BC", (0,)), abs=1e-4)


def never(*_: object) -> int:
    raise AssertionError("--pool-only must run nothing")


def test_no_complete_run_is_an_error_that_names_the_command(tmp_path):
    root = make_root(tmp_path / "toy")
    answer = command(root, "seeds", "params/toy.yaml", "--seeds", "0", "--pool-only")
    assert answer.returncode == 1 and not (root / "outputs/toy-pooled/results.json").exists()
    assert "toy-seed0: not started" in answer.stderr and "seeds params/toy.yaml --seeds 0" in answer.stderr
    with pytest.raises(NoResults):
        read_pool(root, "toy-pooled", seed_plans(root, root / "params/toy.yaml", (0,), ()))


@pytest.mark.slow
def test_runs_go_on_until_one_fails_and_are_pooled_when_all_are_complete(tmp_path):
    root = make_root(tmp_path / "toy")
    preset, asked, failing = root / "params/toy.yaml", [], {"toy-seed1"}

    def run_plan(_root, plan, _settings, _lines) -> int:
        asked.append((plan.run, plan.params["06_social_evaluation"]["seed"]))
        if plan.run in failing:
            return 1
        if not (root / "outputs" / plan.run).exists():
            make_run(root, plan.params["06_social_evaluation"]["seed"])
        return 0

    assert run_seeds(root, preset, (0, 1), (), "the command", run_plan) == 1
    assert asked == [("toy-seed0", 0), ("toy-seed1", 1)] and not (root / "outputs/toy-pooled").exists()
    failing.clear()
    assert run_seeds(root, preset, (0, 1), (), "the command", run_plan) == 0
    assert json.loads((root / "outputs/toy-pooled/results.json").read_text())["runs"] == ["toy-seed0", "toy-seed1"]


def test_a_pool_of_runs_with_other_settings_says_so(tmp_path):
    root = make_root(tmp_path / "toy")
    make_run(root, 0, temperature=0.3)
    make_run(root, 1, temperature=0.7)
    pool = read_pool(root, "toy-pooled", seed_plans(root, root / "params/toy.yaml", (0, 1), ()))
    assert "06_social_evaluation.temperature: 0.3 in toy-seed0, 0.7 in toy-seed1" in pool.differences
