"""Jobs that execute notebooks."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import pypelinin.incremental as ppg
from pypelinin.incremental import JobOutcome, RunMode, state
from pypelinin.incremental.jobs import notebook
from pypelinin.incremental.jobs.notebook import outputs_named_in


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    before = state.graph
    new()
    yield tmp_path
    state.change(before)


def new() -> None:
    ppg.new(cores=1, run_mode=RunMode.NONINTERACTIVE, dir_config=".ppg")


def write(path: str, *codes: str, outputs: Any = ()) -> None:
    cells = [
        {"cell_type": "code", "id": f"c{i}", "source": code.splitlines(True), "metadata": {},
         "outputs": list(outputs), "execution_count": None}
        for i, code in enumerate(codes)
    ]  # fmt: skip
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(
        json.dumps({"cells": cells, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5})
    )


@pytest.fixture
def converter(monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program in the place of nbconvert: it writes its arguments as the page."""
    program = Path("converter.py").absolute()
    program.write_text(
        "import sys, pathlib\n"
        "given = sys.argv[1:]\n"
        "print('converting')\n"
        "if 'fail' in pathlib.Path(given[-1]).read_text():\n"
        "    sys.exit('the reason')\n"
        "folder = pathlib.Path(given[given.index('--output-dir') + 1])\n"
        "(folder / given[given.index('--output') + 1]).write_text(' '.join(given))\n"
        "pathlib.Path('made.txt').write_text('made')\n"
    )
    monkeypatch.setattr(notebook, "COMMAND", [sys.executable, str(program)])
    monkeypatch.setattr(notebook, "NEEDED", ())
    return program


def outcome_of(job: ppg.Job) -> JobOutcome:
    return ppg.run(print_failures=False)[job.job_id].outcome


def test_a_notebook_becomes_a_page_and_files(converter: Path) -> None:
    write("books/book.ipynb", "1")
    job = ppg.NotebookJob("books/book.ipynb", [], ["made.txt"], "html")
    assert job.outputs == ("html/book.html", "made.txt")
    assert outcome_of(job) is JobOutcome.Success
    words = Path("html/book.html").read_text().split()
    assert words[:3] == ["--execute", "--to", "html"]
    assert words[-1] == "books/book.ipynb"
    assert job.stdout == "converting\n"


def test_only_what_is_in_the_cells_counts(converter: Path) -> None:
    ran = []
    output = {"output_type": "stream", "name": "stdout", "text": ["1"]}
    for code, outputs in (("1", ()), ("1", [output]), ("2", [output])):
        write("book.ipynb", code, outputs=outputs)
        new()
        ran.append(outcome_of(ppg.NotebookJob("book.ipynb", [], ["made.txt"], "html")))
    assert ran == [JobOutcome.Success, JobOutcome.Skipped, JobOutcome.Success]


def test_inputs_are_jobs_and_names_of_files(converter: Path) -> None:
    write("book.ipynb", "1")
    Path("given.txt").write_text("1")

    def define() -> ppg.Job:
        new()
        made = ppg.FileGeneratingJob("input.txt", lambda path: path.write_text("x"))
        inputs = ["input.txt", Path("given.txt"), made, None]
        return ppg.NotebookJob("book.ipynb", inputs, ["made.txt"], "html")

    job = define()
    assert sorted(up.job_id for up in job.upstreams) == ["book.ipynb", "given.txt", "input.txt"]
    ppg.run()
    Path("given.txt").write_text("2")
    assert outcome_of(define()) is JobOutcome.Success


def test_a_notebook_that_a_job_makes(converter: Path) -> None:
    source = json.dumps({"cells": []})
    ppg.FileGeneratingJob("book.ipynb", lambda path, source=source: path.write_text(source))
    job = ppg.NotebookJob("book.ipynb", [], [], "html")
    assert outcome_of(job) is JobOutcome.Success


def test_a_notebook_that_fails_says_why(converter: Path) -> None:
    write("book.ipynb", "fail")
    job = ppg.NotebookJob("book.ipynb", [], ["made.txt"], "html")
    with pytest.raises(ppg.JobsFailed):
        ppg.run(print_failures=False)
    assert isinstance(job.exception, ppg.JobContractError)
    assert "nbconvert ended with 1" in str(job.exception)
    assert "the reason" in str(job.exception)


def test_what_must_be_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notebook, "NEEDED", ("no_such_module", "sys"))
    write("book.ipynb", "1")
    job = ppg.NotebookJob("book.ipynb", [], [], "html")
    with pytest.raises(ppg.JobsFailed):
        ppg.run(print_failures=False)
    assert "no_such_module must be installed: pip install 'pypelinin[notebook]'" in str(
        job.exception
    )


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("book.txt", [], [], "html"), ValueError),
        ((3, [], [], "html"), TypeError),
        (("book.ipynb", [], "made.txt", "html"), TypeError),
        (("book.ipynb", [], {"a": "made.txt"}, "html"), TypeError),
        (("book.ipynb", [], [], None), TypeError),
        (("book.ipynb", [3], [], "html"), TypeError),
    ],
)
def test_what_cannot_be(arguments: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        ppg.NotebookJob(*arguments)


def test_files_of_jobs_are_found_in_the_text() -> None:
    for name in ("data/a.txt", "b.txt", "c.txt", "page.html", "d", "e.txt"):
        ppg.FileGeneratingJob(name, lambda path: path.write_text(path.name))
    ppg.ParameterInvariant("read", 3)
    write("book.ipynb", "read('../data/a.txt')\n", "# see b.txt.\nopen('c.txt.gz'), id('my-e.txt')",
          "'page.html', PIread")  # fmt: skip
    assert outputs_named_in("book.ipynb", ["page.html"]) == ["data/a.txt", "b.txt"]
    with pytest.raises(FileNotFoundError):
        outputs_named_in("missing.ipynb")
    Path("book.ipynb").write_text("no notebook")
    with pytest.raises(ppg.JobContractError, match="no Jupyter notebook"):
        outputs_named_in("book.ipynb")


@pytest.mark.needs_all
def test_a_real_notebook() -> None:
    copies = "Path('made.txt').write_text(Path('in.txt').read_text() + '!')"
    write("books/book.ipynb", "from pathlib import Path\nprint(6 * 7)", copies)
    Path("books/in.txt").write_text("given")
    job = ppg.NotebookJob("books/book.ipynb", "books/in.txt", ["books/made.txt"], "html")
    ppg.run()
    assert Path("books/made.txt").read_text() == "given!"
    assert "42" in Path("html/book.html").read_text()
    assert outcome_of(job) is JobOutcome.Skipped
    write("books/book.ipynb", "raise ValueError('the reason')")
    with pytest.raises(ppg.JobsFailed):
        ppg.run(print_failures=False)
    assert "ValueError: the reason" in str(job.exception)
