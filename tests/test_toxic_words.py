"""Toxic words are counted as words, in simple inflections, by a list that comes along or by any file."""

import pytest

from sotopia_pi.stages.toxic_words import WordList, packaged_words, word_list

WORDS = WordList("toy", "none", {"bad": ["stab", "murder", "idiot", "choke", "beat up"], "worse": ["son of a gun"]})


@pytest.mark.parametrize(
    "text",
    ["Stab!", "stabs", "stabbed", "stabbing", "stabbers", "MURDERED", "murdering", "idiots", "idiot's", "choked",
     "choking", "chokes", "beat up", "beats up", "beating\nup", "I'll beat-up nobody"],
)  # fmt: skip
def test_a_word_is_found_in_any_case_and_simple_inflection(text):
    assert WORDS.counts([text]) == {"bad": 1, "worse": 0}


@pytest.mark.parametrize(
    "text", ["stable", "establish", "murderousness", "idiotic", "artichoke", "up beat", "chok", ""]
)
def test_within_other_words_it_is_not_found(text):
    assert WORDS.counts([text]) == {"bad": 0, "worse": 0}


def test_every_occurrence_counts_once_and_kinds_stay_apart():
    texts = ["You idiot, you son of a gun.", "Idiots! Stab, stab."]
    assert WORDS.counts(texts) == {"bad": 4, "worse": 1}
    assert WORDS.found(texts[0]) == ["idiot", "son of a gun"]


def test_the_longer_phrase_is_taken_where_two_begin_alike():
    both = WordList("toy", "none", {"a": ["shut up"], "b": ["shut up you fool"]})
    assert both.counts(["Shut up you fool!"]) == {"a": 0, "b": 1}


def test_the_packaged_list_has_a_name_a_licence_and_no_entry_twice():
    words = packaged_words()
    assert words.name and words.licence.startswith("Apache-2.0")
    entries = [word for kind in words.words.values() for word in kind]
    assert len(entries) == len(set(entries)) > 80 and set(words.words) == {"swearing", "insults and slurs", "threats"}
    assert (
        sum(words.counts(["Good morning, could you pass the assessment to the class? Hello, Scunthorpe."]).values())
        == 0
    )
    assert all(sum(words.counts([entry]).values()) == 1 for entry in entries), "each entry finds itself"


def test_any_file_is_read_and_an_empty_one_is_refused(tmp_path):
    file = tmp_path / "mine.txt"
    file.write_text("# my own\nheck  # mild\n\ndarn it\nheck\n")
    words = word_list(str(file))
    assert words.words == {"listed": ("heck", "darn it")} and words.counts(["Heck! Darn it."]) == {"listed": 2}
    assert words.name == "mine.txt" and word_list("").digest == packaged_words().digest != words.digest
    file.write_text("# nothing\n")
    with pytest.raises(ValueError, match=r"'mine\.txt' holds no words; put one word or phrase on each line"):
        word_list(str(file))
    with pytest.raises(FileNotFoundError, match=r"there is no file .*gone\.txt; name a text file"):
        word_list(str(tmp_path / "gone.txt"))
