"""Talks about pieces and friends: read as labelled, and rated as arithmetic by hand says.

Labels (tests/data/published_utterances.jsonl) were set by reading, before the readers were written. Pieces: what side 0
gets of each item by the speaker's offer or claim. Friends: "known" where the speaker names somebody as a friend or asks
after them, "unknown" where the speaker says not to know them.
"""

import json
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from toy_talks import Lines, talk, toy_task

from sotopia_pi.analysis.judges import judges_frame, overrating_table
from sotopia_pi.world.agreements import follow_pieces, named_by_both
from sotopia_pi.world.payoffs import Issue, Payoff, SidePayoff
from sotopia_pi.world.reader_names import read_names
from sotopia_pi.world.reader_pieces import read_pieces
from sotopia_pi.world.reader_score import measure_readings, summary
from sotopia_pi.world.scoring import rate_by_payoff

DATA = Path(__file__).parent / "data" / "published_utterances.jsonl"
RECORDS = [json.loads(line) for line in DATA.read_text(encoding="utf-8").splitlines()]
COUNTS = {"possessions": {"books": 3, "hats": 2, "balls": 1}, "moving": {"books": 4, "hats": 6, "balls": 2}}
FRIENDS = ["Mable", "Lolita", "Catherine", "Vita", "Brandon", "Don", "Alvin", "Tara", "Arlene", "Dave", "Timothy"]
FRIENDS += ["Leona", "Karissa", "Lee", "Rafael", "Lawrence", "Anna Lee", "Robin"]
WORTH = ({"books": 5, "hats": 3, "balls": 2}, {"books": 2, "hats": 5, "balls": 3})
BEST = (3 * 5 + 2 * 3 + 2, 3 * 2 + 2 * 5 + 3)
WORDS = ["no", "one", "two", "three", "four", "five", "six"]


def issues_of(counts):
    return tuple(Issue(name, "amount", tuple(range(n + 1)), unit=name, payer=0, total=n) for name, n in counts.items())


def pieces_task(counts=COUNTS["possessions"], worth=WORTH):
    sides = []
    for side in (0, 1):
        points = {
            name: {str(k): worth[side][name] * (k if side == 0 else n - k) for k in range(n + 1)}
            for name, n in counts.items()
        }
        sides.append(SidePayoff(points, 0, sum(worth[side][name] * n for name, n in counts.items())))
    return toy_task(Payoff("deal-or-no-deal", issues_of(counts), tuple(sides), material=True))


def rated(task, first, second):
    """The goals of both sides after these lines, said in turn, and the terms they ended with."""
    episode = talk(task, Lines(*first), Lines(*second), turn_limit=len(first) + len(second))
    ratings = rate_by_payoff(episode, task)
    return [rating.scores["goal"] for rating in ratings], ratings[0].parts["terms"]


def friends_task(first=("Mable", "Alvin"), second=("Dave", "Alvin")):
    side = SidePayoff({"mutual friend": {"found": 10, "not found": 0}}, 0, 10)
    notes = {"names": list(dict.fromkeys(first + second)), "shared": [name for name in first if name in second]}
    issue = Issue("mutual friend", "choice", ("found", "not found"))
    return toy_task(Payoff("mutual_friends", (issue,), (side, side), notes=notes))


def reading_of(record):
    if record["family"] == "mutual_friends":
        return read_names(record["text"], FRIENDS)
    return read_pieces(record["text"], issues_of(COUNTS[record["issues"]]), record["speaker"])


@pytest.mark.parametrize("family", ["deal-or-no-deal", "mutual_friends"])
def test_utterances_are_read_as_labelled(family):
    measured = measure_readings([record for record in RECORDS if record["family"] == family], reading_of)
    print(f"\n{family}: {summary(measured)}")
    for kind in ("offers", "acceptances", "withdrawals"):
        assert measured[kind]["precision"] >= 0.95 and measured[kind]["recall"] >= 0.9, measured["errors"]


def test_a_division_is_worth_its_points_as_a_share_of_all_points():
    goals, terms = rated(
        pieces_task(),
        ["Hello! I take the two books and the hat, you get the ball and the rest.", "Thank you, see you."],
        ["Deal!", "Bye."],
    )
    assert terms == {"books": 2, "hats": 1, "balls": 0}
    first, second = 2 * 5 + 1 * 3, 1 * 2 + 1 * 5 + 1 * 3
    assert goals == [round(10 * first / BEST[0], 2), round(10 * second / BEST[1], 2)]


def test_everything_for_one_side_is_ten_and_nothing_is_zero():
    goals, terms = rated(pieces_task(), ["You can have everything."], ["Deal, thank you."])
    assert (goals, terms) == ([0, 10], {"books": 0, "hats": 0, "balls": 0})


def test_both_may_state_the_same_division_from_their_own_point_of_view():
    goals, terms = rated(
        pieces_task(), ["I'd like all three books."], ["Then I take both hats and the ball, and you take the books."]
    )
    assert terms == {"books": 3, "hats": 0, "balls": 0}
    assert goals == [round(10 * 15 / 23, 2), round(10 * 13 / 19, 2)]


def test_a_counter_offer_changes_what_it_names_and_keeps_the_rest_of_the_offer():
    _, terms = rated(
        pieces_task(),
        ["I get the three books, you get both hats and the ball.", "Okay, that works for me."],
        ["I want one of the books.", "Great."],
    )
    assert terms == {"books": 2, "hats": 0, "balls": 0}


def test_a_full_share_asked_for_replaces_the_one_asked_for_before():
    first = ["I want the hats and the ball.", "Then the ball and two books for me?"]
    assert rated(pieces_task(), first, ["I can not part with the hats.", "Deal."])[1] == {
        "books": 2,
        "hats": 0,
        "balls": 1,
    }


def test_splitting_means_halves_but_asking_how_to_split_means_nothing():
    issues = issues_of(COUNTS["moving"])
    assert read_pieces("Let's split the hats, and you take the books.", issues, 0).terms == {"books": 0, "hats": 3}
    assert read_pieces("How should we split the hats?", issues, 0).terms == {}
    assert read_pieces("We split the books.", issues_of(COUNTS["possessions"]), 0).terms == {}


def test_an_older_offer_comes_back_only_when_it_is_spoken_of():
    first = ["I take the books, you take the rest.", "No, nothing more.", "Hm."]
    for said, deal in (("Deal.", None), ("Fine, I accept your offer.", {"books": 3, "hats": 0, "balls": 0})):
        second = ["I take two books and the ball, you take the rest.", said, "Bye."]
        assert rated(pieces_task(), first, second)[1] == deal


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (["I take the books, you take the rest.", "Agreed.", "Yes."], ["No deal.", "Yes.", "Bye."]),
        (["I take the books.", "As we agreed, the deal is done."], ["I take two books and the ball.", "No."]),
        (["Great, so we have a deal: I get everything.", "Bye."], ["No deal.", "Bye."]),
        (
            ["I take the books, you take the rest.", "Forget what I said about the books."],
            ["Let me think.", "Deal!"],
        ),
        (["Not the hats, please."], ["Deal!"]),
        (["I take two books and you take two books, the rest is yours."], ["Deal!"]),
        (["I take the books, you take the hats."], ["Deal!"]),
        (["You want the books? You said you would take the hats and the ball."], ["Deal!"]),
    ],
    ids=[
        "no deal agreed on",
        "a deal claimed by one side",
        "a deal nobody offered",
        "an offer taken back",
        "a refusal",
        "more than there is",
        "a piece left over",
        "words put in one's mouth",
    ],
)
def test_without_the_same_terms_on_both_sides_there_is_no_deal(first, second):
    assert rated(pieces_task(), first, second) == ([0, 0], None)


@given(st.data(), st.sampled_from(sorted(COUNTS)), st.sampled_from((0, 1)), st.sampled_from(range(4)))
def test_any_division_said_in_full_comes_back_whole(data, key, speaker, way):
    issues = issues_of(COUNTS[key])
    mine = {issue.name: data.draw(st.integers(0, issue.total)) for issue in issues}
    yours = {issue.name: issue.total - mine[issue.name] for issue in issues}

    def said(share):
        return ", ".join(f"{WORDS[n]} {name if n != 1 else name[:-1]}" for name, n in share.items())

    text = (
        f"I get {said(mine)}, and you get {said(yours)}.",
        f"How about {said(mine)} for me and {said(yours)} for you?",
        f"You could take {said(yours)}. I would keep {said(mine)}.",
        f"Let me have {said(mine)} and I'll give you {said(yours)}.",
    )[way]
    expected = mine if speaker == 0 else yours
    assert read_pieces(text, issues, speaker).terms == expected, text
    assert follow_pieces(issues, ()).deal is None


def test_both_naming_the_friend_they_share_is_ten_for_both():
    for answer in (
        "Yes, Alvin studied with me.",
        "Yes, I do!",
        "Oh yes, he is a good friend of mine.",
        "I do! Do you know Dave, too?",
        "Alvin? Of course, I know him!",
    ):
        assert rated(friends_task(), ["Hi! Do you know Alvin?"], [answer]) == ([10, 10], {"mutual friend": "found"})


def test_an_answer_may_come_after_a_question_about_the_one_named():
    first = ["Do you know Alvin?", "He works at Vectren."]
    assert rated(friends_task(), first, ["Where does he work?", "Yes, I know him!"])[0] == [10, 10]


def test_talk_about_others_later_does_not_undo_what_was_found():
    first = ["I am a friend of Alvin.", "Do you also know Mable?"]
    assert rated(friends_task(), first, ["I know Alvin, too!", "No, I don't know Mable."])[0] == [10, 10]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (["Do you know Mable?"], ["Yes, I know Mable."]),
        (["Do you know Alvin?", "So we have found our friend Alvin!"], ["Hmm, let me think.", "Bye."]),
        (["Do you know Alvin?"], ["No, I don't know Alvin."]),
        (["Do you know Alvin?", "Bye."], ["Yes, I know Alvin.", "Sorry, I was wrong. I don't know Alvin."]),
        (["Do you know Alvin?", "Bye."], ["Yes.", "I take that back."]),
        (["I know Alvin. Did you go to Auburn?"], ["Yes, I do."]),
        (["Do you know Alvin or Mable?"], ["Yes."]),
        (["I'm Alvin, nice to meet you."], ["Nice to meet you, Alvin."]),
        (["Do you know Alvin?"], ["Alvin? Who is Alvin?"]),
        (["Hello."], ["We both know Alvin, so we found our mutual friend."]),
    ],
    ids=[
        "a friend of one side alone",
        "a friend claimed by one side",
        "a friend denied",
        "a friend named and denied later",
        "a yes taken back",
        "a yes to something else",
        "a yes to two at once",
        "the names of the two themselves",
        "an echo",
        "a friend in common that only one side names",
    ],
)
def test_no_friend_found_is_zero(first, second):
    assert rated(friends_task(), first, second) == ([0, 0], None)


def test_who_is_known_follows_the_last_word_of_each_side():
    turns = talk(friends_task(), Lines("I know Alvin and Mable."), Lines("I know Alvin and Mable, too."), 2).turns
    assert named_by_both(["Mable", "Alvin"], turns) == {"Mable", "Alvin"}
    assert named_by_both(["Mable"], turns[:1]) == frozenset()


def test_a_judge_is_compared_with_the_rule_on_pieces_and_friends():
    shared, found = pieces_task(), friends_task()
    episodes = [
        talk(shared, Lines("You can have everything."), Lines("Deal!"), 2),
        talk(found, Lines("Do you know Alvin?"), Lines("Yes, I do."), 2),
    ]
    by_rule = [
        rating for task, one in zip((shared, found), episodes, strict=True) for rating in rate_by_payoff(one, task)
    ]
    by_judge = [
        replace(rating, id=f"j-{rating.id}", judge="gpt-4", scores={**rating.scores, "goal": 7}) for rating in by_rule
    ]
    table = overrating_table(judges_frame(episodes, [shared, found], by_rule + by_judge))
    assert table["judge_goal"].tolist() == [7]
    assert table["rule_goal"].tolist() == [(0 + 10 + 10 + 10) / 4] and table["difference"].tolist() == [-0.5]


def test_the_labelled_utterances_are_many_and_distinct():
    assert len({(r["family"], r["issues"], r["speaker"], r["text"]) for r in RECORDS}) == len(RECORDS) >= 150
    assert len({record["id"] for record in RECORDS}) == len(RECORDS)


def test_very_long_words_are_read_in_time_that_grows_with_their_length():
    def seconds(times):
        started = time.perf_counter()
        read_pieces("I take two books and a hat, " * times, issues_of(COUNTS["possessions"]), 0)
        read_names("Do you know Alvin? I know Mable, " * times, FRIENDS)
        return time.perf_counter() - started

    seconds(10)
    assert seconds(8000) < 24 * seconds(1000)
