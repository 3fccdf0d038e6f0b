"""Prompts are cleaned, each has one fate, and none is used twice."""

import json
import tracemalloc
from collections import Counter

import pytest

from sotopia_pi.formats.inspirations import (
    Inspiration,
    RefusedRow,
)
from sotopia_pi.stages.inspirations import PromptPool, UsedPrompts, clean, draw, evaluation_prompts, own_prompts


def prompts(source: str, n: int, start: int = 0) -> list[Inspiration]:
    return [Inspiration(source, row, f"{source} prompt number {row}") for row in range(start + 1, start + n + 1)]


def test_texts_lose_spacing_and_unseen_marks_before_they_are_compared():
    rows = [Inspiration("a", 2, "  Not\tcalling \n back\u200b\x07 "), Inspiration("b", 1, "“not calling BACK!”")]
    pool = clean(rows)
    assert pool.kept == (Inspiration("a", 2, "Not calling back"),)
    assert pool.fates == {("a", "kept"): 1, ("b", "duplicate"): 1}


def test_every_row_has_one_fate_and_the_table_adds_up():
    rows = [
        *prompts("a", 3),
        Inspiration("a", 9, "ok"),
        Inspiration("a", 10, "long " * 200),
        Inspiration("a", 11, "caf\ufffd au lait"),
        Inspiration("a", 12, "A prompt of the evaluation set."),
        RefusedRow("a", 13, "not UTF-8"),
        RefusedRow("b", 1, "empty line"),
        *prompts("b", 2),
    ]
    pool = clean(rows, held_out=["a prompt of the  evaluation set"])
    assert pool.fates["a", "kept"] == 3 and pool.fates["b", "kept"] == 2
    fates = {fate for source, fate in pool.fates if source == "a"}
    assert fates == {
        "kept",
        "too short",
        "too long",
        "damaged characters",
        "in the evaluation set",
        "refused: not UTF-8",
    }
    table = pool.table()
    assert list(table.columns) == ["source", "fate", "n_rows"]
    assert table.groupby("source")["n_rows"].sum().to_dict() == {"a": 8, "b": 3}
    assert pool.counts()["rows of prompts read"] == len(rows) and pool.counts()["prompts kept"] == 5
    assert pool.refused == (rows[7], rows[8])


def test_a_pool_holds_each_prompt_once_in_memory():
    n = 20_000
    texts = (f"Person {row} is asked to lend a ladder to neighbour {row % 97}" for row in range(1, n + 1))
    rows = (Inspiration("a", row, text) for row, text in enumerate(texts, 1))
    tracemalloc.start()
    try:
        pool = clean(rows)
        held, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(pool.kept) == n and held < 300 * n and most < 520 * n


def test_the_prompts_of_the_products_evaluation_tasks_never_reach_the_pool():
    barred = {text.lower() for text in evaluation_prompts()}
    pool = clean(own_prompts(), evaluation_prompts())
    assert len(barred) > 20 and len(pool.kept) == len(own_prompts()) - len(barred)
    assert not barred & {prompt.text.lower() for prompt in pool.kept}


# Drawing


def pool_of(**sizes: int) -> PromptPool:
    return clean(prompt for source, n in sizes.items() for prompt in prompts(source, n))


def test_sources_of_unequal_size_get_equal_shares():
    shares = Counter(prompt.source for prompt in draw(pool_of(a=2000, b=400, c=171), 510, seed=0))
    assert shares == {"a": 170, "b": 170, "c": 170}
    assert sorted(Counter(p.source for p in draw(pool_of(a=90, b=90, c=90), 11, 3)).values()) == [3, 4, 4]


def test_a_source_that_runs_out_is_made_up_for_by_the_others():
    assert Counter(p.source for p in draw(pool_of(a=50, b=5, c=50), 45, seed=1)) == {"a": 20, "b": 5, "c": 20}


def test_a_draw_is_its_seeds_alone_and_a_larger_one_goes_on_where_it_ended():
    pool = pool_of(a=100, b=100)
    assert draw(pool, 20, 4) == draw(pool, 20, 4) == draw(pool, 50, 4)[:20]
    assert draw(pool, 20, 5) != draw(pool, 20, 4)
    rows = [prompt.row for prompt in draw(pool, 40, 4)]
    assert rows != sorted(rows) and len({p.key for p in draw(pool, 200, 4)}) == 200


def test_more_than_there_is_cannot_be_drawn():
    pool = pool_of(a=3, b=3)
    with pytest.raises(ValueError, match=r"draw of 6 prompts: 5 of the pool's 6 are left"):
        draw(pool, 6, 0, {pool.kept[0].key})


def test_no_two_draws_share_a_prompt_and_each_repeats_itself(tmp_path):
    pool, used = pool_of(a=60, b=60), UsedPrompts(tmp_path / "used.jsonl")
    first = used.claim(pool, 40, seed=0, name="bc")
    second = used.claim(pool, 40, seed=0, name="sr")
    assert not {p.key for p in first} & {p.key for p in second}
    assert used.claim(pool, 40, seed=0, name="bc") == first and used.claim(pool, 10, seed=0, name="bc") == first[:10]
    assert used.keys() == {p.key for p in first + second}
    more = used.claim(pool, 60, seed=0, name="bc")
    assert more[:40] == first and not {p.key for p in more} & {p.key for p in second}
    with pytest.raises(ValueError, match="are left unused"):
        used.claim(pool, 21, seed=0, name="another")


def test_the_same_text_in_another_file_counts_as_used(tmp_path):
    used = UsedPrompts(tmp_path / "used.jsonl")
    used.claim(clean([Inspiration("a", 1, "Not calling back")]), 1, 0, "bc")
    again = clean([Inspiration("b", 7, "not calling back."), Inspiration("b", 8, "calling too often")])
    assert [p.row for p in used.claim(again, 1, 0, "sr")] == [8]


def test_a_claim_that_was_cut_short_is_finished_as_it_was_begun(tmp_path):
    pool = pool_of(a=60, b=60)
    whole = UsedPrompts(tmp_path / "whole.jsonl").claim(pool, 30, 2, "bc")
    lines = (tmp_path / "whole.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "cut.jsonl").write_bytes(b"".join(lines[:11]) + lines[11][:40])
    assert UsedPrompts(tmp_path / "cut.jsonl").claim(pool, 30, 2, "bc") == whole


def test_prompts_and_refusals_survive_a_round_trip_and_refuse_nonsense():
    for one in (Inspiration("a", 4, "text"), RefusedRow("a", 5, "empty line", "no fields")):
        assert type(one).from_dict(json.loads(json.dumps(one.to_dict()))) == one
    for wrong in (
        lambda: Inspiration("a", 0, "text"),
        lambda: Inspiration("a", 1, " "),
        lambda: RefusedRow("a", 1, "?"),
    ):
        with pytest.raises(ValueError):
            wrong()
