"""Profiles come in as characters, pairs, scenarios and tasks, go out as they came, and nothing is dropped."""

import json
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from sotopia_records import (
    BO,
    agent,
    combination,
    environment,
    folder,
    lines_of,
    needs_published,
    published,
    relationship,
)
from toy_talks import price_task

from sotopia_pi.formats.hub import HubUnreachable
from sotopia_pi.formats.sotopia_constraints import Constraints
from sotopia_pi.formats.sotopia_hub import profiles_folder
from sotopia_pi.formats.sotopia_profiles import read_profiles
from sotopia_pi.formats.sotopia_tasks import PublishedWorld, profiles_of, published_tasks
from sotopia_pi.models.prompts import sotopia_messages
from sotopia_pi.world.characters import RelatedPair, Relationship
from sotopia_pi.world.episode import Rules, observe

FILES = ("agent_profiles", "relationship_profiles", "environment_profiles", "env_agent_combo_storages")


def world_of(place):
    return PublishedWorld(read_profiles(place))


def refusals(place):
    return [(r.file, r.line, r.id, r.reason) for r in read_profiles(place).refused]


def test_a_combination_becomes_a_task_with_its_people_in_speaking_order(tmp_path):
    place = folder(tmp_path, combinations=[combination(agents=("a-bo", "a-ida"))])
    (task,) = published_tasks(world_of(place)).tasks
    assert [c.name for c in task.characters] == ["Bo Lind", "Ida Holm"]
    assert (task.characters[1].age, task.characters[1].moral_values) == (44, ("Care", "Loyalty"))
    assert (task.template, task.scenario.codename, task.scenario.relationship) == ("e-oars", "borrow_oars", 3)
    assert task.background == "They rowed together as students."
    assert (task.payoff, task.family, task.split, task.hard) == (None, "judged", "eval", False)


def test_a_pair_related_twice_gets_the_story_of_the_scenarios_level(tmp_path):
    place = folder(
        tmp_path,
        relationships=[relationship(level="1", background_story="By name."), relationship(background_story="Friends.")],
    )
    world = world_of(place)
    assert published_tasks(world).tasks[0].background == "Friends."
    first = world.profiles.relationships[0].value
    assert first == RelatedPair("a-ida", "a-bo", Relationship.KNOW_BY_NAME, "By name.")


def test_scenarios_listed_as_hard_make_hard_tasks(tmp_path):
    place = folder(tmp_path)
    (place / "hard_env_ids.jsonl").write_text('{"env_id": "e-oars"}\n')
    assert published_tasks(world_of(place)).tasks[0].hard


def test_what_only_the_judge_may_see_never_reaches_a_prompt(tmp_path):
    marked = 'Two strangers at a fair. <p viewer="environment">CANARY both know Ole.</p> It rains.'
    place = folder(tmp_path, environments=[environment(scenario=marked)])
    (task,) = published_tasks(world_of(place)).tasks
    assert task.scenario.text == "Two strangers at a fair. It rains."
    for side in (0, 1):
        assert "CANARY" not in sotopia_messages(observe(task, side, [], Rules()))[0].content
    read_profiles(place).write(tmp_path / "out")
    assert lines_of(tmp_path / "out" / "environment_profiles.jsonl")[0]["scenario"] == marked


def test_writing_back_gives_the_same_records_with_unknown_fields(tmp_path):
    place = folder(
        tmp_path,
        agents=[agent(model_id="m-7", tags=["x", None]), BO],
        environments=[environment(relationship=3, age_constraint="[(20, 30), (40, 50)]", game={"rounds": 2})],
        relationships=[{"pk": "r", "agent_1_id": "a-ida", "agent_2_id": "a-bo", "relationship": 3}],
        combinations=[combination(episode_count=4)],
    )
    read_profiles(place).write(tmp_path / "out")
    for name in FILES:
        assert lines_of(tmp_path / "out" / f"{name}.jsonl") == lines_of(place / f"{name}.jsonl"), name


def test_what_was_changed_here_is_written_and_the_rest_stays(tmp_path):
    profiles = read_profiles(folder(tmp_path, environments=[environment(relationship=3, note="kept")]))
    (scenario,) = profiles.scenarios
    changed = replace(scenario, value=replace(scenario.value, text="It snows.", relationship=Relationship.FAMILY))
    replace(profiles, scenarios=(changed,)).write(tmp_path / "out")
    (record,) = lines_of(tmp_path / "out" / "environment_profiles.jsonl")
    assert record == environment(relationship="5", note="kept", scenario="It snows.")


def test_tasks_made_here_go_out_as_profiles_and_come_in_the_same(tmp_path):
    task = replace(price_task(), background="They share a wall.")
    profiles_of([task]).write(tmp_path / "out")
    world = world_of(tmp_path / "out")
    (back,) = published_tasks(world).tasks
    assert not world.profiles.refused
    assert (back.scenario, back.characters, back.background) == (task.scenario, task.characters, task.background)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"age": 12}, "age 12 is outside 18 to 70"),
        ({"age": "old"}, "age is a text, 'old'; it takes a whole number"),
        ({"secret": 3}, "secret is a whole number, 3; it takes a text"),
        ({"moral_values": [1]}, "moral_values is [1]; it takes a list of texts"),
    ],
)
def test_a_character_that_cannot_be_taken_over_is_told_with_its_line(tmp_path, change, reason):
    ((file, line, its_id, why), *_) = refusals(folder(tmp_path, agents=[BO, agent(**change)]))
    assert (file, line, its_id) == ("agent_profiles.jsonl", 2, "a-ida")
    assert reason in why


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"agent_goals": ["one"]}, "agent_goals has 1 entries; it takes two"),
        ({"agent_goals": ["one", " "]}, "exactly two goals"),
        ({"relationship": "9"}, "relationship is 9; it is one of 0 stranger"),
        ({"age_constraint": "__import__('os').getcwd()"}, "it takes a list like '[(18, 70), (18, 70)]'"),
        ({"age_constraint": "[(70, 18), (18, 70)]"}, "it takes two ranges of years"),
        ({"occupation_constraint": "[['baker']]"}, "occupation_constraint has 1 lists; it takes 2"),
        ({"age_constraint": "(" * 50_000}, "age_constraint is '((((("),
    ],
)
def test_a_scenario_that_cannot_be_taken_over_is_told_with_its_line(tmp_path, change, reason):
    ((file, line, its_id, why), *_) = refusals(folder(tmp_path, environments=[environment(**change)]))
    assert (file, line, its_id) == ("environment_profiles.jsonl", 1, "e-oars")
    assert reason in why


def test_ages_of_the_two_sides_are_read_from_their_text():
    both = Constraints.of(environment(age_constraint="[(18, 30), (50, 70)]", occupation_constraint="[['Sailor'],[]]"))
    assert (both.ages, both.widest_ages, both.occupations) == (((18, 30), (50, 70)), (18, 70), (("Sailor",), ()))
    assert Constraints.of(environment()) == Constraints(ages=((18, 70), (18, 70)))


def test_broken_lines_are_told_and_the_lines_around_them_read(tmp_path):
    place = folder(tmp_path)
    good = json.dumps(agent()).encode()
    bad = b'{"agent_id": \n\xff\xfe{}\n[1, 2]\n\n"text"\n{"first_name": "\\ud83d", "agent_id": "x"}\n'
    (place / "agent_profiles.jsonl").write_bytes(b"\xef\xbb\xbf" + good + b"\n" + bad + json.dumps(BO).encode())
    profiles = read_profiles(place)
    assert [p.value.id for p in profiles.characters] == ["a-ida", "a-bo"]
    assert [(r.line, r.reason.split(";")[0].split(":")[0]) for r in profiles.refused] == [
        (2, "not JSON"),
        (3, "not UTF-8"),
        (4, "a list came"),
        (6, "a text came"),
        (7, "a text holds half of a character, \\ud83d"),
    ]


def test_an_id_that_occurs_twice_counts_once_and_is_told(tmp_path):
    place = folder(tmp_path, agents=[agent(), BO, agent(first="Other")])
    assert world_of(place).characters["a-ida"].first_name == "Ida"
    assert refusals(place)[0][1:3] == (3, "a-ida") and "line 1 already" in refusals(place)[0][3]


def test_a_combination_of_unknown_people_or_scenarios_is_refused(tmp_path):
    combos = [combination("c-1", env_id="e-none"), combination("c-2", agents=("a-ida", "a-eve")), combination("c-3")]
    combined = published_tasks(world_of(folder(tmp_path, combinations=[*combos, combination("c-4")])))
    assert len(combined.tasks) == 1
    assert [(r.line, r.id) for r in combined.refused] == [(1, "c-1"), (2, "c-2"), (4, "c-4")]
    assert "scenario e-none is not among the 1 read" in combined.refused[0].reason
    assert "character a-eve is not among the 2 read" in combined.refused[1].reason
    assert "earlier line" in combined.refused[2].reason


def test_a_combination_against_a_constraint_is_taken_over_with_a_remark(tmp_path):
    narrow = environment(age_constraint="[(18, 30), (18, 70)]", agent_constraint="[['a-bo', 'a-ida']]")
    combined = published_tasks(world_of(folder(tmp_path, environments=[narrow], relationships=[])))
    assert len(combined.tasks) == 1 and not combined.refused
    remarks = " | ".join(remark.reason for remark in combined.remarks)
    assert "Ida Holm is 44, age_constraint says 18 to 30" in remarks
    assert "does not name this pair" in remarks and "no relationship profile of level 3" in remarks


def test_a_folder_without_profiles_says_what_it_wants(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"holds none of agent_profiles\.jsonl"):
        read_profiles(tmp_path)
    with pytest.raises(FileNotFoundError, match="hub:cmu-lti/sotopia-space"):
        profiles_folder(tmp_path / "nowhere")


def test_a_space_on_the_hub_is_read_like_a_folder(tmp_path, hub):
    hub.files = {f"profiles/{path.name}": path.read_bytes() for path in folder(tmp_path).iterdir()}
    hub.files["README.md"] = b"not wanted"
    place = profiles_folder("hub:some/space", endpoint=hub.url, cache_dir=tmp_path / "cache")
    assert len(published_tasks(world_of(place)).tasks) == 1
    assert not any(path.endswith("README.md") for path in hub.sent)


@pytest.fixture
def hub(monkeypatch):
    """A server on this machine that knows as much of the hub's protocol as fetching a space takes."""
    monkeypatch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.files, server.sent = {}, []
    server.url = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


class Hub(BaseHTTPRequestHandler):
    SHA = "5" * 40

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        files, path = self.server.files, self.path.split("?")[0]
        if "/tree/" in path:
            listed = [{"type": "file", "path": n, "size": len(b), "oid": f"{len(n):040x}"} for n, b in files.items()]
            self.answer(json.dumps(listed).encode())
        elif path.startswith("/api/"):
            self.answer(json.dumps({"id": "some/space", "sha": self.SHA, "siblings": []}).encode())
        else:
            name = path.split(f"/resolve/{self.SHA}/")[1]
            self.server.sent.append(name)
            self.answer(files[name], ETag=f'"{len(name):040x}"')

    def answer(self, body: bytes, **headers):
        self.send_response(200)
        for name, value in {"X-Repo-Commit": self.SHA, "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *_):
        pass


def test_without_a_network_the_hub_error_gives_the_command(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    with pytest.raises(HubUnreachable) as caught:
        profiles_folder("hub:nobody-here/no-such-space", endpoint="http://127.0.0.1:9", cache_dir=tmp_path)
    told = str(caught.value)
    assert 'hf download nobody-here/no-such-space --repo-type space --include "profiles/*.jsonl"' in told
    assert "--local-dir no-such-space" in told and "name its folder profiles in place of hub:nobody-here" in told


@needs_published
def test_the_published_sample_comes_in_completely_and_goes_out_the_same(tmp_path):
    profiles = read_profiles(published())
    found = (profiles.scenarios, profiles.combinations, profiles.characters, profiles.relationships)
    assert [len(part) for part in found] == [31, 155, 40, 120]
    combined = published_tasks(PublishedWorld(profiles))
    assert (len(combined.tasks), combined.refused, combined.remarks, profiles.refused) == (155, (), (), ())
    profiles.write(tmp_path)
    for name in FILES:
        assert (tmp_path / f"{name}.jsonl").read_bytes() == (published() / f"{name}.jsonl").read_bytes()
