"""The command `sotopia-pi bench`: every benchmark beside its peer, a table, bench.json and a page of figures."""

import argparse
import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sotopia_pi.app.bench.own_process import in_a_thread
from sotopia_pi.app.bench.work import Row, Work, measure
from sotopia_pi.app.console import Lines
from sotopia_pi.app.pipeline import Settings, StageFailed, run_pipeline
from sotopia_pi.store.items import write_atomically
from sotopia_pi.store.notebook import project_root, read_notebook
from sotopia_pi.store.params import ParameterError, Plan, closest

if TYPE_CHECKING:  # it needs torch, which no other command need load
    from sotopia_pi.app.bench.growth import Curve

RUN, NOTEBOOK = "bench", "13_bench"
ROWS, GROWTH = "bench.json", "growth.json"


def add_bench(commands: argparse._SubParsersAction) -> None:
    """Add `bench` to the command line."""
    bench = commands.add_parser("bench", help="measure speed beside what people use otherwise, on the same work")
    bench.add_argument("--only", nargs="+", default=[], metavar="WORK", help="only these works or curves")
    bench.add_argument("--pairs", type=int, metavar="N", help="measurements of each side, instead of each work's own")
    bench.add_argument(
        "--first", type=Path, metavar="FILE", help="run card (run.json) of `make report`'s first version"
    )
    bench.set_defaults(action=bench_command)


def bench_command(arguments: argparse.Namespace) -> int:
    """`bench`: measure, print, write outputs/bench/ after every work, then the page.

    1 where a result was unequal or a peer failed.
    """
    from transformers.utils.logging import disable_progress_bar

    from sotopia_pi.app.bench.growth import curves
    from sotopia_pi.app.bench.works import works

    disable_progress_bar()  # every loading of a peer's weights would draw one between the lines
    root = project_root()
    if arguments.pairs is not None and arguments.pairs < 1:
        raise ParameterError(f"--pairs is {arguments.pairs}; it takes at least 1")
    chosen = _chosen([*works(arguments.first), *curves()], arguments.only)
    folder, lines = root / "outputs" / RUN, Lines()
    rows = run_works([work for work in chosen if isinstance(work, Work)], folder / ROWS, arguments.pairs, lines)
    run_curves([curve for curve in chosen if not isinstance(curve, Work)], folder / GROWTH, lines)
    lines.say("\n" + bench_table(rows))
    return _page(root, lines) or any(row.correct.startswith(("unequal", "failed")) for row in rows)


def run_works(works: Sequence[Work], file: Path, pairs: int | None, lines: Lines) -> list[Row]:
    """Measure works one after another. Each row is written as soon as it is there, in place of an earlier one of the
    same work; rows of other works stay."""
    from sotopia_pi.app.bench.limits import measure_limits

    rows = []
    for work in works:
        lines.say(f"{work.name}: {work.does}")
        row = in_a_thread(measure, work, partial(in_a_thread, measure_limits), pairs)
        rows.append(row)
        _replace(file, "work", work.name, [row.to_dict()])
        lines.say(f"  {_words(row)}")
    return rows


def run_curves(curves: Sequence["Curve"], file: Path, lines: Lines) -> None:
    """Measure how costs grow; a curve is written when it is whole, in place of an earlier one of its name."""
    for curve in curves:
        lines.say(f"{curve.name}: against {curve.x}")
        points = []
        for x, values in curve.points():
            points.append({"curve": curve.name, "x_label": curve.x, "x": x, "values": values})
            lines.say(f"  {x:g}: " + ", ".join(f"{value:.4g} {name}" for name, value in values.items()))
        _replace(file, "curve", curve.name, points)


def bench_table(rows: Sequence[Row]) -> str:
    """Rows as aligned plain text."""
    head = ("work", "ours", "peer", "unit", "ratio", "spread", "must", "moonshot", "limit", "met", "correct")
    cells = [head, *(_cells(row) for row in rows)]
    widths = [max(len(line[k]) for line in cells) for k in range(len(head))]
    return "\n".join("  ".join(f"{c:<{w}}" for c, w in zip(line, widths, strict=True)).rstrip() for line in cells)


def _chosen(known: list[Any], names: Sequence[str]) -> list[Any]:
    by_name = {entry.name: entry for entry in known}
    for name in names:
        if name not in by_name:
            near = closest(name, by_name)
            raise ParameterError(
                f"--only: there is no benchmark {name!r}; allowed: {', '.join(by_name)}."
                + (f" Did you mean {near!r}?" if near else "")
            )
    return [entry for entry in known if not names or entry.name in names]


def _replace(file: Path, key: str, name: str, entries: list[dict[str, Any]]) -> None:
    kept = json.loads(file.read_text()) if file.exists() else []
    whole = [entry for entry in kept if entry[key] != name] + entries
    write_atomically(file, (json.dumps(whole, indent=1, ensure_ascii=False) + "\n").encode())


def _page(root: Path, lines: Lines) -> int:
    """Run the notebook that shows what was measured."""
    notebook = read_notebook(root / "notebooks" / f"{NOTEBOOK}.ipynb")
    params = {p.name: p.default for p in notebook.parameters.values()} | {"run": RUN}
    plan = Plan(RUN, Path(), (NOTEBOOK,), {NOTEBOOK: params})
    try:
        run_pipeline(root, plan, Settings(force=True, command="sotopia-pi bench"), lines)
    except StageFailed as failure:
        lines.say(f"{failure}; what was measured is kept in outputs/{RUN}/")
        return 1
    return 0


def _words(row: Row) -> str:
    if row.ours is None:
        return row.correct
    beside = f", peer {row.peer:.4g}: ratio {row.ratio:.2f}" if row.ratio is not None else ""
    return f"{row.ours:.4g} {row.unit}{beside} ({row.correct}; {row.wall_s:.0f} s)"


def _cells(row: Row) -> tuple[str, ...]:
    spread = f"{row.spread[0]:.2f}..{row.spread[1]:.2f}" if row.spread else "–"
    met = {True: "yes", False: "no", None: "–"}[row.met]
    numbers = (_number(row.ours), _number(row.peer), row.unit, _number(row.ratio), spread)
    share = "–" if row.limit_share is None else f"{row.limit_share:.0%}"
    return (row.work, *numbers, f"{row.must:g}", f"{row.moonshot:g}", share, met, row.correct)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"
