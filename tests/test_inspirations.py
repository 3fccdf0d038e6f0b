"""Inspirational prompts: read from damaged files without losing a row, cleaned, drawn evenly, never drawn twice."""

import gzip
import json
import os
import subprocess
import sys
import threading
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
