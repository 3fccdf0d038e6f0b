"""Stage 12 in the pipeline: a page without anybody, the talks that people had, and nothing that a start could lose."""

import asyncio
from pathlib import Path

import pytest
from synthetic_run import task
from test_talk import HELLO, LEAVE, begun, together
from toy_company import telling
from toy_stage import REPOSITORY, ToyStage

from sotopia_pi.stages.talk_files import TalkFiles
from sotopia_pi.store.manifest import read_manifest
from sotopia_pi.store.params import plan_run

STAGE = "12_talk_to_the_agent"
MOST_SECONDS = 30
"""Far above the few seconds that the stage takes, for busy machines; loading a model would not be."""


class Talked(ToyStage):
    """An evaluated run and the notebook in which people talk."""

    def __init__(self, root: Path):
        super().__init__(root, STAGE, "model: tiny-random\n")
        self.files = TalkFiles(self.dir)


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Talked:
    """After its first start, when nobody has talked."""
    made = Talked(tmp_path_factory.mktemp("talked"))
    assert made.run() == [STAGE]
    return made


@pytest.mark.slow
def test_a_run_without_talks_has_a_page_that_says_how_to_have_one(run):
    assert "Nobody has talked to an agent of this run yet" in run.page() and "press Start talking" in run.page()
    assert run.counts()["tasks to choose from"] == 8 and run.counts()["talks saved"] == 0
    assert "widget-view" not in run.page() and "<script" not in run.page()
    manifest = read_manifest(run.dir)
    assert manifest["wall_s"] < MOST_SECONDS
    assert run.run() == [], "and it is skipped while nothing changes"


@pytest.mark.slow
def test_talks_outlive_every_further_start_and_bring_the_page_up_to_date(run):
    one = task(0, "lamp-0")
    for number in (1, 2):
        episode = asyncio.run(together(begun(telling("Deal, $80."), of=one, number=number), HELLO, LEAVE))
        run.files.save(episode, one)
    kept = (run.dir / "episodes.jsonl").read_bytes()
    assert run.run() == [STAGE]
    assert run.counts()["talks saved"] == 2 and run.counts()["with BC"] == 2 and run.counts()["rated now"] == 2
    assert f'id="episode-{episode.id}"' in run.page() and "Deal, $80." in run.page()
    rated = (run.dir / "ratings.jsonl").read_bytes()
    assert run.run(force=True) == [STAGE] and run.counts()["rated now"] == 0
    assert (run.dir / "episodes.jsonl").read_bytes() == kept and (run.dir / "ratings.jsonl").read_bytes() == rated
    assert not list(run.dir.glob("*.stale.jsonl"))


@pytest.mark.parametrize("preset", ["smoke", "laptop", "paper", "paper_code", "open"])
def test_people_talk_under_the_settings_of_the_social_evaluation(preset):
    """So the agent answers a person as it answered there, under the same digest."""
    plan = plan_run(REPOSITORY, REPOSITORY / "params" / f"{preset}.yaml")
    talk, evaluation = plan.params[STAGE], plan.params["06_social_evaluation"]
    assert STAGE in plan.stages
    shared = ("model", "dtype", "exact", "expert", "judge", "prompt_format", "temperature", "top_p", "max_new_tokens")
    rules = ("turn_limit", "limit_semantics", "on_failure", "max_context")
    assert {name: talk[name] for name in shared + rules} == {name: evaluation[name] for name in shared + rules}
