"""Labels and the desk at which people give them: sources stay apart, nothing is overwritten, the variant is hidden."""

import pytest
from toy_safety import safety_episode, safety_task

from sotopia_pi.analysis.labelling import LabellingDesk
from sotopia_pi.stages.labels import Label, add_labels, label_counts, read_labels, standing
from sotopia_pi.store.items import ItemFile

TASKS = [safety_task(0), safety_task(1)]
EPISODES = [safety_episode(of, "Hello.", "Hi.", variant=v) for of in TASKS for v in ("base", "BC+SR")]
ANSWERS = {"injury_intent": True, "prevented": False, "solutions": 3}


def desk(tmp_path, seed=0) -> LabellingDesk:
    failed = safety_episode(TASKS[0], None, outcome="policy_failed", ending="failed")
    return LabellingDesk([*EPISODES, failed], {of.id: of for of in TASKS}, ItemFile(tmp_path / "labels.jsonl"), seed)


@pytest.mark.parametrize(
    ("label", "value"),
    [("injury_intent", 1), ("injury_intent", None), ("solutions", True), ("solutions", -1), ("solutions", 2.0),
     ("toxicity", 1.5), ("toxicity", 1)],
)  # fmt: skip
def test_a_value_of_another_type_or_range_is_refused(label, value):
    with pytest.raises(ValueError, match=rf"episode e: {label} is .*; it is a"):
        Label("e", label, value, "Ada", "person")


def test_an_unknown_label_and_a_source_without_a_name_are_refused():
    with pytest.raises(ValueError, match="label 'fun' is unknown; known: injury_intent"):
        Label("e", "fun", True, "Ada", "person")
    with pytest.raises(ValueError, match="is no source"):
        Label("e", "prevented", True, " ", "person")


def test_the_last_word_of_each_source_stands_and_sources_do_not_overrule_each_other(tmp_path):
    file = ItemFile(tmp_path / "labels.jsonl")
    said = [
        Label("e", "prevented", True, "Ada", "person", "first"),
        Label("e", "prevented", False, "Ada", "person", "second", number=1),
        Label("e", "prevented", True, "gpt-4", "judge"),
    ]
    add_labels(said, file)
    add_labels(said, file)
    assert read_labels(file) == said, "none is written twice, none is lost"
    assert {(one.source, one.value) for one in standing(read_labels(file))} == {("Ada", False), ("gpt-4", True)}
    assert label_counts(said) == {"labels by judge gpt-4": 1, "labels by person Ada": 1}


def test_each_annotator_gets_every_completed_episode_in_an_order_of_their_own(tmp_path):
    one = desk(tmp_path)
    orders = {name: one.left(name) for name in ("Ada", "Bob", "Cy", "Dee")}
    assert all(sorted(ids) == sorted(e.id for e in EPISODES) for ids in orders.values())
    assert len({tuple(ids) for ids in orders.values()}) > 1 and one.left("Ada") == orders["Ada"]


def test_saving_takes_an_episode_off_the_list_and_a_new_desk_goes_on_from_there(tmp_path):
    first, *rest = desk(tmp_path).left("Ada")
    desk(tmp_path).save("Ada", first, ANSWERS, "Says so.")
    again = desk(tmp_path)
    assert again.left("Ada") == rest and len(again.left("Bob")) == 4
    again.save("Ada", first, ANSWERS | {"solutions": 1}, "One was the same.")
    stands = {label.label: label for label in standing(read_labels(again.file))}
    assert stands["solutions"].value == 1 and stands["solutions"].kind == "person"
    assert len(again.file.read()) == 6
    assert again.table().to_dict("records") == [{"annotator": "Ada", "labelled": 1, "episodes": 4}]
    assert desk(tmp_path / "empty").table()["annotator"].tolist() == ["nobody yet"]


def test_without_a_name_a_reason_or_an_answer_nothing_is_saved(tmp_path):
    one = desk(tmp_path)
    for name, answers, reason in (
        ("", ANSWERS, "x"),
        ("Ada", ANSWERS, " "),
        ("Ada", {"prevented": True}, "x"),
        ("Ada", ANSWERS | {"prevented": None}, "x"),
    ):
        with pytest.raises(ValueError, match=EPISODES[0].id):
            one.save(name, EPISODES[0].id, answers, reason)
    assert not one.file.read()


def test_what_is_shown_tells_nothing_of_the_variant(tmp_path):
    for episode in EPISODES:
        shown = desk(tmp_path).html(episode.id)
        assert "BC+SR" not in shown and "base" not in shown and "agent" not in shown and "Hello." in shown


def test_the_questions_name_the_one_who_wants_to_injure(tmp_path):
    asked = [desk(tmp_path).questions(episode.id) for episode in EPISODES]
    assert asked[0]["injury_intent"].startswith("Did Ann Lee show") and "did Bea Lee put" in asked[0]["solutions"]
    assert asked[2]["injury_intent"].startswith("Did Bea Lee show")


def test_the_view_saves_what_was_answered_and_goes_on_to_the_next_episode(tmp_path):
    one = desk(tmp_path)
    box = one.widget()
    name, said, page, _, injury, _, prevented, _, solutions, reason, button = box.children
    assert button.disabled and "Write your name" in said.value
    name.value = "Ada"
    first, second = one.left("Ada")[:2]
    assert page.value == one.html(first) and "4 of 4" in said.value
    button.click()
    assert "one sentence of reason" in said.value and not one.file.read()
    reason.value = "Clear."
    button.click()
    assert "injury_intent is None" in said.value and not one.file.read()
    injury.value, prevented.value, solutions.value = True, False, 2
    button.click()
    values = {label.label: (label.episode_id, label.value) for label in read_labels(one.file)}
    assert values == {"injury_intent": (first, True), "prevented": (first, False), "solutions": (first, 2)}
    assert page.value == one.html(second) and reason.value == "" and injury.value is None and "3 of 4" in said.value
