"""People's ratings: what is drawn and for whom, what is kept, and what a sheet brings back."""

import json
import math
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from filelock import FileLock
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_raters import EPISODES, SENTENCE, TASKS, VARIANTS, judgement, plan, rate

from sotopia_pi.formats.rating_sheets import NEEDED, SheetError, read_sheet, write_sheet
from sotopia_pi.stages.assignment import Datapoint, Sample, plan_ratings
from sotopia_pi.stages.human_ratings import Entry, HumanRatings, Judgement
from sotopia_pi.stages.qualification import qualification
from sotopia_pi.stages.rating_session import RatingSession
from sotopia_pi.world.ratings import DIMENSIONS, Rating

FIRST = qualification()
GOOD = (
    Judgement({**judgement(9).scores, "relationship": 3}, "She has the key now."),
    Judgement({**judgement(0).scores, "relationship": 3, "secret": -9}, "He told about the insurance."),
)
"""Answers to the qualification item that a careful reader gives."""


@pytest.fixture
def ratings(tmp_path) -> HumanRatings:
    return HumanRatings(tmp_path / "human_ratings.jsonl")


def session(ratings, name="Ann", of=None):
    return RatingSession(name, of or plan(), ratings, FIRST)


def qualified(ratings, name="Ann", of=None):
    sitting = session(ratings, name, of)
    assert sitting.save(FIRST.episode.id, GOOD, 60) == []
    return sitting


def test_every_variant_has_the_same_tasks_and_speaking_orders_one_template_after_the_other():
    drawn = plan(datapoints=8).datapoints
    cells = {v: {(p.task_id, p.agent_side) for p in drawn if p.variant == v} for v in VARIANTS}
    assert len(cells["base"]) == 8 and cells["base"] == cells["BC"] == cells["expert"]
    assert Counter(side for _, side in cells["base"]) == {0: 4, 1: 4}
    assert len({p.template for p in drawn}) == 4
    assert plan().datapoints == plan().datapoints != plan(seed=1).datapoints


def test_hard_tasks_alone_can_be_drawn_and_what_is_short_is_counted():
    drawn = plan(datapoints=20, hard_only=True)
    hard = {task.id for task in TASKS if task.hard}
    assert {p.task_id for p in drawn.datapoints} == hard and len(drawn.datapoints) == 3 * 8
    assert drawn.left_out == {f"{v}: no further task": 12 for v in VARIANTS}


def test_a_failed_or_unplayed_episode_is_counted_and_not_replaced():
    chosen = plan().datapoints[0]
    played = [
        replace(e, outcome="policy_failed", ending="failed") if e.id == chosen.episode_id else e for e in EPISODES
    ]
    drawn = plan_ratings(played, TASKS, Sample((*VARIANTS, "SR"), 4))
    assert drawn.left_out == {f"{chosen.variant}: policy_failed": 1, "SR: not played": 4}
    assert {p.episode_id for p in drawn.datapoints} == plan().episode_ids - {chosen.episode_id}


def test_named_annotators_share_the_work_evenly_two_a_datapoint():
    names = ("Ann", "Bob", "Cleo", "Dan")
    drawn = plan(names, datapoints=7).datapoints
    load = Counter(name for point in drawn for name in point.annotators)
    assert all(len(set(point.annotators)) == 2 for point in drawn)
    assert set(load) == set(names) and max(load.values()) - min(load.values()) <= 1
    assert len({point.annotators for point in drawn}) > 2, "not always the same two"


def test_fewer_names_than_raters_are_refused_and_so_is_a_stranger():
    with pytest.raises(ValueError, match=r"1 names \(Ann\) for 2 raters .* name at least 2, or none"):
        plan(["Ann"])
    with pytest.raises(ValueError, match="'Zoe' is not in this plan; its annotators are Ann, Bob"):
        plan(["Ann", "Bob"]).order("Zoe")


def test_the_order_depends_on_seed_and_name_and_nothing_else():
    ids = [p.episode_id for p in plan().order("Ann")]
    assert ids == [p.episode_id for p in plan().order("Ann")] and set(ids) == plan().episode_ids
    assert ids != [p.episode_id for p in plan().order("Bob")]
    assert ids != [p.episode_id for p in plan(datapoints=4, seed=1).order("Ann")]


def test_a_datapoint_comes_back_from_its_line():
    for point in plan(["Ann", "Bob"]).datapoints:
        assert Datapoint.from_dict(json.loads(json.dumps(point.to_dict()))) == point


def test_a_judgement_without_a_score_or_a_reason_names_all_that_is_missing():
    scores = {**judgement().scores, "goal": 11}
    del scores["secret"]
    with pytest.raises(ValueError, match=r"secret has no score .* goal is 11; .* 0 to 10; the reason is 'Well\.'"):
        Judgement(scores, " Well. ")
    with pytest.raises(ValueError, match=r"believability is 2\.5"):
        judgement(believability=2.5)
    with pytest.raises(ValueError, match="'charm' is no dimension"):
        judgement(charm=1)


def test_a_saved_item_is_two_ratings_of_the_common_form_by_a_named_person(ratings):
    rate(ratings, "Ann", "episode-1", 8, 2)
    first, second = (json.loads(line) for line in ratings.path.read_text().splitlines())
    assert (first["schema"], first["judge"], first["outcome"]) == ("rating/1", "human:Ann", "ok")
    assert (first["scores"]["goal"], second["scores"]["goal"], second["side"]) == (8, 2, 1)
    assert first["reasons"] == {"all": SENTENCE} and first["overall"] == 8 / 7
    assert Rating.from_dict(first) == ratings.read()[0]


def test_rating_once_more_adds_a_revision_and_the_last_one_counts(ratings):
    rate(ratings, "Ann", "episode-1", 8, 2)
    before = ratings.path.read_bytes()
    rate(ratings, "Ann", "episode-1", 3, 4)
    rate(ratings, "Bob", "episode-1", 1, 1)
    assert ratings.path.read_bytes().startswith(before) and len(ratings.read()) == 6
    goals = {name: [r.scores["goal"] for r in both] for (name, _), both in ratings.counting().items()}
    assert goals == {"Ann": [3, 4], "Bob": [1, 1]}


def test_an_item_that_a_kill_left_half_saved_does_not_count_and_is_asked_for_again(ratings):
    sitting = qualified(ratings)
    rate(ratings, "Ann", sitting.next_id())
    *whole, last = ratings.path.read_bytes().splitlines(keepends=True)
    ratings.path.write_bytes(b"".join(whole) + last[:40])
    asked = sitting.next_id()
    assert asked == sitting.order[0].episode_id and sitting.progress().done == 0
    ratings.begin()
    assert ratings.path.read_bytes() == b"".join(whole)
    sitting.save(asked, (judgement(1), judgement(2)), 5)
    assert [r.scores["goal"] for r in ratings.counting()[("Ann", asked)]] == [1, 2]


def test_people_who_save_at_the_same_moment_lose_nothing(ratings):
    def sit(name):
        for number in range(4):
            rate(HumanRatings(ratings.path), name, f"episode-{number}")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(sit, ["Ann", "Ann", "Bob", "Cleo"]))
    assert len(ratings.read()) == 4 * 4 * 2 and len(ratings.counting()) == 3 * 4
    assert [r.raw[0]["revision"] for r in ratings.counting()[("Ann", "episode-3")]] == [2, 2]


def test_nobody_writes_while_somebody_else_does(ratings):
    ratings.begin()
    (lock,) = ratings.path.parent.glob(".*.lock")
    with ThreadPoolExecutor(1) as pool:
        with FileLock(lock):
            saving = pool.submit(rate, ratings, "Ann", "episode-1")
            with pytest.raises(TimeoutError):
                saving.result(timeout=0.3)
            assert ratings.read() == []
        saving.result(timeout=20)
    assert len(ratings.read()) == 2


def test_beginning_makes_an_empty_file_and_leaves_a_whole_one_alone(ratings):
    ratings.begin()
    assert ratings.path.read_bytes() == b""
    rate(ratings, "Ann", "episode-1")
    stat = ratings.path.stat()
    ratings.begin()
    assert ratings.path.stat().st_mtime_ns == stat.st_mtime_ns


def test_a_person_begins_with_the_qualification_item_until_it_is_passed(ratings):
    sitting = session(ratings)
    assert sitting.next_id() == FIRST.episode.id
    missed = sitting.save(FIRST.episode.id, (judgement(2, relationship=1), GOOD[1]), 9)
    assert missed == [
        "Nora Lindqvist, goal: Nora wanted the van for tomorrow morning and walks away with its key. You gave 2."
    ]
    assert sitting.next_id() == FIRST.episode.id and not sitting.progress().qualified
    sitting.save(FIRST.episode.id, GOOD, 9)
    assert sitting.next_id() == sitting.order[0].episode_id and sitting.progress().qualified
    assert len(ratings.read()) == 4, "both attempts are kept"


def test_a_person_goes_on_at_the_first_unrated_item_also_in_a_sitting_of_another_day(ratings):
    qualified(ratings)
    order = [point.episode_id for point in session(ratings).order]
    for n, episode_id in enumerate(order):
        another_day = session(ratings, " Ann  ")
        assert another_day.next_id() == episode_id and another_day.progress().done == n
        rate(ratings, "Ann", episode_id)
    assert session(ratings).next_id() is None


def test_where_whoever_comes_may_rate_a_datapoint_is_closed_after_two_people(ratings):
    for name in ("Ann", "Bob"):
        sitting = qualified(ratings, name)
        while episode_id := sitting.next_id():
            rate(ratings, name, episode_id)
    late = qualified(ratings, "Cleo")
    assert late.next_id() is None and late.progress().left == 0


def test_named_annotators_are_asked_for_their_own_datapoints_only(ratings):
    shared = plan(["Ann", "Bob", "Cleo"])
    sitting = qualified(ratings, "Bob", shared)
    asked = set()
    while episode_id := sitting.next_id():
        asked.add(episode_id)
        rate(ratings, "Bob", episode_id)
    assert asked == {p.episode_id for p in shared.datapoints if "Bob" in p.annotators}


@pytest.mark.parametrize("name", ["", "   ", "x" * 61])
def test_a_name_is_needed(ratings, name):
    with pytest.raises(ValueError, match="a name has 1 to 60 characters"):
        session(ratings, name)


def test_the_qualification_item_leaves_a_careful_reader_no_choice_and_a_careless_one_is_told():
    assert FIRST.missed(GOOD) == []
    assert len(FIRST.missed((judgement(), judgement()))) == 5, "all but that Nora kept her secret"


WORDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)
ENTRIES = st.builds(
    Entry,
    annotator=st.sampled_from(["Ann", 'Bo"b', "Zoë, Q."]),
    episode_id=st.sampled_from(["episode-1", "episode-2"]),
    side=st.integers(0, 1),
    judgement=st.builds(
        Judgement,
        scores=st.fixed_dictionaries({d: st.integers(low, high) for d, (low, high) in DIMENSIONS.items()}),
        reason=WORDS.map(lambda text: f"{text} a real sentence"),
    ),
    times=st.fixed_dictionaries(
        {}, optional={"seconds": st.floats(0, 1e6, exclude_min=True), "saved_at": st.just("2024-05-01T10:00:00+00:00")}
    ),
)


@settings(max_examples=25, deadline=None)
@given(st.lists(ENTRIES, max_size=4))
def test_a_sheet_brings_back_all_that_was_saved(tmp_path_factory, entries):
    folder = tmp_path_factory.mktemp("sheet")
    here, there = HumanRatings(folder / "a.jsonl"), HumanRatings(folder / "b.jsonl")
    here.begin()
    here.add(entries)
    write_sheet(folder / "sheet.csv", here.entries())
    assert there.add(read_sheet(folder / "sheet.csv")) == len(here.read())
    assert there.read() == here.read()
    assert there.add(read_sheet(folder / "sheet.csv")) == 0, "a second time it brings nothing new"


HEADING = ",".join(NEEDED)


def sheet(tmp_path, *rows, heading=HEADING):
    path = tmp_path / "sheet.csv"
    path.write_text("\n".join([heading, *rows]) + "\n", encoding="utf-8-sig")
    return path


ROW = "Ann,episode-1,0,8,2,3,0,0,1,9,She has the lamp"


def test_a_sheet_made_by_hand_needs_no_revision_and_adds_a_correction_where_it_differs(tmp_path, ratings):
    path = sheet(tmp_path, ROW, "", ROW.replace("-1,0,8", "-1,1,7"))
    assert ratings.add(read_sheet(path)) == 2 and ratings.add(read_sheet(path)) == 0
    assert ratings.add(read_sheet(sheet(tmp_path, ROW.replace(",9,", ",4,")))) == 1
    (both,) = ratings.counting().values()
    assert [r.scores["goal"] for r in both] == [4, 9] and [r.raw[0]["revision"] for r in both] == [2, 1]


def test_a_sheet_with_semicolons_is_read_too(tmp_path):
    path = sheet(tmp_path, ROW.replace(",", ";"), heading=";".join(NEEDED))
    assert read_sheet(path)[0].judgement.scores["goal"] == 9


def test_bad_rows_are_named_by_their_number_and_nothing_is_read(tmp_path):
    bad = [
        ROW.replace(",9,", ",11,"),
        ROW.replace(",0,8", ",2,8"),
        ROW.replace("She has the lamp", "fine"),
        ROW + ",more",
        ROW.replace(",9,", ",good,"),
        ROW.replace(",9,", ",,"),
        ROW.replace("Ann", " "),
    ]
    with pytest.raises(SheetError) as told:
        read_sheet(sheet(tmp_path, ROW, *bad))
    lines = str(told.value).splitlines()[1:]
    assert [line.split(":")[0] for line in lines] == [f"row {n}" for n in range(3, 10)]
    for line, words in zip(
        lines,
        [
            "goal is 11; allowed are whole numbers from 0 to 10",
            "side is 2; allowed are 0 (speaks first) and 1",
            "the reason is 'fine'",
            "12 fields, the heading has 11",
            "goal is 'good', which is no whole number",
            "goal has no score",
            "a name has 1 to 60 characters",
        ],
        strict=True,
    ):
        assert words in line


@pytest.mark.parametrize(
    ("heading", "words"),
    [
        (",".join(NEEDED[:-1]), "missing: reason; unknown: none"),
        (",".join([*NEEDED, "mood"]), "missing: none; unknown: mood"),
        (",".join([*NEEDED, "goal"]), "Needed once each"),
    ],
)
def test_a_heading_that_lacks_a_column_or_has_a_strange_one_is_refused(tmp_path, heading, words):
    with pytest.raises(SheetError, match=words):
        read_sheet(sheet(tmp_path, ROW, heading=heading))


def test_a_sheet_in_another_encoding_is_told_so(tmp_path):
    path = tmp_path / "sheet.csv"
    path.write_bytes("annotator;Zoë".encode("latin-1"))
    with pytest.raises(SheetError, match="not UTF-8"):
        read_sheet(path)


def test_a_sheet_that_contradicts_a_revision_adds_nothing(tmp_path, ratings):
    rate(ratings, "Ann", "episode-1", 8, 2)
    entries = ratings.entries()
    other = replace(entries[0], judgement=judgement(1))
    before = ratings.path.read_bytes()
    with pytest.raises(ValueError, match=r"'Ann', episode episode-1, side 0: revision 1 .* Leave its revision empty"):
        ratings.add([replace(entries[1], annotator="Bob"), other])
    assert ratings.path.read_bytes() == before
    assert math.isclose(entries[0].times["seconds"], 30)
