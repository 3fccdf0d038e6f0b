"""Published tables: every column in the file, and what is shown can be narrow enough for a page."""

import pandas as pd

from sotopia_pi.analysis.publish import Publisher

REASON = "3 policy_<wbr>failed, 1 left out by the judge"
TABLE = pd.DataFrame(
    {
        "variant": ["BC", "<b>"],
        "mean": [4.0, float("nan")],
        "low": [3.5, float("nan")],
        "high": [4.5, float("nan")],
        "n_episodes": [64, 0],
        "missing": [{}, {"policy_failed": 3, "left out by the judge": 1}],
        "note": [None, 0.123456],
        "said": ["yes", 0.123456],
    }
)


def test_names_of_columns_and_long_words_may_wrap_and_an_interval_may_not(tmp_path):
    page = Publisher(tmp_path).table("goal", TABLE).to_html()
    assert "n_<wbr>episodes</th>" in page and 'nowrap">4.00 [3.50, 4.50]</span></td>' in page
    assert f">{REASON}</td>" in page and "&lt;b&gt;" in page and "<b>" not in page
    assert page.count(">0.12<") == 2 and ">–</td>" in page


def test_the_file_has_every_column_under_its_own_name(tmp_path):
    page = Publisher(tmp_path).table("goal", TABLE, without=["note", "absent"]).to_html()
    assert "said</th>" in page and "note</th>" not in page
    assert pd.read_csv(tmp_path / "tables" / "goal.csv").columns.tolist() == TABLE.columns.tolist()
