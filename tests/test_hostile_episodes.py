"""The hostile run in the episode browser's static pages and in its form: words, and nothing else."""

import pytest
from browsed_run import opened, project
from hostile import PAYLOADS, HostileRun
from inert import assert_inert, assert_shown
from test_hostile import texts

from sotopia_pi.analysis import chosen_episodes
from sotopia_pi.analysis.episode_browser import EpisodeBrowser
from sotopia_pi.analysis.episode_filter import Filter
from sotopia_pi.analysis.episode_table import table_html


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    root = project(tmp_path_factory.mktemp("hostile"))
    HostileRun(root).write()
    return opened(root, "hostile", ("06_social_evaluation",))


def test_chosen_episodes_and_the_list(index):
    chosen = chosen_episodes.choose(index, n_gaps=3)
    assert_shown(chosen_episodes.chosen_html(index, chosen))
    pair = chosen_episodes.Pair(0, 1, PAYLOADS["script"] + PAYLOADS["formula"])
    assert_shown(chosen_episodes.pairs_html(index, [pair]))
    assert_inert(table_html(index, range(len(index)), Filter()))


def test_the_form(index, tmp_path):
    form = EpisodeBrowser(index, tmp_path / "selections")
    for payload in (PAYLOADS["script"], PAYLOADS["out of an attribute"]):
        form.controls["words"].value = payload
        form.address.value = payload
        for text in texts(form.widget):
            assert_inert(text, [])
    assert_inert(form.static_html(), [])
