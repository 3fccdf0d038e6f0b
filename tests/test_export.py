"""What a finished run exports is what it played and trained on, comes back whole, and replaces nobody's files."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from exporting import Complaint
from finished_run import ALL, ODD, RUN, FinishedToy
from sotopia_records import lines_of
from toy_layouts import learnt_of_row, learnt_words

from sotopia_pi.app.import_sotopia import import_sotopia
from sotopia_pi.formats.sft_layouts import LAYOUTS
from sotopia_pi.formats.sotopia_profiles import read_profiles
from sotopia_pi.formats.sotopia_tasks import PublishedWorld, published_tasks
from sotopia_pi.models.adapters import adapter_digest
from sotopia_pi.world.scoring import DIMENSIONS

STAGES = ("02_expert_episodes", "04_agent_episodes", "06_social_evaluation")


@pytest.fixture(scope="module")
def toys(tmp_path_factory):
    """A finished run for each format of training."""
    return {f: FinishedToy(tmp_path_factory.mktemp(f), prompt_format=f) for f in ("chat", "sotopia")}


@pytest.fixture(scope="module")
def toy(toys):
    return toys["chat"]


def by_id(items):
    return {item["id"]: item for item in items}


@pytest.mark.parametrize("stage", STAGES)
def test_exported_episodes_come_back_by_the_import_without_loss(toy, export, tmp_path, stage):
    export(toy, "episodes", RUN, "--out", tmp_path / "out")
    report = import_sotopia(tmp_path / "out" / stage, tmp_path / "back").to_dict()
    assert (report["refused"], report["remarks"]) == ([], [])
    back, made = tmp_path / "back" / "sotopia", toy.dir / stage
    assert by_id(lines_of(back / "episodes.jsonl")) == by_id(lines_of(made / "episodes.jsonl"))
    ratings = lines_of(made / "ratings.jsonl") + lines_of(made / "judge_ratings.jsonl")
    assert by_id(lines_of(back / "ratings.jsonl")) == by_id(ratings)
    tasks = by_id(lines_of(toy.dir / "01_social_tasks" / "tasks.jsonl"))
    played = {episode["task_id"] for episode in lines_of(made / "episodes.jsonl")}
    assert by_id(lines_of(back / "tasks.jsonl")) == {name: tasks[name] for name in played}


def test_rewards_hold_the_dimensions_that_were_rated_and_their_mean(toy, export, tmp_path):
    export(toy, "episodes", RUN, "--out", tmp_path / "out")
    (by_rule,) = lines_of(tmp_path / "out/02_expert_episodes/episodes.jsonl")
    parts = {"goal": 8.0, "financial_and_material_benefits": 3.0, "secret": 0.0}
    assert by_rule["rewards"][0] == [pytest.approx(11 / 3), parts | {"overall_score": pytest.approx(11 / 3)}]
    (by_judge,) = lines_of(tmp_path / "out/06_social_evaluation/episodes.jsonl")
    assert set(ALL) == set(DIMENSIONS)
    assert by_judge["rewards"] == [[pytest.approx(18 / 7), ALL | {"overall_score": pytest.approx(18 / 7)}]] * 2
    assert by_judge["models"] == ["payoff", "lines", "lines"] and by_judge["tag"] == "BC"


def test_an_unrated_side_is_null_in_a_file_of_its_own_and_never_a_zero(toy, export, tmp_path):
    report = export(toy, "episodes", RUN, "--out", tmp_path / "out")
    (failed,) = lines_of(tmp_path / "out/02_expert_episodes/unrated_episodes.jsonl")
    assert (failed["pk"], failed["rewards"]) == ("episode-f", [None, None])
    (half,) = lines_of(tmp_path / "out/04_agent_episodes/unrated_episodes.jsonl")
    assert half["rewards"][0][1]["goal"] == 6.0 and half["rewards"][1] is None
    assert lines_of(tmp_path / "out/04_agent_episodes/episodes.jsonl") == []
    counts = {stage: (c["episodes"], c["episodes with an unrated side"]) for stage, c in report["counts"].items()}
    assert counts == dict(zip(STAGES, [(1, 1), (0, 1), (1, 0)], strict=True))
    assert not (tmp_path / "out/06_social_evaluation/unrated_episodes.jsonl").exists()


def test_peoples_talks_stay_with_the_run(export, tmp_path):
    toy = FinishedToy(tmp_path / "project")
    stage = toy.stage("12_talk_to_the_agent")
    talked = ("episodes.jsonl", "ratings.jsonl")
    for file in talked:
        stage.path(file).write_text('{"id": "mine"}\n')
    stage.finish({}, artefacts=list(talked))
    report = export(toy, "episodes", RUN, "--out", tmp_path / "out")
    assert list(report["counts"]) == list(STAGES) and not (tmp_path / "out" / "12_talk_to_the_agent").exists()


def test_exported_profiles_come_back_as_the_runs_tasks(toy, export, tmp_path):
    report = export(toy, "profiles", RUN, "--out", tmp_path / "out")
    world = PublishedWorld(read_profiles(tmp_path / "out"))
    back = published_tasks(world)
    assert (world.profiles.refused, back.refused, back.remarks) == ((), (), ())
    assert [(t.scenario, t.characters, t.background) for t in back.tasks] == [
        (t.scenario, t.characters, t.background) for t in toy.tasks
    ]
    assert [(one["what"], one["n"]) for one in report["left_out"]] == [("payoffs", 3)]
    assert {split: report["counts"]["01_social_tasks"][f"tasks of {split}"] for split in ("bc", "sr", "eval")} == {
        "bc": 1,
        "sr": 1,
        "eval": 1,
    }


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("prompt_format", ["chat", "sotopia"])
def test_what_the_rows_teach_is_what_the_examples_taught(toys, export, tmp_path, layout, prompt_format):
    toy = toys[prompt_format]
    report = export(toy, "sft", RUN, "--layout", layout, "--out", tmp_path / "out")
    for variant, folder, examples in (("BC", "bc", toy.examples), ("BC+SR", "bc_sr", toy.again)):
        rows = lines_of(tmp_path / "out" / f"{RUN}-{folder}.jsonl")
        taught = [words for row in rows for words in learnt_of_row(row, layout)]
        assert taught == [words for example in examples for words in learnt_words(example, toy.renderer.text_of)]
        assert report["counts"][variant]["rows"] == len(rows)
        assert report["counts"][variant]["examples rendered again the same"] == len(examples)
        assert report["counts"][variant]["examples rendered again otherwise"] == 0
    assert ODD[1] in taught, "the words are the model's own"
    (untrained,) = report["left_out"]
    assert untrained["what"] == "variant SR" and untrained["why"] == "not trained: nothing reached goal 1"


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("prompt_format", ["chat", "sotopia"])
def test_the_plain_json_builder_loads_every_layout(toys, export, tmp_path, layout, prompt_format):
    datasets = pytest.importorskip("datasets", reason="the datasets package is not installed here")
    export(toys[prompt_format], "sft", RUN, "--layout", layout, "--out", tmp_path / "out")
    paths = sorted(map(str, (tmp_path / "out").glob("toy-*.jsonl")))
    loaded = datasets.load_dataset("json", data_files=paths, split="train", cache_dir=str(tmp_path / "cache"))
    assert [dict(row) for row in loaded] == [row for path in paths for row in lines_of(Path(path))]


def test_sampled_words_that_the_tokenizer_splits_otherwise_are_told(toys, export, tmp_path):
    report = export(toys["chat"], "sft", RUN, "--layout", "messages", "--out", tmp_path / "out")
    told = {variant: found["tokenised_otherwise"] for variant, found in report["compared"].items()}
    sampled = next(one for one in toys["chat"].again if one.side == 0)
    assert told == {"BC": [], "BC+SR": [sampled.id]}
    assert report["counts"]["BC+SR"]["examples whose text is tokenised otherwise"] == 1


def test_an_example_that_comes_out_otherwise_than_it_was_trained_on_is_named(export, tmp_path):
    toy = FinishedToy(
        tmp_path / "project", spoil=lambda e: replace(e, ids=(*e.ids[:-1], e.ids[-1] + 1)) if e.side else e
    )
    report = export(toy, "sft", RUN, "--layout", "alpaca")
    changed = [one.id for one in toy.examples if one.side == 1]
    assert report["compared"]["BC"]["rendered_otherwise"] == changed
    assert report["counts"]["BC"]["examples rendered again otherwise"] == 1


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("prompt_format", ["chat", "sotopia"])
def test_what_was_too_long_to_train_on_is_not_exported(toys, export, tmp_path, layout, prompt_format):
    lengths = sorted(len(example.ids) for example in toys[prompt_format].examples)
    toy = FinishedToy(tmp_path / "project", prompt_format, max_tokens=lengths[0])
    (example,) = toy.examples
    report = export(toy, "sft", RUN, "--layout", layout)
    rows = lines_of(toy.dir / "export/sft" / layout / "toy-bc.jsonl")
    assert [words for row in rows for words in learnt_of_row(row, layout)] == learnt_words(
        example, toy.renderer.text_of
    )
    assert {row["side"] for row in rows} == {example.side}
    what = "selected sides of BC" if prompt_format == "chat" else "turns of selected sides of BC"
    assert (what, len(lengths) - 1) in [(one["what"], one["n"]) for one in report["left_out"]]


def test_a_model_that_is_not_here_is_not_fetched_to_compare(export, tmp_path):
    toy = FinishedToy(tmp_path / "project", model="nobody-here/no-such-model")
    report = export(toy, "sft", RUN, "--layout", "alpaca")
    assert "not in the hub's cache" in report["compared"]["BC"]["unchecked"]
    assert report["counts"]["BC"]["rows"] == 6
    assert export(toy, "adapters", RUN)["remarks"] == []
    config = json.loads((toy.dir / "export/adapters/toy-bc/adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "nobody-here/no-such-model"


def test_exported_adapters_act_as_those_that_were_trained(toy, export, tmp_path):
    report = export(toy, "adapters", RUN, "--out", tmp_path / "out")
    for stage, folder in (("03_behavior_cloning", "bc"), ("05_self_reinforcement", "bc_sr")):
        assert adapter_digest(tmp_path / "out" / f"toy-{folder}") == adapter_digest(
            toy.dir / stage / folder / "adapter"
        )
    assert [one["what"] for one in report["left_out"]] == ["variant SR"]
    assert "tiny-random is no hub id" in report["remarks"][0]


def test_an_export_again_replaces_its_own_files_and_nobody_elses(toy, export, tmp_path):
    out = tmp_path / "out"
    first = export(toy, "episodes", RUN, "--out", out)
    assert export(toy, "episodes", RUN, "--out", out) == first
    changed = out / STAGES[0] / "episodes.jsonl"
    changed.write_text("mine\n")
    with pytest.raises(Complaint, match=r"holds 1 files .* first 02_expert_episodes/episodes\.jsonl.*--out.*--force"):
        export(toy, "episodes", RUN, "--out", out)
    assert changed.read_text() == "mine\n"
    with pytest.raises(Complaint, match=r"first export\.json"):
        export(toy, "profiles", RUN, "--out", out)
    assert not (out / "agent_profiles.jsonl").exists()
    assert export(toy, "episodes", RUN, "--out", out, "--force") == first
    assert changed.read_text() != "mine\n"
    assert not [path for path in tmp_path.iterdir() if path != out], "nothing is left beside it"


def test_files_that_an_export_would_not_write_again_stay_until_it_is_told_to_remove_them(export, tmp_path):
    toy = FinishedToy(tmp_path / "project")
    export(toy, "episodes", RUN)
    (toy.dir / STAGES[2] / "manifest.json").unlink()
    old = toy.dir / "export/episodes" / STAGES[2] / "episodes.jsonl"
    with pytest.raises(Complaint, match="of an earlier export that this one lacks, first 06_social_evaluation/"):
        export(toy, "episodes", RUN)
    assert old.exists()
    report = export(toy, "episodes", RUN, "--force")
    assert not old.exists()
    (missing,) = report["left_out"]
    assert missing["what"] == STAGES[2]
    assert "sotopia-pi run params/toy.yaml --only 06_social_evaluation" in missing["why"]


def test_data_sets_of_others_stay_in_dataset_info(toy, export, tmp_path):
    info = tmp_path / "data" / "dataset_info.json"
    info.parent.mkdir()
    info.write_text('{"mine": {"file_name": "mine.json"}}')
    for _ in range(2):
        export(toy, "sft", RUN, "--layout", "alpaca", "--out", info.parent)
        entries = json.loads(info.read_text())
        assert set(entries) == {"mine", "toy-bc", "toy-bc_sr"}
        assert entries["toy-bc"]["file_name"] == "toy-bc.jsonl"
    with pytest.raises(Complaint, match=r"first export\.json"):
        export(toy, "sft", RUN, "--layout", "messages", "--out", info.parent)
    info.write_text("{broken")
    with pytest.raises(Complaint, match=r"dataset_info\.json beside the data is not JSON"):
        export(toy, "sft", RUN, "--layout", "alpaca", "--out", info.parent)
    assert info.read_text() == "{broken"


@pytest.mark.parametrize("kind", [("episodes",), ("profiles",), ("adapters",), ("sft", "--layout", "alpaca")])
def test_what_is_missing_is_named_with_the_command_that_makes_it(export, tmp_path, kind):
    toy = FinishedToy(tmp_path / "project")
    with pytest.raises(Complaint, match=r"no run 'tou' .*'toy'.* sotopia-pi run params/PRESET\.yaml"):
        export(toy, kind[0], "tou", *kind[1:])
    for manifest in toy.dir.glob("*/manifest.json"):
        manifest.unlink()
    with pytest.raises(Complaint, match=r"Run toy has no complete .*sotopia-pi run params/toy\.yaml --only 0"):
        export(toy, kind[0], RUN, *kind[1:])
    assert not list((toy.dir / "export").rglob("*.jsonl"))


def test_items_that_changed_since_their_stage_wrote_them_are_not_exported(export, tmp_path):
    toy = FinishedToy(tmp_path / "project")
    path = toy.dir / STAGES[0] / "episodes.jsonl"
    path.write_text(path.read_text().replace("$180", "$170"))
    for words in (("episodes", RUN), ("sft", RUN, "--layout", "alpaca")):
        with pytest.raises(Complaint, match=r"02_expert_episodes/episodes\.jsonl is not what its stage wrote"):
            export(toy, *words)


def test_what_was_made_anew_since_a_stage_read_it_is_not_taken_for_what_it_read(export, tmp_path):
    toy = FinishedToy(tmp_path / "project")
    toy.replay()
    with pytest.raises(Complaint, match=r"04_agent_episodes/episodes\.jsonl was made anew since 05_self_reinforcement"):
        export(toy, "sft", RUN, "--layout", "alpaca")
    toy.draw_again()
    with pytest.raises(Complaint, match=r"01_social_tasks/tasks\.jsonl was made anew since 02_expert_episodes read it"):
        export(toy, "episodes", RUN)


def test_an_episode_between_namesakes_is_left_out_and_named(export, tmp_path):
    toy = FinishedToy(tmp_path / "project")
    name = toy.meet_namesakes()
    for stage in STAGES[:2]:
        (toy.dir / stage / "manifest.json").unlink()
    report = export(toy, "episodes", RUN)
    assert [one["what"] for one in report["left_out"]] == [*STAGES[:2], f"06_social_evaluation, {name}"]
    assert report["counts"]["06_social_evaluation"]["episodes with an unrated side"] == 1
