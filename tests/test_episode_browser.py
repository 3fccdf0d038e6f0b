"""The browser, driven by code as a person drives it, and its notebook on whatever there is of a run."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
from browsed_run import NAME, items, made_run, opened, project
from synthetic_run import complete
from test_results_pages import run_cells
from test_transcripts import HOSTILE, hostile_case, seen

from sotopia_pi.analysis.episode_browser import ALONE, EpisodeBrowser
from sotopia_pi.analysis.escaping import visible
from sotopia_pi.store.items import write_items
from sotopia_pi.store.lock import RunLock
from sotopia_pi.store.manifest import read_manifest


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("SOTOPIA_PI_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return made_run(project(tmp_path))


@pytest.fixture
def browser(run, tmp_path):
    return EpisodeBrowser(opened(tmp_path), tmp_path / "selections", page_rows=10)


def shown(browser):
    return browser.index.frame.iloc[browser.at]


def widget_count(widget):
    return 1 + sum(map(widget_count, getattr(widget, "children", ())))


def test_it_opens_on_the_first_episode_and_holds_one_page_of_lines(browser):
    assert browser.at == 0 and len(browser.list.options) == 10 and browser.list.index == 0
    assert browser.index.address(0) in browser.view.value and browser.address.value == browser.index.address(0)
    assert f"1–10 of {len(browser.index)}" in browser.count.value
    assert widget_count(browser.widget) < 60


def test_a_control_filters_and_the_shown_episode_stays_while_it_passes(browser):
    browser.controls["variant"].value = "BC+SR"
    assert set(browser.index.frame["variant"].iloc[browser.rows]) == {"BC+SR"} == {shown(browser)["variant"]}
    browser.buttons["next"].click()
    stays = browser.at
    browser.controls["side"].value = "speaks first" if shown(browser)["side"] == 0 else "speaks second"
    assert browser.at == stays and 0 < len(browser.rows) < 24
    browser.controls["words"].value = "nowhere"
    assert browser.at is None and browser.list.options == () and "No episode passes" in browser.view.value
    browser.buttons["clear"].click()
    assert len(browser.rows) == len(browser.index) and browser.controls["words"].value == ""


def test_a_range_asks_for_nothing_until_it_is_moved_and_follows_the_score(browser):
    assert browser.chosen.low is None and len(browser.rows) == len(browser.index)
    browser.controls["range"].value = (5.0, 10.0)
    assert (browser.index.frame["agent_goal"].iloc[browser.rows] >= 5).all() and len(browser.rows) > 20
    browser.controls["score"].value = "secret"
    assert (browser.controls["range"].min, browser.controls["range"].max) == (-10, 0)
    assert browser.chosen.low is None and len(browser.rows) == len(browser.index)
    browser.controls["score"].value = "financial_and_material_benefits"
    assert browser.controls["range"].value == (-5, 5)


def test_stepping_and_paging_go_through_the_list_and_stop_at_its_ends(browser):
    last = len(browser.index) - 1
    seen_rows = [browser.at]
    for _ in range(11):
        browser.buttons["next"].click()
        seen_rows.append(browser.at)
    assert seen_rows == list(range(12)) and browser.list.index == 1
    for button, expected in (("back", 1), ("previous", 0), ("previous", 0), ("last", last), ("next", last)):
        browser.buttons[button].click()
        assert browser.at == expected, button
    browser.buttons["first"].click()
    browser.list.index = 4
    assert browser.at == 4 and browser.index.address(4) in browser.view.value


def test_an_address_opens_its_episode_through_every_filter(browser, tmp_path):
    browser.controls["variant"].value = "base"
    wanted = browser.index.address(70)
    browser.address.value = wanted
    assert browser.at == 70 and browser.controls["variant"].value == "" and wanted in browser.view.value
    assert EpisodeBrowser(browser.index, tmp_path, wanted).at == 70
    for wrong in ("toy/episode-0", "other/episode-1", "episode-1"):
        browser.address.value = wrong
        assert 'role="status"' in browser.message.value and browser.at == 70
    with pytest.raises(ValueError, match="Set run = 'other'"):
        EpisodeBrowser(browser.index, tmp_path, "other/episode-1")


def test_another_variant_stands_beside_it_on_the_same_task(browser):
    browser.controls["variant"].value = "BC"
    browser.beside.value = "expert"
    other = browser.index.same_play(browser.at, "expert")
    assert browser.view.value.count("<section") == 2 and browser.index.address(other) in browser.view.value
    browser.buttons["same_task"].click()
    assert set(browser.index.frame["task"].iloc[browser.rows]) == {shown(browser)["task"]}
    browser.controls["variant"].value = ""
    browser.controls["task"].value = ""
    browser.show(browser.index.address(len(browser.index) - 1))
    assert "expert has not played this task from this side" in browser.view.value
    browser.beside.value = ALONE
    assert browser.view.value.count("<section") == 1


def test_an_export_holds_the_selections_items_in_its_order_and_touches_none_before(browser, run, tmp_path):
    browser.controls["variant"].value = "BC"
    browser.controls["by"].value, browser.controls["descending"].value = "score", True
    browser.buttons["export"].click()
    first = (tmp_path / "selections/1/episodes.jsonl").read_bytes()
    browser.controls["words"].value = "nowhere"
    browser.buttons["export"].click()
    assert "Nothing to export" in browser.message.value
    browser.controls["words"].value = "lamp"
    browser.buttons["export"].click()
    folder = tmp_path / "selections/2"
    assert (tmp_path / "selections/1/episodes.jsonl").read_bytes() == first and folder.is_dir()
    known = {e["id"]: e for e in items(run, "06_social_evaluation", "episodes.jsonl")}
    written = [json.loads(line) for line in (folder / "episodes.jsonl").read_text().splitlines()]
    assert [e["id"] for e in written] == browser.index.frame["id"].iloc[browser.rows].tolist()
    assert written == [known[e["id"]] for e in written] and len(written) == 24
    ratings = [json.loads(line) for line in (folder / "ratings.jsonl").read_text().splitlines()]
    assert len(ratings) == 4 * 24 and {r["episode_id"] for r in ratings} == {e["id"] for e in written}
    table = list(csv.DictReader((folder / "episodes.csv").open()))
    assert [row["address"] for row in table] == [f"toy/{e['id']}" for e in written]
    goals = [float(row["agent_goal"]) for row in table]
    assert goals == sorted(goals, reverse=True)
    asked = json.loads((folder / "selection.json").read_text())
    assert asked["filter"]["variant"] == "BC" and asked["order"] == {"by": "score", "descending": True}


def test_a_page_without_scripts_gets_the_lists_first_page(browser):
    bundle = browser._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in bundle
    assert bundle["text/html"].count("<tr>") == 11 and "first 10 in short" in bundle["text/html"]
    for role, other in (("agent", "partner"), ("partner", "agent")):
        browser.controls["role"].value = role
        assert f"<th>goal</th><th>{other}</th>" in browser.static_html() and other in browser.head.value


@pytest.mark.parametrize("text", [*HOSTILE, "</option></select><script>x</script>", "<style>*{display:none}</style>"])
def test_hostile_text_stays_text_in_every_part_of_the_page(tmp_path, text):
    run = project(tmp_path) / "outputs" / "hostile"
    task, episode, ratings = hostile_case(text)
    folder = run / "06_social_evaluation"
    again = [replace(ratings[0], id="again", judge="payoff")]
    write_items(run / "01_social_tasks" / "tasks.jsonl", [task.to_dict()])
    write_items(folder / "episodes.jsonl", [episode.to_dict(), replace(episode, id=text, tag="base").to_dict()])
    write_items(folder / "ratings.jsonl", [r.to_dict() for r in ratings])
    write_items(folder / "judge_ratings.jsonl", [r.to_dict() for r in again])
    for stage in ("01_social_tasks", "06_social_evaluation"):
        complete(run / stage)
    browser = EpisodeBrowser(opened(tmp_path, "hostile", ("06",)), tmp_path / "selections", page_rows=5)
    browser.beside.value = "base"
    browser.controls["words"].value = text
    browser.address.value = text
    parts = [browser.view, browser.head, browser.count, browser.message]
    for html in (browser.static_html(), *(part.value for part in parts)):
        assert not seen(html).tags & {"script", "img", "svg", "h1", "a", "comment"}
        assert not [name for name in seen(html).attributes if name.startswith("on")]
        assert not set(html) & set("\x00\x1b\u202e\u2066\u200b\u2028")
    for label, _ in browser.list.options:
        assert not set(label) & set("\n\r\x00\x1b\u202e\u202c\u2066\u2069\u200b\u2028\u2029\x85")
    assert visible("a\u202eb\nc\td\u200b") == "aU+202Eb c dU+200B"


def test_the_notebook_shows_chosen_episodes_and_leaves_the_run_free(run, tmp_path):
    folder = run_cells(tmp_path, NAME, run="toy")
    chosen = items(run, NAME, "chosen.jsonl")
    assert chosen and read_manifest(folder)["items"]["chosen.jsonl"] == [one["id"] for one in chosen]
    assert (folder / "tables/chosen.csv").is_file()
    RunLock(run, "run").acquire().release()


@pytest.mark.parametrize("there", ["nothing", "tasks alone"])
def test_the_notebook_says_what_is_missing(run, tmp_path, capsys, there):
    if there == "tasks alone":
        (tmp_path / "outputs/none/01_social_tasks").mkdir(parents=True)
        write_items(tmp_path / "outputs/none/01_social_tasks/tasks.jsonl", items(run, "01_social_tasks", "tasks.jsonl"))
        complete(tmp_path / "outputs/none/01_social_tasks")
    folder = run_cells(tmp_path, NAME, run="none")
    assert read_manifest(folder)["items"]["chosen.jsonl"] == []
    assert "not there: 06_social_evaluation" in capsys.readouterr().out
    browser = EpisodeBrowser(opened(tmp_path, "none"), tmp_path)
    for html in (browser.view.value, browser.static_html()):
        assert "There is no episode to show yet" in html and "sotopia-pi status none" in html
        assert "06_social_evaluation: not complete yet" in html


def test_the_notebook_opens_the_episode_that_is_asked_for(run, tmp_path, capsys):
    wanted = items(run, "06_social_evaluation", "episodes.jsonl")[5]["id"]
    run_cells(tmp_path, NAME, run="toy", episode=f"toy/{wanted}")
    with pytest.raises(ValueError, match="is not among the"):
        run_cells(tmp_path, NAME, run="toy", episode="toy/episode-0")


def test_no_row_is_lost_between_pages(browser):
    met = []
    browser.buttons["first"].click()
    for _ in range(len(browser.index) // 10 + 1):
        begin = browser._place() // 10 * 10
        met += browser.rows[begin : begin + len(browser.list.options)].tolist()
        browser.buttons["on"].click()
    assert sorted(set(met)) == list(np.arange(len(browser.index)))
