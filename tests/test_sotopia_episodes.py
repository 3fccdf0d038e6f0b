"""Published episodes come in as episodes and ratings, a failed judge never as a score; ours go out and come back."""

import json
from dataclasses import replace

import pytest
from sotopia_records import (
    ACTS,
    SCORES,
    folder,
    groups,
    jsonl,
    log,
    needs_published,
    published,
    relationship,
    reward,
)
from synthetic_run import rating
from toy_talks import Lines, price_task, talk

from sotopia_pi.formats.record_lines import Unreadable
from sotopia_pi.formats.sotopia_actions import action_text, read_action
from sotopia_pi.formats.sotopia_episodes import (
    DATA_SET,
    OURS,
    EpisodeLog,
    read_episode,
    read_logs,
    write_episode,
)
from sotopia_pi.formats.sotopia_folder import export_episodes
from sotopia_pi.formats.sotopia_profiles import read_profiles
from sotopia_pi.formats.sotopia_rewards import read_reward, reward_of
from sotopia_pi.formats.sotopia_tasks import PublishedWorld, published_tasks
from sotopia_pi.world.actions import Action
from sotopia_pi.world.episode import Rules
from sotopia_pi.world.ratings import DIMENSIONS, Rating
from sotopia_pi.world.scoring import rate_by_payoff


@pytest.fixture
def world(tmp_path):
    return PublishedWorld(read_profiles(folder(tmp_path)))


def data_set_line(**more):
    """The same log in the layout of the published data sets."""
    told = log(**more)
    names = ("Ida Holm", "Bo Lind")
    beside = {
        "scenario": "Two rivals share one boat.",
        "codename": "share_boat",
        "agents_background": dict.fromkeys(names, "rows"),
        "social_goals": dict(zip(names, ["Sit in front.", "Sit behind, but steer."], strict=True)),
        "social_interactions": "…",
        "rewards": [{"goal": 8}, {"goal": 1}],
    }
    return {DATA_SET[name]: value for name, value in told.items()} | beside


def read_back(written, world):
    return read_episode(EpisodeLog.from_dict(json.loads(json.dumps(written))), world)


@pytest.mark.parametrize(
    ("text", "action"),
    [
        ('said: "Hello there."', Action("speak", "Hello there.")),
        (
            'said: "She said "no" and left the conversation."',
            Action("speak", 'She said "no" and left the conversation.'),
        ),
        ('said: "I did nothing\nat all."', Action("speak", "I did nothing\nat all.")),
        ("[non-verbal communication] nods", Action("non-verbal communication", "nods")),
        ("[action] [slowly] opens the door", Action("action", "[slowly] opens the door")),
        ("left the conversation", Action("leave")),
        ("did nothing", Action("none")),
    ],
)
def test_an_action_is_read_from_its_words_and_written_in_the_same(text, action):
    assert read_action(text) == action
    assert action_text(action) == text


@pytest.mark.parametrize("text", ["", "hello", 'said: ""', 'said: "cut off', "[dance] spins", "[action] "])
def test_words_that_are_no_action_are_refused(text):
    with pytest.raises(Unreadable, match="is no action; allowed"):
        read_action(text)


def test_a_log_becomes_an_episode_with_turns_and_ratings(world):
    played = read_back(log(), world)
    told = [(t.index, t.side, t.action.type, t.action.argument) for t in played.episode.turns]
    assert told == [
        (0, 0, "speak", "May I have the oars?"),
        (1, 1, "action", "holds them up"),
        (2, 0, "none", ""),
        (3, 1, "speak", "Take the old pair."),
    ]
    assert (played.episode.id, played.episode.tag, played.episode.outcome) == ("log-1", "trial", "completed")
    assert [p["name"] for p in played.episode.policies] == ["model-y", "model-z"]
    assert (played.episode.ending, played.episode.rules["turn_limit"]) == ("turn_limit", 4)
    assert [c.name for c in played.task.characters] == ["Ida Holm", "Bo Lind"]
    mine, theirs = played.ratings
    assert (mine.judge, mine.outcome, mine.side, mine.scores, mine.overall) == ("judge-x", "ok", 0, SCORES, 3)
    assert (theirs.side, theirs.scores["goal"]) == (1, 1)
    assert (mine.reasons, theirs.reasons) == ({"goal": "She asked."}, {"goal": "He kept them."})


@pytest.mark.parametrize(
    ("acts", "ending"),
    [
        (("[action] sits", "left the conversation"), "left"),
        (("did nothing",) * 3, "silence"),
        (('said: "On."',) * 21, "turn_limit"),
    ],
)
def test_how_an_episode_ended_follows_from_its_turns(world, acts, ending):
    episode = read_back(log(*acts), world).episode
    assert (episode.ending, len(episode.turns)) == (ending, len(acts))
    assert Rules(**episode.rules).ending(list(episode.turns)) == ending


def test_a_bare_zero_is_a_failed_judge_and_never_a_score(world):
    mine, theirs = read_back(log(rewards=[0.0, reward(goal=0)]), world).ratings
    assert (mine.outcome, mine.overall) == ("invalid", None)
    assert all(mine.scores.get(dimension) is None for dimension in DIMENSIONS)
    assert "bare 0.0 of a judge that failed" in mine.reasons["judge"]
    assert (theirs.outcome, theirs.scores["goal"]) == ("ok", 0)


@pytest.mark.parametrize(
    ("came", "why"),
    [
        (2.5, "only an overall score, 2.5"),
        ([3, reward(goal=11)[1]], "goal 11 came; allowed"),
        ([3, reward(secret=True)[1]], "secret True came"),
        ([3, {}], "no dimension came"),
        ([3], "not [overall, scores by dimension]"),
        (None, "not [overall, scores by dimension]"),
        (False, "not [overall, scores by dimension]"),
    ],
)
def test_a_reward_without_usable_scores_is_invalid_and_goes_out_as_it_came(came, why):
    read = read_reward(came, "e", 0, "j")
    assert (read.outcome, set(read.scores.values())) == ("invalid", {None})
    assert why in read.reasons["judge"]
    assert reward_of(read) == came
    assert Rating.from_dict(json.loads(json.dumps(read.to_dict()))) == read


def test_scores_beyond_the_seven_and_an_odd_overall_are_kept_aside():
    read = read_reward([9, SCORES | {"humour": 4, "overall_score": 9}], "e", 1, "j")
    assert (read.outcome, read.overall, dict(read.scores)) == ("ok", 3, SCORES)
    assert read.parts == {"other_dimensions": {"humour": 4}, "overall_score": 9}


@pytest.mark.parametrize("record", [log(extra={"k": [1]}), data_set_line(), log(tag=None, models=None)])
def test_a_log_goes_out_in_the_layout_it_came_in_with_unknown_fields(record):
    came = EpisodeLog.from_dict(record)
    assert came.to_dict() == record
    tag = "tag" if "pk" in record else "experiment_tag"
    assert replace(came, tag="again").to_dict() == record | {tag: "again"}


def test_imported_episodes_and_ratings_go_out_as_the_log_they_came_from(world):
    came = log(rewards=[0.0, [9, SCORES | {"humour": 4}]])
    played = read_back(came, world)
    again = write_episode(played.episode, played.task, played.ratings).to_dict()
    same = ("pk", "environment", "agents", "tag", "models", "reasoning", "rewards", "rewards_prompt")
    assert {name: again[name] for name in same} == {name: came[name] for name in same}
    acts = [[m for m in group if m[1] == "Environment"] for group in came["messages"]]
    assert [[m for m in group if m[1] == "Environment"] for group in again["messages"]] == acts


def test_an_episode_of_an_unpublished_scenario_brings_its_scenario_along(world):
    played = read_back(data_set_line(environment="e-boat"), world)
    scenario = played.task.scenario
    assert (scenario.template, scenario.codename, scenario.text) == (
        "e-boat",
        "share_boat",
        "Two rivals share one boat.",
    )
    assert scenario.goals == ("Sit in front.", "Sit behind, but steer.")
    assert (scenario.relationship, played.task.split) == (3, "bc")
    assert read_back(data_set_line(), world).task.scenario.text == "Two neighbours meet on a pier before a regatta."


def test_an_unpublished_scenario_that_is_none_is_refused(world):
    line = data_set_line(environment="e-boat") | {"social_goals": {"Ida Holm": " ", "Bo Lind": "Steer."}}
    with pytest.raises(Unreadable, match="needs exactly two goals"):
        read_back(line, world)
    with pytest.raises(Unreadable, match="does not tell it"):
        read_back(line | {"social_goals": None}, world)
    with pytest.raises(Unreadable, match="social_goals are those of Ida Holm, Eve"):
        read_back(line | {"social_goals": {"Ida Holm": "Sit.", "Eve": "Steer."}}, world)


def test_a_pair_related_twice_does_not_tell_the_level_of_an_unpublished_scenario(tmp_path):
    world = PublishedWorld(read_profiles(folder(tmp_path, relationships=[relationship(), relationship(level="1")])))
    with pytest.raises(Unreadable, match="2 relationship profiles"):
        read_back(data_set_line(environment="e-boat"), world)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"environment": "e-none"}, "scenario e-none is not among the 1 read"),
        ({"agents": ["a-ida", "a-eve"]}, "character a-eve is not among the 2 read"),
        ({"messages": groups(*ACTS, names=("Ida Holm", "Eve"))}, "'Eve' acts, but the two are Ida Holm and Bo Lind"),
        ({"messages": groups("[action] sits", "sings")}, "group 1: 'sings' is no action"),
        ({"messages": groups("did nothing")[1:]}, "nobody says or does anything"),
        ({"messages": groups(*ACTS, names=("Bo Lind", "Ida Holm"))}, "side 1 acted where it was the turn of side 0"),
    ],
)
def test_an_episode_that_cannot_be_read_says_why(world, change, why):
    with pytest.raises(Unreadable, match=why):
        read_back(log(**change), world)


def test_two_who_act_at_once_are_refused(world):
    both = groups("[action] sits")
    both[0][3][2] = "[action] stands"
    with pytest.raises(Unreadable, match="side 0 and side 1 acted where it was the turn of side 0"):
        read_back(log(messages=both), world)


@pytest.mark.parametrize("change", [{"agents": ["a"]}, {"rewards": [1.0]}, {"messages": [["x"]]}, {"pk": 7}])
def test_a_file_tells_its_lines_that_are_no_logs(tmp_path, change):
    refused = []
    path = jsonl(tmp_path / "episodes.jsonl", [log(), log(**change), log(pk="log-3")])
    assert [one.pk for _, one in read_logs(path, refused)] == ["log-1", "log-3"]
    assert [(r.file, r.line) for r in refused] == [("episodes.jsonl", 2)]


def test_a_json_array_of_logs_is_read_like_lines(tmp_path):
    path, refused = tmp_path / "episodes.json", []
    path.write_text(json.dumps([log(), 5, log(pk="log-3")]))
    assert [(record.line, one.pk) for record, one in read_logs(path, refused)] == [(1, "log-1"), (3, "log-3")]
    assert [r.line for r in refused] == [2]


def test_an_episode_of_ours_goes_out_and_comes_back_whole(world):
    task = price_task()
    goodbye = Action("leave", "waves and walks off")
    episode = replace(talk(task, Lines("$150?", "Deal, $120."), Lines('I say "$120".', goodbye)), tag="base")
    ratings = rate_by_payoff(episode, task)
    written = write_episode(episode, task, ratings).to_dict()
    played = read_back(written, world)
    assert (played.task, played.episode, played.ratings) == (task, episode, ratings)
    assert written["models"] == ["payoff", "lines", "lines"] and written["tag"] == "base"
    overall, scores = written["rewards"][1]
    rated = {name: score for name, score in ratings[1].scores.items() if score is not None}
    assert scores == rated | {"overall_score": overall}, "a dimension that a rule leaves out is absent"
    assert overall == pytest.approx(sum(rated.values()) / len(rated)) and len(rated) < 7


def test_an_exported_log_has_sotopias_shape(world):
    task = price_task()
    episode = talk(task, Lines("Hello."), Lines(Action("leave")))
    whole = [replace(rating(episode, side, 8), scores=SCORES, reasons={"goal": "Fine."}) for side in (0, 1)]
    written = write_episode(episode, task, whole).to_dict()
    first, second, last = written["messages"]
    assert [m[:2] for m in first[:2]] == [["Environment", "Ada Ash"], ["Environment", "Ben Birch"]]
    assert first[2:] == [["Ada Ash", "Environment", 'said: "Hello."'], ["Ben Birch", "Environment", "did nothing"]]
    assert second[2:] == [
        ["Ada Ash", "Environment", "did nothing"],
        ["Ben Birch", "Environment", "left the conversation"],
    ]
    assert len(last) == 2
    assert written["rewards"] == [[3, SCORES | {"overall_score": 3}]] * 2
    assert written["reasoning"] == "Agent 1 comments:\ngoal: Fine.\nAgent 2 comments:\ngoal: Fine."


def test_the_opening_of_a_side_holds_nothing_private_to_the_other(world):
    task = price_task()
    openings = write_episode(talk(task, Lines("Hi."), Lines(Action("leave"))), task).messages[0][:2]
    secrets = [c.secret for c in task.characters]
    for side, (_, _, text) in enumerate(openings):
        assert secrets[side] in text and task.scenario.goals[side] in text
        assert secrets[1 - side] not in text and task.scenario.goals[1 - side] not in text


def test_a_log_whose_messages_were_changed_is_not_taken_for_the_one_written(world):
    task = price_task()
    written = write_episode(talk(task, Lines("Hello."), Lines(Action("leave"))), task).to_dict()
    written["messages"][0][2][2] = 'said: "Goodbye."'
    with pytest.raises(Unreadable, match="changed since it was written; delete that field"):
        read_back(written, world)


def test_ratings_of_two_judges_do_not_fit_into_one_log():
    task = price_task()
    episode = talk(task, Lines("Hello."), Lines(Action("leave")))
    with pytest.raises(ValueError, match="2 ratings of a, b; a log holds one a side of one judge"):
        write_episode(episode, task, [rating(episode, side, 5, judge="ab"[side]) for side in (0, 1)])
    with pytest.raises(ValueError, match="pass its task"):
        write_episode(episode, price_task(high=300))


@needs_published
def test_episodes_between_published_characters_go_out_and_come_back(tmp_path):
    world = PublishedWorld(read_profiles(published()))
    tasks = {task.id: task for task in published_tasks(world).tasks}
    words = Lines('Well, "hello".', Action("action", "waits"), Action("none"), "So long.", Action("leave", "goes"))
    episodes = [talk(task, words, Lines("Hm.", Action("non-verbal communication", "nods"))) for task in tasks.values()]
    counts = export_episodes(tmp_path, episodes, tasks)
    assert (counts["episodes"], counts["episodes with an unrated side"]) == (0, 155)
    refused = []
    logs = [one for _, one in read_logs(tmp_path / "unrated_episodes.jsonl", refused)]
    assert not refused
    assert [read_episode(one, world).episode for one in logs] == episodes
    for one, episode in list(zip(logs, episodes, strict=True))[::5]:
        bare = EpisodeLog.from_dict({k: v for k, v in one.record.items() if k != OURS})
        read = read_episode(bare, world)
        assert read.task == tasks[episode.task_id]
        assert [t.action.type for t in read.episode.turns] == [t.action.type for t in episode.turns]
        assert {r.outcome for r in read.ratings} == {"invalid"}
