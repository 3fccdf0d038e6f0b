"""Executed notebooks as HTML pages that open offline: code hidden, figures inside, no script and no network."""

from functools import cache
from pathlib import Path
from typing import Any

from sotopia_pi.analysis.escaping import attribute, visible
from sotopia_pi.store.items import write_atomically

CSS = Path(__file__).with_name("page.css")
HIDDEN_TAGS = {"remove-cell", "hide-cell", "parameters", "injected-parameters"}
NEEDS_SCRIPT = {"application/vnd.jupyter.widget-view+json", "application/javascript"}
TERMINAL = "\n\r\t\b\x1b"
"""Control characters that mean something in printed text; a page shows colours of a terminal as its own."""
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
NO_DESCRIPTION = 'alt="No description has been provided for this image"'


def render_notebook(source: Path, target: Path, title: str) -> Path:
    """Write an executed notebook as one HTML file; returns the target.

    Outputs that need a script (widgets) give way to the HTML they bring as a static twin; one without it is left out.
    Cells tagged remove-cell or hide-cell do not appear at all, cells tagged remove-output or hide-output without what
    they print. What libraries warn of (the stream `stderr`) stays in the notebook: it is no finding, and it names
    places of the machine.
    """
    import nbformat

    notebook = nbformat.read(source, as_version=4)
    _drop_hidden(notebook)
    body, _ = _exporter().from_notebook_node(notebook)
    body = body.replace(NO_DESCRIPTION, 'alt=""')
    write_atomically(target, page(title, body, "../report/index.html").encode())
    return target


def page(title: str, body: str, back_to: str | None = None) -> str:
    """A whole HTML document around a body. title: plain text, escaped here. back_to: relative address of the report.

    The browser is told to run no script and to load nothing: a second bar should markup ever get into a page.
    """
    back = f'<a href="{attribute(back_to)}">Back to the report</a>' if back_to else ""
    return (
        "<!DOCTYPE html>\n"
        '<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{attribute(title)}</title>\n<style>\n{_styles()}\n</style>\n</head>\n<body>\n"
        f"{f'<nav>{back}</nav>' if back else ''}\n<main>\n{body}\n</main>\n"
        f"{f'<footer>{back}</footer>' if back else ''}\n</body>\n</html>\n"
    )


def _drop_hidden(notebook: Any) -> None:
    notebook.metadata.pop("widgets", None)
    notebook.cells = [cell for cell in notebook.cells if not HIDDEN_TAGS & set(cell.metadata.get("tags", ()))]
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        if {"remove-output", "hide-output"} & set(cell.metadata.get("tags", ())):
            cell.outputs = []
        cell.outputs = [output for output in cell.outputs if _stays(output)]
        for output in cell.outputs:
            _uncover(output)


def _stays(output: Any) -> bool:
    """Whether an output is shown: no warnings, and one that needs a script as the HTML it brings along, if any."""
    if output.get("name") == "stderr":
        return False
    data = output.get("data", {})
    needs_script = NEEDS_SCRIPT & set(data)
    for kind in needs_script:
        del data[kind]
    return not needs_script or "text/html" in data


def _uncover(output: Any) -> None:
    """Show hidden characters of printed text by their number."""
    for holder, key in ((output, "text"), (output.get("data", {}), "text/plain")):
        if key in holder:
            holder[key] = visible(holder[key], TERMINAL)
    if "traceback" in output:
        output["traceback"] = [visible(line, TERMINAL) for line in output["traceback"]]


@cache
def _exporter() -> Any:
    from nbconvert import HTMLExporter

    exporter = HTMLExporter(template_name="basic")
    exporter.exclude_input = True
    exporter.exclude_input_prompt = True
    exporter.exclude_output_prompt = True
    return exporter


@cache
def _styles() -> str:
    from pygments.formatters import HtmlFormatter

    return CSS.read_text(encoding="utf-8") + HtmlFormatter(nobackground=True).get_style_defs(".highlight")
