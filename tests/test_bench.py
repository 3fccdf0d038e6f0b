"""Benchmarks: pairs measured in turns, what counts as reached, and a file and a page that hold them."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pytest

from sotopia_pi.app.bench import command
from sotopia_pi.app.bench.work import Contest, Skipped, Unequal, Work, measure
from sotopia_pi.app.console import Lines
from sotopia_pi.store.params import ParameterError, plan_run

ROOT = Path(__file__).parents[1]


class NoLimits:
    """A machine of which nothing is known."""

    def to_dict(self) -> dict:
        return {}


def toy(ours: list[float], peer: list[float] | None, check: str | Exception = "equal", **settings) -> Work:
    """A work whose values are given; its turns are noted in `order`."""
    order: list[str] = []

    @contextmanager
    def opened() -> Iterator[Contest]:
        mine, theirs = iter(ours), iter(peer or [])

        def answer(name: str, values: Iterator[float]) -> float:
            order.append(name)
            return next(values)

        def checked() -> str:
            if isinstance(check, Exception):
                raise check
            return check

        beside = (lambda: answer("peer", theirs)) if peer else None
        yield Contest(lambda: answer("ours", mine), beside, checked, limit=lambda _: 40.0)

    opened.order = order
    return Work("toy", "a toy", "things/s", **{"must": 2, "moonshot": 4, "pairs": len(ours)} | settings, open=opened)


def measured(work: Work):
    return measure(work, lambda _: NoLimits())


def test_both_are_measured_in_turns_and_the_ratio_is_the_median_of_the_pairs():
    work = toy([10, 20, 30], [5, 2, 10])
    row = measured(work)
    assert work.open.order == ["ours", "peer"] * 3
    assert (row.ours, row.peer, row.ratio, row.spread) == (20, 5, 3, (2, 10))
    assert row.met is True and row.limit_share == 0.5 and row.correct == "equal"


@pytest.mark.parametrize(
    ("work", "ratio", "met"),
    [
        (toy([10], [8]), 1.25, False),
        (toy([10], [30], better="less"), 3, True),
        (toy([2.5], [9], better="less", judged="ours", must=3), 3.6, True),
        (toy([3.5], [90], better="less", judged="ours", must=3), 90 / 3.5, False),
        (toy([0.95], None, judged="ours", must=0.9), None, True),
        (toy([9], None), None, None),
        (toy([90], [1], check=Unequal("token 3")), 90, False),
    ],
)
def test_what_is_asked_is_reached_or_not_or_cannot_be_said(work, ratio, met):
    row = measured(work)
    assert row.ratio == ratio and row.met is met


def test_results_that_differ_are_told_and_a_work_that_cannot_run_says_why():
    assert measured(toy([1], [1], check=Unequal("token 3 differs"))).correct == "unequal: token 3 differs"

    @contextmanager
    def away() -> Iterator[Contest]:
        raise Skipped("set SOTOPIA_PI_DATA")
        yield

    row = measured(Work("gone", "nothing", "things/s", 1, 2, away))
    assert (row.ours, row.met, row.correct) == (None, None, "skipped: set SOTOPIA_PI_DATA")


def test_every_work_is_on_disk_as_soon_as_it_is_measured_and_replaces_its_earlier_self(tmp_path, monkeypatch):
    monkeypatch.setattr("sotopia_pi.app.bench.limits.measure_limits", lambda _: NoLimits())
    file = tmp_path / "bench.json"
    command.run_works([toy([10], [5])], file, None, Lines())
    with pytest.raises(StopIteration):
        command.run_works([toy([40], [5]), toy([], [1], pairs=1)], file, None, Lines())
    (row,) = json.loads(file.read_text())
    assert (row["work"], row["ours"], row["ratio"]) == ("toy", 40, 8)


def test_an_unknown_benchmark_is_refused_with_the_closest_name():
    with pytest.raises(ParameterError, match="Did you mean 'toy'"):
        command._chosen([toy([1], None)], ["toi"])


def test_no_preset_runs_the_benchmarks_page_and_no_other_command_loads_torch_for_it():
    assert "13_bench" not in plan_run(ROOT, ROOT / "params" / "laptop.yaml").stages
    words = "import sys, sotopia_pi.app.cli; print('torch' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "False"


@pytest.mark.slow
@pytest.mark.parametrize("rows", [0, 2])
def test_the_page_shows_what_was_measured_or_that_nothing_was(tmp_path, monkeypatch, rows):
    shutil.copytree(ROOT / "notebooks", tmp_path / "notebooks")
    found = [measured(toy([10, 20], [5, 2])).to_dict(), measured(toy([1], None)).to_dict() | {"work": "alone"}][:rows]
    folder = tmp_path / "outputs" / "bench"
    folder.mkdir(parents=True)
    if rows:
        (folder / "bench.json").write_text(json.dumps(found))
    assert command._page(tmp_path, Lines()) == 0
    page = (folder / "13_bench" / "report.html").read_text()
    assert ("2 works measured" in page) if rows else ("Run `make bench`" in page)
    assert page.count("<img") == 1  # each figure once; how costs grow was not measured
    table = pd.read_csv(folder / "13_bench" / "tables" / "bench.csv")
    assert table["work"].tolist() == ["toy", "alone"][:rows]
