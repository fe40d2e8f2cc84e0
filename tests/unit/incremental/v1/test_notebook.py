"""Notebooks of version 1: which jobs they depend on."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import pytest


def write_notebook(text: str) -> None:
    cell = {"cell_type": "code", "source": [text], "metadata": {}, "outputs": []}
    content = {"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    Path("book.ipynb").write_text(json.dumps(content))


@pytest.mark.parametrize("detects", [True, False])
def test_it_depends_on_the_jobs_whose_files_it_names(ppg: ModuleType, detects: bool) -> None:
    write_notebook("open('named.txt')")
    named, other = (
        ppg.FileGeneratingJob(f"{name}.txt", lambda name: Path(name).write_text("x"))
        for name in ("named", "other")
    )
    book = ppg.NotebookJob("book.ipynb", auto_detect_dependencies=detects)
    assert book.outputs[0].startswith("cache/notebooks/")
    assert book.outputs[0].endswith("book.html")
    book.prune()
    ppg.run_pipegraph()
    assert (named in book.upstreams) is detects
    assert other not in book.upstreams


def test_what_is_no_notebook_is_refused(ppg: ModuleType) -> None:
    with pytest.raises(ValueError, match="ipynb"):
        ppg.NotebookJob("book.txt")
