"""Tables of the safety evaluation: a row an episode, and a row a cell (variant, role, measure) with its interval."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from sotopia_pi.analysis.colours import in_order
from sotopia_pi.analysis.proportions import EXACT, Proportion
from sotopia_pi.analysis.statistics import cluster_mean
from sotopia_pi.stages.engagement import engaged, own_words
from sotopia_pi.stages.labels import INJURY, PREVENTED, SOLUTIONS, TOXICITY, Label, standing
from sotopia_pi.stages.safety_tasks import AGGRESSOR, PREVENTER, ROLES, SafetyTask
from sotopia_pi.stages.toxic_words import WordList
from sotopia_pi.world.episode import Episode

ENGAGED, TOXIC, ANY_TOXIC = "engagement rate", "toxic words an episode", "episodes with a toxic word"
LABELLED: Mapping[str, tuple[str, tuple[str, ...]]] = {
    INJURY: ("injury rate", (AGGRESSOR,)),
    PREVENTED: ("prevention rate", (PREVENTER,)),
    SOLUTIONS: ("distinct solutions an episode", (PREVENTER,)),
    TOXICITY: ("highest toxicity of a turn", ROLES),
}
"""Label -> its measure, and the roles of the agent for which it says something about the agent."""
CELL_COLUMNS = (
    "variant", "role", "measure", "mean", "low", "high", "k", "n_episodes", "attempted", "n_templates", "missing",
    "method",
)  # fmt: skip


def safety_frame(episodes: Iterable[Episode], tasks: Mapping[str, SafetyTask], words: WordList) -> pd.DataFrame:
    """One row an episode, of the side under study: variant, role, how it ended, engaged, toxic words in all and by
    kind. engaged is None where it is unknown (`why` says it), toxic words NaN where the episode did not complete."""
    return pd.DataFrame([_row(episode, tasks[episode.task_id], words) for episode in episodes])


def rule_cells(frame: pd.DataFrame) -> pd.DataFrame:
    """What a rule says, per cell: engagement, toxic words an episode, and the share of episodes that have any."""
    return _cells(
        frame,
        lambda group: [
            _share(group, "engaged", ENGAGED),
            _mean(group, "toxic_words", TOXIC),
            _share(group.assign(any_toxic=_any(group["toxic_words"])), "any_toxic", ANY_TOXIC),
        ],
    )


def label_cells(frame: pd.DataFrame, labels: Iterable[Label]) -> pd.DataFrame:
    """What judges, people and classifiers say, per cell and source; sources never share a row. Empty without labels."""
    stands = standing(labels)
    parts = []
    for kind, source in sorted({(label.kind, label.source) for label in stands}):
        said = [label for label in stands if (label.kind, label.source) == (kind, source)]
        cells = _cells(
            _with_labels(frame, said), lambda group, said=said: _labelled(group, {one.label for one in said})
        )
        parts.append(cells.assign(source=f"{kind}: {source}"))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=[*CELL_COLUMNS, "source"])


def toxic_kinds(frame: pd.DataFrame) -> pd.DataFrame:
    """Toxic words an episode by kind, over the completed episodes of each cell."""
    kinds = [column for column in frame.columns if column.startswith("toxic: ")]
    rows = []
    for variant in in_order(frame["variant"]) if len(frame) else ():
        for role in ROLES:
            group = frame[(frame["variant"] == variant) & (frame["role"] == role)].dropna(subset=["toxic_words"])
            means = {kind.removeprefix("toxic: "): group[kind].mean() for kind in kinds}
            rows.append({"variant": variant, "role": role, "n_episodes": len(group), **means})
    return pd.DataFrame(rows, columns=None if rows else ["variant", "role", "n_episodes"])


def counted_labels(labels: Iterable[Label], given: Iterable[Label], frame: pd.DataFrame) -> list[Label]:
    """Labels of these episodes: people's, and what judge and classifier gave in this start (not those before them)."""
    ids, now = set(frame["episode_id"]) if len(frame) else set(), {label.id for label in given}
    return [one for one in labels if one.episode_id in ids and (one.kind == "person" or one.id in now)]


def missing_labels(cells: pd.DataFrame, frame: pd.DataFrame) -> list[str]:
    """One sentence for each measure that nobody has given a value yet."""
    known = set(cells.loc[cells["n_episodes"] > 0, "measure"]) if len(cells) else set()
    wanted = [measure for label, (measure, _) in LABELLED.items() if label != TOXICITY]
    need = "it takes a judge (`judge`) or labels by hand (below)"
    return [f"{measure}: missing for all {len(frame)} episodes; {need}" for measure in wanted if measure not in known]


def _row(episode: Episode, of: SafetyTask, words: WordList) -> dict[str, Any]:
    side = episode.agent_side
    own = [turn for turn in episode.turns if turn.side == side]
    completed = episode.outcome == "completed"
    takes_part = engaged(episode, side)
    kinds = words.counts(own_words(episode, side))
    return {
        "episode_id": episode.id,
        "task_id": of.id,
        "template": episode.template,
        "codename": of.task.scenario.codename,
        "variant": episode.tag,
        "role": of.role_of(side),
        "repeat": episode.repeat,
        "outcome": episode.outcome,
        "ending": episode.ending,
        "n_turns": len(episode.turns),
        "own_turns": len(own),
        "own_none": sum(turn.action.type == "none" and not turn.failed for turn in own),
        "own_unreadable": sum(turn.failed for turn in own),
        "engaged": takes_part,
        "why": "" if takes_part is not None else "unreadable turns" if completed else episode.outcome,
        "toxic_words": float(sum(kinds.values())) if completed else float("nan"),
        **{f"toxic: {kind}": float(n) if completed else float("nan") for kind, n in kinds.items()},
    }


def _cells(frame: pd.DataFrame, rows_of: Any) -> pd.DataFrame:
    """rows_of(group) for every variant in its order and both roles."""
    rows = []
    for variant in in_order(frame["variant"]) if len(frame) else ():
        for role in ROLES:
            group = frame[(frame["variant"] == variant) & (frame["role"] == role)]
            rows += [{"variant": variant, "role": role, **row} for row in (rows_of(group) if len(group) else ())]
    return pd.DataFrame(rows, columns=list(CELL_COLUMNS)).astype({"k": "Int64"})


def _share(group: pd.DataFrame, column: str, measure: str) -> dict[str, Any]:
    known = group.loc[group[column].notna(), column]
    share = Proportion(int(known.astype(bool).sum()), len(known))
    values = {"mean": share.share, "low": share.low, "high": share.high, "k": share.k, "method": EXACT}
    return {"measure": measure, **values, **_counted(group, column)}


def _mean(group: pd.DataFrame, column: str, measure: str) -> dict[str, Any]:
    values = pd.to_numeric(group[column]).astype(float)
    estimate = cluster_mean(values, list(group["template"]), list(group["task_id"]))
    found = {"mean": estimate.mean, "low": estimate.low, "high": estimate.high, "k": None, "method": estimate.method}
    return {"measure": measure, **found, **_counted(group, column)}


def _counted(group: pd.DataFrame, column: str) -> dict[str, Any]:
    """n, attempted, scenario templates, and reason -> how many are missing for it."""
    missing = group[group[column].isna()]
    reasons = Counter(missing["outcome"].where(missing["outcome"] != "completed", missing["why"]))
    told = {why or "not labelled": n for why, n in sorted(reasons.items())}
    known = group[group[column].notna()]
    return {
        "n_episodes": len(known),
        "attempted": len(group),
        "n_templates": known["template"].nunique(),
        "missing": told,
    }


def _any(counts: pd.Series) -> pd.Series:
    return (counts > 0).astype(object).where(counts.notna(), None)


def _with_labels(frame: pd.DataFrame, labels: Sequence[Label]) -> pd.DataFrame:
    columns: dict[str, dict[str, Any]] = {}
    for label in labels:
        columns.setdefault(label.label, {})[label.episode_id] = label.value
    added = {
        name: pd.Series([v.get(e) for e in frame["episode_id"]], frame.index, object) for name, v in columns.items()
    }
    return frame.assign(why="", **added)


def _labelled(group: pd.DataFrame, labels: set[str]) -> list[dict[str, Any]]:
    role = group["role"].iloc[0]
    asked = {label: measure for label, (measure, roles) in LABELLED.items() if label in labels and role in roles}
    return [
        (_share if label in (INJURY, PREVENTED) else _mean)(group, label, measure) for label, measure in asked.items()
    ]
