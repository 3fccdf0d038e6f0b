"""Near-duplicates among tasks are listed, once a pair."""

import pytest
from toy_writer import scenario

from sotopia_pi.stages.judged_tasks import social_tasks
from sotopia_pi.stages.near_duplicates import AGAINST, AMONG, near_duplicates


def tasks_saying(**texts: str):
    return social_tasks([scenario(name, text=text) for name, text in texts.items()], 0, pairs_per_scenario=2).tasks


def test_near_duplicates_are_listed_once_a_pair_with_their_share_of_five_word_runs():
    ten = "one two three four five six seven eight nine ten"
    ours = tasks_saying(a=ten, b=ten.replace("ten", "eleven"), c="a wholly other text that shares nothing at all")
    theirs = tasks_saying(e=ten + " more", f="nothing of this kind was ever said before today")
    table = near_duplicates(ours, theirs)
    # a has 6 runs of five words; b shares 5 of 7 with it, e all 6 of 7, b and e share 5 of 8.
    assert table[["where", "template", "other_template", "jaccard"]].values.tolist() == [
        [AGAINST, "a", "e", 0.857],
        [AMONG, "a", "b", 0.714],
        [AGAINST, "b", "e", 0.625],
    ]
    assert near_duplicates(ours, theirs, threshold=0.7)["template"].tolist() == ["a", "a"]
    assert not near_duplicates(ours, theirs).same_text.any()


def test_the_same_text_is_a_pair_and_texts_of_one_template_are_none_unless_evaluation_has_it():
    same = tasks_saying(a="the very same words are said by all", b="the very same words are said by all")
    table = near_duplicates(same)
    assert table[["jaccard", "same_text"]].values.tolist() == [[1.0, True]]
    lone = tasks_saying(a="the very same words are said by all")
    assert near_duplicates(lone).empty and near_duplicates(lone, lone)["where"].tolist() == [AGAINST]
    with pytest.raises(ValueError, match="threshold is 2"):
        near_duplicates(lone, threshold=2)
