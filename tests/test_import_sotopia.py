"""An import leaves items of a run that our own readers read, and a report in which every record is accounted for."""

import json

import pytest
from sotopia_records import (
    BO,
    agent,
    combination,
    environment,
    folder,
    jsonl,
    lines_of,
    log,
    needs_published,
    published,
    relationship,
    reward,
)

from sotopia_pi.app.import_sotopia import import_sotopia
from sotopia_pi.store.items import read_as
from sotopia_pi.store.lock import RunLock, RunLocked
from sotopia_pi.world.characters import Character, RelatedPair
from sotopia_pi.world.episode import Episode
from sotopia_pi.world.ratings import Rating
from sotopia_pi.world.tasks import SocialTask


def test_what_was_imported_is_read_by_our_own_readers(tmp_path):
    import_sotopia(folder(tmp_path), tmp_path / "run")
    place = tmp_path / "run" / "sotopia"
    people = read_as(place / "characters.jsonl", Character.from_dict)
    pairs = read_as(place / "relationships.jsonl", RelatedPair.from_dict)
    (task,) = read_as(place / "tasks.jsonl", SocialTask.from_dict)
    assert [person.name for person in people] == ["Ida Holm", "Bo Lind"]
    assert [(pair.first, pair.second, pair.level) for pair in pairs] == [("a-ida", "a-bo", 3)]
    assert task.characters == tuple(people) and task.background == pairs[0].story
    assert lines_of(place / "tasks.jsonl")[0]["id"] == task.id


def test_episodes_beside_the_profiles_come_in_with_their_ratings(tmp_path):
    place = folder(tmp_path)
    logs = [log(), log(pk="log-2", rewards=[0.0, reward()]), log(pk="log-3", environment="e-none"), log()]
    jsonl(place / "my_episodes.jsonl", logs)
    report = import_sotopia(place, tmp_path / "run").to_dict()
    assert report["counts"]["episodes"] == {"read": 2, "refused": 2}
    assert report["ratings_by_outcome"] == {"invalid": 1, "ok": 3}
    assert [(r["file"], r["line"], r["id"]) for r in report["refused"]] == [
        ("my_episodes.jsonl", 3, "log-3"),
        ("my_episodes.jsonl", 4, "log-1"),
    ]
    run = tmp_path / "run" / "sotopia"
    episodes = read_as(run / "episodes.jsonl", Episode.from_dict)
    tasks = {task.id: task for task in read_as(run / "tasks.jsonl", SocialTask.from_dict)}
    ratings = read_as(run / "ratings.jsonl", Rating.from_dict)
    assert len(tasks) == 1 and {episode.task_id for episode in episodes} == set(tasks)
    assert [(r.episode_id, r.side, r.overall) for r in ratings if r.outcome == "invalid"] == [("log-2", 0, None)]


def test_an_episode_brings_its_task_where_no_combination_names_it(tmp_path):
    place = folder(tmp_path, combinations=[combination(agents=("a-bo", "a-ida"))])
    jsonl(place / "my_episodes.jsonl", [log()])
    report = import_sotopia(place, tmp_path / "run")
    run = tmp_path / "run" / "sotopia"
    (episode,) = read_as(run / "episodes.jsonl", Episode.from_dict)
    tasks = {task.id: task for task in read_as(run / "tasks.jsonl", SocialTask.from_dict)}
    assert [person.id for person in tasks[episode.task_id].characters] == ["a-ida", "a-bo"]
    assert (report.counts["pairs"]["read"], report.files["tasks.jsonl"]) == (1, 2)


def test_every_record_is_read_or_refused(tmp_path):
    place = folder(
        tmp_path,
        agents=[agent(), BO, agent("a-kid", age=9), {"first_name": "Nobody"}],
        environments=[environment(), environment("e-bad", relationship="x")],
        relationships=[relationship(), relationship(first="a-bo", second="a-bo")],
        combinations=[combination(), combination("c-2", env_id="e-bad"), combination("c-3", agents=("a-ida", "a-kid"))],
    )
    (place / "agent_profiles.jsonl").open("a").write("{broken\n")
    report = import_sotopia(place, tmp_path / "run").to_dict()
    assert report["counts"] == {
        "characters": {"read": 2, "refused": 3},
        "relationships": {"read": 1, "refused": 1},
        "scenarios": {"read": 1, "refused": 1},
        "pairs": {"read": 1, "refused": 2},
        "hard scenarios": {"read": 0, "refused": 0},
        "episodes": {"read": 0, "refused": 0},
    }
    assert len(report["refused"]) == 7 and all(refusal["reason"] for refusal in report["refused"])
    assert {(r["file"], r["line"]) for r in report["refused"]} >= {("agent_profiles.jsonl", 5)}


def test_the_report_lies_in_the_run_as_json(tmp_path):
    report = import_sotopia(folder(tmp_path), tmp_path / "run")
    assert json.loads((tmp_path / "run" / "sotopia" / "import_report.json").read_text()) == report.to_dict()
    assert report.to_dict()["files"] == {
        "characters.jsonl": 2,
        "relationships.jsonl": 1,
        "tasks.jsonl": 1,
        "episodes.jsonl": 0,
        "ratings.jsonl": 0,
    }


def test_an_import_again_replaces_the_one_before_and_names_the_same_items(tmp_path):
    place = folder(tmp_path)
    import_sotopia(place, tmp_path / "run")
    first = (tmp_path / "run" / "sotopia" / "tasks.jsonl").read_bytes()
    import_sotopia(place, tmp_path / "run")
    assert (tmp_path / "run" / "sotopia" / "tasks.jsonl").read_bytes() == first


def test_a_run_that_somebody_writes_into_is_left_alone(tmp_path):
    with RunLock(tmp_path / "run"), pytest.raises(RunLocked):
        import_sotopia(folder(tmp_path), tmp_path / "run")
    assert not (tmp_path / "run" / "sotopia").exists()


@needs_published
def test_the_published_sample_imports_completely(tmp_path):
    report = import_sotopia(published(), tmp_path / "run").to_dict()
    read = {kind: count["read"] for kind, count in report["counts"].items()}
    assert (read["scenarios"], read["pairs"], read["characters"], read["relationships"]) == (31, 155, 40, 120)
    assert (report["refused"], report["remarks"]) == ([], [])
    tasks = read_as(tmp_path / "run" / "sotopia" / "tasks.jsonl", SocialTask.from_dict)
    assert len(tasks) == 155 and len({task.template for task in tasks}) == 31
    assert sum(task.payoff is not None for task in tasks) == report["payoffs"]["tasks_with_payoff"] == 50
    assert report["payoffs"]["by_source"] == {
        "craigslist_bargains": {"scenarios": 4, "read": 3},
        "deal-or-no-deal": {"scenarios": 4, "read": 4},
        "mutual_friends": {"scenarios": 3, "read": 3},
    }
    assert [one["codename"] for one in report["payoffs"]["not_read"]] == ["craigslist_bargains_00009"]
