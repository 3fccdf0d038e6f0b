"""Hostile text in every field of a run: no page, table or form makes anything of it but text."""

import json
import re
from dataclasses import replace
from pathlib import Path

import ipywidgets as widgets
import nbformat
import pandas as pd
import pytest
from hostile import (
    ANNOTATORS,
    JUDGE_NAMES,
    MODEL,
    PAYLOADS,
    SET,
    VARIANTS,
    HostileRun,
    part,
)
from inert import assert_inert, assert_shown
from test_selection import episode as plain_episode
from test_selection import rating as plain_rating

from sotopia_pi.analysis import comparisons, confounds, drill_down, goal_tables, judges, profile, raters
from sotopia_pi.analysis.blind_view import blind_html
from sotopia_pi.analysis.calibration import calibration_table
from sotopia_pi.analysis.data_card import data_card, task_summary
from sotopia_pi.analysis.escaping import attribute, escaped, visible
from sotopia_pi.analysis.headline import headline_html
from sotopia_pi.analysis.human_tables import (
    agreement_table,
    agreement_to_read,
    annotators_table,
    means_table,
    means_to_read,
    people_ratings,
)
from sotopia_pi.analysis.labelling import LabellingDesk
from sotopia_pi.analysis.mask import mask_html
from sotopia_pi.analysis.publish import Publisher, file_name
from sotopia_pi.analysis.rating_panel import RatingPanel
from sotopia_pi.analysis.run_comparison import goal_by_run
from sotopia_pi.analysis.safe_table import safe_table
from sotopia_pi.analysis.safety_tables import label_cells, rule_cells, safety_frame
from sotopia_pi.analysis.same_tasks import pairs_html, same_plays
from sotopia_pi.analysis.secret_table import secret_frame, secret_table
from sotopia_pi.analysis.tables import failure_table, results_frame, shown
from sotopia_pi.analysis.task_tables import goals_by_family, task_html, task_table
from sotopia_pi.analysis.transcripts import Transcript
from sotopia_pi.app.fragments import details, facts, link, picture, table, warning
from sotopia_pi.app.render import page, render_notebook
from sotopia_pi.app.report import write_report
from sotopia_pi.stages.assignment import Sample, plan_ratings
from sotopia_pi.stages.near_duplicates import near_duplicates
from sotopia_pi.stages.qualification import qualification
from sotopia_pi.stages.selection import select
from sotopia_pi.stages.toxic_words import word_list
from sotopia_pi.store.items import ItemFile

REPOSITORY = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> HostileRun:
    return HostileRun(tmp_path_factory.mktemp("hostile")).write()


@pytest.fixture(scope="module")
def frame(run) -> pd.DataFrame:
    return results_frame(run.dir)


def test_the_list_would_be_noticed():
    """What is markup fails the check where it stands unescaped: the check can fail."""
    words_only = {
        *(
            "address of script",
            "terminal",
            "name of a device",
            "Markdown image",
            "Markdown marks",
            "Markdown blocks",
            "template",
            "format string",
            "escaped already",
        ),
        *("formula", "formula of a line", "very long word", "way out of the folder", "encoded way out", "home"),
        *("out of a quoted attribute", "out of a bare attribute"),
    }
    assert {name for name, payload in PAYLOADS.items() if passes(f"<p>{payload}</p>")} == words_only


def passes(text: str) -> bool:
    try:
        assert_inert(text, [])
    except AssertionError:
        return False
    return True


@pytest.mark.parametrize("payload", PAYLOADS.values(), ids=PAYLOADS)
def test_a_payload_is_words_in_an_element_an_attribute_and_a_title(payload):
    text = f'<section><img src="data:image/png;base64," alt="{attribute(payload)}"><p>{escaped(payload)}</p></section>'
    assert_inert(text, [])
    assert "\n" not in escaped(payload) and "\n" not in attribute(payload)
    assert_inert(page(payload, f"<p>{escaped(payload)}</p>"), [])


def test_hidden_characters_are_shown_by_their_number():
    assert visible("a\u202eb\x00", keep="\x00") == "aU+202Eb\x00"
    assert attribute('"\u202e"\n<') == "&quot;U+202E&quot; &lt;"
    assert escaped("\u3164") == '<span class="hidden-character">U+3164</span>'


def test_transcripts(run):
    tasks = {task.id: task for task in run.tasks}
    ratings = [*run.ratings, *run.more]
    for number, episode in enumerate(run.episodes):
        shown_one = Transcript(tasks[episode.task_id], episode, tuple(ratings), part(number % 9, 9))._repr_html_()
        assert_shown(shown_one) if number % 12 == 0 else assert_own_start(shown_one)
    whole = "".join(Transcript(tasks[e.task_id], e)._repr_html_() for e in run.episodes[:9])
    assert_inert(whole, [visible(text) for name, text in PAYLOADS.items() if not re.search(r"\s\s|[\n\r\x0b]", text)])


def assert_own_start(text: str) -> None:
    """The cheap half of the check: nothing raw that could begin an element."""
    assert "<script" not in text and "<img" not in text and "<svg" not in text and "<iframe" not in text


def test_the_form_of_people_who_rate_and_its_static_twin(run, tmp_path):
    run_plan = plan_ratings(run.episodes, run.tasks, Sample(("BC", *VARIANTS), 8), ANNOTATORS)
    tasks = {task.id: task for task in run.tasks}
    shown_items = {e.id: (tasks[e.task_id], e) for e in run.episodes}
    panel = RatingPanel(run_plan, shown_items, run.people, qualification())
    panel.name.value = MODEL
    panel.start.click()
    assert SET in "".join(texts(panel.widget)), "a name that the plan refuses is repeated"
    for episode in run.episodes[:8]:
        assert_inert(blind_html(tasks[episode.task_id], episode))
    first = replace(qualification(), task=run.tasks[0], episode=run.episodes[0])
    panel = RatingPanel(run_plan, shown_items, run.people, first)
    panel.name.value = ANNOTATORS[0]
    panel.start.click()
    panel.save.click()
    for text in texts(panel.widget):
        assert_inert(text, [])
    assert SET in panel.message.value, "what is missing is said with the character's name"
    assert_inert(panel.static_html())


def test_the_labelling_form(run, tmp_path):
    tasks = {of.id: of for of in run.safety}
    desk = LabellingDesk(run.safety_episodes, tasks, ItemFile(tmp_path / "labels.jsonl"))
    form = desk.widget(ANNOTATORS[0])
    form.children[-1].click()
    found = texts(form)
    assert SET in "".join(found) and len(found) > 4
    for text in found:
        assert_inert(text, [])
    desk.save(MODEL, run.safety_episodes[0].id, {"injury_intent": True, "prevented": False, "solutions": 0}, MODEL)
    assert_inert(safe_table(shown(desk.table()), index=False).to_html())


def texts(widget: widgets.Widget) -> list[str]:
    """The HTML of a form and all in it; what stands beside its fields is never markup."""
    assert not getattr(widget, "description_allow_html", False)
    own = [widget.value] if isinstance(widget, widgets.HTML) else []
    return own + [text for child in getattr(widget, "children", ()) for text in texts(child)]


def test_safety_pairs(run):
    tasks = {of.id: of for of in run.safety}
    plays = same_plays(run.safety_episodes, tasks, "base", VARIANTS[0])
    assert plays
    assert_shown(pairs_html(plays[:4], word_list(""), run.labels))


def test_the_loss_mask():
    tokens = list(PAYLOADS.values())
    assert_shown(mask_html(tokens, [i % 2 == 0 for i in range(len(tokens))]))


def test_the_headline_with_its_figures_alternative_text(frame):
    assert_shown(headline_html(frame, MODEL, {"SR": MODEL, MODEL: MODEL}))


def tables_of(run: HostileRun, frame: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """What the results pages publish by `Publisher.table`."""
    items = [[one.to_dict() for one in ones] for ones in (run.tasks, run.episodes, run.ratings, run.more)]
    rated = raters.raters_frame(items[0], items[1], [*items[2], *items[3]], (), run.run)
    judged = judges.judges_frame(run.episodes, run.tasks, [*run.ratings, *run.more])
    agents = profile.profile_table(rated)
    tasks = {of.id: of for of in run.safety}
    safety = safety_frame(run.safety_episodes, tasks, word_list(""))
    secrets = secret_frame("06_social_evaluation", run.episodes, {task.id: task for task in run.tasks})
    return {
        "goal": goal_tables.goal_table(frame, "all"),
        "families": goal_tables.family_table(frame),
        "failures": failure_table(frame),
        "paired": comparisons.comparisons_table(frame, [(VARIANTS[0], "base"), ("BC", VARIANTS[1])]),
        "steps": raters.by_rater(rated),
        "gaps": raters.gap_table(rated),
        "profile": profile.wide_profile(agents),
        "calibration": calibration_table(rated),
        "tasks": drill_down.furthest_behind(drill_down.task_goals(frame, items[0])),
        "templates": drill_down.template_goals(frame),
        "failure_confound": confounds.failure_confound_table(frame),
        "judge_outcomes": judges.outcome_table(judged),
        "overrating": judges.overrating_table(judged),
        "safety_rules": rule_cells(safety),
        "safety_labels": label_cells(safety, run.labels),
        "secrets": secret_table(secrets),
        "runs": goal_by_run({"a": frame}, {"a": MODEL}),
    }


def test_every_published_table(run, frame, tmp_path):
    for name, numbers in tables_of(run, frame).items():
        told = Publisher(tmp_path).table(name, numbers).to_html()
        assert "hostile" in told, name
        assert_shown(told, [])
    assert {path.parent for path in tmp_path.rglob("*.csv")} == {tmp_path / "tables"}


def test_tables_of_the_early_stages(run):
    selected = select(
        [plain_episode("e", tag=MODEL, task=MODEL)], [plain_rating("e", 0, 9), plain_rating("e", 1, 9)], "code"
    )
    again = [replace(t, split="bc") for t in run.tasks[:2]]
    for numbers in (
        task_table(run.tasks),
        goals_by_family(run.episodes, run.ratings, run.tasks),
        near_duplicates(again, run.tasks[:2]),
        data_card([selected], ["tag", "task"]),
    ):
        assert_shown(safe_table(numbers).to_html())
    assert_inert(safe_table(task_summary([selected])).to_html(), [])
    for task in run.tasks:
        assert_shown(task_html(task))


def test_tables_of_people(run):
    plan = plan_ratings(run.episodes, run.tasks, Sample(("BC", *VARIANTS), 4))
    run.rate(sorted(plan.episode_ids))
    counting = run.people.counting()
    people = people_ratings(counting, plan.episode_ids)
    judged = judges.judges_frame(run.episodes, run.tasks, [*run.more, *people])
    found = [annotators_table(plan, run.people, qualification())]
    tables = [safe_table(shown(one), index=False) for one in found] + [means_to_read(means_table(judged))]
    for one in tables:
        assert "hostile" in one.to_html()
        assert_inert(one.to_html(), [])
    for one in agreement_to_read(agreement_table(counting, plan)):
        assert_inert(one.to_html(), [])


def test_headings_and_row_names_of_a_table_are_text_too():
    names = pd.MultiIndex.from_tuples([(MODEL, PAYLOADS["script"])], names=[PAYLOADS["SVG"], PAYLOADS["frame"]])
    table = pd.DataFrame({PAYLOADS["image that fails"]: [PAYLOADS["formula"]]}, index=names)
    assert_inert(safe_table(table.rename_axis(columns=PAYLOADS["object"])).to_html())


def test_pieces_of_the_report():
    parts = (
        facts({MODEL: MODEL, "list": [MODEL], "inner": {MODEL: MODEL}}),
        table([MODEL], [[MODEL]]),
        details(MODEL, warning(MODEL)),
        picture(b"", MODEL),
        link("../" + MODEL, MODEL),
    )
    for piece in parts:
        assert_inert(piece, [] if piece.startswith("<img") else [SET])


def test_the_report_and_its_run_card(run, tmp_path):
    card = run.dir / "run.json"
    entry = {"status": "complete", "notes": {MODEL: {MODEL: [MODEL]}}, "counts": {MODEL: MODEL}}
    known = {
        "preset": {"file": MODEL, "given": {}},
        "package": {MODEL: MODEL},
        "git": {"state": MODEL, "commit": MODEL},
        "machine": {"cores": 2, "memory_gib": 8, "system": MODEL, "gpu": [MODEL], "python": MODEL},
        "written": MODEL,
        "stages": {"06_social_evaluation": entry},
        "params": {"06_social_evaluation": {"model": MODEL, "more_agents": [MODEL]}},
        "libraries": {MODEL: MODEL},
    }
    card.write_text(json.dumps({"schema": "run/1", "run": run.run, **known}))
    (run.root / "notebooks").symlink_to(REPOSITORY / "notebooks")
    path = write_report(run.root, run.run, ("01_social_tasks", "06_social_evaluation", "10_results"))
    assert_inert(path.read_text(encoding="utf-8"))


def test_a_rendered_notebook_shows_printed_words_and_tracebacks_as_text(tmp_path):
    words = "\n".join([MODEL, *JUDGE_NAMES])
    outputs = [
        nbformat.v4.new_output("stream", name="stdout", text=words),
        nbformat.v4.new_output("execute_result", data={"text/plain": words}, execution_count=1),
        nbformat.v4.new_output("error", ename="ValueError", evalue=words, traceback=[words]),
        nbformat.v4.new_output("display_data", data={"text/html": f"<p>{escaped(words)}</p>", "text/plain": words}),
    ]
    for number, output in enumerate(outputs):
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1", outputs=[output])])
        nbformat.write(notebook, tmp_path / f"{number}.ipynb")
        made = render_notebook(tmp_path / f"{number}.ipynb", tmp_path / f"{number}.html", MODEL)
        assert_inert(made.read_text(encoding="utf-8"))


NAMES = (*PAYLOADS.values(), *JUDGE_NAMES, "..", ".", "")


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_a_name_of_somebody_elses_is_a_plain_file_name(name, tmp_path):
    path = tmp_path / f"{file_name(name)}.csv"
    path.write_text("1")
    assert path.parent == tmp_path and path.resolve().parent == tmp_path.resolve()
    assert not path.name.startswith(".") and re.fullmatch(r"[\w+.-]+", path.name) and len(path.name) < 110


def test_names_that_differ_have_files_that_differ():
    assert file_name("BC+SR") == "BC+SR" and file_name("profile_gpt-4.1") == "profile_gpt-4.1"
    assert len({file_name(name) for name in ("a/b", "a-b", "a b", "a\\b")}) == 4
