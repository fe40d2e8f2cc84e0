"""Files of this user: the runtime directory, names of nodes, clusters that run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from pypelinin.errors import ClusterError
from pypelinin.runtime import places
from pypelinin.runtime.places import (
    ClusterFile,
    NodeName,
    ProcessMark,
    RunningCluster,
    known_clusters,
    nearest_cluster,
    running_clusters,
    runtime_directory,
)


@pytest.fixture(autouse=True)
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    return tmp_path / "run"


def cluster_of(journal: Path, api: str, started_at: float = 1.0) -> RunningCluster:
    """A cluster kept by this very process."""
    mark = ProcessMark.of(os.getpid())
    return RunningCluster(str(journal), api, "tcp://127.0.0.1:9", started_at, "", mark, {})


# --- the directory ----------------------------------------------------------------------------


def test_the_directory_is_ours_alone(run: Path) -> None:
    assert runtime_directory() == run / "pypelinin"
    assert (run / "pypelinin").stat().st_mode & 0o777 == 0o700


def test_without_a_session_it_is_below_tmp(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    assert runtime_directory() == Path(f"/tmp/pypelinin-{os.getuid()}")


def test_a_directory_others_can_enter_is_refused(run: Path) -> None:
    runtime_directory().chmod(0o755)
    with pytest.raises(ClusterError, match="only you can enter"):
        runtime_directory()


def test_a_directory_that_cannot_be_made_is_named(run: Path) -> None:
    run.write_text("a file")
    with pytest.raises(ClusterError, match=r"cannot be used: .*Set XDG_RUNTIME_DIR"):
        runtime_directory()


# --- nodes ------------------------------------------------------------------------------------


def test_a_name_in_use_gets_a_number_and_a_free_one_does_not() -> None:
    first, second = NodeName("kiwi"), NodeName("kiwi")
    assert (first.name, second.name) == ("kiwi", "kiwi-2")
    first.close()
    again = NodeName("kiwi")
    assert again.name == "kiwi"
    again.close()
    second.close()


def test_a_name_becomes_a_file_name() -> None:
    name = NodeName("../a b")
    assert name.name == ".._a_b"
    name.close()


def test_too_many_names_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "NAMES_MAX", 2)
    only = NodeName("kiwi")
    with pytest.raises(ClusterError, match="2 Brokers run on kiwi"):
        NodeName("kiwi")
    only.close()


# --- clusters ---------------------------------------------------------------------------------


def test_one_keeps_a_cluster_and_all_learn_of_it(tmp_path: Path) -> None:
    assert running_clusters() == []
    keeper, other = ClusterFile(tmp_path / "journal"), ClusterFile(tmp_path / "journal")
    assert keeper.take()
    assert not other.take()
    cluster = cluster_of(tmp_path / "journal", "tcp://127.0.0.1:1")
    keeper.write(cluster)
    assert running_clusters() == [cluster]
    other.close()
    assert running_clusters() == [cluster]
    keeper.close()
    assert running_clusters() == []
    assert other.take()
    other.close()


def test_looking_does_not_take(tmp_path: Path) -> None:
    file = ClusterFile(tmp_path / "journal")
    file.write(cluster_of(tmp_path / "journal", "tcp://127.0.0.1:1"))
    assert running_clusters() == []
    assert [alive for _, alive in known_clusters()] == [False]
    assert file.take()
    assert [alive for _, alive in known_clusters()] == [True]
    file.close()


def test_the_newest_comes_first(tmp_path: Path) -> None:
    files = [ClusterFile(tmp_path / name) for name in "ab"]
    for file, age in zip(files, (1.0, 2.0), strict=True):
        assert file.take()
        file.write(cluster_of(tmp_path / str(age), "tcp://127.0.0.1:1", started_at=age))
    assert [cluster.started_at for cluster in running_clusters()] == [2.0, 1.0]
    for file in files:
        file.close()


def test_a_directory_means_the_cluster_of_its_journal_else_the_newest(tmp_path: Path) -> None:
    assert nearest_cluster(tmp_path) is None
    files = [ClusterFile(tmp_path / name) for name in (".pypelinin", "other")]
    for file, name, age in zip(files, (".pypelinin", "other"), (1.0, 2.0), strict=True):
        assert file.take()
        file.write(cluster_of(tmp_path / name, f"tcp://{name}:1", started_at=age))
    found = [nearest_cluster(place) for place in (tmp_path, tmp_path / "other")]
    assert [one.api for one in found if one] == ["tcp://.pypelinin:1", "tcp://other:1"]
    for file in files:
        file.close()


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"journal": 1}', '{"supervisor": {}}'])
def test_a_file_that_is_none_is_left_out(tmp_path: Path, text: str) -> None:
    assert ClusterFile(tmp_path / "journal").take()
    (runtime_directory() / "clusters" / "x.json").write_text(text)
    assert list(known_clusters()) == []


# --- processes --------------------------------------------------------------------------------


def test_a_mark_finds_its_process_while_it_lives() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    mark = ProcessMark.of(child.pid)
    found = mark.process()
    assert found is not None
    assert found.pid == child.pid
    child.kill()
    psutil.wait_procs([found], timeout=0)
    child.communicate()
    assert mark.process() is None


def test_a_dead_child_that_nobody_asked_about_is_gone() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    mark = ProcessMark.of(child.pid)
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert mark.process() is None
    child.wait()


def test_a_pid_of_another_process_is_not_the_marked_one() -> None:
    mark = ProcessMark(os.getpid(), psutil.Process().create_time() - 100.0)
    assert mark.process() is None
