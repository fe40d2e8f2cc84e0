from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from threading import Thread
from typing import TYPE_CHECKING

import pytest

from pypelinin.stores import MemoryStore
from pypelinin.stores.memory import MONITORING_KEPT
from tests.unit.stores.contract import StoreContract, save

if TYPE_CHECKING:
    from tests.unit.stores.contract import Opener


class TestContract(StoreContract):
    @pytest.fixture
    def opened(self) -> Iterator[Opener]:
        yield partial(MemoryStore, "contract")
        MemoryStore.forget("contract")


def test_an_instance_without_a_space_has_its_own() -> None:
    one, other = MemoryStore(), MemoryStore()
    save(one, {"x": 1})
    assert other.load("p1") == {}


def test_a_forgotten_space_starts_empty() -> None:
    save(MemoryStore("mine"), {"x": 1})
    MemoryStore.forget("mine")
    assert MemoryStore("mine").load("p1") == {}
    MemoryStore.forget("mine")
    MemoryStore.forget("mine")


def test_the_newest_figures_are_kept() -> None:
    store = MemoryStore()
    for number in range(MONITORING_KEPT + 1):
        store.save_monitoring({"number": number})
    figures = store.load_monitoring()
    assert len(figures) == MONITORING_KEPT
    assert figures[0] == {"number": 1}
    assert figures[-1] == {"number": MONITORING_KEPT}


def test_threads_that_save_at_once_lose_nothing() -> None:
    store = MemoryStore()

    def save_many(job: str) -> None:
        for number in range(200):
            save(store, {f"{job}-{number}": number}, job=job, fence=number)

    threads = [Thread(target=save_many, args=(f"job-{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(store.load("p1")) == 4 * 200
