"""What a run is told of jobs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import pypelinin.incremental as ppg
from pypelinin.graph.declared import Declared
from pypelinin.incremental.declaring import Declaring
from pypelinin.incremental.history import History

HERE = ppg.Resources.RunsHere


def write(path: Path) -> None:
    path.write_text("x")


@pytest.fixture
def declaring(ppg_here: ppg.PyPipeGraph) -> Iterator[Declaring]:
    """Of a graph in which b reads a, and has run."""
    a = ppg.FileGeneratingJob("a.txt", write, HERE)
    ppg.FileGeneratingJob("b.txt", write, HERE).depends_on(a)
    ppg.run()
    history = History(ppg_here.get_history_filename())
    yield Declaring(ppg_here, history)
    history.close()


def declared(declaring: Declaring, job_id: str) -> Declared:
    jobs = declaring.ordered(declaring.chosen(None))
    numbers = {job.job_id: i for i, job in enumerate(jobs)}
    return declaring.declared(declaring.graph.jobs[job_id], numbers, numbers[job_id])


def there(declaring: Declaring, job_id: str) -> object:
    return declared(declaring, job_id).there


def test_upstreams_come_first(declaring: Declaring) -> None:
    jobs = declaring.ordered(["b.txt", "a.txt", "FIwrite"])
    assert [job.job_id for job in jobs] == ["FIwrite", "a.txt", "b.txt"]


def test_what_is_there_is_told_and_what_was_changed_is_altered(declaring: Declaring) -> None:
    assert there(declaring, "a.txt") == ("a.txt",)
    Path("a.txt").write_text("y")
    assert there(declaring, "a.txt") is None
    ((found, altered),) = declaring.altered.values()
    assert (found, altered) == (("a.txt",), ("a.txt",))
    Path("a.txt").write_text("x")
    assert there(declaring, "a.txt") == ("a.txt",)
    os.unlink("a.txt")
    assert there(declaring, "a.txt") == ()


def test_a_file_that_was_seen_meanwhile_is_compared_with_the_record(declaring: Declaring) -> None:
    Path("a.txt").write_text("y")
    declaring.history.files.digest("a.txt")  # as a FileInvariant of it would have done
    assert there(declaring, "a.txt") is None


def test_what_is_no_file_is_not_there(declaring: Declaring) -> None:
    os.unlink("a.txt")
    os.mkdir("a.txt")
    os.unlink("b.txt")
    os.mkfifo("b.txt")
    assert there(declaring, "a.txt") == there(declaring, "b.txt") == ()


def test_what_cannot_be_read_is_altered(
    declaring: Declaring, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: str) -> bytes:
        raise PermissionError(path)

    monkeypatch.setattr(declaring.history.files, "digest", refuse)
    assert there(declaring, "a.txt") is None


def test_an_invariant_that_cannot_be_known_is_broken(declaring: Declaring) -> None:
    ppg.FileInvariant("missing.txt")
    assert declared(declaring, "missing.txt").given is None
    assert isinstance(*declaring.broken.values(), FileNotFoundError)


def test_what_follows_a_pruned_job_is_pruned_until_it_is_not(declaring: Declaring) -> None:
    a, b = (declaring.graph.jobs[name] for name in ("a.txt", "b.txt"))
    a.prune()
    assert declaring.chosen(None) == ["FIwrite"]
    assert (a.prune_reason, b.prune_reason) == ("a.txt", "a.txt")
    a.unprune()
    assert set(declaring.chosen(None)) == {"FIwrite", "a.txt", "b.txt"}
    b.prune()
    a.prune()
    a.unprune()
    assert set(declaring.chosen(None)) == {"FIwrite", "a.txt"}
    assert set(declaring.chosen(["b.txt"])) == {"FIwrite", "a.txt", "b.txt"}
