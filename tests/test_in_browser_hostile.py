"""The hostile list in a real browser: in JupyterLab and in pages opened from a file, nothing of it runs."""

import pytest
from browser_lab import watched
from hostile import ANNOTATORS, SET

pytestmark = pytest.mark.slow

STAGES = ("09_human_evaluation", "10_results", "10b_paper_comparison")
HOVER = """() => document.querySelectorAll('.jp-OutputArea-output *, main *').forEach(e => {
  for (const kind of ['mouseover', 'mouseenter', 'focus', 'pointerover']) e.dispatchEvent(new Event(kind));
})"""
FORMS = [
    "from hostile import HostileRun, ANNOTATORS, VARIANTS",
    "from pathlib import Path\nfrom IPython.display import HTML, display\n"
    "from sotopia_pi.analysis.labelling import LabellingDesk\n"
    "from sotopia_pi.analysis.mask import mask_html\n"
    "from sotopia_pi.analysis.safe_table import safe_table\n"
    "from sotopia_pi.analysis.same_tasks import pairs_html, same_plays\n"
    "from sotopia_pi.analysis.task_tables import task_html, task_table\n"
    "from sotopia_pi.stages.toxic_words import word_list\n"
    "from sotopia_pi.store.items import ItemFile",
    "run = HostileRun(Path.cwd(), 'forms')\ntasks = {of.id: of for of in run.safety}",
    "desk = LabellingDesk(run.safety_episodes, tasks, ItemFile(run.dir / 'labels.jsonl'))\n"
    "display(desk.widget(ANNOTATORS[0]))",
    "HTML(pairs_html(same_plays(run.safety_episodes, tasks, 'base', VARIANTS[0])[:4], word_list(''), run.labels))",
    "for task in run.tasks:\n    display(HTML(task_html(task)))",
    "display(safe_table(task_table(run.tasks)), HTML(mask_html(list(VARIANTS), [True] * len(VARIANTS))))",
]


@pytest.mark.parametrize("name", ["report/index.html", *(f"{stage}/report.html" for stage in STAGES)])
def test_a_page_opened_from_a_file_runs_nothing(browser, hostile_project, name):
    path = hostile_project / "outputs/hostile" / name
    found = watched(browser, (hostile_project / "outputs").as_uri(), offline=True)
    found.page.goto(path.as_uri())
    provoke(found.page)
    assert SET in found.page.content(), "the payloads are there, as words"
    found.assert_untouched()


@pytest.mark.parametrize("stage", ["09_human_evaluation", "10_results"])
def test_a_stage_of_a_hostile_run_in_jupyterlab_runs_nothing(browser, lab, stage):
    with lab.opened(browser, lab.with_values(stage, f"hostile_{stage}", run="hostile")) as found:
        lab.run_all(found.page)
        if stage == "09_human_evaluation":
            rate_first(found.page)
        provoke(found.page)
        assert SET in found.page.locator(".jp-Notebook").inner_text()
        found.assert_untouched()


def rate_first(page) -> None:
    """Pass by the form: a name nobody should have, and a save that is refused and says why."""
    page.get_by_placeholder("the same every time").fill(ANNOTATORS[0])
    page.get_by_placeholder("the same every time").press("Enter")
    page.get_by_role("button", name="Start", exact=True).click()
    page.get_by_role("button", name="Save and go on").click()
    page.get_by_text("Not saved.").wait_for()


def test_labelling_and_safety_pairs_in_jupyterlab_run_nothing(browser, lab):
    with lab.opened(browser, lab.written("hostile_forms", *FORMS)) as found:
        lab.run_all(found.page)
        found.page.get_by_role("button", name="Save and go on").click()
        found.page.get_by_text("write your name and one sentence of reason").wait_for()
        provoke(found.page)
        assert SET in found.page.locator(".jp-Notebook").inner_text()
        found.assert_untouched()


def provoke(page) -> None:
    """Unfold everything, pass over everything, and give what waits for a moment that moment."""
    page.evaluate("() => document.querySelectorAll('details').forEach(part => { part.open = true })")
    page.evaluate(HOVER)
    page.wait_for_timeout(1000)
