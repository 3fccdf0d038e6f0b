"""The people and situations the product brings along: enough of them, plausible, and cleanly split."""

import itertools
import json
import re
import string
from collections import Counter

import numpy as np
import pytest

from sotopia_pi.world.characters import Character, Relationship, visible_profile
from sotopia_pi.world.leaks import leaked
from sotopia_pi.world.population import (
    FILLS,
    DataError,
    InspirationalPrompt,
    ScenarioTemplate,
    characters,
    inspirational_prompts,
    pairs_for,
    parse_lines,
    related_pairs,
    scenario_templates,
)

TEMPLATES = scenario_templates()
PEOPLE = characters()
SPLIT_PAIRS = list(itertools.combinations(("train_bc", "train_sr", "eval"), 2))
COMMON_WORDS = frozenset(
    re.findall(
        r"\w+", "a an the to of and for is in at with one other person two that it has have on which who be as by"
    )
)


def words_of(text: str) -> list[str]:
    return re.findall(r"[a-z]+", text.lower())


def stock(template: ScenarioTemplate) -> set[str]:
    """What a template deals with: item names and their last words, place words, things, reasons."""
    fields = template.fields
    if template.family == "meeting":
        return {word for place in fields["places"] for word in words_of(place)} - {"the"}
    if template.family == "favour":
        reasons = [text for reason in fields["reasons"] for text in reason.values()]
        return {fields["thing"], fields["thing"].split()[-1], *reasons}
    names = [item if isinstance(item, str) else item["name"] for item in fields["items"]]
    return set(names) | {name.split()[-1] for name in names}


def test_there_are_as_many_templates_of_each_family_and_split_as_promised():
    counted = Counter((t.family, t.split) for t in TEMPLATES)
    for family in ("bargaining", "division", "meeting", "favour"):
        assert [counted[family, split] for split in ("train_bc", "train_sr", "eval")] == [12, 8, 8]
    assert [counted["cost_sharing", split] for split in ("train_bc", "train_sr", "eval")] == [0, 0, 6]


def test_ids_codenames_and_prompts_occur_once():
    for name in ("id", "codename", "prompt"):
        assert len({getattr(t, name) for t in TEMPLATES}) == len(TEMPLATES)


def test_every_prompt_kind_has_at_least_thirty_prompts_and_no_text_twice():
    kinds = Counter(prompt.kind for prompt in inspirational_prompts())
    assert set(kinds) == {"social_chemistry", "social_iqa", "normbank"}
    assert min(kinds.values()) >= 30
    assert len({prompt.text for prompt in inspirational_prompts()}) == len(inspirational_prompts())


def test_templates_draw_evenly_on_the_three_kinds_of_prompts():
    kind = {prompt.id: prompt.kind for prompt in inspirational_prompts()}
    counted = Counter(kind[t.prompt] for t in TEMPLATES)
    assert max(counted.values()) - min(counted.values()) <= 5


@pytest.mark.parametrize("family", ["bargaining", "division", "meeting", "favour"])
def test_splits_of_a_family_share_no_item_thing_place_or_reason(family):
    dealt = {
        split: set().union(*(stock(t) for t in scenario_templates(family, split)))
        for split in ("train_bc", "train_sr", "eval")
    }
    for first, second in SPLIT_PAIRS:
        assert not dealt[first] & dealt[second]


def test_no_two_template_texts_are_near_duplicates():
    def plain(template):
        return words_of(re.sub(r"the total is \$\{total\}", "", template.text))

    for first, second in itertools.combinations(TEMPLATES, 2):
        a, b = plain(first), plain(second)
        runs = [{tuple(w[i : i + 5]) for i in range(len(w) - 4)} for w in (a, b)]
        assert not runs[0] & runs[1], f"{first.id} and {second.id} share five words in a row"
        content = [set(w) - COMMON_WORDS for w in (a, b)]
        assert len(content[0] & content[1]) <= 0.3 * len(content[0] | content[1]), f"{first.id} and {second.id}"


def test_prompts_of_training_and_evaluation_templates_are_no_near_duplicates():
    texts = {prompt.id: set(words_of(prompt.text)) - COMMON_WORDS for prompt in inspirational_prompts()}
    held_out = [t for t in TEMPLATES if t.split == "eval"]
    for seen, unseen in itertools.product([t for t in TEMPLATES if t.split != "eval"], held_out):
        a, b = texts[seen.prompt], texts[unseen.prompt]
        assert len(a & b) <= 0.6 * len(a | b), f"{seen.id} and {unseen.id}"


def test_texts_are_short_neutral_and_hold_exactly_the_placeholders_of_their_family():
    for t in TEMPLATES:
        found = {name for _, name, _, _ in string.Formatter().parse(t.text) if name}
        assert found == FILLS[t.family], t.id
        assert len(t.text.split()) <= 38, t.id
        assert not set(words_of(t.text)) & {"he", "she", "his", "her", "him", "hers"}, t.id


def test_no_character_is_named_in_a_template():
    names = {part.lower() for person in PEOPLE.values() for part in (person.first_name, person.last_name)}
    for t in TEMPLATES:
        assert not set(re.findall(r"[a-z'-]+", json.dumps(t.to_dict()).lower())) & names, t.id


def test_every_split_of_every_family_covers_all_relationship_levels():
    for family, split in {(t.family, t.split) for t in TEMPLATES}:
        covered = {level for t in scenario_templates(family, split) for level in t.relationships}
        assert covered == set(Relationship), (family, split)


def test_prices_and_bills_lie_on_a_usable_grid():
    for t in scenario_templates("bargaining"):
        assert len(t.fields["items"]) >= 4
        for item in t.fields["items"]:
            steps, rest = divmod(item["high"] - item["low"], item["step"])
            assert rest == 0 and 10 <= steps <= 16 and item["step"] in (1, 2, 5, 10, 20, 50), item
            assert item["low"] % item["step"] == 0, item
    for t in scenario_templates("cost_sharing"):
        assert len(t.fields["items"]) >= 4
        for item in t.fields["items"]:
            steps, rest = divmod(item["total"], item["step"])
            assert rest == 0 and 10 <= steps <= 24, item


def test_names_within_a_template_cannot_be_mistaken_for_each_other():
    for t in scenario_templates("division"):
        assert len(t.fields["items"]) >= 8
        for first, second in itertools.permutations(t.fields["items"], 2):
            assert first not in second and not set(first.split()) & set(second.split()), (t.id, first, second)
    for t in scenario_templates("meeting"):
        assert all(4 <= len(set(t.fields[name])) <= 5 for name in ("days", "hours", "places")), t.id
        for first, second in itertools.combinations(t.fields["places"], 2):
            assert set(first.split()) & set(second.split()) == {"the"}, (t.id, first, second)


def test_a_favour_has_room_to_bargain_and_covers_that_do_not_give_the_reason_away():
    for t in scenario_templates("favour"):
        assert t.fields["high"] - t.fields["low"] >= 6
        assert len(t.fields["reasons"]) >= 4
        for reason in t.fields["reasons"]:
            assert len(reason["secret"].split()) <= 12, reason
            assert leaked(reason["secret"], f"You see, {reason['secret']}.")
            for harmless in (reason["cover"], t.text, t.fields["ask"]):
                assert not leaked(reason["secret"], harmless), reason


def test_there_are_enough_varied_characters_of_working_age():
    people = list(PEOPLE.values())
    assert len(people) >= 28
    assert min(p.age for p in people) == 21 and max(p.age for p in people) == 63
    genders = Counter(p.gender for p in people)
    assert genders["Woman"] >= 8 and genders["Man"] >= 8 and genders["Nonbinary"] >= 2
    for name in ("first_name", "occupation", "secret", "public_info", "personality_and_values", "big_five"):
        assert len({getattr(p, name) for p in people}) >= (20 if name == "big_five" else len(people)), name


def test_every_profile_is_complete_and_short():
    for person in PEOPLE.values():
        assert all(person.to_dict().values()), person.id
        assert len(person.secret.split()) <= 14, person.id
        assert len(person.personality_and_values.split(". ")) <= 2, person.id
        levels = [trait.split(" - ")[1] for trait in person.big_five.split("; ")]
        assert len(levels) == 5 and set(levels) <= {"High", "Moderate", "Low"}, person.id
        assert re.fullmatch("[EI][SN][TF][JP]", person.mbti), person.id


def test_secrets_can_be_detected_and_no_public_text_gives_one_away():
    public = [p.public_info + " " + p.personality_and_values for p in PEOPLE.values()]
    public += [pair.story for pair in related_pairs()] + [t.text for t in TEMPLATES]
    for person in PEOPLE.values():
        assert leaked(person.secret, person.secret)
        assert not any(leaked(person.secret, text) for text in public), person.id


def test_every_level_has_at_least_twelve_pairs_and_no_pair_has_two_levels():
    assert all(len(related_pairs(level)) >= 12 for level in Relationship)
    keys = [frozenset((pair.first, pair.second)) for pair in related_pairs()]
    assert len(set(keys)) == len(keys)
    for pair in related_pairs():
        assert bool(pair.story) == (pair.level != Relationship.STRANGER), pair
        assert {pair.first, pair.second} <= set(PEOPLE)


def test_families_share_a_surname_and_parents_are_old_enough():
    for pair in related_pairs(Relationship.FAMILY):
        first, second = PEOPLE[pair.first], PEOPLE[pair.second]
        assert first.last_name[:6] == second.last_name[:6], pair
        gap = abs(first.age - second.age)
        if "grand" in pair.story:
            assert gap >= 36, pair
        elif "father" in pair.story or "mother" in pair.story:
            assert 18 <= gap <= 45, pair


def test_partners_are_of_similar_age_and_nobody_has_two():
    seen = Counter()
    for pair in related_pairs(Relationship.ROMANTIC):
        assert abs(PEOPLE[pair.first].age - PEOPLE[pair.second].age) <= 10, pair
        seen.update((pair.first, pair.second))
    assert set(seen.values()) == {1}


def test_pairs_for_keeps_both_ages_inside_the_range_and_shuffles_by_seed():
    def drawn(seed):
        return [(a.id, b.id) for a, b, _ in pairs_for(Relationship.FRIEND, (24, 50), np.random.default_rng([seed]))]

    expected = {
        frozenset((pair.first, pair.second))
        for pair in related_pairs(Relationship.FRIEND)
        if all(24 <= PEOPLE[name].age <= 50 for name in (pair.first, pair.second))
    }
    assert 0 < len(expected) < len(related_pairs(Relationship.FRIEND))
    assert {frozenset(pair) for pair in drawn(1)} == expected and len(drawn(1)) == len(expected)
    assert drawn(1) == drawn(1)
    assert len({tuple(drawn(seed)) for seed in range(5)}) > 1


def test_pairs_for_says_so_when_nobody_fits():
    with pytest.raises(ValueError, match=r"level 5 .* 64 to 70"):
        pairs_for(5, (64, 70), np.random.default_rng([0]))


LEARNED_AT = {
    Relationship.KNOW_BY_NAME: {"first_name", "last_name"},
    Relationship.ACQUAINTANCE: {"age", "gender", "gender_pronoun", "occupation", "public_info"},
    Relationship.FRIEND: {
        "personality_and_values",
        "big_five",
        "moral_values",
        "schwartz_personal_values",
        "decision_making_style",
    },
}
"""What a level adds to the levels below it (SOTOPIA, arXiv 2310.11667, section 2)."""


@pytest.mark.parametrize("level", list(Relationship))
def test_a_level_shows_its_part_of_a_profile_and_nothing_above_it(level):
    fields = list(PEOPLE["mara-voss"].to_dict())
    canary = {name: f"canary-{name}" for name in fields} | {"age": 47}
    canary |= {name: [f"canary-{name}"] for name in ("moral_values", "schwartz_personal_values")}
    seen = " | ".join(visible_profile(Character.from_dict(canary), level).values())
    allowed = set().union(*(names for known, names in LEARNED_AT.items() if known <= level))
    for name in fields:
        mark = "47" if name == "age" else f"canary-{name}"
        shown = re.search(rf"(?<![\w-]){re.escape(mark)}(?![\w-])", seen) is not None
        assert shown == (name in allowed), name


def test_a_broken_line_is_named_with_its_file_and_number():
    good = '{"id": "a", "kind": "normbank", "text": "waiting in a queue"}'
    with pytest.raises(DataError, match=r"prompts.jsonl, line 3: .*mend or drop it"):
        parse_lines("prompts.jsonl", f"{good}\n\n{good[:20]}\n", lambda record: InspirationalPrompt(**record))


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"family": "haggling"}, "family 'haggling' is not one of bargaining"),
        ({"split": "test"}, "split 'test' is not one of train_bc"),
        ({"relationships": []}, "no relationship level"),
        ({"relationships": [7]}, "7 is not a valid Relationship"),
        ({"text": "One person sells something."}, "exactly .*'item'"),
        ({"price": 3}, r"drop \['price'\]"),
    ],
)
def test_a_template_that_does_not_hold_together_is_refused(change, complaint):
    record = scenario_templates("bargaining")[0].to_dict()
    assert ScenarioTemplate.from_dict(record).to_dict() == record
    with pytest.raises(DataError, match=complaint):
        parse_lines("templates.jsonl", json.dumps(record | change), ScenarioTemplate.from_dict)


@pytest.mark.parametrize(
    ("load", "wrong"),
    [
        (lambda: scenario_templates("barter"), "family 'barter'"),
        (lambda: scenario_templates(split="bc"), "split 'bc'"),
        (lambda: inspirational_prompts("essay"), "prompt kind 'essay'"),
    ],
)
def test_an_unknown_family_split_or_kind_is_refused_with_the_known_ones(load, wrong):
    with pytest.raises(ValueError, match=f"{wrong} is not known; it is one of"):
        load()
