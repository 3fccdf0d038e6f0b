"""The report as a reader's page: the answer first, all of it true of this run, whole by itself, whatever is missing."""

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import matplotlib
import pytest
import yaml
from synthetic_run import complete, many_tasks, write_run

matplotlib.use("Agg")

from sotopia_pi.app.report import known_stages, write_report
from sotopia_pi.app.report_deviations import NAMED, deviations_html, differences
from sotopia_pi.app.report_run import ReportRun
from sotopia_pi.store.items import ItemFile, write_items
from sotopia_pi.store.manifest import read_manifest, write_manifest
from sotopia_pi.store.notebook import read_notebook, stage_names
from sotopia_pi.store.params import plan_run

REPOSITORY = Path(__file__).parents[1]
MEANS = {"base": 1.0, "BC": 4.0, "BC+SR": 5.0, "expert": 6.0}
PLAYED = ("01_social_tasks", "06_social_evaluation")
COUNTS = {"episodes planned": 1256, "failed: policy_failed": 2, "turns that failed to parse": 3, "sides rated": 2508}
LAPTOP = {
    name: {p.name: p.default for p in read_notebook(REPOSITORY / f"notebooks/{name}.ipynb").parameters.values()}
    for name in stage_names(REPOSITORY)
}


def make_project(root: Path) -> Path:
    """A project with the repository's notebooks and presets and no run."""
    for name in ("notebooks", "params"):
        shutil.copytree(REPOSITORY / name, root / name)
    shutil.copy(REPOSITORY / "CITATION.cff", root)
    return root


def play(root: Path, **params: str) -> Path:
    """Run `laptop` with tasks and evaluation, ended as their stages would, with the parameters of the laptop preset."""
    run_dir = write_run(
        root / "outputs" / "laptop",
        many_tasks(),
        tuple(MEANS),
        lambda variant, number, side: None if variant == "base" and number == 3 else MEANS[variant] + side,
        manifest=False,
    )
    write_items(run_dir / PLAYED[1] / "judge_ratings.jsonl", [])
    write_items(run_dir / PLAYED[1] / "variants.jsonl", [{"id": v, "trained": True, "reason": ""} for v in MEANS])
    for stage in PLAYED:
        complete(run_dir / stage, **LAPTOP[stage] | (params if stage == PLAYED[1] else {}))
    evaluated = read_manifest(run_dir / PLAYED[1])
    write_manifest(run_dir / PLAYED[1], evaluated | {"counts": COUNTS})
    return run_dir


def publish_results(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the results notebook's cells in this process, as Run All would."""
    monkeypatch.setenv("SOTOPIA_PI_HOME", str(root))
    monkeypatch.chdir(root)
    notebook = read_notebook(root / "notebooks/10_results.ipynb")
    namespace = {parameter.name: parameter.default for parameter in notebook.parameters.values()}
    for cell in notebook.code:
        exec(compile(cell, "10_results", "exec"), namespace)


def report(root: Path, run: str = "laptop") -> str:
    return write_report(root, run, known_stages(root, run) or PLAYED).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A project with a run up to its results."""
    root = make_project(tmp_path_factory.mktemp("project"))
    play(root)
    with pytest.MonkeyPatch.context() as patch:
        publish_results(root, patch)
    return root


@pytest.fixture(scope="module")
def page(whole) -> str:
    return report(whole)


@pytest.fixture
def copy(whole, tmp_path) -> Path:
    shutil.copytree(whole, tmp_path / "copy")
    return tmp_path / "copy"


class Outline(HTMLParser):
    """Headings, ids, pictures and addresses of a page, and its visible words."""

    def __init__(self, text: str):
        super().__init__()
        self.levels, self.ids, self.alts, self.sources, self.links, self.words = [], [], [], [], [], ""
        self.tags, self._hidden = set(), False
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        known = dict(attributes)
        self.tags.add(tag)
        self._hidden = tag == "style"
        if re.fullmatch("h[1-6]", tag):
            self.levels.append(int(tag[1]))
        if "id" in known:
            self.ids.append(known["id"])
        if tag == "img":
            self.alts.append(known.get("alt", ""))
            self.sources.append(known["src"])
        if tag == "a":
            self.links.append(known["href"])

    def handle_data(self, data):
        self.words += "" if self._hidden else data


def test_chapters_come_in_the_readers_order_and_the_contents_lead_to_each(page):
    outline = Outline(page)
    wanted = ["answer", "made", "paper", "results", "episodes", "stages", "data", "cite"]
    assert [one for one in outline.ids if one in wanted] == wanted
    assert [link for link in outline.links if link.startswith("#")][: len(wanted)] == [f"#{one}" for one in wanted]
    assert len(set(outline.ids)) == len(outline.ids)


def test_headings_go_down_by_one_and_every_picture_is_inside_and_described(page):
    outline = Outline(page)
    assert outline.levels[0] == 1 and outline.levels.count(1) == 1
    assert all(deeper - level <= 1 for level, deeper in zip(outline.levels, outline.levels[1:], strict=False))
    assert len(outline.alts) >= 5 and all(len(alt) > 20 for alt in outline.alts)
    assert all(source.startswith("data:image/png;base64,") for source in outline.sources)
    assert '<html lang="en">' in page and outline.tags.isdisjoint({"script", "link", "iframe", "form", "object"})


def test_the_browser_is_told_to_run_and_load_nothing(page):
    assert "default-src 'none'; img-src data:; style-src 'unsafe-inline'" in page


def test_plain_words_carry_the_results_own_figures_and_intervals(whole, page):
    rows = json.loads((whole / "outputs/laptop/10_results/results.json").read_text())["results"]
    goals = {r["variant"]: r for r in rows if (r["tasks"], r["side"], r["dimension"]) == ("all", "agent", "goal")}
    told = {v: f"{r['mean']:.2f} [{r['low']:.2f}, {r['high']:.2f}]" for v, r in goals.items()}
    wanted = f"The trained agent (BC+SR) reached {told['BC+SR']} of 10 goal points on {goals['BC+SR']['n_tasks']} tasks"
    assert wanted in page and f"the base model {told['base']} and the expert {told['expert']}" in page
    assert re.search(r"With self-reinforcement after cloning it reached more .* 1\.00 \[1\.00, 1\.00\] points", page)


def test_what_the_answer_does_not_mean_follows_the_judge_and_the_partner(copy):
    assert "A rule scored the goals" in report(copy) and "The partner was a script" in report(copy)
    play(copy, judge="openai:gpt-9@http://127.0.0.1/v1", partner="openai:gpt-8?key=K")
    other = report(copy)
    assert "A language model (gpt-9) scored the goals" in other and "a language model (gpt-8)" in other
    assert "A rule scored" not in other and "a script" not in other


def test_figures_tables_and_files_link_to_what_lies_there(whole, page):
    folder = whole / "outputs/laptop/report"
    links = [link.partition("#")[0] for link in Outline(page).links if not link.startswith("#")]
    pages = [link for link in links if link.endswith("/report.html")]
    assert "../10_results/tables/paired.csv" in links and "../10_results/figures/paired.svg" in links
    assert all((folder / link).is_file() for link in set(links) - set(pages))


def test_an_episode_stands_in_full_with_its_anchor(whole, page):
    shown = [one.removeprefix("episode-") for one in Outline(page).ids if one.startswith("episode-")]
    known = {item["id"] for item in ItemFile(whole / "outputs/laptop/06_social_evaluation/episodes.jsonl").read()}
    assert len(shown) == 3 and set(shown) <= known and page.count("sotopia-play tex2jax") == 3


def test_episodes_that_the_browser_chose_take_the_place_of_the_results_own(copy):
    shutil.copy(copy / "notebooks/10_results.ipynb", copy / "notebooks/11_episode_browser.ipynb")
    episodes = ItemFile(copy / "outputs/laptop/06_social_evaluation/episodes.jsonl").read()
    mine = [one["id"] for one in episodes if one["tag"] == "BC+SR"][3:10]
    rows = [{"id": one, "episode_id": one, "variant": "BC+SR", "reasons": f"odd <{i}>"} for i, one in enumerate(mine)]
    rows.append({"id": "b", "episode_id": "b", "variant": "base", "reasons": "worst"})
    stage = copy / "outputs/laptop/11_episode_browser"
    write_items(stage / "chosen.jsonl", rows)
    complete(stage)
    (stage / "report.html").write_text("all of them")
    outline = Outline(write_report(copy, "laptop", (*PLAYED, "10_results", "11_episode_browser")).read_text())
    assert [one for one in outline.ids if one.startswith("episode-")] == [f"episode-{one}" for one in mine[:5]]
    assert "BC+SR: odd <0>" in outline.words and "../11_episode_browser/report.html" in outline.links


def test_the_page_stays_small_enough_to_send(page):
    assert 100_000 < len(page.encode()) < 3_000_000


def test_how_it_was_made_names_models_data_and_failures(page):
    words = Outline(page).words
    assert "partner in the evaluationscripted:partner" in words and "judge of the evaluationpayoff" in words
    assert "evaluation episodes1,256; 2 failed, 3 turns could not be read, 2,508 sides rated" in words
    assert "agent (the base model)smollm2-135m-instruct" in words


def test_training_stands_in_words_with_what_selection_kept(copy):
    stage = copy / "outputs/laptop/03_behavior_cloning"
    (stage / "bc").mkdir(parents=True)
    settings = {"r": 7, "alpha": 14, "target_modules": ["q_proj"], "quantisation": "nf4", "lr": 0.00031, "epochs": 2}
    result = {"steps": 172, "tokens": 250538, "loss_first": 1.38, "loss_last": 0.24}
    (stage / "bc/settings.json").write_text(json.dumps({"settings": settings, "result": result}))
    write_items(stage / "examples.jsonl", [])
    complete(stage, **LAPTOP["03_behavior_cloning"])
    manifest = read_manifest(stage) | {"counts": {"rated": 872, "kept by the recipe": 688}}
    manifest["files"]["bc/settings.json"] = {"sha256": "", "bytes": (stage / "bc/settings.json").stat().st_size}
    manifest["files"]["bc/settings.json"]["mtime_ns"] = (stage / "bc/settings.json").stat().st_mtime_ns
    write_manifest(stage, manifest)
    words = Outline(report(copy)).words
    assert "688 of 872 sides" in words and "r 7, alpha 14, q_proj, nf4" in words
    assert "0.00031" in words and "250,538" in words and "1.38 → 0.24" in words


def test_differences_from_the_paper_are_those_of_the_parameters_not_a_fixed_text(whole):
    paper = plan_run(whole, whole / "params/paper.yaml").params
    mine = {stage: dict(params) for stage, params in paper.items()}
    assert differences(mine, paper) == []
    mine["03_behavior_cloning"]["lora_r"] = 99
    mine["06_social_evaluation"]["partner"] = "scripted:partner"
    assert differences(mine, paper) == [
        (("06_social_evaluation", "partner"), "scripted:partner", "openai:gpt-3.5-turbo-0613"),
        (("03_behavior_cloning", "lora_r"), 99, 8),
    ]
    assert all(key in paper[stage] for stage, key in NAMED)


def test_a_run_of_the_papers_preset_lists_no_parameter_and_the_laptops_lists_its_own(copy):
    def told(params: dict) -> str:
        for stage in PLAYED:
            folder = copy / "outputs/laptop" / stage
            write_manifest(folder, read_manifest(folder) | {"params": params[stage]})
        return Outline(deviations_html(ReportRun(copy, "laptop", PLAYED))).words

    paper = plan_run(copy, copy / "params/paper.yaml", run="laptop").params
    of_paper, of_laptop = told(paper), told(LAPTOP)
    assert "partner in the evaluation" not in of_paper and "judge of the evaluation" not in of_paper
    assert "partner in the evaluationgpt-3.5-turbo-0613scripted:partner" in of_laptop
    assert "judge of the evaluationgpt-4-0613a rule (payoff)" in of_laptop
    assert "evaluation scenarios90, 14 of them hard8, 8 of them hard" in of_laptop


def test_a_stage_that_is_not_finished_is_no_deviation(copy):
    words = Outline(deviations_html(ReportRun(copy, "laptop", PLAYED))).words
    assert "safety" not in words and "LoRA" not in words


def test_an_empty_run_gets_a_page_that_says_so(tmp_path):
    root = make_project(tmp_path / "empty")
    (root / "outputs/laptop").mkdir(parents=True)
    page = write_report(root, "laptop", tuple(stage_names(root))).read_text()
    assert "There is no answer yet" in page and "01_social_tasks (not started)" in page
    assert "could not be made" not in page


def test_a_failed_stage_is_named_with_its_error(copy):
    stage = copy / "outputs/laptop/07_safety"
    stage.mkdir()
    error = {"output_type": "error", "ename": "MemoryError", "evalue": "no <room> left", "traceback": []}
    (stage / "notebook.ipynb").write_text(json.dumps({"cells": [{"cell_type": "code", "outputs": [error]}]}))
    page = write_report(copy, "laptop", (*PLAYED, "07_safety", "10_results")).read_text()
    assert "07_safety (begun, not finished; it stopped with MemoryError: no &lt;room&gt; left)" in page


@pytest.mark.parametrize(
    ("file", "data", "said"),
    [
        ("10_results/manifest.json", "{", "10_results (damaged"),
        ("06_social_evaluation/manifest.json", "", "06_social_evaluation (damaged"),
        ("06_social_evaluation/episodes.jsonl", "nonsense\n", "06_social_evaluation (changed"),
        ("10_results/tables/paired.csv", "", "10_results (changed"),
        ("run.json", "{", "This part could not be made (JSONDecodeError"),
        ("run.json", "[]", "There is no run card"),
        ("run.json", '{"schema": "run/1", "params": {}}', "could not be made (KeyError"),
    ],
)
def test_damaged_files_give_a_page_that_names_them(copy, file, data, said):
    (copy / "outputs/laptop" / file).write_text(data)
    page = write_report(copy, "laptop", (*PLAYED, "10_results")).read_text()
    assert said in page and page.rstrip().endswith("</html>") and "How to cite" in page


def test_text_of_others_stays_text_everywhere(copy):
    evil = '<script>alert(1)</script>"><img src=x onerror=alert(1)>\u202e'
    for stage in PLAYED:
        folder = copy / "outputs/laptop" / stage
        manifest = read_manifest(folder)
        manifest["counts"] |= {evil: evil}
        manifest["notes"] |= {evil: {evil: [evil]}}
        manifest["params"]["partner"] = manifest["params"]["judge"] = evil
        write_manifest(folder, manifest)
    card = {"preset": {"file": evil, "given": {evil: evil}}, "params": {"01_social_tasks": {evil: evil}}}
    card |= {"machine": {"cores": 1, "memory_gib": 1, "system": evil, "gpu": evil, "python": evil}, "libraries": {}}
    card |= {"package": {evil: evil}, "git": {"state": evil, "commit": evil}, "written": evil}
    card |= {"stages": {"01_social_tasks": {"notes": {evil: evil}}}, "imported": {"bundled_as": evil}}
    (copy / "outputs/laptop/run.json").write_text(json.dumps(card))
    page = write_report(copy, "laptop", (*PLAYED, "10_results")).read_text()
    assert "could not be made" not in page and page.count("&lt;script&gt;alert(1)") > 20
    assert "<script" not in page and "<img src=x" not in page and "\u202e" not in page


def test_how_to_cite_gives_the_papers_entry_and_names_the_run(page):
    cited = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text())["preferred-citation"]
    words = Outline(page).words
    assert "@inproceedings{wang2024," in words and cited["title"] in words and cited["url"] in words
    assert "Wang, Ruiyi and Yu, Haofei" in words and "This run: laptop" in words
