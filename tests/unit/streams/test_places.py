"""Where a stream runs."""

from __future__ import annotations

from concurrent.futures import Executor as BaseExecutor
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from pypelinin import Executor
from pypelinin.errors import DefinitionError
from pypelinin.runtime.capacity import cores_here
from pypelinin.streams.places import Place

NOWHERE = "tcp://127.0.0.1:1"


@pytest.fixture(autouse=True)
def _no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PYPELININ_API", "PYPELININ_ACCESS"):
        monkeypatch.delenv(name, raising=False)


def test_the_cluster_that_the_environment_names(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Place().api is None
    monkeypatch.setenv("PYPELININ_API", NOWHERE)
    assert Place().api == NOWHERE
    assert Place(on="tcp://other:1").api == "tcp://other:1"
    with ThreadPoolExecutor(1) as engine:
        assert Place(engine=engine).api is None


def test_not_on_both() -> None:
    with (
        ThreadPoolExecutor(1) as engine,
        pytest.raises(DefinitionError, match="on a cluster or on an engine, not on both"),
    ):
        _ = Place(on=NOWHERE, engine=engine).api


def test_how_many_slots() -> None:
    assert Place(slots=7).cpus() == 7
    assert Place().cpus() == cores_here()
    with ThreadPoolExecutor(3) as engine:
        assert Place(engine=engine).cpus() == 3
    assert Place(engine=BaseExecutor()).cpus() == cores_here()


def test_an_engine_is_used_as_it_is_and_stays_open() -> None:
    with ThreadPoolExecutor(1) as engine:
        with Place(engine=engine).opened() as found:
            assert found is engine
        with pytest.raises(KeyError), Place(engine=engine).opened():
            raise KeyError
        assert engine.submit(int, "3").result() == 3


def test_slots_end_with_the_stream() -> None:
    with Place(slots=1).opened() as executor:
        assert isinstance(executor, Executor)
        assert executor.submit(int, "3").result() == 3
    with pytest.raises(RuntimeError, match="after shutdown"):
        executor.submit(int, "3")


def forever() -> None:
    import threading

    threading.Event().wait()


def test_a_stream_that_raises_ends_what_runs() -> None:
    futures: list[Future[None]] = []

    def begun_and_broken() -> None:
        with Place(slots=1).opened() as executor:
            futures.append(executor.submit(forever))
            raise KeyError

    with pytest.raises(KeyError):
        begun_and_broken()
    assert futures[0].cancelled()


@pytest.mark.parametrize("slots", [0, -1])
def test_no_slots_are_refused(slots: int) -> None:
    with (
        pytest.raises(DefinitionError, match="at least 1"),
        Place(slots=slots).opened(),
    ):
        pass
