"""All benchmarks, in the order in which they are run; `must` and `moonshot` are what this project asks of itself."""

from functools import partial
from pathlib import Path

from sotopia_pi.app.bench.calls import open_calls
from sotopia_pi.app.bench.loading import open_browser, open_loading
from sotopia_pi.app.bench.mmlu import open_mmlu
from sotopia_pi.app.bench.play import open_play
from sotopia_pi.app.bench.report import open_report
from sotopia_pi.app.bench.sft import open_sft
from sotopia_pi.app.bench.sotopia import PAIRS, open_sotopia
from sotopia_pi.app.bench.work import Work


def works(first_report: Path | None = None) -> list[Work]:
    """Everything that is measured beside a peer. first_report: run card of `make report` in its first version."""
    return [*_of_models(), *_of_servers(), _of_reports(first_report)]


def _of_models() -> list[Work]:
    return [
        Work(
            "play",
            "32 episodes at once, 20 turns of at most 20 tokens; peer: generate on the whole prompts",
            "tokens/s",
            4,
            8,
            open_play,
            pairs=3,
        ),
        Work(
            "sotopia",
            "the same episodes; peer: sotopia 0.1.5 with the same model through `transformers serve`",
            "episodes/min",
            10,
            30,
            open_sotopia,
            pairs=PAIRS,
        ),
        Work(
            "sft",
            "one epoch on 200 episodes; peer: TRL's SFTTrainer with one example a turn, on 20 of them",
            "supervised tokens/s",
            4,
            8,
            open_sft,
            pairs=3,
        ),
        Work(
            "mmlu",
            "120 questions of six subjects by letter, five examples; peer: lm-evaluation-harness 0.4.13",
            "questions/s",
            4,
            7,
            open_mmlu,
            pairs=3,
            dtype="float32",
        ),
    ]


def _of_servers() -> list[Work]:
    calls = "256 episodes of 20 calls, 64 at once, to a server that takes 200 ms; peer: sotopia 0.1.5"
    return [
        Work("calls", calls, "share of the ideal", 0.9, 0.98, partial(open_calls, "share"), judged="ours"),
        Work(
            "calls_cpu",
            calls,
            "ms of CPU a call",
            3,
            1,
            partial(open_calls, "cpu_ms"),
            better="less",
            judged="ours",
        ),
        *_big_runs(),
    ]


def _big_runs() -> list[Work]:
    seconds = {"unit": "s", "better": "less", "judged": "ours"}
    return [
        Work(
            "loading",
            "50,000 episodes of 20 turns into the results tables; peer: pandas.read_json(lines=True)",
            must=10,
            moonshot=3,
            open=open_loading,
            **seconds,
        ),
        Work(
            "browser",
            "opening the episode browser on the same, its index made before, and an episode in it",
            must=2,
            moonshot=0.5,
            open=open_browser,
            **seconds,
        ),
    ]


def _of_reports(first: Path | None) -> Work:
    return Work(
        "report",
        "`make report`; peer: its own first version, from the run card that --first names",
        "s",
        2,
        4,
        partial(open_report, first),
        pairs=1,
        better="less",
    )
