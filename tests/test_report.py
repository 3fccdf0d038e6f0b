"""Pages: notebooks as HTML, the report's first page, the run card, status and results."""

import json
import re
from html.parser import HTMLParser

import pytest
from toy_project import ToyProject

from sotopia_pi.app.console import duration, progress_words
from sotopia_pi.app.render import page
from sotopia_pi.store.progress import ProgressState
from sotopia_pi.store.run_card import read_run_card


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> ToyProject:
    """A page with a figure, a results stage, and a stage that fails, run once through the command line."""
    root = tmp_path_factory.mktemp("toy")
    toy = ToyProject(root, "01_items", "06_page", "10_results", preset="seed: 3\n")
    toy.answer = toy.command("run", "params/toy.yaml", "--only", "06", "10")
    assert toy.answer.returncode == 0, toy.answer.stderr
    return toy


@pytest.fixture(scope="module")
def rendered(project) -> str:
    return (project.run_dir / "06_page/report.html").read_text()


@pytest.fixture(scope="module")
def index(project) -> str:
    return (project.run_dir / "report/index.html").read_text()


class Addresses(HTMLParser):
    """Collects what a page would load or link."""

    def __init__(self, text: str):
        super().__init__()
        self.found: list[tuple[str, str]] = []
        self.tags: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.found += [(name, value) for name, value in attributes if name in ("src", "href") and value]


@pytest.mark.parametrize("name", ["06_page/report.html", "10_results/report.html", "report/index.html"])
def test_pages_open_offline_they_load_nothing_and_run_no_script(project, name):
    text = (project.run_dir / name).read_text()
    page = Addresses(text)
    assert "script" not in page.tags and "link" not in page.tags and "iframe" not in page.tags
    assert "@import" not in text and not re.search(r"url\(\s*['\"]?http", text)
    for kind, address in page.found:
        assert address.startswith(("data:", "#")) or (kind == "href" and address.startswith("../")), address


def test_links_between_the_pages_lead_somewhere(project):
    for name in ("06_page/report.html", "report/index.html"):
        path = project.run_dir / name
        for kind, address in Addresses(path.read_text()).found:
            if kind == "href" and not address.startswith("#"):
                assert (path.parent / address).is_file(), address


def test_a_page_has_the_title_the_figure_and_the_prose_but_no_code(rendered):
    assert "<title>Figures &amp; &lt;words&gt;</title>" in rendered
    assert "Prose that a reader sees." in rendered and "a shown fragment" in rendered
    assert len(re.findall(r'<img alt="" src="data:image/png;base64,[A-Za-z0-9+/]', rendered)) == 1
    assert "plt.subplots" not in rendered and "open_stage" not in rendered


def test_tags_hide_cells_and_inputs_and_widgets_leave_no_trace(rendered):
    assert "words of a hidden cell" not in rendered
    assert "output of a hidden input" in rendered
    assert "application/vnd.jupyter.widget" not in rendered and "IntSlider" not in rendered
    assert "fig &lt;ures&gt;" in rendered


def test_warnings_of_libraries_stay_in_the_notebook(project, rendered):
    assert "words of a library's warning" in (project.run_dir / "06_page/notebook.ipynb").read_text()
    assert "warning" not in rendered


def test_the_report_begins_with_the_answer(index):
    assert index.index("The answer comes first.") < index.index('<h2 id="made">') < index.index('<h2 id="stages">')


def test_the_report_names_what_is_missing_in_one_line(index):
    assert "Not complete yet: 01_items (not started)." in index


def test_the_report_escapes_what_it_shows(index):
    assert "Figures &amp; &lt;words&gt;" in index and "fig &lt;ures&gt;" in index
    assert "<words>" not in index and "<ures>" not in index


def test_pages_are_made_for_phones_paper_and_the_dark(index):
    assert 'name="viewport"' in index and "@media print" in index and "prefers-color-scheme: dark" in index


def test_titles_are_escaped():
    assert "<title>a &lt;b&gt;</title>" in page("a <b>", "<p>body</p>")


def test_the_run_card_tells_what_was_run_where_and_with_what(project):
    card = read_run_card(project.run_dir)
    assert card["run"] == "toy" and card["preset"] == {"file": "params/toy.yaml", "given": {"seed": 3}}
    assert card["params"]["01_items"]["seed"] == 3
    assert card["git"] == {"state": "not a git checkout"}
    assert card["stages"]["06_page"]["status"] == "complete" and card["stages"]["06_page"]["counts"] == {
        "fig <ures>": 1
    }
    assert card["stages"]["01_items"] == {"status": "not complete"}
    assert card["libraries"]["papermill"] == "2.7.0" and card["machine"]["cores"] >= 1


def test_secrets_and_the_environment_never_reach_a_run(tmp_path, monkeypatch):
    secret = "canary-5f0e1d"
    monkeypatch.setenv("OPENAI_API_KEY", secret)
    project = ToyProject(tmp_path / "toy", "03_alone")
    assert project.command("run", "params/toy.yaml").returncode == 0
    for path in project.run_dir.rglob("*"):
        assert not path.is_file() or secret not in path.read_text(errors="replace"), path


def test_results_for_scripts_carry_the_numbers_and_the_cost(project):
    answer = project.command("results", "toy", "--json")
    found = json.loads(answer.stdout)
    assert found["run"] == "toy" and found["results"][0]["mean"] == 4.9
    assert found["results"][0]["missing"] == {"policy_failed": 1}
    assert [stage["stage"] for stage in found["stages"]] == ["06_page", "10_results"]
    assert all(stage["wall_s"] > 0 and stage["peak_rss_mib"] > 10 for stage in found["stages"])


def test_results_for_people_are_a_table(project):
    head, row = project.command("results", "toy").stdout.splitlines()
    assert head.split()[:5] == ["tasks", "variant", "side", "dimension", "mean"]
    assert row.split()[:7] == ["all", "BC", "agent", "goal", "4.90", "4.20", "5.60"] and row.endswith("policy_failed 1")


def test_status_shows_each_stage_and_an_unknown_run_names_the_closest(project):
    rows = [line.split()[:2] for line in project.command("status", "toy").stdout.splitlines()[1:]]
    assert rows == [["01_items", "not"], ["06_page", "complete"], ["10_results", "complete"]]
    answer = project.command("status", "toi")
    assert answer.returncode == 2 and "Did you mean 'toy'?" in answer.stderr


def test_results_of_a_run_that_has_none_say_how_to_get_them(tmp_path):
    project = ToyProject(tmp_path / "toy", "03_alone")
    (project.run_dir).mkdir(parents=True)
    answer = project.command("results", "toy")
    assert answer.returncode == 1 and "sotopia-pi status toy" in answer.stderr


def test_times_and_progress_are_told_in_words():
    assert [duration(s) for s in (7.6, 200, 3900)] == ["8 s", "3 min 20 s", "1 h 05 min"]
    assert progress_words(ProgressState("episodes", 12, 96, 1, 24.0)) == "12/96 episodes, 1 failed, 2 min 48 s left"
