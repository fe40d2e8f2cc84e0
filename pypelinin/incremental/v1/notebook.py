"""Notebooks as version 1 has them: what they read is found in their text."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from pypelinin.incremental import state
from pypelinin.incremental.jobs import notebook as core
from pypelinin.incremental.v1.exceptions import as_version_1
from pypelinin.incremental.v1.invariants import relative


def NotebookJob(notebook_filename: str | Path, auto_detect_dependencies: bool = True) -> Any:
    """Executes a notebook; the page with its results is below `notebooks` in the cache folder.

    With *auto_detect_dependencies* it depends on all jobs that make files which its cells name:
    those that there are when the run begins.
    """
    notebook = str(relative(notebook_filename))
    folder = Path(getattr(state.current(), "cache_folder", "cache")) / "notebooks"
    place = folder / hashlib.md5(notebook.encode(), usedforsecurity=False).hexdigest()
    with as_version_1():
        job = core.NotebookJob(notebook, [], [], place)
        if auto_detect_dependencies:
            job.depends_on(lambda: core.outputs_named_in(notebook, job.outputs))
    return job


__all__ = ["NotebookJob"]
