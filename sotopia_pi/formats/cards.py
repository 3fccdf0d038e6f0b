"""Cards in the hub's format: what a trained variant or a run's data are, for somebody who knows nothing of the run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from sotopia_pi.formats.base_weights import BaseWeights
from sotopia_pi.formats.card_text import Markdown, fenced, rendered

README = "README.md"
PAPER = "https://arxiv.org/abs/2403.08715"
RULE = "payoff"
"""The judge that is no model."""
OTHER = "other"
"""The hub's name of a licence that it has no name for."""
SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
"""The hub's size categories, in rows."""


@dataclass(frozen=True)
class CardOptions:
    """What whoever shares adds. licence: the hub's short name, "" as far as the run tells. data: hub id of the data set
    that the card names. repository: hub id that the folder goes to, "" for a folder that stays here."""

    licence: str = ""
    data: str = ""
    repository: str = ""


@dataclass(frozen=True)
class Round:
    """One training. player, partner, judge: who, in words; recipe: the selection's parameters; steps: filter -> sides
    that it left, in order; learnt: what the training saw, in numbers."""

    name: str
    player: str
    partner: str
    judge: str
    tasks: int
    episodes: int
    recipe: Mapping[str, Any]
    steps: Mapping[str, int]
    learnt: Mapping[str, Any]
    settings: Mapping[str, Any]


@dataclass(frozen=True)
class Measured:
    """What a stage measured of all variants. scores, parts, pairs, knowledge, safety: rows of its
    tables; method: of the intervals; questions: which were asked. judge, partner, settings: of the evaluation."""

    judge: str
    partner: str
    expert: str
    settings: Mapping[str, Any]
    method: str
    scores: Sequence[Mapping[str, Any]]
    parts: Sequence[Mapping[str, Any]]
    pairs: Sequence[Mapping[str, Any]]
    knowledge: Sequence[Mapping[str, Any]] = ()
    questions: str = ""
    safety: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True)
class ModelFacts:
    """All that a model card tells. example: a conversation of the training data, messages and answer, None where there
    is none; unmeasured: why `measured` is None; sources: one sentence each on what the data come from and on what
    terms; merged: dtype of a merged model, "" for an adapter."""

    run: str
    variant: str
    version: str
    base: BaseWeights
    adapter_digest: str
    prompt_format: str
    rounds: Sequence[Round]
    measured: Measured | None
    unmeasured: str
    sources: Sequence[str]
    free: bool
    example: Mapping[str, Any] | None = None
    merged: str = ""
    options: CardOptions = field(default_factory=CardOptions)

    @property
    def licence(self) -> str:
        """As chosen; else the base model's where the data set no other terms; else `other`."""
        return self.options.licence or (self.base.licence if self.free and self.base.licence else OTHER)


@dataclass(frozen=True)
class DataFacts:
    """All that a data set card tells. tables: name -> counts and features of its rows; taught: the training rounds of
    each variant's rows; left_out: what is not there and why."""

    run: str
    version: str
    tables: Mapping[str, "DataTable"]
    taught: Mapping[str, Round]
    roles: Mapping[str, str]
    sources: Sequence[str]
    left_out: Sequence[str]
    free: bool
    options: CardOptions = field(default_factory=CardOptions)

    @property
    def licence(self) -> str:
        return self.options.licence or ("apache-2.0" if self.free else OTHER)


@dataclass(frozen=True)
class DataTable:
    """A configuration of a data set: what its rows are, split -> file and rows, the rows' features in the hub's words
    and one row as an example; cut: what the example lacks of the row, in words."""

    what: str
    files: Mapping[str, tuple[str, int]]
    features: Sequence[Mapping[str, Any]]
    example: Mapping[str, Any]
    cut: str = ""


def model_card(facts: ModelFacts) -> str:
    """README.md of an adapter or merged model: YAML that the hub reads, then the text. Raises ValueError where the
    hub's own reader would not take it."""
    from huggingface_hub import ModelCard, ModelCardData

    kind = "finetune" if facts.merged else "adapter"
    data = ModelCardData(
        language="en",
        library_name="transformers" if facts.merged else "peft",
        pipeline_tag="text-generation",
        base_model=facts.base.hub_id or None,
        base_model_relation=kind if facts.base.hub_id else None,
        datasets=[facts.options.data] if facts.options.data else None,
        tags=["sotopia-pi", "social-agents", *_kinds(facts.variant), *([] if facts.merged else ["lora"])],
        **_licence(facts.licence),
    )
    told = {"address": _quoted(facts.base.address, facts.base.exact), "place": _place(facts.options.repository)}
    told |= {"rank": str(int(facts.rounds[-1].settings["r"])), "example": _example(facts.example)}
    return _checked(ModelCard, data, rendered("card_model.md.j2", facts=facts, paper=PAPER, **told, **_WORDS))


def data_card(facts: DataFacts) -> str:
    """README.md of a data set, with its configurations and their features. Raises ValueError as `model_card` does."""
    from huggingface_hub import DatasetCard, DatasetCardData

    rows = sum(n for table in facts.tables.values() for _, n in table.files.values())
    data = DatasetCardData(
        language=["en"],
        pretty_name=f"Sotopia-π workbench, run {facts.run}",
        annotations_creators=["machine-generated"],
        language_creators=["machine-generated"],
        multilinguality=["monolingual"],
        size_categories=[next((name for most, name in SIZES if rows < most), "n>1M")],
        source_datasets=["original"] if facts.free else None,
        task_categories=["text-generation"],
        tags=["sotopia-pi", "social-agents", "dialogue"],
        configs=[_config(name, table) for name, table in facts.tables.items()],
        dataset_info=[{"config_name": n, "features": _apart(t.features)} for n, t in facts.tables.items()],
        **_licence(facts.licence),
    )
    told = {"place": _place(facts.options.repository)}
    return _checked(DatasetCard, data, rendered("card_data.md.j2", facts=facts, paper=PAPER, **told, **_WORDS))


def _apart(value: Any) -> Any:
    """The same value with no part that occurs twice, for which YAML would write an anchor and a reference."""
    if isinstance(value, Mapping):
        return {key: _apart(part) for key, part in value.items()}
    return [_apart(part) for part in value] if isinstance(value, (list, tuple)) else value


def _config(name: str, table: DataTable) -> dict[str, Any]:
    return {
        "config_name": name,
        "data_files": [{"split": split, "path": path} for split, (path, _) in table.files.items()],
    }


def _licence(name: str) -> dict[str, str]:
    return {"license": name, "license_name": "see-licence-section"} if name == OTHER else {"license": name}


def _kinds(variant: str) -> list[str]:
    known = {"BC": "behavior-cloning", "SR": "self-reinforcement"}
    return [known[part] for part in variant.split("+") if part in known]


def _example(example: Mapping[str, Any] | None) -> Markdown | None:
    return fenced(example) if example else None


def _place(repository: str) -> str:
    """Where a snippet finds what lies beside the card."""
    return _quoted(repository or "FOLDER", bool(repository))


def _quoted(name: str, literal: bool) -> str:
    return f'"{name}"' if literal else name


def _interval(row: Mapping[str, Any], digits: int = 2) -> Markdown:
    """`4.37 [3.69, 5.08]`, a dash where nothing could be measured."""
    values = [row.get(key) for key in ("mean", "low", "high")]
    if any(value in (None, "") for value in values):
        return Markdown("–")
    mean, low, high = (f"{float(value):.{digits}f}".replace("-", "−") for value in values)
    return Markdown(f"{mean} [{low}, {high}]")


def _plain(value: Any) -> str:
    """A parameter's value in words."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {n}" for key, n in value.items()) or "none"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value)) or "none"
    return "none" if value in (None, "") else str(value)


def _checked(kind: type, data: Any, text: str) -> str:
    """YAML and text as one file, read back by the hub's own class to see that it says what was meant."""
    content = f"---\n{data.to_yaml()}\n---\n\n{text.strip()}\n"
    read = kind(content)
    if read.data.to_dict() != data.to_dict():
        raise ValueError("the card's YAML does not read back as it was written; this is a defect of the card's writer")
    return content


def _who(role: str) -> str:
    """A model string in words; whatever is none stays as it is."""
    kind, _, name = role.partition(":")
    words = {"scripted": "the scripted policy", "openai": "the model", "local": "the model"}
    if role == RULE:
        return f"a rule ({RULE})"
    return f"{words[kind]} {name}" if kind in words and name else role


_WORDS = MappingProxyType({"fenced": fenced, "interval": _interval, "plain": _plain, "who": _who, "rule": RULE})
