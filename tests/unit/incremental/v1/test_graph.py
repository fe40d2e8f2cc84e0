"""Beginning and running a graph of version 1."""

from __future__ import annotations

import logging
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from pypelinin.incremental.enums import RunMode
from pypelinin.incremental.history import History
from pypelinin.incremental.v1.graph import in_words


def job(ppg: ModuleType, name: str = "aaa") -> Any:
    return ppg.FileGeneratingJob(name, lambda: Path(name).write_text(name))


def test_a_new_graph_is_the_current_one_and_nothing_is_returned(ppg: ModuleType) -> None:
    before = ppg.util.global_pipegraph
    assert ppg.new_pipegraph is ppg.new_pipeline
    coordinator = ppg.resource_coordinators.LocalSystem(3)
    assert ppg.new_pipegraph(coordinator, cache_folder="kept") is None
    graph = ppg.util.global_pipegraph
    assert graph is not before
    assert (graph.rc, graph.cores, graph.cache_folder) == (coordinator, 3, "kept")
    assert graph.run_mode is RunMode.CONSOLE


@pytest.mark.parametrize("by", ["graph", "coordinator"])
def test_nobody_needs_to_sit_in_front_of_it(ppg: ModuleType, by: str) -> None:
    if by == "graph":
        ppg.new_pipegraph(interactive=False)
    else:
        ppg.new_pipegraph(ppg.resource_coordinators.LocalSystem(interactive=False))
    assert ppg.util.global_pipegraph.run_mode is RunMode.NONINTERACTIVE


def test_a_graph_is_run_once(ppg: ModuleType) -> None:
    job(ppg)
    ppg.run()
    with pytest.raises(ValueError, match="only once"):
        ppg.run_pipegraph()
    with pytest.raises(ValueError, match="only once"):
        job(ppg, "bbb")
    ppg.new_pipegraph(interactive=False)
    assert job(ppg).job_id == "aaa"


def test_a_graph_that_failed_was_run_too(ppg: ModuleType) -> None:
    ppg.FileGeneratingJob("aaa", lambda: None)
    with pytest.raises(ppg.RuntimeError):
        ppg.run_pipegraph()
    with pytest.raises(ValueError, match="only once"):
        ppg.run_pipegraph()


def test_a_graph_that_could_not_begin_can_be_run_later(ppg: ModuleType) -> None:
    job(ppg)
    path = ppg.util.global_pipegraph.get_history_filename()
    history = History(path)
    with pytest.raises(ppg.PyPipeGraphError, match="under way"):
        ppg.run_pipegraph()
    history.close()
    ppg.run_pipegraph()
    assert Path("aaa").exists()


def test_to_run_without_a_graph_is_an_error(ppg: ModuleType) -> None:
    ppg.util.global_pipegraph = None
    with pytest.raises(ValueError, match="no graph"):
        ppg.run_pipegraph()


def test_all_failures_are_told_with_what_was_raised(ppg: ModuleType) -> None:
    def bad(name: str) -> None:
        raise KeyError(name)

    for name in ("aaa", "bbb"):
        ppg.FileGeneratingJob(name, bad)
    missing = ppg.FileGeneratingJob("ccc", lambda: None)
    job(ppg, "ddd").depends_on(missing)
    with pytest.raises(ppg.RuntimeError) as info:
        ppg.run_pipegraph()
    error = info.value
    kinds = sorted(type(one).__name__ for one in error.exceptions)
    assert kinds == ["JobContractError", "KeyError", "KeyError"]
    assert all(name in error.value for name in ("3 jobs failed", "aaa", "bbb", "ccc: Job"))
    assert "ddd" not in error.value
    assert ppg.util.global_pipegraph.get_error_count() == 3


def test_many_failures_are_not_all_named() -> None:
    text = in_words([(f"job{n}", ValueError("x")) for n in range(30)])
    assert text.count("ValueError") == 20
    assert "and 10 more" in text


@pytest.mark.parametrize("quiet", [False, True])
def test_failures_are_printed_unless_quiet(
    ppg: ModuleType, quiet: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    ppg.new_pipegraph(quiet=quiet, interactive=False)
    ppg.FileGeneratingJob("aaa", lambda: None)
    with pytest.raises(ppg.RuntimeError):
        ppg.run_pipegraph()
    assert ("aaa" in capfd.readouterr().err) is not quiet


def test_records_are_where_it_was_said(ppg: ModuleType) -> None:
    Path("status").write_bytes(b"of version 1")
    for count in (1, 0):
        ppg.new_pipegraph(invariant_status_filename="status", quiet=True, interactive=False)
        made = job(ppg)
        ppg.run_pipegraph()
        assert made.was_run is bool(count)
    assert Path("status").read_bytes() == b"of version 1"
    assert Path("status.sqlite3").exists()
    assert ppg.util.load_invariant_stati("status")["aaa"].outputs.keys() == {"aaa"}


def test_log_records_go_to_the_file_of_the_last_graph(ppg: ModuleType) -> None:
    for name in ("one.log", "two.log"):
        ppg.new_pipegraph(log_file=name, interactive=False)
        ppg.util.global_pipegraph.logger.warning("here is %s", name)
    ppg.new_pipegraph(interactive=False)
    logging.getLogger("pypelinin.incremental").warning("nowhere")
    assert "here is one.log" in Path("one.log").read_text()
    assert "here is two.log" in Path("two.log").read_text()
    assert "two" not in Path("one.log").read_text()
    assert "nowhere" not in Path("two.log").read_text()


def test_a_file_outside_of_the_project_may_be_written(
    ppg: ModuleType, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("outside") / "aaa"
    ppg.FileGeneratingJob(path, lambda name: Path(name).write_text("a"))
    ppg.run_pipegraph()
    assert path.read_text() == "a"


def test_jobs_of_version_1_live_in_a_graph_of_today(ppg: ModuleType) -> None:
    import pypelinin.incremental as today

    today.new(run_mode=RunMode.NONINTERACTIVE, dir_config="kept")
    Path("in.txt").write_text("in")
    new = today.FileGeneratingJob("new", lambda path: path.write_text("n"))
    new.depends_on(today.FileInvariant("in.txt"))
    old = ppg.FileGeneratingJob("old", lambda: Path("old").write_text("o")).depends_on(new)
    old.depends_on_file("in.txt")
    bad = ppg.FileGeneratingJob("bad", lambda: Path("bad").touch(), rename_broken=True)
    assert today.FileInvariant("in.txt") in old.prerequisites
    with pytest.raises(ppg.RuntimeError):
        ppg.run_pipegraph(print_failures=False)
    assert old.was_run
    assert bad.failed
    assert Path("bad.broken").exists()


def test_a_dry_run_prints_what_would_be_run(
    ppg: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    job(ppg)
    with pytest.raises(ppg.PyPipeGraphError, match="dry run"):
        ppg.run_pipegraph(dry_run=True)
    assert not Path("aaa").exists()
    assert "aaa" in capsys.readouterr().out
    ppg.run_pipegraph()
    assert Path("aaa").exists()
