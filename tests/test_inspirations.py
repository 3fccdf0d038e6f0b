"""Inspirational prompts: read from damaged files without losing a row, cleaned, drawn evenly, never drawn twice."""

import gzip
import json
import os
import subprocess
import sys
import threading
from collections import Counter
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from sotopia_pi.formats.delimited import LONGEST_LINE, LONGEST_RECORD
from sotopia_pi.formats.inspirations import (
    FIRST_ROWS,
    NORMBANK,
    SOCIAL_CHEMISTRY,
    SOCIAL_IQA,
    Inspiration,
    InspirationFileError,
    RefusedRow,
    located,
    read_inspirations,
)
from sotopia_pi.stages.inspirations import PromptPool, UsedPrompts, clean, draw, evaluation_prompts, own_prompts

COLUMNS = [f"column-{i}" for i in range(24)]
CHEMISTRY_HEADER = "\t".join([*COLUMNS[:17], "situation", *COLUMNS[17:]])


def chemistry_row(situation: str, fields: int = 25) -> str:
    return "\t".join(situation if i == 17 else f"v{i}" for i in range(fields))


def chemistry_file(folder, *rows: str | bytes, header: str = CHEMISTRY_HEADER):
    lines = [row if isinstance(row, bytes) else row.encode() for row in (header, *rows)]
    path = folder / "chemistry.tsv"
    path.write_bytes(b"\n".join(lines) + b"\n")
    return path


def normbank_file(folder, text: str):
    path = folder / "normbank.csv"
    path.write_text("setting,behavior,norm\n" + text, newline="")
    return path


def iqa_file(folder, *lines: str | bytes):
    path = folder / "train.jsonl"
    path.write_bytes(b"".join((line if isinstance(line, bytes) else line.encode()) + b"\n" for line in lines))
    return path


def texts(items):
    return [item.text for item in items if isinstance(item, Inspiration)]


def refusals(items):
    return [(item.row, item.reason) for item in items if isinstance(item, RefusedRow)]


def prompts(source: str, n: int, start: int = 0) -> list[Inspiration]:
    return [Inspiration(source, row, f"{source} prompt number {row}") for row in range(start + 1, start + n + 1)]


# Reading


def test_each_source_gives_the_texts_of_its_own_field_with_their_rows(tmp_path):
    chemistry = chemistry_file(tmp_path, chemistry_row("not calling back"), chemistry_row('saying "no" to a friend'))
    assert list(read_inspirations(chemistry, SOCIAL_CHEMISTRY)) == [
        Inspiration("social_chemistry", 2, "not calling back"),
        Inspiration("social_chemistry", 3, 'saying "no" to a friend'),
    ]
    iqa = iqa_file(tmp_path, json.dumps({"context": "Somebody cooked for all.", "question": "Why?"}))
    assert list(read_inspirations(iqa, SOCIAL_IQA)) == [Inspiration("social_iqa", 1, "Somebody cooked for all.")]
    normbank = normbank_file(tmp_path, 'bar,"order tea, loudly",x\r\nbus,"read ""news""\nto all",y\nbus,sing,z\n')
    assert list(read_inspirations(normbank, NORMBANK)) == [
        Inspiration("normbank", 2, "order tea, loudly"),
        Inspiration("normbank", 3, 'read "news"\nto all'),
        Inspiration("normbank", 5, "sing"),
    ]


def test_a_gzipped_file_reads_as_the_plain_one_whatever_its_name(tmp_path):
    plain = iqa_file(tmp_path, '{"context": "They met."}', '{"context": "They ate."}')
    packed = tmp_path / "packed.jsonl"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    assert list(read_inspirations(packed, SOCIAL_IQA)) == list(read_inspirations(plain, SOCIAL_IQA))


def test_a_byte_order_mark_is_no_part_of_the_first_column_or_object(tmp_path):
    normbank = tmp_path / "bom.csv"
    normbank.write_bytes(b"\xef\xbb\xbfbehavior,norm\nsing,ok\n")
    assert texts(read_inspirations(normbank, NORMBANK)) == ["sing"]
    assert texts(read_inspirations(iqa_file(tmp_path, b'\xef\xbb\xbf{"context": "Hi."}'), SOCIAL_IQA)) == ["Hi."]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (chemistry_row("too short a row", fields=24), "number of fields"),
        (chemistry_row("too long a row", fields=26), "number of fields"),
        (chemistry_row("  "), "empty text"),
        ("", "empty line"),
        (chemistry_row("caf").encode() + b"\xff", "not UTF-8"),
        (chemistry_row('"never closed'), "unbalanced quotes"),
        (chemistry_row("x" * LONGEST_LINE), "line too long"),
    ],
)
def test_a_damaged_row_of_a_table_is_refused_by_its_number_and_its_neighbours_are_read(tmp_path, row, reason):
    path = chemistry_file(tmp_path, chemistry_row("before"), row, chemistry_row("after"), chemistry_row("the end"))
    items = list(read_inspirations(path, SOCIAL_CHEMISTRY))
    assert texts(items) == ["before", "after", "the end"]
    assert refusals(items) == [(3, reason)]


def test_a_quote_that_a_much_later_row_happens_to_close_swallows_none_of_the_rows_between(tmp_path):
    between = [chemistry_row(f"row {i}") for i in range(LONGEST_RECORD + 10)]
    path = chemistry_file(tmp_path, chemistry_row('"open'), *between[:5], chemistry_row('close"'), *between[5:])
    items = list(read_inspirations(path, SOCIAL_CHEMISTRY))
    assert texts(items) == [*(f"row {i}" for i in range(5)), 'close"', *(f"row {i}" for i in range(5, len(between)))]
    assert refusals(items) == [(2, "unbalanced quotes")]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("not json", "not a JSON object"),
        ('["context"]', "not a JSON object"),
        ("[" * 60_000, "not a JSON object"),
        ('{"question": "Why?"}', "field is missing"),
        ('{"context": 7}', "field is no text"),
        ('{"context": "half \\ud83d"}', "field is no text"),
        ('{"context": " "}', "empty text"),
        ("", "empty line"),
        (b'{"context": "caf\xe9"}', "not UTF-8"),
    ],
)
def test_a_damaged_line_of_json_is_refused_by_its_number(tmp_path, line, reason):
    items = list(read_inspirations(iqa_file(tmp_path, '{"context": "A."}', line, '{"context": "B."}'), SOCIAL_IQA))
    assert texts(items) == ["A.", "B."] and refusals(items) == [(2, reason)]


def test_every_row_comes_out_once_as_a_prompt_or_as_a_refusal(tmp_path):
    damaged = {2: chemistry_row("x", 3), 5: b"\xff\xfe", 8: chemistry_row('"'), 9: "", 13: chemistry_row('"', 2)}
    rows = [damaged.get(i, chemistry_row(f"text {i}")) for i in range(40)]
    items = list(read_inspirations(chemistry_file(tmp_path, *rows), SOCIAL_CHEMISTRY))
    assert [item.row for item in items] == list(range(2, 42))
    assert {item.row - 2 for item in items if isinstance(item, RefusedRow)} == set(damaged)


@pytest.mark.parametrize(
    ("header", "says"),
    [
        ("a\tb\tc", "3 columns, a, b, c"),
        (CHEMISTRY_HEADER.replace("situation", "text"), "`situation` among them"),
        (CHEMISTRY_HEADER + "\tsituation", "26 columns"),
        (CHEMISTRY_HEADER.replace("column-3", "situation"), "only once"),
        (CHEMISTRY_HEADER.replace("\t", ","), "separated by tabs"),
    ],
)
def test_a_table_with_other_columns_is_refused_as_a_whole(tmp_path, header, says):
    path = chemistry_file(tmp_path, chemistry_row("text"), header=header)
    with pytest.raises(InspirationFileError, match=says) as caught:
        list(read_inspirations(path, SOCIAL_CHEMISTRY))
    assert str(path) in str(caught.value)


def test_a_table_one_has_cut_oneself_reads_when_its_layout_says_so(tmp_path):
    path = chemistry_file(tmp_path, "1\tnot calling", header="id\tsituation")
    assert texts(read_inspirations(path, replace(SOCIAL_CHEMISTRY, columns=0))) == ["not calling"]


def test_a_file_that_is_something_else_is_given_up_early_with_its_first_row_quoted(tmp_path):
    path = iqa_file(tmp_path, *(f'{{"text": "{i}"}}' for i in range(5000)))
    seen = []
    with pytest.raises(InspirationFileError, match=r"first row 1: field is missing .*text"):
        seen.extend(read_inspirations(path, SOCIAL_IQA))
    assert not seen or len(seen) < FIRST_ROWS


def test_empty_absent_and_cut_files_say_so(tmp_path):
    (tmp_path / "empty").write_bytes(b"")
    for layout in (SOCIAL_CHEMISTRY, SOCIAL_IQA):
        with pytest.raises(InspirationFileError, match="the file is empty"):
            list(read_inspirations(tmp_path / "empty", layout))
    with pytest.raises(InspirationFileError, match="ends after its first line"):
        list(read_inspirations(chemistry_file(tmp_path), SOCIAL_CHEMISTRY))
    with pytest.raises(InspirationFileError, match="no such file"):
        list(read_inspirations(tmp_path / "absent", SOCIAL_IQA))
    noise = os.urandom(40_000).hex()
    packed = gzip.compress("\n".join(json.dumps({"context": noise[i : i + 60]}) for i in range(0, 80_000, 60)).encode())
    (tmp_path / "cut.gz").write_bytes(packed[: len(packed) // 2])
    with pytest.raises(InspirationFileError, match=r"damaged after \d+ rows"):
        list(read_inspirations(tmp_path / "cut.gz", SOCIAL_IQA))


STREAM = """
import resource, sys
from sotopia_pi.formats.inspirations import SOCIAL_CHEMISTRY, Inspiration, read_inspirations
start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
n = refused = 0
for item in read_inspirations(sys.argv[1], SOCIAL_CHEMISTRY):
    if isinstance(item, Inspiration): n += 1
    else: refused += 1
unit = 1 if sys.platform == "darwin" else 1024
print(n, refused, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - start) * unit)
"""


@pytest.mark.slow
def test_a_million_rows_stream_in_constant_memory(tmp_path):
    path = tmp_path / "million.tsv"
    with path.open("w") as file:
        file.write(CHEMISTRY_HEADER + "\n")
        for i in range(1_000_000):
            file.write(chemistry_row('"open' if i % 1000 == 7 else f"situation {i}") + "\n")
    answer = subprocess.run([sys.executable, "-c", STREAM, path], capture_output=True, text=True, check=True)
    n, refused, grown = map(int, answer.stdout.split())
    assert (n, refused) == (999_000, 1000)
    assert grown < 20 * 1024**2, "the file alone has over 90 MiB"


# The hub


class Hub(BaseHTTPRequestHandler):
    """One file of one data set, as the hub serves it."""

    asked = 0

    def do_HEAD(self):
        Hub.asked += 1
        found = self.path == "/datasets/lab/talks/resolve/main/data/train.jsonl"
        self.send_response(200 if found else 404)
        if found:
            self.send_header("ETag", '"abc"')
            self.send_header("X-Repo-Commit", "f" * 40)
            self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        return found

    def do_GET(self):
        if self.do_HEAD():
            self.wfile.write(self.body)

    body = b'{"context": "They met."}\n'

    def log_message(self, *_):
        pass


FETCH = """
import sys
from sotopia_pi.formats.inspirations import SOCIAL_IQA, InspirationFileError, read_inspirations
try:
    print([item.text for item in read_inspirations(sys.argv[1], SOCIAL_IQA)])
except InspirationFileError as error:
    print(error)
"""


def fetch(where: str, home, endpoint: str = "http://127.0.0.1:9", offline: bool = False) -> str:
    env = {**os.environ, "HF_ENDPOINT": endpoint, "HF_HOME": str(home), "HF_HUB_DISABLE_TELEMETRY": "1"}
    env |= {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1", "HF_HUB_DISABLE_XET": "1"}
    env["HF_HUB_OFFLINE"] = str(int(offline))
    answer = subprocess.run([sys.executable, "-c", FETCH, where], capture_output=True, text=True, check=True, env=env)
    return answer.stdout.strip()


def test_a_file_of_the_hub_is_fetched_once_and_the_hub_not_asked_again(tmp_path):
    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        where, endpoint = "hf://datasets/lab/talks/data/train.jsonl", f"http://127.0.0.1:{server.server_port}"
        assert fetch(where, tmp_path, endpoint) == "['They met.']"
        asked = Hub.asked
        assert fetch(where, tmp_path, endpoint) == "['They met.']" and Hub.asked == asked > 0
        server.shutdown()


def test_without_network_the_error_says_what_to_run_where(tmp_path):
    error = fetch("hf://datasets/lab/talks@v1/data/other.jsonl", tmp_path, offline=True)
    assert "hf download lab/talks data/other.jsonl --repo-type dataset --revision v1 --local-dir talks" in error
    assert "On a machine with network" in error and "give its path" in error


def test_a_name_that_is_no_file_of_a_data_set_is_refused_with_the_form_to_write():
    with pytest.raises(InspirationFileError, match="write hf://datasets/OWNER/NAME/FILE"):
        located("hf://datasets/lab/talks")


# Cleaning


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
