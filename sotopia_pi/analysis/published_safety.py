"""The paper's own safety numbers, to stand in a panel of their own."""

import pandas as pd

from sotopia_pi.analysis import published
from sotopia_pi.analysis.proportions import EXACT, Proportion

NOTE = (
    "Sotopia-π (arXiv 2403.08715), Table 3: Mistral-7B and what was trained from it, GPT-4 as the expert;\n"
    "one published scenario, 9 episodes a cell, labelled by hand. Shares are printed to two digits there;\n"
    "their intervals are computed here from 9 episodes."
)


def published_safety() -> pd.DataFrame:
    """One row a cell: source, rater, agent, role, metric, mean, n_episodes, and for shares k and the exact interval."""
    table = published.safety().drop(columns="variant").rename(columns={"value": "mean"})
    shares = table["metric"].str.endswith("_rate")
    parts = [
        Proportion(round(value * n), n) if is_share else None
        for value, n, is_share in zip(table["mean"], table["n_episodes"], shares, strict=True)
    ]
    return table.assign(
        k=pd.Series([part.k if part else None for part in parts], dtype="Int64"),
        low=[part.low if part else float("nan") for part in parts],
        high=[part.high if part else float("nan") for part in parts],
        method=[EXACT if part else "" for part in parts],
    )
