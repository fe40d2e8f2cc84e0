"""Jobs that execute a Jupyter notebook, which writes files and becomes a page of HTML."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pypelinin.incremental import state
from pypelinin.incremental.exceptions import JobContractError
from pypelinin.incremental.jobs.files import MultiFileGeneratingJob, checked_file
from pypelinin.incremental.jobs.invariants import NotebookInvariant, cells_of

COMMAND = [sys.executable, "-m", "nbconvert"]
NEEDED = ("nbconvert", "ipykernel")
TOLD_MAX = 4000
"""Characters of what nbconvert printed last that an error repeats."""
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def NotebookJob(
    notebook_file: str | Path,
    input_files: Any,
    output_files: Sequence[str | Path],
    html_output_folder: str | Path,
) -> MultiFileGeneratingJob:
    """Executes a notebook in its own directory; it reads *input_files* and writes *output_files*.

    The page with its results is `<name of the notebook>.html` in *html_output_folder*.
    *input_files* is anything that `depends_on` takes; a name of a file that no job makes is
    followed with a FileInvariant. It runs again if the notebook's code or text changes, whatever
    outputs were saved in it. Needs nbconvert and ipykernel: `pip install 'pypelinin[notebook]'`.
    """
    from pypelinin.incremental.util import job_or_filename

    notebook = Path(os.path.normpath(checked_file(notebook_file)))
    if notebook.suffix != ".ipynb":
        raise ValueError(f"{str(notebook)!r} is no notebook: its name does not end with .ipynb.")
    if isinstance(output_files, (str, Path, Mapping)):
        raise TypeError(f"output_files is a list of names, not {output_files!r}.")
    page = Path(checked_file(html_output_folder)) / f"{notebook.stem}.html"

    def execute(files: list[Path]) -> None:
        convert(notebook, files[0])

    job = MultiFileGeneratingJob([page, *output_files], execute, depend_on_function=False)
    job.depends_on(job_or_filename(notebook, NotebookInvariant)[1])
    for one in _each(input_files):
        job.depends_on(job_or_filename(one)[1] if isinstance(one, (str, Path)) else one)
    return job


def _each(inputs: Any) -> Iterable[Any]:
    return inputs if isinstance(inputs, (list, tuple, set)) else [inputs]


def convert(notebook: Path, page: Path) -> None:
    """Execute *notebook* and write its HTML. Raises ImportError, JobContractError."""
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise ImportError(
            f"To execute {str(notebook)!r}, {' and '.join(missing)} must be installed: "
            "pip install 'pypelinin[notebook]'."
        )
    page.parent.mkdir(parents=True, exist_ok=True)
    command = [
        *COMMAND, "--execute", "--to", "html",
        "--output-dir", str(page.parent.absolute()), "--output", page.name, str(notebook),
    ]  # fmt: skip
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        check=False,
    )  # fmt: skip
    with open(1, "wb", closefd=False) as out:
        out.write(done.stdout)
    if done.returncode:
        text = _COLOURS.sub("", done.stdout.decode(errors="replace"))
        raise JobContractError(
            f"The notebook {str(notebook)!r} could not be executed (nbconvert ended with "
            f"{done.returncode}). At last it said:\n{text[-TOLD_MAX:].strip()}"
        )


def outputs_named_in(notebook: str | Path, besides: Iterable[str] = ()) -> list[str]:
    """Files that jobs of the graph make and the notebook's cells name, to depend on them.

    *besides*: those are left out. Raises OSError, JobContractError if it is no notebook.
    """
    graph = state.current()
    text = "\n".join(text for _, text in cells_of(notebook))
    left_out = set(besides)
    return [
        name
        for name, job_id in graph.outputs_to_job_ids.items()
        if graph.jobs[job_id].makes_files and name not in left_out
        and name in text and re.search(rf"(?<![\w.-]){re.escape(name)}(?![\w-]|\.\w)", text)
    ]  # fmt: skip


__all__ = ["NotebookJob", "outputs_named_in"]
