from __future__ import annotations

import importlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from pypelinin import Job, Pipeline, PipelineManager
from pypelinin.config import Limits
from pypelinin.errors import ClusterError, DefinitionError
from pypelinin.runtime import node as module
from pypelinin.runtime.daemons import Router
from pypelinin.runtime.node import Broker
from pypelinin.runtime.values import unpack_value
from pypelinin.stores import FileStore
from tests.integration import jobs
from tests.integration.cluster import FAST, JOBS, until
from tests.integration.jobs import notes
from tests.unit.runtime.test_daemons import ANY, Running

LIMITS = Limits(**FAST)


@pytest.fixture(autouse=True)
def _runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))


@pytest.fixture
def router(tmp_path: Path) -> Iterator[Router]:
    config = {"journal": str(tmp_path / "j"), "store": {"log": str(tmp_path / "log")},
              "monitoring interval": 0.1}  # fmt: skip
    made = Running(daemon := Router(ANY, ANY, config, limits=LIMITS))
    assert daemon.started.wait(20)
    yield daemon
    made.stop()


def running(daemon: Broker, router: Router) -> tuple[Running, PipelineManager]:
    made = Running(daemon)
    manager = PipelineManager(router.api)
    until(lambda: manager.cluster().nodes or not made.alive, "the Broker's start")
    assert made.alive, made.error
    return made, manager


class LocalStore:
    """Not importable by the name of a local class; made in the test below."""


# --- what is given ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("workers", "names"),
    [
        ("a.b", ["a.b"]),
        (["a", "b"], ["a", "b"]),
        (jobs, [JOBS]),
        ((jobs, "b"), [JOBS, "b"]),
    ],
)
def test_workers_are_modules_or_their_names(workers: Any, names: list[str]) -> None:
    assert Broker(workers=workers).workers == names


def test_what_a_broker_cannot_be() -> None:
    for slots in (0, -1):
        with pytest.raises(DefinitionError, match="at least one slot"):
            Broker(workers="a", number_of_workers=slots)
    with pytest.raises(DefinitionError, match="store_configuration is no plain data"):
        Broker(workers="a", store_configuration={"directory": Path("x")})
    with pytest.raises(DefinitionError, match="labels map str to str"):
        Broker(workers="a", labels={"gpus": 2})  # type: ignore[dict-item]  # wrong on purpose
    with pytest.raises(DefinitionError, match="A store is named 'module:Class', not 'nonsense'"):
        Broker(workers="a", store_class="nonsense")


def test_its_slots_are_the_cpus_it_may_use() -> None:
    assert Broker(workers="a").slots == len(os.sched_getaffinity(0))


def test_in_a_job_a_broker_has_what_the_job_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYPELININ_CORES", "3")
    assert Broker(workers="a").slots == 3


def test_a_store_travels_by_name_or_by_value(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Broker(workers="a").store == ""
    assert Broker(workers="a", store_class="m:C").store == "m:C"
    assert Broker(workers="a", store_class=FileStore).store == "pypelinin.stores.file:FileStore"

    class Local:
        pass

    for kind in (Local, type("Made", (), {"__module__": "__main__"})):
        spec = Broker(workers="a", store_class=kind).store
        assert isinstance(spec, bytes)
        assert unpack_value(spec).__name__ == kind.__name__


def test_a_class_that_hides_another_travels_by_value(monkeypatch: pytest.MonkeyPatch) -> None:
    made: Any = ModuleType("made_for_a_test")
    kind = type("Store", (), {"__module__": "made_for_a_test"})
    made.Store = object()
    monkeypatch.setattr(importlib, "import_module", lambda name: made)
    assert isinstance(Broker(workers="a", store_class=kind).store, bytes)


def test_modules_of_the_working_directory_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert Broker(workers="a").path[0] == str(tmp_path)


# --- what it does -----------------------------------------------------------------------------


def test_it_joins_works_and_leaves(router: Router, tmp_path: Path) -> None:
    daemon = Broker(
        router.api, None, None, jobs, None, 1, name="n", labels={"a": "b"}, limits=LIMITS
    )
    made, manager = running(daemon, router)
    (node,) = until(lambda: manager.cluster().nodes, "the node")
    assert (node.name, node.slots, node.labels) == ("n", 1, {"a": "b"})
    manager.run(Pipeline({Job("Noop"): Job("Noop", name="2")}), timeout=20)
    made.stop()
    assert made.error is None
    until(lambda: not manager.cluster().nodes, "its leaving")
    manager.close()


def test_its_own_store_configuration_goes_before_the_routers(
    router: Router, tmp_path: Path
) -> None:
    store = "tests.integration.job_stores:InfoStore"
    own = {"log": str(tmp_path / "own")}
    daemon = Broker(router.api, None, store, jobs, None, 1, store_configuration=own, limits=LIMITS)
    made, manager = running(daemon, router)
    manager.run(Pipeline({Job("Noop"): None}), timeout=20)
    until(lambda: any(n["call"] == "save_monitoring" for n in notes(tmp_path / "own")), "a sample")
    assert not (tmp_path / "log").exists()
    made.stop()
    manager.close()


def test_a_host_that_hides_its_figures(
    router: Router,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    tried = threading.Event()

    def hidden(name: str) -> dict[str, Any]:
        tried.set()
        raise PermissionError("/proc is not for you")

    monkeypatch.setattr(module, "sample", hidden)
    store = "tests.integration.job_stores:InfoStore"
    made, manager = running(Broker(router.api, None, store, jobs, None, 1, limits=LIMITS), router)
    assert tried.wait(20)
    manager.run(Pipeline({Job("Noop"): None}), timeout=20)
    assert "No monitoring sample: PermissionError: /proc is not for you" in caplog.text
    made.stop()
    manager.close()


def test_workers_that_cannot_be_imported_end_it(router: Router) -> None:
    made = Running(Broker(router.api, None, None, "no_such_module", None, 1, limits=LIMITS))
    until(lambda: not made.alive, "its end")
    assert isinstance(made.error, ClusterError)
    assert "The workers module 'no_such_module' cannot be imported" in str(made.error)


def test_a_second_broker_of_a_name_takes_another(router: Router) -> None:
    one, manager = running(Broker(router.api, workers=jobs, number_of_workers=1, name="n"), router)
    two = Running(Broker(router.api, workers=jobs, number_of_workers=1, name="n"))
    until(lambda: len(manager.cluster().nodes) == 2, "both")
    assert {node.name for node in manager.cluster().nodes} == {"n", "n-2"}
    one.stop()
    two.stop()
    manager.close()


def test_where_values_are_for_who_cannot_read_the_routers_files() -> None:
    assert module.values_at("tcp://node1:5555") == "node1"
    assert module.values_at("ipc:///tmp/x.api") == "ipc:///tmp/x.api.values"
