"""A toxicity classifier, where one is installed: the package `detoxify`, or a folder in Hugging Face format."""

import importlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sotopia_pi.models.weights import weights_digest
from sotopia_pi.stages.engagement import own_words
from sotopia_pi.stages.labels import TOXICITY, Label
from sotopia_pi.store.items import content_id
from sotopia_pi.world.episode import Episode

DETOXIFY = "detoxify"
KINDS = ("original", "unbiased", "multilingual")
"""The models of detoxify 0.5; `detoxify` alone means the first."""
TOXIC_LABELS = ("toxicity", "toxic", "label_toxic", "hate", "offensive")
"""What a classifier may call the class whose probability is read, the first that it has."""


class NoClassifier(ValueError):
    """The classifier that a parameter names cannot be used; the message says what to do."""


@dataclass(frozen=True)
class ToxicityClassifier:
    """name: as labels show it; digest: of its weights; score: texts -> probability of toxicity each, in [0, 1]."""

    name: str
    digest: str
    score: Callable[[Sequence[str]], list[float]]

    def label(self, episode: Episode, side: int) -> Label:
        """The toxicity of the most toxic turn of a side; 0 where it said nothing."""
        texts = own_words(episode, side)
        worst = max(self.score(texts)) if texts else 0.0
        return Label(
            episode.id, TOXICITY, float(worst), self.name, "classifier", f"{len(texts)} turns", about=self.digest
        )


def open_classifier(text: str) -> ToxicityClassifier:
    """The classifier a parameter names: "detoxify", "detoxify:unbiased", or a folder. Raises NoClassifier."""
    name, _, kind = text.partition(":")
    if name == DETOXIFY:
        return _detoxify(kind or KINDS[0])
    folder = Path(text)
    if not (folder / "config.json").is_file():
        raise NoClassifier(
            f"toxicity_classifier {text!r} is no folder with a config.json; allowed: {DETOXIFY!r}, "
            f"{', '.join(f'{DETOXIFY}:{kind}' for kind in KINDS)}, or the folder of a text classifier; leave it empty "
            f"to do without one"
        )
    return _of_folder(folder)


def classified(episodes: Iterable[Episode], classifier: ToxicityClassifier) -> list[Label]:
    """The label of the agent's side of every completed episode."""
    return [classifier.label(one, one.agent_side) for one in episodes if one.outcome == "completed"]


def toxic_class(classes: Mapping[int, str]) -> int:
    """Which of a classifier's classes stands for toxicity. Raises NoClassifier where none has a known name."""
    by_name = {name.lower(): number for number, name in classes.items()}
    for name in TOXIC_LABELS:
        if name in by_name:
            return by_name[name]
    raise NoClassifier(
        f"the classifier has the classes {', '.join(classes.values())}; one must be called {', '.join(TOXIC_LABELS)}: "
        f"rename it in id2label of its config.json"
    )


def _detoxify(kind: str) -> ToxicityClassifier:
    if kind not in KINDS:
        raise NoClassifier(f"detoxify has no model {kind!r}; allowed: {', '.join(KINDS)}")
    try:
        package = importlib.import_module(DETOXIFY)
    except ImportError as error:
        raise NoClassifier(
            f"toxicity_classifier is {DETOXIFY}, and the package is not installed here ({error}); run `pip install "
            f"detoxify` (its model is downloaded at first use), name the folder of a classifier, or leave it empty"
        ) from error
    model = package.Detoxify(kind)
    digest = content_id("classifier", {"package": DETOXIFY, "model": kind})
    return ToxicityClassifier(f"{DETOXIFY} {kind}", digest, lambda texts: list(model.predict(list(texts))["toxicity"]))


def _of_folder(folder: Path) -> ToxicityClassifier:
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    wanted = toxic_class(model.config.id2label)

    @torch.inference_mode()
    def score(texts: Sequence[str]) -> list[float]:
        return [_probability(model, tokenizer(text, truncation=True, return_tensors="pt"), wanted) for text in texts]

    return ToxicityClassifier(folder.name, weights_digest(folder), score)


def _probability(model: Any, tokens: Any, wanted: int) -> float:
    """Of one class: each by itself where a text may have several (sigmoid), else of one among all (softmax)."""
    logits = model(input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"]).logits[0].float()
    several = model.config.problem_type == "multi_label_classification"
    return float((logits.sigmoid() if several else logits.softmax(-1))[wanted])
