"""Whatever people and models wrote reads as text in a card, wherever it gets there."""

import dataclasses
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import finished_run
import mistune
import pytest
from card_reader import TABLE, Page, html_of, one_line
from finished_run import ROLES, RUN
from hostile import MODEL, PAYLOADS, UNSEEN
from huggingface_hub import DatasetCard, ModelCard
from shared_run import SharedToy

from sotopia_pi.app.finished_run import FinishedRun
from sotopia_pi.app.share import model_facts, named_variant
from sotopia_pi.formats.base_weights import BaseWeights
from sotopia_pi.formats.cards import CardOptions, DataFacts, DataTable, ModelFacts, data_card, model_card

PAPER = "https://arxiv.org/abs/2403.08715"
OWN_TAGS = TABLE | {"h1", "h2", "h3", "p", "a", "ul", "li", "strong", "code", "pre"}
CHECKED = {
    BaseWeights: {"hub_id", "obtain"},
    CardOptions: {"repository"},
    DataTable: {"files", "features"},
    ModelFacts: {"merged"},
}
"""Fields that hold a checked name, a path or a program of ours."""
EXTENDED = mistune.create_markdown(escape=False, plugins=["url", "table", "strikethrough", "math", "task_lists"])
"""A reader that also makes links of bare addresses, and formulas."""


def assert_text(card: str, says: str) -> None:
    """Every reader finds our own elements and our one link in a card, the words as they are, and nothing unseen."""
    for html in (html_of(card), EXTENDED(card)):
        page = Page(html)
        assert page.tags <= OWN_TAGS, page.tags - OWN_TAGS
        assert {value for _, name, value in page.attributes if name in ("href", "src")} == {PAPER}
        assert {name for _, name, _ in page.attributes} <= {"href", "class", "style"}
        assert not set(page.text) & set(UNSEEN)
        shown = " ".join(page.text.split())
        missing = [name for name, words in PAYLOADS.items() if words in says and one_line(words) not in shown]
        assert not missing, missing


def spoiled(value: Any) -> Any:
    """The same facts with the payloads in every text and among the entries of every mapping."""
    if isinstance(value, str):
        return value if is_number(value) else f"{value} {MODEL}"
    if isinstance(value, Mapping):
        parts = {key: spoiled(part) for key, part in value.items()}
        return parts | {MODEL: next(iter(parts.values()), MODEL)}
    if isinstance(value, (list, tuple)):
        return [spoiled(part) for part in value]
    if dataclasses.is_dataclass(value):
        names = {field.name for field in dataclasses.fields(value)} - CHECKED.get(type(value), set())
        return replace(value, **{name: spoiled(getattr(value, name)) for name in names})
    return value


def is_number(text: str) -> bool:
    return text.replace(".", "").replace("-", "").isdigit()


@pytest.fixture(scope="module")
def facts(tmp_path_factory) -> ModelFacts:
    """What the card of a measured variant tells."""
    toy = SharedToy(tmp_path_factory.mktemp("project"), model="/somewhere/a folder")
    run = FinishedRun(toy.root, toy.dir)
    return model_facts(run, named_variant(run, "BC+SR"), CardOptions())


@pytest.mark.parametrize("merged", ["", "float32"])
def test_no_field_of_a_model_card_can_be_more_than_text(facts, merged):
    assert facts.measured and facts.example and len(facts.rounds) == 2
    card = ModelCard(model_card(replace(spoiled(facts), merged=merged)))
    assert_text(card.text, MODEL)
    assert card.data.license.endswith(MODEL) and card.data.datasets[0].endswith(MODEL)
    whole = spoiled(facts)
    for name in ("measured", "rounds", "base", "sources", "options"):
        alone = replace(facts, **{name: getattr(whole, name)})
        assert_text(ModelCard(model_card(alone)).text, MODEL)
    assert_text(ModelCard(model_card(spoiled(replace(facts, measured=None, unmeasured="why")))).text, MODEL)


def test_no_field_of_a_data_card_can_be_more_than_text(facts):
    table = DataTable("a talk", {"train": ("data/a.jsonl", 1)}, [{"name": "id", "dtype": "string"}], {"id": "a"}, "cut")
    told = DataFacts(
        run=RUN,
        version="1",
        tables={"episodes": table},
        taught={"BC": facts.rounds[0]},
        roles={"judge": "payoff"},
        sources=["A sentence."],
        left_out=["variant SR: why"],
        free=True,
        options=CardOptions(licence="mit"),
    )
    card = DatasetCard(data_card(spoiled(told)))
    assert_text(card.text, MODEL)
    assert card.data.pretty_name.endswith(MODEL) and card.data.license.endswith(MODEL)


def test_hostile_names_goals_and_models_stay_text_in_every_card(export, tmp_path, monkeypatch):
    made = finished_run.made_task

    def hostile_task(number, split):
        task = made(number, split)
        first, second = task.characters
        scenario = replace(task.scenario, text=MODEL, goals=(MODEL, f"Sell. {MODEL}"))
        return replace(task, scenario=scenario, characters=(replace(first, first_name=MODEL), second), background=MODEL)

    monkeypatch.setattr(finished_run, "made_task", hostile_task)
    toy = SharedToy(tmp_path / "project", roles={**ROLES, "judge": MODEL, "partner": MODEL})
    export(toy, "adapters", RUN)
    export(toy, "dataset", RUN)
    for place, reader in (("adapters/toy-bc_sr", ModelCard), ("dataset", DatasetCard)):
        card = reader.load(toy.dir / "export" / place / "README.md")
        assert_text(card.text, MODEL)
        assert card.data.license == "apache-2.0"


@pytest.mark.parametrize("name", [text for text in PAYLOADS.values() if "/" not in text and "\x00" not in text])
def test_a_hostile_name_of_a_base_folder_stays_text(facts, name):
    base = replace(facts.base, name=name)
    assert_text(ModelCard(model_card(replace(facts, base=base))).text, name)
