"""Where questions come from: the set that comes along, a folder in MMLU's layout, or MMLU itself on the hub."""

from pathlib import Path

from sotopia_pi.formats.hub import HUB, fetched
from sotopia_pi.formats.question_sets import LETTERS, Question, QuestionsError, QuestionSet, question_set, read_folder

OWN = "own"
OWN_NAME = "own quiz (not MMLU)"
OWN_FOLDER = Path(__file__).parents[1] / "stages" / "data" / "questions"
MMLU_ON_HUB = "cais/mmlu"
PATTERNS = ("all/test-*.parquet", "all/dev-*.parquet")


def questions_from(source: str, endpoint: str | None = None, cache_dir: Path | None = None) -> QuestionSet:
    """source: "own" (the quiz that comes along), a folder in MMLU's layout or with the hub's files, or `hub:cais/mmlu`.

    What was fetched from the hub is kept in its cache and found there without a network. endpoint: another server of
    the hub's protocol; cache_dir: another cache. Raises QuestionsError, HubUnreachable.
    """
    if source == OWN:
        return read_folder(OWN_FOLDER, OWN_NAME)
    if source.startswith(HUB):
        dataset = source.removeprefix(HUB) or MMLU_ON_HUB
        then = (
            f"set `questions` to it; or set it to a folder in MMLU's original layout, or to {OWN!r} for the quiz that "
            f"comes along (which is not MMLU)."
        )
        return read_parquet(fetched(dataset, "dataset", PATTERNS, then, endpoint, cache_dir), f"MMLU ({dataset})")
    folder = Path(source).expanduser()
    if not folder.is_dir():
        raise QuestionsError(
            f"questions: there is no folder {folder}. Allowed: {OWN!r} for the quiz that comes along, a folder in "
            f"MMLU's layout (test/<subject>_test.csv, dev/<subject>_dev.csv), or {HUB}{MMLU_ON_HUB}"
        )
    if (folder / "all").is_dir():
        return read_parquet(folder, f"MMLU (the hub's files in {folder.name}/)")
    return read_folder(folder, f"questions in {folder.name}/")


def read_parquet(folder: Path, name: str) -> QuestionSet:
    """The questions of a copy of the hub's data set: `all/test-*.parquet` and `all/dev-*.parquet`.

    Raises QuestionsError where a file is not there or nothing here can read it.
    """
    return question_set(name, *(_rows(folder, split) for split in ("test", "dev")))


def _rows(folder: Path, split: str) -> list[Question]:
    import pandas as pd

    paths = sorted((folder / "all").glob(f"{split}-*.parquet"))
    if not paths:
        raise QuestionsError(f"{folder} holds no all/{split}-*.parquet, so it is no copy of {MMLU_ON_HUB}")
    try:
        frame = pd.concat([pd.read_parquet(path) for path in paths], ignore_index=True)
    except ImportError as error:
        raise QuestionsError(f"{paths[0].name} needs pyarrow to be read: pip install pyarrow") from error
    index = frame.groupby("subject").cumcount()
    return [
        Question(row.subject, int(number), row.question, tuple(row.choices), LETTERS[int(row.answer)])
        for row, number in zip(frame.itertuples(), index, strict=True)
    ]
