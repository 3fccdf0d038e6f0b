"""The command line: `sotopia-pi run | plan | status | results | seeds | sweep | import | export | bundle | …`."""

import argparse
import json
import os
import select
import shlex
import signal
import sys
from pathlib import Path

from sotopia_pi.app.bench.command import add_bench
from sotopia_pi.app.bundle_command import add_bundle
from sotopia_pi.app.console import Lines
from sotopia_pi.app.export_command import add_export
from sotopia_pi.app.pipeline import Settings, StageFailed, run_pipeline
from sotopia_pi.app.push import add_push
from sotopia_pi.app.results import results_table, run_results
from sotopia_pi.app.status import find_run, run_status, status_table
from sotopia_pi.store.lock import RunLocked
from sotopia_pi.store.notebook import NotebookError, project_root
from sotopia_pi.store.params import ParameterError, Plan, check_run_name, plan_run
from sotopia_pi.store.run_card import CARD, write_run_card

KEPT = "What is finished is kept."
FAILED, MISUSED, INTERRUPTED, UNREAD = 1, 2, 130, 141


def main(words: list[str] | None = None) -> int:
    """Run one command; returns the exit status: 0 done, 1 failed, 2 misused, 130 interrupted, 141 no reader left."""
    arguments = _parser().parse_args(words)
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        status = arguments.action(arguments)
        sys.stdout.flush()
        return status
    except (ParameterError, NotebookError, RunLocked) as error:
        return _complain(str(error), MISUSED)
    except FileNotFoundError as error:
        return _complain(str(error), FAILED)
    except OSError as error:
        if isinstance(error, BrokenPipeError) and _nobody_reads():
            return UNREAD
        return _complain(f"Could not read or write: {error}. {KEPT} When that is mended, run the same again.", FAILED)
    finally:
        signal.signal(signal.SIGTERM, before)


def run_command(arguments: argparse.Namespace) -> int:
    """`run`: the pipeline of one preset."""
    root = project_root()
    plan = plan_run(root, _preset(arguments.preset), arguments.set)
    settings = Settings(arguments.first, tuple(arguments.only), arguments.force, _command("run", arguments))
    return run_plan(root, plan, settings, Lines())


def run_plan(root: Path, plan: Plan, settings: Settings, lines: Lines) -> int:
    """Run a plan, write its run card and report, and say where things are or how to go on."""
    try:
        ran = run_pipeline(root, plan, settings, lines)
    except StageFailed as failure:
        page = f"\n  See {_near(failure.page)}" if failure.page else ""
        again = f"\n  {KEPT} When this is mended, continue with: {settings.command}"
        status = _complain(f"{failure.stage} failed {failure.where}.\n  {failure.error}{page}{again}", FAILED)
        _finish(root, plan)
        return status
    except KeyboardInterrupt:
        return _complain(f"\nInterrupted. {KEPT} Continue with: {settings.command}", INTERRUPTED)
    run_dir = root / "outputs" / plan.run
    report = run_dir / "report" / "index.html"
    if ran or not report.is_file() or not (run_dir / CARD).is_file():
        report = _finish(root, plan)
    lines.say(f"Report: {_near(report)}")
    return 0


def plan_command(arguments: argparse.Namespace) -> int:
    """`plan`: what a preset would ask of language models, and what is missing for it."""
    from sotopia_pi.app.costs import cost_text

    root = project_root()
    print(cost_text(root, plan_run(root, _preset(arguments.preset), arguments.set)))
    return 0


def status_command(arguments: argparse.Namespace) -> int:
    """`status`: how far a run is."""
    print(status_table(run_status(project_root(), arguments.run)))
    return 0


def results_command(arguments: argparse.Namespace) -> int:
    """`results`: what a run found, as a table or as JSON."""
    root = project_root()
    found = run_results(root, find_run(root, arguments.run))
    print(json.dumps(found, ensure_ascii=False, indent=1) if arguments.json else results_table(found["results"]))
    return 0


def seeds_command(arguments: argparse.Namespace) -> int:
    """`seeds`: a preset once per seed, then pooled."""
    from sotopia_pi.app.seeds import run_seeds

    root = project_root()
    preset = _preset(arguments.preset)
    command = _command("seeds", arguments)
    return run_seeds(root, preset, arguments.seeds, arguments.set, command, run_plan, arguments.pool_only)


def sweep_command(arguments: argparse.Namespace) -> int:
    """`sweep`: a preset at every point of a factor, then goal against it."""
    from sotopia_pi.app.sweep import run_sweep

    return run_sweep(project_root(), Path(arguments.preset), arguments.set, _command("sweep", arguments), run_plan)


def import_command(arguments: argparse.Namespace) -> int:
    """`import sotopia`: published profiles and episodes into a run; prints what came of every record, as JSON."""
    from sotopia_pi.app.import_sotopia import import_sotopia
    from sotopia_pi.formats.hub import HubUnreachable

    run_dir = project_root() / "outputs" / check_run_name(arguments.run)
    try:
        report = import_sotopia(arguments.folder, run_dir)
    except HubUnreachable as error:
        return _complain(str(error), FAILED)
    print(json.dumps(report.to_dict(), ensure_ascii=False, indent=1))
    return 0


def _finish(root: Path, plan: Plan) -> Path:
    from sotopia_pi.app.report import write_report

    write_run_card(root, plan)
    return write_report(root, plan.run, plan.stages)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="sotopia-pi", description="The Sotopia-π workbench.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="run a preset's pipeline; finished stages are skipped")
    run.add_argument("preset", help="a file in params/, for instance params/laptop.yaml")
    run.add_argument("--from", dest="first", metavar="STAGE", help="begin with this stage (03 or its name)")
    run.add_argument("--only", nargs="+", default=[], metavar="STAGE", help="only these stages")
    run.add_argument(
        "--force", action="store_true", help="run stages even if nothing changed; items already made are kept"
    )
    run.add_argument("--set", action="append", default=[], metavar="[STAGE.]KEY=VALUE", help="change one parameter")
    run.set_defaults(action=run_command)
    plan = commands.add_parser(
        "plan", help="calls, tokens and cost of a preset, and what is missing, before it is paid for"
    )
    plan.add_argument("preset", help="a file in params/, for instance params/paper.yaml")
    plan.add_argument("--set", action="append", default=[], metavar="[STAGE.]KEY=VALUE", help="change one parameter")
    plan.set_defaults(action=plan_command)
    status = commands.add_parser("status", help="how far a run is")
    status.add_argument("run", help="a run's name, for instance laptop")
    status.set_defaults(action=status_command)
    results = commands.add_parser("results", help="what a run found")
    results.add_argument("run", help="a run's name, for instance laptop")
    results.add_argument("--json", action="store_true", help="as JSON, for scripts")
    results.set_defaults(action=results_command)
    seeds = commands.add_parser("seeds", help="run a preset once per seed and pool the results")
    seeds.add_argument("preset", help="a file in params/, for instance params/laptop.yaml")
    seeds.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], metavar="N", help="the seeds (default 0 1 2)")
    seeds.add_argument("--set", action="append", default=[], metavar="[STAGE.]KEY=VALUE", help="change one parameter")
    seeds.add_argument("--pool-only", action="store_true", help="run nothing; pool the runs that are complete")
    seeds.set_defaults(action=seeds_command)
    sweep = commands.add_parser("sweep", help="an ablation: run a preset at every point of a factor, and draw the goal")
    sweep.add_argument("preset", metavar="file", help="a file in params/sweeps/, for instance params/sweeps/lora.yaml")
    sweep.add_argument("--set", action="append", default=[], metavar="[STAGE.]KEY=VALUE", help="change all points")
    sweep.set_defaults(action=sweep_command)
    imports = commands.add_parser("import", help="read other people's data into a run")
    imports.add_argument("kind", choices=["sotopia"], help="what to read: Sotopia's profiles and episode logs")
    imports.add_argument("folder", help="a folder of published files, or hub:cmu-lti/sotopia-space")
    imports.add_argument("--run", required=True, help="the run that gets them, in outputs/RUN/sotopia/")
    imports.set_defaults(action=import_command)
    add_export(commands)
    add_push(commands)
    add_bundle(commands)
    add_bench(commands)
    return parser


def _preset(given: str) -> Path:
    """The preset's file: a path, or the bare name of a file in params/."""
    path = Path(given)
    if not path.is_file() and path.name == given:
        beside = project_root() / "params" / f"{given.removesuffix('.yaml')}.yaml"
        return beside if beside.is_file() else path
    return path


def _command(name: str, arguments: argparse.Namespace) -> str:
    """The command that repeats this one, as a person would type it; --force left out, finished work is not repeated."""
    program = sys.argv[0] if os.sep in sys.argv[0] and not Path(sys.argv[0]).is_absolute() else "sotopia-pi"
    words = [program, name, arguments.preset]
    words += ["--seeds", *map(str, arguments.seeds)] if name == "seeds" else []
    words += [word for setting in arguments.set for word in ("--set", setting)]
    return shlex.join(words)


def _near(path: Path) -> str:
    return os.path.relpath(path)


def _complain(text: str, status: int) -> int:
    print(text, file=sys.stderr, flush=True)
    return status


def _nobody_reads() -> bool:
    """Whether the reader of what is printed has gone, as `head` does; then nothing more is printed."""
    printed = select.poll()
    printed.register(sys.stdout.fileno(), 0)
    gone = any(event & select.POLLERR for _, event in printed.poll(0))
    if gone:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return gone


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
