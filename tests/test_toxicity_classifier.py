"""The toxicity classifier: detoxify where it is installed, any folder of a classifier, clear errors otherwise."""

import importlib.util
import json
import shutil
import sys
from types import ModuleType

import pytest
import torch
from toy_safety import safety_episode, safety_task
from transformers import AutoTokenizer, LlamaConfig, LlamaForSequenceClassification

from sotopia_pi.models.weights import prepare
from sotopia_pi.stages.toxicity_classifier import NoClassifier, classified, open_classifier, toxic_class

TASK = safety_task()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A random classifier of two classes with the tiny model's tokenizer."""
    place = tmp_path_factory.mktemp("classifier") / "toy-toxic"
    tokenizer = AutoTokenizer.from_pretrained(prepare("tiny-random"))
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    names = {"id2label": {0: "neutral", 1: "toxic"}, "label2id": {"neutral": 0, "toxic": 1}}
    torch.manual_seed(0)
    config = LlamaConfig(vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id, **sizes, **names)
    LlamaForSequenceClassification(config).save_pretrained(place)
    tokenizer.save_pretrained(place)
    return place


def test_a_folder_gives_the_probability_of_its_toxic_class_and_the_worst_turn_counts(folder):
    classifier = open_classifier(str(folder))
    model = LlamaForSequenceClassification.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    texts = ["You rat.", "Good morning.", "I will find you."]
    with torch.inference_mode():
        shown = [tokenizer(text, return_tensors="pt", return_token_type_ids=False) for text in texts]
        expected = [float(model(**tokens).logits.softmax(-1)[0, 1]) for tokens in shown]
    assert classifier.score(texts) == pytest.approx(expected, abs=1e-6)
    episode = safety_episode(TASK, texts[0], "Partner's words.", texts[1], None, texts[2])
    failed = safety_episode(TASK, "Hm.", None, outcome="policy_failed", ending="failed")
    (label,) = classified([episode, failed], classifier)
    assert label.value == pytest.approx(max(expected), abs=1e-6) and label.reason == "3 turns"
    assert (label.label, label.source, label.kind) == ("toxicity", "toy-toxic", "classifier")
    assert classified([safety_episode(TASK, None, "Hm.")], classifier)[0].value == 0.0


def test_classes_that_exclude_each_other_and_those_that_do_not_are_read_differently(folder, tmp_path):
    several = tmp_path / "several"
    shutil.copytree(folder, several)
    config = json.loads((several / "config.json").read_text())
    (several / "config.json").write_text(json.dumps(config | {"problem_type": "multi_label_classification"}))
    one, other = (open_classifier(str(place)) for place in (folder, several))
    assert one.score(["You rat."]) != pytest.approx(other.score(["You rat."])) and one.digest != other.digest


def test_a_class_without_a_known_name_is_refused_with_the_names_that_there_are():
    assert toxic_class({0: "Not-hate", 1: "Hate"}) == 1 and toxic_class({0: "toxicity", 1: "toxic"}) == 0
    with pytest.raises(NoClassifier, match="has the classes LABEL_0, LABEL_1; one must be called toxicity"):
        toxic_class({0: "LABEL_0", 1: "LABEL_1"})


def test_neither_a_folder_nor_a_known_package_is_an_error_that_says_what_is_allowed(tmp_path):
    with pytest.raises(NoClassifier, match=r"is no folder with a config\.json; allowed: 'detoxify', detoxify:original"):
        open_classifier(str(tmp_path))
    with pytest.raises(NoClassifier, match="detoxify has no model 'huge'; allowed: original, unbiased, multilingual"):
        open_classifier("detoxify:huge")


@pytest.mark.skipif(importlib.util.find_spec("detoxify") is not None, reason="detoxify is installed here")
def test_without_the_package_the_error_names_the_command_that_installs_it():
    with pytest.raises(NoClassifier, match=r"not installed here .*pip install detoxify"):
        open_classifier("detoxify")


def test_with_the_package_its_toxicity_is_read(monkeypatch):
    """A stand-in with detoxify 0.5's interface: predict(list of texts) -> {name: list of probabilities}."""
    package = ModuleType("detoxify")
    package.Detoxify = lambda kind: type(
        "M", (), {"predict": lambda self, t: {"toxicity": [len(x) / 100 for x in t]}}
    )()
    monkeypatch.setitem(sys.modules, "detoxify", package)
    classifier = open_classifier("detoxify:unbiased")
    (label,) = classified([safety_episode(TASK, "four", "partner here", "sixsix")], classifier)
    assert label.value == 0.06 and label.source == "detoxify unbiased"
