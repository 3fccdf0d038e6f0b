"""The commands `sotopia-pi report | bundle | import-bundle`: a run for readers, as one file, and back."""

import argparse
import json
from pathlib import Path

from sotopia_pi.app.results import RESULTS_FILE
from sotopia_pi.app.status import find_run
from sotopia_pi.store.notebook import project_root
from sotopia_pi.store.params import ParameterError

MAX_GIB = 8.0


def add_bundle(commands: argparse._SubParsersAction) -> None:
    """Add `report`, `bundle` and `import-bundle` to the command line."""
    report = commands.add_parser("report", help="write a run's report anew from what is there")
    report.add_argument("run", help="a run's name, for instance laptop")
    report.set_defaults(action=report_command)
    bundle = commands.add_parser("bundle", help="one zip of a run: report, pages, items, cards, parameters, adapters")
    bundle.add_argument("run", help="a run's name, for instance laptop")
    bundle.add_argument("--out", type=Path, metavar="F.zip", help="where to (default outputs/RUN-bundle.zip)")
    bundle.add_argument("--without-adapters", action="store_true", help="leave the weights of adapters out")
    bundle.add_argument("--force", action="store_true", help="replace a file in the way that is no bundle")
    bundle.set_defaults(action=bundle_command)
    imports = commands.add_parser("import-bundle", help="lay a bundle's run under outputs/, checked first")
    imports.add_argument("bundle", type=Path, metavar="F.zip", help="what `sotopia-pi bundle` wrote")
    imports.add_argument("--run", metavar="NAME", help="another name for the run")
    imports.add_argument("--force", action="store_true", help="set a run of that name aside")
    imports.add_argument(
        "--max-gib", type=float, default=MAX_GIB, metavar="N", help=f"most it may unpack to (default {MAX_GIB:g})"
    )
    imports.set_defaults(action=import_bundle_command)


def report_command(arguments: argparse.Namespace) -> int:
    """`report`: the page of a run as it stands."""
    from sotopia_pi.app.report import known_stages, write_report

    root = project_root()
    run_dir = find_run(root, arguments.run)
    name = run_dir.name
    if (run_dir / RESULTS_FILE).is_file():
        raise ParameterError(
            f"{name} is a pool of runs; `sotopia-pi seeds PRESET --pool-only` writes its page. Name one of its runs."
        )
    print(write_report(root, name, known_stages(root, name)))
    return 0


def bundle_command(arguments: argparse.Namespace) -> int:
    """`bundle`: write the zip, print what is in it and what is not, as JSON."""
    from sotopia_pi.app.bundle import bundle_run

    asked = arguments.run, arguments.out, not arguments.without_adapters, arguments.force
    print(json.dumps(bundle_run(project_root(), *asked), ensure_ascii=False, indent=1))
    return 0


def import_bundle_command(arguments: argparse.Namespace) -> int:
    """`import-bundle`: check and lay it out, print what became of it, as JSON."""
    from sotopia_pi.app.import_bundle import import_bundle

    asked = arguments.bundle, arguments.run, arguments.force, int(arguments.max_gib * 1024**3)
    print(json.dumps(import_bundle(project_root(), *asked), ensure_ascii=False, indent=1))
    return 0
