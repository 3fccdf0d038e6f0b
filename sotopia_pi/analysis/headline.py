"""The answer first: what the trained agents reached, in one sentence, one figure and one table."""

import base64
import math
from collections.abc import Iterable, Mapping

import pandas as pd

from sotopia_pi.analysis.colours import EXPERT, FIXED, LEARNED, TRIVIAL, in_order
from sotopia_pi.analysis.comparisons import MIN_LEAD_OVER_TRIVIAL, paired_table, ranked, ratio_table, trivial_check
from sotopia_pi.analysis.escaping import STANDS_ALONE, attribute, escaped
from sotopia_pi.analysis.goal_tables import goal_table
from sotopia_pi.analysis.plots import figure_bytes, goal_figure
from sotopia_pi.analysis.statistics import MIN_TEMPLATES_TO_RANK
from sotopia_pi.analysis.tables import interval_text, shown
from sotopia_pi.analysis.transcript_style import scoped, themed

TRAINED = ("BC", "SR", "BC+SR")
_RULES = {
    ".answer": "font-size:1.15em;line-height:1.55;margin:.2em 0 .8em",
    ".warning": "color:var(--bad);background:var(--bad-paper);border-radius:4px;padding:.35em .7em;margin:.4em 0",
    ".note": "color:var(--soft);font-size:.9em;margin:.3em 0",
    "img": "max-width:100%;height:auto;background:#ffffff;border-radius:4px",
    "table": "border-collapse:collapse;font-size:.9em;margin:.6em 0;color:inherit;display:block;overflow-x:auto",
    "th,td": "border:1px solid var(--line);padding:.25em .6em;text-align:left;background:none;color:inherit",
    "caption": "text-align:left;color:var(--soft);padding:.3em 0",
}
_STYLE = themed("sotopia-headline") + scoped("sotopia-headline", _RULES) + ".sotopia-headline{max-width:72em}"


def headline_html(frame: pd.DataFrame, model_label: str, notes: Mapping[str, str] | None = None) -> str:
    """Sentence, warnings, goal figure (embedded PNG with alt text) and table of a run or of pooled runs.

    model_label: what was scored and how, e.g. "rule-scored negotiation, SmolLM2-135M". notes: variant -> why it is
    not there ("not trained: 2 of 120 own episodes had goal ≥ 1").
    """
    notes = dict(notes or {})
    tables = {tasks: goal_table(frame, tasks) for tasks in ("all", "hard")}
    figure = goal_figure(tables, model_label, notes)
    picture = base64.b64encode(figure_bytes(figure)).decode()
    alt = attribute(f"Bar chart, goal completion by variant, {model_label}. {_alt(tables['all'])}")
    warned = "".join(f'<p class="warning">{escaped(w)}</p>' for w in warnings(frame))
    missing = "".join(f'<p class="note"><b>{escaped(v)}</b>: {escaped(notes[v])}</p>' for v in in_order(notes))
    return (
        f'<section class="sotopia-headline {STANDS_ALONE}"><style>{_STYLE}</style>'
        f'<p class="answer">{escaped(answer(frame))}</p>{warned}{missing}'
        f'<img src="data:image/png;base64,{picture}" alt="{alt}">{_table_html(tables)}</section>'
    )


def answer(frame: pd.DataFrame) -> str:
    """What BC and BC+SR reached against base, few-shot base, expert and the best trivial policy, in one sentence."""
    table = goal_table(frame, "all")
    reached = {row["variant"]: row for row in table.to_dict("records") if not math.isnan(row["mean"])}
    if not reached:
        return "No rated episode of the social evaluation yet, so there is nothing to answer with."
    trained = [v for v in ("BC", "BC+SR") if v in reached] or [v for v in TRAINED if v in reached]
    others = [v for v in ("base", "base few-shot", EXPERT) if v in reached]
    best = _best_trivial(reached)
    against = [f"{_score(reached[v])} for the {_called(v)}" for v in others]
    against += [f"{_score(reached[best])} for {best}, the best trivial policy"] if best else []
    tasks = max(row["n_tasks"] for row in reached.values())
    templates = max(row["n_templates"] for row in reached.values())
    over = f"On {tasks} held-out tasks from {templates} scenario templates"
    if not trained:
        return f"{over}, no trained variant was evaluated; goal completion (0 to 10) was {_listed(against)}."
    got = _listed([f"{v} {_score(reached[v])}" for v in trained])
    versus = f", against {_listed(against)}" if against else ""
    return f"{over}, goal completion (0 to 10, 95 % interval) was {got}{versus}{_shares(frame, trained)}."


def warnings(frame: pd.DataFrame) -> list[str]:
    """What must be said beside the answer: few templates, trivial play that rivals the expert, unclear differences."""
    table = goal_table(frame, "all")
    rated = table[table["n_episodes"] > 0] if len(table) else table
    said: list[str] = []
    if len(rated) and rated["n_templates"].max() < MIN_TEMPLATES_TO_RANK:
        said.append(
            f"Too few to rank: {rated['n_templates'].max()} scenario templates, at least {MIN_TEMPLATES_TO_RANK} are "
            f"needed. Read the means as a description of these tasks only."
        )
    said += _trivial_warnings(frame)
    said += _unclear(frame) if not said or "Too few" not in said[0] else []
    for row in rated.to_dict("records"):
        gone = row["attempted"] - row["n_episodes"]
        if gone > row["attempted"] / 10:
            reasons = ", ".join(f"{n} {reason}" for reason, n in row["missing"].items())
            said.append(f"{row['variant']}: {gone} of {row['attempted']} episodes have no score ({reasons}).")
    return said


def _trivial_warnings(frame: pd.DataFrame) -> list[str]:
    check = trivial_check(frame)
    if check.empty:
        return ["The expert was not set against trivial policies here, so nothing shows that the tasks measure skill."]
    weak = check[~check["beaten"]].to_dict("records")
    said = [
        f"The expert leads {row['reference']} by {row['difference']:.2f} points only "
        f"[{row['low']:.2f}, {row['high']:.2f}]; below {MIN_LEAD_OVER_TRIVIAL:g} point the tasks measure little."
        for row in weak
    ]
    for row in trivial_check(frame, policies=FIXED).to_dict("records"):
        if row["difference"] <= 0:
            said.append(f"The fixed rule {row['reference']} scored {-row['difference']:.2f} points above the expert.")
    unsure = check[check["beaten"] & ~check["surely"]]["reference"].tolist()
    if unsure:
        said.append(f"The expert's lead of {MIN_LEAD_OVER_TRIVIAL:g} point is not certain against {_listed(unsure)}.")
    return said


def _unclear(frame: pd.DataFrame) -> list[str]:
    """Differences between neighbouring variants that the data cannot rank."""
    said = []
    for variant, reference in (("BC", "base few-shot"), ("BC+SR", "BC")):
        if {variant, reference} <= set(frame["variant"]):
            table = paired_table(frame[frame["variant"].isin([variant, reference])], reference)
            row = table.iloc[0]
            if not ranked(row):
                difference = interval_text(row["difference"], row["low"], row["high"])
                said.append(f"{variant} and {reference} are {row['ranked']} ({difference} points).")
    return said


def _shares(frame: pd.DataFrame, trained: Iterable[str]) -> str:
    shares = [
        f"{row['variant']} {interval_text(row['ratio'], row['low'], row['high'])}"
        for row in ratio_table(frame, EXPERT, variants=trained).to_dict("records")
        if not math.isnan(row["ratio"])
    ]
    return f"; as a share of the expert's goal on the same tasks, {_listed(shares)}" if shares else ""


def _best_trivial(reached: Mapping[str, Mapping]) -> str | None:
    return max((v for v in TRIVIAL if v in reached), key=lambda v: reached[v]["mean"], default=None)


def _score(row: Mapping) -> str:
    return interval_text(row["mean"], row["low"], row["high"])


def _called(variant: str) -> str:
    return {"base": "base model", "base few-shot": "few-shot base"}.get(variant, variant)


def _listed(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _alt(table: pd.DataFrame) -> str:
    known = [r for r in table.to_dict("records") if r["variant"] in (*LEARNED, EXPERT, *TRIVIAL, *FIXED)]
    return "; ".join(f"{row['variant']} {_score(row)}" for row in known)


def _table_html(tables: Mapping[str, pd.DataFrame]) -> str:
    parts = [shown(table).assign(tasks=tasks) for tasks, table in tables.items() if len(table)]
    if not parts:
        return ""
    table = pd.concat(parts, ignore_index=True).drop(columns=["side"])
    table.insert(0, "tasks", table.pop("tasks"))
    head = "".join(f"<th>{escaped(column.replace('_', ' '))}</th>" for column in table.columns)
    rows = "".join(
        f"<tr>{''.join(f'<td>{escaped(v)}</td>' for v in row)}</tr>" for row in table.itertuples(index=False)
    )
    method = next(t["method"].iloc[0] for t in tables.values() if len(t))
    caption = f"Goal completion of the agent. Interval: {escaped(method)}. Missing episodes are counted, never scored."
    return f"<table><caption>{caption}</caption><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
