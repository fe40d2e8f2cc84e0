"""LocalCluster: there inside the block, gone after it, whatever the way out."""

from __future__ import annotations

import os
import signal
import tempfile
from pathlib import Path
from typing import Any

import psutil
import pytest

from pypelinin import Job, Pipeline, PipelineManager
from pypelinin.cli import local
from pypelinin.cli.local import LocalCluster
from pypelinin.errors import ClusterError, DefinitionError
from tests.integration.cli.commands import KITCHEN, Home, gone, role_of, until


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with workers, and a runtime and a temporary directory of its own."""
    (tmp_path / "kitchen.py").write_text(KITCHEN)
    (tmp_path / "tmp").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    return tmp_path


def kept() -> dict[str, psutil.Process]:
    """Our daemons by role."""
    children = psutil.Process().children(recursive=True)
    return {role: child for child in children if (role := role_of(child))}


def another(role: str, first: psutil.Process) -> bool:
    """Whether a daemon of this role runs that is not the *first*."""
    now = kept().get(role)
    return now is not None and now.pid != first.pid


def run_one(cluster: LocalCluster, worker: str = "Cook") -> Pipeline:
    with PipelineManager(cluster.api, cluster.broadcast) as manager:
        return manager.run(Pipeline({Job(worker): None}))[0]


def test_it_is_there_inside_the_block_and_gone_after_it(place: Path) -> None:
    store = {"directory": str(place / "results")}
    with LocalCluster(["kitchen"], "pypelinin.stores:FileStore", store, slots=1) as cluster:
        assert [node.slots for node in cluster.nodes] == [1]
        assert cluster.nodes[0].name
        daemons = kept()
        assert sorted(daemons) == ["broker", "pipeliner", "router"]
        assert {os.getsid(p.pid) for p in daemons.values()}.isdisjoint({os.getsid(0)})
        pipeline = run_one(cluster)
        assert (place / "results" / "pipelines" / str(pipeline.id) / "Cook.json").exists()
        assert len(list((place / "tmp").iterdir())) == 1
    assert gone([process.pid for process in daemons.values()])
    assert list((place / "tmp").iterdir()) == []


def test_it_is_gone_after_an_exception_too(place: Path) -> None:
    daemons: dict[str, psutil.Process] = {}

    def interrupted() -> None:
        with LocalCluster(["kitchen"], slots=1):
            daemons.update(kept())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert len(daemons) == 3
    assert gone([process.pid for process in daemons.values()])
    assert list((place / "tmp").iterdir()) == []


def test_a_journal_of_ones_own_outlives_it(place: Path) -> None:
    with LocalCluster(["kitchen"], slots=1, journal=place / "journal") as cluster:
        run = run_one(cluster).id
    with (
        LocalCluster(["kitchen"], slots=1, journal=place / "journal") as cluster,
        PipelineManager(cluster.api) as manager,
    ):
        assert manager.status(str(run)).state == "done"


def test_a_daemon_that_dies_is_started_again() -> None:
    with LocalCluster(["kitchen"], slots=1) as cluster:
        for role in ("broker", "router"):
            first = kept()[role]
            first.kill()
            until(lambda: another(role, first))  # noqa: B023 - asked in this turn only
        assert run_one(cluster).state == "done"


def test_what_still_runs_at_the_end_is_ended(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "GRACE_S", 0.05)
    gate = {"begun": str(place / "begun"), "gate": str(place / "gate")}
    with LocalCluster(["kitchen"], slots=1) as cluster, PipelineManager(cluster.api) as manager:
        manager.start(Pipeline({Job("Gate"): None}, data=gate))
        until((place / "begun").exists)
        daemons = kept()
    assert gone([process.pid for process in daemons.values()])


def test_nothing_outlives_a_parent_that_was_killed(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    home.write(
        "parent.py",
        "from pypelinin.cli.local import LocalCluster\n"
        "with LocalCluster(['kitchen'], slots=1):\n    print('up', flush=True)\n    input()\n",
    )
    with home.start("parent.py", module=False) as parent:
        until(lambda: len(parent.children()) == 3)
        pids = [process.pid for process in parent.children().values()]
        slots = [p.pid for p in psutil.Process(parent.process.pid).children(recursive=True)]
        parent.signal(signal.SIGKILL)
        until(lambda: gone([*pids, *slots]), "the end of all daemons")


@pytest.mark.parametrize(
    ("options", "kind", "said"),
    [
        ({"workers": ["nowhere"]}, ClusterError, "The workers module 'nowhere' cannot be imported"),
        ({"workers": ["kitchen"], "slots": -1}, DefinitionError, "at least one slot, not -1"),
        (
            {"workers": ["kitchen"], "store": "kitchen:Nope"},
            ClusterError,
            "The store kitchen:Nope cannot be loaded",
        ),
        (
            {"workers": ["kitchen"], "store_configuration": {"lock": object()}},
            DefinitionError,
            "The settings of a cluster are plain data",
        ),
    ],
)
def test_what_cannot_start_says_why_and_leaves_nothing(
    place: Path, options: dict[str, Any], kind: type[Exception], said: str
) -> None:
    cluster = LocalCluster(**options)
    with pytest.raises(kind, match=said), cluster:
        pass
    assert kept() == {}
    assert list((place / "tmp").iterdir()) == []


def test_a_module_that_ends_its_slot_is_told(place: Path) -> None:
    (place / "fatal.py").write_text("import os; os._exit(3)\n")
    cluster = LocalCluster(["fatal"], slots=1)
    with pytest.raises(ClusterError, match="The slot that imports the workers died"), cluster:
        pass


# between a socket's making and its first name there is no place to close it from
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interrupt_at_any_moment_leaves_nothing(place: Path) -> None:
    """SIGINT comes at another moment of the start each time."""
    for step in range(12):
        with pytest.raises(KeyboardInterrupt):
            interrupted_after(0.03 * step)
        until(lambda: kept() == {}, "the end of all daemons")
        until(lambda: list((place / "tmp").iterdir()) == [], "an empty directory")


def interrupted_after(seconds: float) -> None:
    signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(signal.SIGINT))
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 1e-6))
    try:
        with LocalCluster(["kitchen"], slots=1):
            signal.pause()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
