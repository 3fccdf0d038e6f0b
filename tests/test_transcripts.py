"""Episodes as HTML: readable, complete, static, and deaf to what hostile text wants to be."""

from dataclasses import replace
from html.parser import HTMLParser

import pytest
from synthetic_run import episode, many_tasks, rating, task, write_run

from sotopia_pi.analysis.escaping import escaped
from sotopia_pi.analysis.mask import mask_html
from sotopia_pi.analysis.tables import pooled, results_frame
from sotopia_pi.analysis.transcripts import Transcript, choose_episodes, deal_text, episode_html
from sotopia_pi.world.actions import Action, Turn
from sotopia_pi.world.payoffs import Issue
from sotopia_pi.world.scoring import rate_by_payoff

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "<svg/onload=alert(1)>",
    "' onmouseover='alert(1)",
    "</section></style><style>*{display:none}</style>",
    "</details></li></ol><h1>Results</h1>",
    "<!-- the rest is gone",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "javascript:alert(1)",
    "\u202eesrever\u202c and \u2066isolated\u2069",
    "zero\u200bwidth\ufeff and \x1b[31mred\x00",
    "line\n\n# heading\n\n**bold** [link](http://x) ![i](http://x/y.png)",
    "one\u2028two\u2029three\x85four",
]
ALLOWED_TAGS = {
    "section",
    "style",
    "p",
    "header",
    "div",
    "h4",
    "span",
    "details",
    "summary",
    "dl",
    "dt",
    "dd",
    "ol",
} | {*("li", "b", "br", "footer", "table", "caption", "tr", "th", "td")}
ALLOWED_ATTRIBUTES = {"class", "colspan"}


class Reader(HTMLParser):
    """Collects tags, attributes and text, as a browser would see them."""

    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.tags, self.attributes, self.text, self.open = set(), set(), "", []

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attributes}
        if tag != "br":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_comment(self, data):
        self.tags.add("comment")

    def handle_data(self, data):
        if not self.open or self.open[-1] != "style":
            self.text += data


def seen(html):
    reader = Reader()
    reader.feed(html)
    reader.close()
    assert reader.open == []
    return reader


def hostile_case(text):
    """A task, episode and ratings in which every free text is the hostile one."""
    one = task(0, "t", level=3)
    people = tuple(
        replace(c, first_name=text, occupation=text, secret=text, public_info=text, moral_values=(text,))
        for c in one.characters
    )
    scenario = replace(one.scenario, text=text, goals=(text, text), template=text)
    one = replace(one, characters=people, scenario=scenario, background=text)
    played = episode(one, text, 0)
    raw = ({"text": text},)
    said = [
        Action("speak", text),
        Action("action", text),
        Action("non-verbal communication", text),
        Action("leave", text),
    ]
    turns = [Turn(i, i % 2, a) for i, a in enumerate(said)] + [Turn(4, 0, Action("none"), failed=True, calls=raw)]
    played = replace(played, turns=tuple(turns))
    given = replace(
        rating(played, 0, 3.0, judge=text), reasons={"goal": text}, parts={"deal": True, "terms": {text: text}}
    )
    return one, played, [given]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_stays_text(text):
    page = episode_html(*hostile_case(text), reason=text)
    reader = seen(page)
    assert reader.tags <= ALLOWED_TAGS and reader.attributes <= ALLOWED_ATTRIBUTES
    failed = replace(hostile_case(text)[1], outcome="policy_failed", ending="failed", failure=text)
    assert seen(episode_html(hostile_case(text)[0], failed)).tags <= ALLOWED_TAGS
    assert seen(mask_html([text, "a"], [True, False])).tags <= {"div", "style", "p", "span", "br"}


@pytest.mark.parametrize("text", HOSTILE)
def test_no_line_break_or_hidden_character_of_a_text_survives(text):
    page = episode_html(*hostile_case(text), reason=text)
    for character in "\n\r\x00\x1b\x85\u2028\u2029\u202a\u202e\u202c\u2066\u2069\u200b\ufeff":
        assert character not in page


def test_direction_and_control_characters_are_shown_by_number():
    assert seen(escaped("a\u202eb\u200bc\x1b")).text == "aU+202EbU+200BcU+001B"
    assert seen(escaped("Zoë paid 90 €, 東京 🙂")).text == "Zoë paid 90 €, 東京 🙂"


def test_a_character_reference_in_a_text_is_shown_as_typed():
    assert seen(escaped("&lt;b&gt; & more")).text == "&lt;b&gt; & more"


def test_prices_are_not_typeset_as_formulas():
    one = task(0, "t")
    page = episode_html(one, episode(one, "BC", 0))
    assert "tex2jax_ignore" in page and "mathjax_ignore" in page and "$80" in page


def test_the_play_tells_everything_once():
    one = task(7, "flea-market", hard=True)
    played = episode(one, "BC", 1)
    text = seen(episode_html(one, played, [rating(played, 0, 4.0), rating(played, 1, 6.0)], "chosen as the best")).text
    for part in (
        "chosen as the best",
        "flea-market · hard",
        one.scenario.text,
        "They are acquaintances. They sing in the same choir.",
        "Buy the lamp. You would pay $100 at most.",
        "Sell the lamp. It must bring $70 at least.",
        "played by BC, agent",
        "played by partner",
        "“Hello! I would give $80 for it.”",
        "shakes her head",
        "counts coins",
        "Deal: price $80. Joint surplus: 40% of the best possible.",
        "goal [0, 10]",
        "walking away -100, best -60",
    ):
        assert text.count(part) == 1, part
    assert "<extra_info>" not in text


def test_the_rules_reasons_name_a_deal_in_the_words_of_the_line_above_them():
    one = task(7, "flea-market")
    said = tuple(Turn(i, i, Action("speak", words)) for i, words in enumerate(("I would give $80.", "Deal, $80.")))
    played = replace(episode(one, "BC", 1), turns=said)
    text = seen(episode_html(one, played, rate_by_payoff(played, one))).text
    assert "price = 80" not in text and text.count("deal on price $80: worth") == 2


def test_private_and_visible_parts_of_a_profile_are_marked():
    def marks(level):
        text = seen(episode_html(task(0, "t", level=level), episode(task(0, "t", level=level), "BC", 0))).text
        return {
            key: text.split(f"{key} ")[1].startswith("Ava sees this")
            for key in ("name", "occupation", "big five", "secret")
        }

    assert marks(0) == {"name": False, "occupation": False, "big five": False, "secret": False}
    assert marks(1) == {"name": True, "occupation": False, "big five": False, "secret": False}
    assert marks(2) == {"name": True, "occupation": True, "big five": False, "secret": False}
    assert marks(5) == {"name": True, "occupation": True, "big five": True, "secret": False}


def test_a_failed_turn_never_looks_like_a_chosen_silence():
    one = task(0, "t")
    raw = ({"text": "the the the"},)
    turns = (Turn(0, 0, Action("none")), Turn(1, 1, Action("none"), failed=True, calls=raw))
    text = seen(episode_html(one, replace(episode(one, "BC", 0), turns=turns))).text
    assert text.count("stays silent (chosen)") == 1
    assert text.count("failed: no readable output") == 1 and "the the the" in text


def test_a_failed_episode_says_so_and_shows_no_score():
    one = task(0, "t")
    text = seen(episode_html(one, episode(one, "BC", 1, failed=True))).text
    assert "policy_failed: side 1, turn 1: no end within the limit. Not rated." in text
    assert "goal [0, 10]" not in text


def test_ratings_of_other_episodes_are_not_shown():
    one = task(0, "t")
    other = rating(episode(one, "BC", 1), 0, 9.0)
    assert "Not rated." in seen(episode_html(one, episode(one, "BC", 0), [other])).text


def test_deal_terms_in_words():
    issues = (
        Issue("price", "amount", (1, 2), unit="$"),
        Issue("wait", "amount", (1, 2), unit="days"),
        Issue("lamp", "item", (0, 1)),
        Issue("day", "choice", ("Monday", "Tuesday")),
        Issue("share", "amount", (1, 2), unit="$", payer=0),
    )
    deal = {"price": 2, "wait": 1, "lamp": 1, "day": "Tuesday", "share": 1}
    expected = "price $2, wait 1 days, lamp to Ava, day Tuesday, share $1 (borne by Mia)"
    assert deal_text(deal, issues, ("Mia", "Ava")) == expected
    books = Issue("books", "amount", (0, 1, 2, 3), unit="books", payer=0, total=3)
    assert deal_text({"books": 2}, (books,), ("Mia", "Ava")) == "2 of 3 books to Mia"


def test_a_transcript_shows_itself_and_its_style_reaches_nothing_else():
    one = task(0, "t")
    page = Transcript(one, episode(one, "BC", 0), reason="why")._repr_html_()
    style = page.split("<style>")[1].split("</style>")[0]
    rules = style.replace("@media (prefers-color-scheme:dark){", "").split("}")
    selectors = [s for rule in rules if "{" in rule for s in rule.split("{")[0].split(",")]
    assert selectors and all(".sotopia-play" in s for s in selectors)
    assert "url(" not in style and "@import" not in style and "prefers-color-scheme" in style


def test_three_episodes_are_chosen_with_reasons(tmp_path):
    goals = {0: 9.0, 1: 1.0, 2: 5.0, 3: 4.0, 4: 2.0}
    tasks = [task(i, f"t{i}") for i in range(5)]
    frame = results_frame(write_run(tmp_path / "r", tasks, ("base", "BC"), lambda v, n, _: goals[n]))
    choices = choose_episodes(frame)
    picked = frame[frame["role"] == "agent"].set_index("episode_id").loc[[c.episode_id for c in choices]]
    assert picked["goal"].tolist() == [9.0, 4.0, 1.0] and set(picked["variant"]) == {"BC"}
    assert [c.reason.split(": ")[1][:11] for c in choices] == ["the best of", "the closest", "the worst ("]
    assert choose_episodes(frame.sample(frac=1, random_state=3)) == choices


def test_a_failed_episode_is_shown_before_a_merely_bad_one(tmp_path):
    run = write_run(tmp_path / "r", many_tasks(4), ("BC",), lambda v, n, s: None if n == 10 and s else 1.0 + n % 5)
    choices = choose_episodes(results_frame(run), "BC")
    assert len({c.episode_id for c in choices}) == 3
    assert "failed and not rated (side 1, turn 1: no end within the limit)" in choices[2].reason


def test_fewer_episodes_give_fewer_choices(tmp_path):
    assert choose_episodes(pooled([])) == []
    frame = results_frame(write_run(tmp_path / "r", [task(0, "t")], ("BC",), lambda v, n, s: None if s else 3.0))
    assert len(choose_episodes(frame)) == 2
    assert choose_episodes(frame, "expert") == []


def test_of_equal_goals_none_is_called_the_best_or_the_worst(tmp_path):
    frame = results_frame(write_run(tmp_path / "r", many_tasks(4), ("base",), lambda v, n, s: 0.0))
    (only,) = choose_episodes(frame)
    assert only.reason == "base: the first of its 32 rated episodes, which all reached the same goal (goal 0.0)."


def test_the_mask_colours_exactly_the_own_words():
    page = mask_html(
        ["You", ":", " hi", "\n", "Deal", "!", "<|im_end|>"], [False, False, False, False, True, True, True]
    )
    own = [part.split("</span>")[0] for part in page.split('<span class="own">')[1:]]
    assert own == ["Deal", "!", "&lt;|im_end|&gt;"]
    assert "trained on (3)" in page and "no loss (4)" in page and "43% trained on" in page and "↵<br>" in page
    with pytest.raises(ValueError, match="2 tokens and 1 mask"):
        mask_html(["a", "b"], [True])
    assert "0 tokens" in seen(mask_html([], [])).text
