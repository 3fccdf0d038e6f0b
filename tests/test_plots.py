"""Figures: they say what they compare, keep one look per variant, repeat to the byte and never fall over."""

import subprocess
import sys

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex, to_rgb
from synthetic_run import many_tasks, task, write_run

matplotlib.use("Agg")

from sotopia_pi.analysis import plots
from sotopia_pi.analysis.colours import EXPERT, FIXED, LEARNED, LOOKS, TRIVIAL, VARIANTS, in_order, look
from sotopia_pi.analysis.tables import (
    both_sides_table,
    family_table,
    goal_table,
    length_table,
    paired_table,
    parts_table,
    pooled,
    results_frame,
)

LABEL = "rule-scored negotiation, SmolLM2-135M"
PLAYED = ("base", "BC", "BC+SR", "expert", "never-concede")


@pytest.fixture(scope="module")
def frame(tmp_path_factory):
    run = tmp_path_factory.mktemp("runs") / "laptop"
    return results_frame(write_run(run, many_tasks(), PLAYED, lambda v, n, s: 1.0 + PLAYED.index(v) + (n + s) % 3))


def figures(frame, notes=None):
    return {
        "goal": plots.goal_figure({t: goal_table(frame, t) for t in ("all", "hard")}, LABEL, notes),
        "parts": plots.parts_figure(parts_table(frame), LABEL),
        "family": plots.family_figure(family_table(frame), LABEL),
        "both": plots.both_sides_figure(both_sides_table(frame), LABEL),
        "paired": plots.paired_figure(paired_table(frame, "base"), LABEL),
        "length": plots.length_figure(length_table(frame), LABEL),
    }


def words(fig):
    return "\n".join(t.get_text() for t in fig.findobj(matplotlib.text.Text))


def test_every_figure_says_what_it_is_how_many_and_how_the_interval_was_made(frame):
    for name, fig in figures(frame).items():
        text = words(fig).replace("\n", " ")
        assert LABEL in fig.get_suptitle(), name
        assert "n: " in text and "95 % percentile bootstrap" in text and "scenario templates" in text, name
        assert all(ax.get_xlabel() for ax in fig.axes), name


def test_bars_are_as_long_as_the_means_of_the_table(frame):
    table = goal_table(frame)
    ax = plots.goal_figure({"all": table}, LABEL).axes[0]
    assert [bar.get_width() for bar in ax.patches if bar.get_hatch() is not None or bar.get_height() == 0.62] == (
        pytest.approx(table["mean"].tolist())
    )
    assert [t.get_text() for t in ax.get_yticklabels()] == list(PLAYED)
    assert ax.get_xlim()[0] == 0 and max(ax.get_xticks()) == 10


def test_trivial_policies_are_hatched_grey_and_the_expert_is_a_line(frame):
    ax = plots.goal_figure({"all": goal_table(frame)}, LABEL).axes[0]
    hatched = [bar for bar in ax.patches if bar.get_hatch()]
    assert len(hatched) == 1 and len(set(hatched[0].get_facecolor()[:3])) == 1
    expert = goal_table(frame).set_index("variant").loc["expert", "mean"]
    assert any(list(line.get_xdata()) == [expert, expert] and line.get_linestyle() == "--" for line in ax.lines)


def test_a_variant_that_was_not_trained_has_its_reason_in_its_place(frame):
    fig = figures(frame, {"SR": "not trained: costs $5 or $6"})["goal"]
    assert "not trained: costs $5 or $6" in words(fig)
    assert "SR" in [t.get_text() for t in fig.axes[0].get_yticklabels()]
    reason = next(t for t in fig.axes[0].texts if t.get_text().startswith("not trained"))
    assert not reason.get_parse_math()  # two dollar signs are prices, not a formula
    told = words(figures(frame, {"SR": f"not trained: base stops here: {'too little, ' * 9}"})["goal"])
    assert "not trained" in told and "base" not in told.split("not trained")[1].splitlines()[0], "no half a reason"


def test_a_difference_that_may_not_be_ranked_says_so(tmp_path):
    run = write_run(tmp_path / "r", many_tasks(3), ("base", "BC"), lambda v, n, s: 5.0)
    assert "not ranked" in words(plots.paired_figure(paired_table(results_frame(run), "base"), LABEL))


def test_few_templates_are_named_under_the_plot(tmp_path):
    frame = results_frame(write_run(tmp_path / "r", [task(i, f"t{i % 2}") for i in range(4)], ("BC",), lambda *_: 5.0))
    assert "too few to rank" in words(plots.goal_figure({"all": goal_table(frame)}, LABEL)).replace("\n", " ")


def test_a_long_title_wraps_within_the_figure_and_a_mark_at_zero_is_seen_whole(frame):
    label = "judged by a-model-with-a-long-name, another-model-with-a-long-name, SmolLM2-135M"
    fig = plots.both_sides_figure(both_sides_table(frame), label)
    box = fig._suptitle.get_window_extent()
    assert "\n" in fig._suptitle.get_text() and box.x1 < fig.bbox.x1
    assert fig.axes[0].get_xlim()[0] < 0


def test_nothing_to_show_is_a_panel_and_not_a_traceback():
    for name, fig in figures(pooled([])).items():
        assert "Nothing to show" in words(fig), name
        plots.figure_bytes(fig)
    assert "no training log" in words(plots.loss_figure(pd.DataFrame(columns=["variant", "step", "loss"]), LABEL))


def test_variants_without_scores_still_draw(tmp_path):
    frame = results_frame(write_run(tmp_path / "r", many_tasks(), ("base", "expert"), lambda *_: None))
    for fig in figures(frame).values():
        plots.figure_bytes(fig)
    assert "no scores" in words(figures(frame)["goal"])


def test_loss_curves_show_every_trained_variant():
    curves = pd.DataFrame([{"variant": v, "step": i, "loss": 3 / (i + 1)} for v in ("BC", "SR") for i in range(30)])
    curves["held_out_loss"] = np.where(curves["step"] == 29, 0.4, np.nan)
    fig = plots.loss_figure(curves, LABEL)
    marks = [line for line in fig.axes[0].lines if line.get_linestyle() == "None"]
    assert [line.get_ydata().tolist() for line in marks] == [[0.4], [0.4]]
    assert "BC (30 steps)" in words(fig) and "SR (30 steps)" in words(fig)
    assert fig.axes[0].get_ylabel() == "cross-entropy, nats per token" and fig.axes[0].get_ylim()[0] == 0


def test_equal_data_give_equal_files(frame, tmp_path):
    for folder in ("one", "two"):
        plots.save_figure(
            plots.goal_figure({"all": goal_table(frame)}, LABEL, {"SR": "x", "SR+BC": "y"}), tmp_path / folder / "a.b"
        )
    for kind in ("png", "svg"):
        one, two = ((tmp_path / folder / f"a.b.{kind}").read_bytes() for folder in ("one", "two"))
        assert one == two and len(one) > 5000
    assert b"<dc:date>" not in (tmp_path / "one" / "a.b.svg").read_bytes()


def test_no_figure_stays_open_for_pyplot(frame):
    plt.close("all")
    figures(frame)
    assert plt.get_fignums() == []


def test_every_variant_has_one_look_and_learned_ones_differ_for_colour_blind_readers():
    assert set(LOOKS) == set(VARIANTS)
    coloured = [*LEARNED, EXPERT]
    assert len({look(v).colour for v in coloured}) == len(coloured)
    assert len({look(v).hatch for v in (*TRIVIAL, *FIXED)}) == len((*TRIVIAL, *FIXED))
    assert all(to_hex(look(v).colour).upper() == look(v).colour for v in VARIANTS)
    seen = [deuteranopic(look(v).colour) for v in coloured]
    assert min(np.linalg.norm(a - b) for i, a in enumerate(seen) for b in seen[:i]) > 0.15


def deuteranopic(colour):
    """Linear RGB as a deuteranope sees it (Viénot, Brettel and Mollon 1999), as an array of three."""
    r, g, b = (np.array(to_rgb(colour)) + 0.055) ** 2.4 / 1.055**2.4
    return np.array([0.29275 * r + 0.70725 * g, 0.29275 * r + 0.70725 * g, -0.02234 * r + 0.02234 * g + b])


def test_unknown_variants_come_last_and_have_a_look():
    assert in_order(["mine", "expert", "BC", "BC"]) == ["BC", "expert", "mine"]
    assert look("mine").colour == "#000000"


def test_analysis_never_imports_torch():
    code = (
        "import sys; from sotopia_pi.analysis import headline, mask, plots, statistics, tables, training_curves, "
        "transcripts; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
