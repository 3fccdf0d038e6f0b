"""The rating form, driven by code as a person drives it: what is asked, what is saved, what cannot be done."""

from dataclasses import replace

import pytest
from toy_raters import EPISODES, SENTENCE, TASKS, plan
from traitlets import TraitError

from sotopia_pi.analysis.blind_view import blind_html, scale_html
from sotopia_pi.analysis.rating_panel import NOT_YET, RatingPanel
from sotopia_pi.stages.human_ratings import HumanRatings
from sotopia_pi.stages.judge_prompt import MEANINGS
from sotopia_pi.stages.qualification import qualification
from sotopia_pi.world.actions import Action, Turn
from sotopia_pi.world.ratings import DIMENSIONS

FIRST = qualification()
NORA = {"believability": 8, "relationship": 3, "knowledge": 2, "secret": 0, "social_rules": -1, "goal": 10}
SAMUEL = {"believability": 8, "relationship": 2, "knowledge": 0, "secret": -9, "social_rules": 0, "goal": 1}
SHOWN = {e.id: (next(t for t in TASKS if t.id == e.task_id), e) for e in EPISODES}


@pytest.fixture
def ratings(tmp_path) -> HumanRatings:
    return HumanRatings(tmp_path / "human_ratings.jsonl")


def opened(ratings, name="Ann", of=None) -> RatingPanel:
    """The form after a name was entered and Start was pressed."""
    panel = RatingPanel(of or plan(), SHOWN, ratings, FIRST)
    panel.name.value = name
    panel.start.click()
    return panel


def fill(form, scores, reason=SENTENCE):
    for dimension in DIMENSIONS:
        form.sliders[dimension].value = scores.get(dimension, 0)
    form.reason.value = reason


def qualified(ratings, **chosen) -> RatingPanel:
    panel = opened(ratings, **chosen)
    fill(panel.sides[0], NORA)
    fill(panel.sides[1], SAMUEL)
    panel.save.click()
    return panel


def test_sliders_set_reasons_written_save_pressed_and_it_lies_on_the_disk(ratings):
    panel = qualified(ratings)
    rated = panel.episode_id
    assert rated in plan().episode_ids
    fill(panel.sides[0], {"goal": 9, "secret": -3}, "She got\nthe lamp  for little.")
    fill(panel.sides[1], {"goal": 4}, "She gave in too early.")
    panel.save.click()
    first, second = HumanRatings(ratings.path).counting()[("Ann", rated)]
    assert first.scores == {**dict.fromkeys(DIMENSIONS, 0), "goal": 9, "secret": -3}
    assert first.reasons == {"all": "She got the lamp for little."} and second.scores["goal"] == 4
    assert first.raw[0]["timing"]["seconds"] >= 0 and "Saved" in panel.message.value
    assert panel.episode_id not in (rated, FIRST.episode.id), "the next one is shown"
    assert all(slider.value == NOT_YET for form in panel.sides for slider in form.sliders.values())


def test_nothing_is_saved_without_a_sentence_of_reason_for_both_sides(ratings):
    panel = qualified(ratings)
    before, asked = ratings.path.read_bytes(), panel.episode_id
    fill(panel.sides[0], {"goal": 9})
    fill(panel.sides[1], {"goal": 9}, "ok")
    panel.save.click()
    assert ratings.path.read_bytes() == before and panel.episode_id == asked
    assert "Not saved. Ava Moreno: the reason is" in panel.message.value
    fill(panel.sides[1], {"goal": 9})
    panel.save.click()
    assert panel.episode_id != asked


def test_a_slider_nobody_moved_is_no_score(ratings):
    panel = qualified(ratings)
    before = ratings.path.read_bytes()
    for form in panel.sides:
        fill(form, {})
    panel.sides[0].sliders["secret"].value = NOT_YET
    panel.save.click()
    assert ratings.path.read_bytes() == before
    assert "Mia Davis: secret has no score (whole numbers from -10 to 0)" in panel.message.value


@pytest.mark.parametrize(("dimension", "value"), [("goal", 11), ("secret", 1), ("relationship", -6), ("goal", 2.5)])
def test_a_score_outside_the_range_cannot_be_chosen(ratings, dimension, value):
    slider = opened(ratings).sides[0].sliders[dimension]
    with pytest.raises(TraitError):
        slider.value = value
    low, high = DIMENSIONS[dimension]
    assert [score for _, score in slider.options] == [NOT_YET, *range(low, high + 1)]


def test_the_first_item_says_what_to_read_again_until_it_is_passed(ratings):
    panel = opened(ratings)
    assert panel.episode_id == FIRST.episode.id
    fill(panel.sides[0], {**NORA, "goal": 3})
    fill(panel.sides[1], SAMUEL)
    panel.save.click()
    assert "walks away with its key. You gave 3." in panel.message.value and panel.episode_id == FIRST.episode.id
    panel.sides[0].sliders["goal"].value = 9
    panel.save.click()
    assert panel.episode_id in plan().episode_ids


def test_another_form_of_another_day_goes_on_where_this_one_stopped(ratings):
    panel = qualified(ratings)
    for form in panel.sides:
        fill(form, {"goal": 5})
    panel.save.click()
    later = opened(ratings)
    assert later.episode_id == panel.episode_id
    other = opened(ratings, "Bob")
    assert other.episode_id == FIRST.episode.id, "everybody begins with the first item"


def test_at_the_end_the_form_says_thank_you(ratings):
    one = plan(variants=("BC",), datapoints=1)
    panel = qualified(ratings, of=one)
    for form in panel.sides:
        fill(form, {"goal": 5})
    panel.save.click()
    assert panel.episode_id is None and panel.sides == ()
    (thanks,) = panel.widget.children[1].children
    assert "All done, thank you" in thanks.value and "You rated 1 episodes" in thanks.value


def test_a_name_that_is_missing_or_not_in_the_plan_is_told_so(ratings):
    assert "a name has 1 to 60 characters" in opened(ratings, "").message.value
    assert "annotators are Ann, Bob" in opened(ratings, "Zoe", plan(["Ann", "Bob"])).message.value
    assert not ratings.path.exists()


def test_the_view_tells_what_was_said_and_nothing_of_who_played():
    task = TASKS[0]
    calls = ({"text": "RAW-OUTPUT", "model": "some-model"},)
    turns = (*EPISODES[0].turns, Turn(4, 0, Action("none"), failed=True, calls=calls), Turn(5, 1, Action("none")))
    policies = ({"name": "VARIANT-X", "digest": "DIGEST-X"}, {"name": "OPPONENT-X", "digest": "DIGEST-Y"})
    named = replace(EPISODES[0], turns=turns, policies=policies, tag="VARIANT-X", agent_side=1)
    page = blind_html(task, named)
    assert all(words in page for words in ("Mia Davis", "Ava Moreno", "Mia failed her exam.", "Deal, $80."))
    assert "It must bring $70 at least." in page, "people see both goals, like a judge"
    hidden = ("VARIANT-X", "OPPONENT-X", "DIGEST", "RAW-OUTPUT", "some-model", "lamp-0", "bargaining", "points")
    assert not [words for words in hidden if words in page]
    other = replace(named, agent_side=0, tag="SR", policies=policies[::-1])
    assert blind_html(task, other) == page, "which side is the agent changes nothing"


def test_the_form_holds_nothing_of_variants_or_policies_either(ratings):
    variants = ("base", "BC", "expert")
    panel = qualified(ratings, of=plan(variants=variants))
    page = panel.widget.children[1].children[0].value
    task, episode = SHOWN[panel.episode_id]
    assert blind_html(task, episode) in page
    rest = page.replace(blind_html(task, episode), "")
    assert rest == "<p><b>Episode 1 of 12</b></p>"


def test_text_of_an_episode_cannot_become_markup():
    said = Turn(0, 0, Action("speak", "<script>alert(1)</script>"))
    assert "<script>" not in blind_html(TASKS[0], replace(EPISODES[0], turns=(said,)))


def test_every_dimension_is_shown_with_its_meaning_and_range(ratings):
    form = opened(ratings).sides[0].widget
    live = " ".join(getattr(child, "value", None) or "" for child in form.children if hasattr(child, "value"))
    for page in (scale_html(), live):
        for dimension in DIMENSIONS:
            assert dimension.replace("_", " ") in page and MEANINGS[dimension][:40].split("'")[0] in page
    assert "-5 to 5" in scale_html() and "[-5, 5]" in live


def test_the_form_brings_its_static_twin(ratings):
    bundle = RatingPanel(plan(), SHOWN, ratings, FIRST)._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in bundle
    assert "Nora Lindqvist" in bundle["text/html"] and "Open this notebook to rate" in bundle["text/html"]
    assert "<script" not in bundle["text/html"]
