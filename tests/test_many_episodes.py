"""Twenty thousand episodes: the browser opens and answers at once, and holds little of them in memory."""

import time

import pytest
from browsed_run import NAME, project
from large_run import enlarge
from synthetic_run import complete, many_tasks, write_run

from sotopia_pi.analysis.episode_browser import EpisodeBrowser
from sotopia_pi.analysis.episode_index import EpisodeIndex
from sotopia_pi.analysis.episode_sources import find_sources
from sotopia_pi.store.notebook import read_notebook
from sotopia_pi.store.stage import Stage

pytestmark = pytest.mark.slow

EPISODES, TURNS = 20_000, 20
OPENS_S, ANSWERS_S = 3.0, 0.3
"""Processor time, so that what else runs on the machine does not count."""
GOALS = {"base": 2.0, "BC": 5.0, "expert": 7.0}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = project(tmp_path_factory.mktemp("many"))
    run = write_run(root / "outputs/few", many_tasks(16, 4), tuple(GOALS), lambda v, n, s: GOALS[v] + s, manifest=False)
    for stage in ("01_social_tasks", "06_social_evaluation"):
        complete(run / stage, model="toy")
    enlarge(run, root / "outputs/many", EPISODES, TURNS)
    return root


def seconds(do):
    began = time.process_time()
    result = do()
    return result, time.process_time() - began


def opened(root):
    stage = Stage(root, read_notebook(root / "notebooks" / f"{NAME}.ipynb"), {"run": "many"})
    browser = EpisodeBrowser(
        EpisodeIndex("many", find_sources(stage, ["06"]), stage.path("index")), root / "selections"
    )
    browser._repr_mimebundle_()
    return browser


def test_it_opens_in_time_from_its_index_and_every_filter_answers_in_time(root):
    opened(root)
    browser, took = seconds(lambda: opened(root))
    assert len(browser.index) == EPISODES and took < OPENS_S
    asked = {"words": "shakes head nowhere", "variant": "BC", "range": (4.0, 8.0), "by": "score", "task": "meeting"}
    for name, value in asked.items():
        browser.clear()
        _, took = seconds(lambda name=name, value=value: setattr(browser.controls[name], "value", value))
        assert took < ANSWERS_S, name
        assert (len(browser.rows) == 0) == (name == "words")
    browser.clear()
    browser.controls["words"].value = "shakes"
    assert len(browser.rows) == EPISODES
    for button in ("next", "last", "previous"):
        assert seconds(browser.buttons[button].click)[1] < ANSWERS_S


def test_what_is_held_in_memory_is_a_fraction_of_the_files(root):
    browser = opened(root)
    on_disk = (root / "outputs/many/06_social_evaluation/episodes.jsonl").stat().st_size
    held = browser.index.frame.memory_usage(deep=True).sum() + sum(
        array.nbytes for part in browser.index.parts for array in (part.rows, part.rated, part.tasks)
    )
    assert held < on_disk / 5
