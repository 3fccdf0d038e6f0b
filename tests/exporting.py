"""`sotopia-pi export` in the project of a test."""

import json

import pytest

from sotopia_pi.app.cli import main


class Complaint(Exception):
    """What the command said on stderr."""


@pytest.fixture
def export(monkeypatch, capsys):
    """Run `sotopia-pi export ...` in a toy's project; returns the printed report, or raises the complaint."""

    def run(toy, *words):
        monkeypatch.setenv("SOTOPIA_PI_HOME", str(toy.root))
        capsys.readouterr()
        status = main(["export", *map(str, words)])
        told = capsys.readouterr()
        if status:
            raise Complaint(told.err)
        return json.loads(told.out)

    return run
