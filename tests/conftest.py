"""Fixtures that several files of tests share."""

from browser_lab import browser, hostile_project, lab
from exporting import export
from smoke_run import finished_smoke

__all__ = ["browser", "export", "finished_smoke", "hostile_project", "lab"]
