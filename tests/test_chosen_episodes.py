"""Episodes chosen for a report: the ones that the reasons say, each once, found by its anchor."""

import re
from dataclasses import replace

import pytest
from browsed_run import items, made_run, opened, project
from synthetic_run import complete
from test_transcripts import seen

from sotopia_pi.analysis.chosen_episodes import choose, chosen_html, chosen_table, pairs_html, widest_pairs
from sotopia_pi.store.items import write_items
from sotopia_pi.world.actions import Action, Turn
from sotopia_pi.world.episode import Episode


@pytest.fixture
def run(tmp_path):
    return made_run(project(tmp_path))


@pytest.fixture
def index(run):
    return opened(run.parents[1])


def test_each_variant_shows_its_best_its_typical_and_its_worst(index):
    frame, chosen = index.frame, choose(index)
    for variant in ("base", "BC", "BC+SR", "expert"):
        rows = frame.query("stage == '06_social_evaluation' and variant == @variant")
        by_reason = {why.split(" ")[1]: one.row for one in chosen if one.variant == variant for why in one.reasons}
        assert frame["agent_goal"].iat[by_reason["best"]] == rows["agent_goal"].max()
        assert frame["agent_goal"].iat[by_reason["worst"]] == rows["agent_goal"].min()
        closest = (rows["agent_goal"] - rows["agent_goal"].median()).abs().min()
        typical = frame["agent_goal"].iat[by_reason["closest"]]
        assert abs(typical - rows["agent_goal"].median()) == pytest.approx(closest, abs=1e-6)
    assert "always-accept" not in {one.variant for one in chosen}
    assert len({one.row for one in chosen}) == len(chosen)


def test_failures_and_the_largest_gaps_are_among_them(run):
    path = run / "06_social_evaluation"
    episodes = [Episode.from_dict(e) for e in items(run, path.name, "episodes.jsonl")]
    at = next(i for i, e in enumerate(episodes) if e.tag == "BC")
    lost = tuple(Turn(i, i % 2, Action("none"), failed=i % 2 == 0) for i in range(5))
    episodes[at] = replace(episodes[at], turns=lost)
    write_items(path / "episodes.jsonl", [e.to_dict() for e in episodes])
    complete(path, model="toy")
    index = opened(run.parents[1])
    reasons = {why: one for one in choose(index, n_gaps=2) for why in one.reasons}
    assert any(
        why.startswith("one of 2 that failed (policy failed)") and reasons[why].variant == "base" for why in reasons
    )
    unreadable = next(why for why in reasons if "could not be read" in why and reasons[why].variant == "BC")
    assert (
        unreadable.startswith("3 of its 5 turns") and index.frame["id"].iat[reasons[unreadable].row] == episodes[at].id
    )
    disputed = [one for why, one in reasons.items() if "judge-x gives" in why]
    gaps = index.gaps().assign(size=lambda g: g["gap"].abs())
    gaps = gaps[index.frame["variant"].iloc[gaps["row"]].ne("always-accept").to_numpy()]
    assert len(disputed) == 2
    assert {float(gaps.set_index("row")["size"][one.row]) for one in disputed} <= set(gaps["size"].nlargest(2))


def test_every_chosen_episode_stands_on_the_page_under_its_anchor(index):
    chosen = choose(index)
    page = chosen_html(index, chosen)
    ids = [index.frame["id"].iat[one.row] for one in chosen]
    assert re.findall(r'<section [^>]*id="([^"]+)"', page) == [f"episode-{one}" for one in ids]
    assert re.findall(r'href="#([^"]+)"', page) == [f"episode-{one}" for one in ids]
    assert page.count("<style>") == 1 and "<script" not in page and "http" not in page
    for one, told in zip(chosen, chosen_table(index, chosen)["reasons"], strict=True):
        assert told in seen(page).text and index.address(one.row) in page


def test_equal_data_give_equal_choices_whatever_their_order(run, index):
    before = [index.address(one.row) for one in choose(index)]
    path = run / "06_social_evaluation"
    write_items(path / "episodes.jsonl", items(run, path.name, "episodes.jsonl")[::-1])
    complete(path, model="toy")
    again = opened(run.parents[1])
    assert [again.address(one.row) for one in choose(again)] == before


def test_the_pairs_are_the_widest_apart_on_the_same_task(index):
    pairs = widest_pairs(index)
    frame = index.frame
    assert len(pairs) == 1 and "BC+SR did 4.0 points of goal better than base" in pairs[0].reason
    first, second = frame.iloc[pairs[0].first], frame.iloc[pairs[0].second]
    assert (first["variant"], second["variant"]) == ("base", "BC+SR")
    assert (first["task"], first["side"]) == (second["task"], second["side"])
    assert pairs_html(index, pairs).count("<section") == 2


def test_without_the_evaluation_there_is_nothing_to_choose_and_the_page_says_so(tmp_path):
    index = opened(project(tmp_path / "p"), "none")
    assert choose(index) == [] and widest_pairs(index) == [] and chosen_table(index, []).empty
    assert "06_social_evaluation: not complete yet" in chosen_html(index, [])
    assert "No task on which base" in pairs_html(index, [])
