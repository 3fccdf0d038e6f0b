"""A real browser before a real JupyterLab: Chromium driven by Playwright, on a free loopback port, with a token.

Tests that ask for the fixtures `browser` or `lab` are skipped, with a line that says so, where there is no Chromium or
no Playwright. Nothing here leaves the machine: every name but the loopback address resolves to nothing.
"""

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat
import pytest
import yaml
from smoke_run import REPOSITORY, finish, made_once, project

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-dev-shm-usage")
NO_NAMES = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
LAB_STARTS_S, CELLS_RUN_S = 90, 240
QUIET = (
    "--LabApp.news_url=None",
    "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    "--LabApp.extension_manager=readonly",
    "--ServerApp.port_retries=0",
    "--ServerApp.open_browser=False",
    "--allow-root",
)
OWN_PLACES = (
    "JUPYTER_CONFIG_DIR",
    "JUPYTER_DATA_DIR",
    "JUPYTER_RUNTIME_DIR",
    "JUPYTERLAB_WORKSPACES_DIR",
    "IPYTHONDIR",
)
SETTINGS = {
    "notebook-extension/tracker": {"windowingMode": "none"},
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
}
"""Settings of JupyterLab by plugin: cells out of sight are part of the page, too, and no question lies over it."""
TOUCHED = """() => [...document.querySelectorAll('.jp-OutputArea-output *, main *')].flatMap(e => {
  const worded = e.matches('pre a[rel=noopener], a[href^="../"]');  // an address in words; a file with a mended name
  const strange = worded ? /^\\s*javascript:/ : /javascript:|hostile/;
  const found = [...e.attributes].filter(a => a.name.startsWith('on')
    || (/^(href|src|xlink:href|action|data|srcdoc|style)$/.test(a.name) && strange.test(a.value)));
  const foreign = /^(script|iframe|object|embed|form|base|link|math|mjx-container)$/i.test(e.tagName);
  return found.length || foreign ? [e.outerHTML.slice(0, 200)] : [];
})"""
"""What of the payloads became part of a page: handlers, their addresses, and kinds of elements that we never make.

JupyterLab makes addresses in printed words links to click on; these may lead anywhere but into a script."""


def chromium() -> str | None:
    """Path of the browser, None where there is none."""
    return next(filter(None, map(shutil.which, CHROMIUM)), None)


def skip_without_browser() -> None:
    """Skip the test that asks where there is no Chromium, or no Playwright to drive it."""
    pytest.importorskip("playwright.sync_api", reason="Playwright is not installed: pip install -e .[dev]")
    if chromium() is None:
        pytest.skip("no Chromium on the PATH: apt-get install chromium")


@contextmanager
def opened_browser() -> Iterator[Any]:
    """A browser without a window; while it is open, no event loop can be started in this process."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium(), args=[*FLAGS, NO_NAMES])
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """One browser a file of tests."""
    skip_without_browser()
    with opened_browser() as opened:
        yield opened


@dataclass
class Watched:
    """A page, and what it did that nobody asked for. at_home: beginning of the addresses that it may ask for."""

    page: Any
    at_home: tuple[str, ...]
    dialogs: list[str] = field(default_factory=list)
    strayed: list[str] = field(default_factory=list)
    popups: list[str] = field(default_factory=list)

    def assert_untouched(self) -> None:
        """Nothing of the payloads ran, nothing was asked for elsewhere, and none of them is an element."""
        assert self.dialogs == [] and self.strayed == [] and self.popups == []
        for frame in self.page.frames:
            assert frame.evaluate("() => window.hostile") is None
        touched = self.page.evaluate(TOUCHED)
        assert not touched, touched[:3]


def watched(browser: Any, *at_home: str, **context: Any) -> Watched:
    """A fresh page whose dialogs, popups and requests are kept. context: of Playwright, such as the window's size."""
    page = browser.new_context(**{"viewport": {"width": 1400, "height": 1800}, **context}).new_page()
    found = Watched(page, (*at_home, "data:", "blob:", "about:"))

    def asked(address: str) -> None:
        if not address.startswith(found.at_home):
            found.strayed.append(address)

    page.on("dialog", lambda dialog: (found.dialogs.append(dialog.message), dialog.dismiss()))
    page.on("popup", lambda other: found.popups.append(other.url))
    page.on("request", lambda request: asked(request.url))
    page.on("websocket", lambda opened: asked(opened.url))
    return found


@dataclass(frozen=True)
class Lab:
    """A running JupyterLab. root: the project's folder that it shows."""

    root: Path
    port: int
    token: str

    @property
    def at_home(self) -> tuple[str, str]:
        return f"http://127.0.0.1:{self.port}/", f"ws://127.0.0.1:{self.port}/"

    def address(self, path: str) -> str:
        return f"{self.at_home[0]}lab/tree/{path}?token={self.token}&reset"

    @contextmanager
    def opened(self, browser: Any, path: str) -> Iterator[Watched]:
        """A notebook in the browser, its kernel ready and no cell run; at the end its kernel goes with it."""
        found = watched(browser, *self.at_home)
        found.page.set_default_timeout(LAB_STARTS_S * 1000)
        try:
            found.page.goto(self.address(path))
            found.page.wait_for_selector(".jp-Notebook .jp-CodeCell")
            found.page.locator(".jp-NotebookPanel-toolbar").get_by_text("Python 3").wait_for()
            found.page.wait_for_selector(".jp-Notebook-ExecutionIndicator[data-status=idle]")
            yield found
        finally:
            found.page.context.close()
            for kernel in json.loads(self.ask("api/kernels")):
                self.ask(f"api/kernels/{kernel['id']}", "DELETE")

    def ask(self, path: str, method: str = "GET") -> bytes:
        """What the server answers. Raises OSError where it does not."""
        headers = {"Authorization": f"token {self.token}"}
        asked = urllib.request.Request(self.at_home[0] + path, headers=headers, method=method)
        with urllib.request.urlopen(asked, timeout=20) as answer:
            return answer.read()

    def run_all(self, page: Any) -> None:
        """Run > Run All Cells, and wait until all have run. Fails with the first error a cell shows."""
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.get_by_text("Run All Cells", exact=True).click()
        prompts = "[...document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')].map(e => e.innerText)"
        ended = f"() => {{const p = {prompts}; return p.some(t => /\\d/.test(t)) && !p.some(t => t.includes('*'))}}"
        page.wait_for_function(ended, timeout=CELLS_RUN_S * 1000)
        errors = page.locator("[data-mime-type='application/vnd.jupyter.error']").all_inner_texts()
        assert not errors, errors[0]

    def with_values(self, stage: str, name: str, **values: Any) -> str:
        """A copy of a stage's notebook under another name, with other parameters; returns its path in the project."""
        notebook = nbformat.read(self.root / "notebooks" / f"{stage}.ipynb", as_version=4)
        cell = next(c for c in notebook.cells if "parameters" in c.metadata.get("tags", ()))
        cell.source += "".join(f"\n{key} = {value!r}" for key, value in values.items())
        nbformat.write(notebook, self.root / "notebooks" / f"{name}.ipynb")
        return f"notebooks/{name}.ipynb"

    def written(self, name: str, *cells: str) -> str:
        """A notebook of these code cells; returns its path in the project."""
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
        notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3"}
        nbformat.write(notebook, self.root / "notebooks" / f"{name}.ipynb")
        return f"notebooks/{name}.ipynb"


@pytest.fixture(scope="session")
def lab(tmp_path_factory, hostile_project, finished_smoke) -> Iterator[Lab]:
    """JupyterLab in a project of its own with the finished runs `smoke` and `hostile`."""
    root = project(tmp_path_factory.mktemp("lab"))
    for made in (finished_smoke, hostile_project):
        copied = shutil.ignore_patterns("*.lock", ".*")
        shutil.copytree(made / "outputs", root / "outputs", ignore=copied, dirs_exist_ok=True)
    with running_lab(root, tmp_path_factory.mktemp("jupyter")) as opened:
        yield opened


@contextmanager
def running_lab(root: Path, own: Path) -> Iterator[Lab]:
    """JupyterLab in a project's folder. own: an empty folder in which this server keeps what it knows."""
    opened = Lab(root, free_port(), secrets.token_hex(16))
    process = start_lab(opened, own)
    try:
        wait_for(opened, process)
        yield opened
    finally:
        end(process)


@pytest.fixture(scope="session")
def hostile_project(tmp_path_factory) -> Path:
    """A project with the run `hostile`, its results pages and its report made by the command line."""
    skip_without_browser()
    return made_once(tmp_path_factory, "hostile", make_hostile)


def make_hostile(root: Path) -> None:
    from hostile import MODEL, VARIANTS, HostileRun

    from sotopia_pi.stages.assignment import Sample, plan_ratings

    run = HostileRun(project(root)).write()
    sample = Sample(("BC", *VARIANTS), 4)
    run.rate(sorted(plan_ratings(run.episodes, run.tasks, sample).episode_ids))
    stages = ["09_human_evaluation", "10_results", "10b_paper_comparison"]
    preset = {"model": MODEL, "stages": stages, stages[0]: {"variants": list(sample.variants), "datapoints": 4}}
    (root / "params" / f"{run.run}.yaml").write_text(yaml.safe_dump(preset), encoding="utf-8")
    finish(root, run.run)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start_lab(lab: Lab, own: Path) -> subprocess.Popen:
    """own: where this server keeps what it knows, so that it meets no settings of whoever runs the tests."""
    for plugin, values in SETTINGS.items():
        file = own / "settings" / "@jupyterlab" / f"{plugin}.jupyterlab-settings"
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps(values))
    environment = {
        **os.environ,
        **{name: str(own / name.lower()) for name in OWN_PLACES},
        "JUPYTERLAB_SETTINGS_DIR": str(own / "settings"),
        "JUPYTER_TOKEN": lab.token,
        "SOTOPIA_PI_HOME": str(lab.root),
        "PYTHONPATH": os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "tests"), os.environ.get("PYTHONPATH", "")]),
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-m", "jupyterlab", f"--ServerApp.port={lab.port}", *QUIET]
    with (own / "server.log").open("wb") as log:
        return subprocess.Popen(
            command, cwd=lab.root, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )


def wait_for(lab: Lab, process: subprocess.Popen) -> None:
    until = time.monotonic() + LAB_STARTS_S
    while time.monotonic() < until:
        assert process.poll() is None, f"JupyterLab ended with {process.returncode} before it answered"
        try:
            lab.ask("api/status")
            return
        except OSError:
            time.sleep(0.2)
    raise TimeoutError(f"JupyterLab did not answer within {LAB_STARTS_S} s")


def end(process: subprocess.Popen) -> None:
    """End the server and its kernels."""
    os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(timeout=20)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
