"""Where streams run: slots of this process, two Brokers, another executor; and what dies there."""

from __future__ import annotations

import itertools
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

from pypelinin.streams import Args, ItemFailed, Multiple, Work, getCpuCount, getRank
from tests.integration.cluster import RealCluster, until
from tests.streams.programs import built, expected, specs

SEEDS = range(0, 60, 6)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealCluster]:
    with RealCluster(tmp_path_factory.mktemp("cluster"), brokers=2, slots=2) as made:
        yield made


def test_on_two_brokers_the_same_comes_out_as_here(cluster: RealCluster) -> None:
    for seed in SEEDS:
        found = sorted(built(specs(seed), on=cluster.api).run())
        assert found == sorted(built(specs(seed), useMultiprocessing=False).run())
        assert found == expected(specs(seed))


def test_both_brokers_work_on_one_item(cluster: RealCluster, tmp_path: Path) -> None:
    """A loop is spread, as soon as its items are known not to be quick."""
    work = Work([1], on=cluster.api)

    @work.frame(store=set)
    def fan(store: set[int], first: int) -> Any:
        return None if store else Multiple(range(40))

    @work.job
    def where(item: int) -> int:
        import os
        import time

        (tmp_path / str(os.getppid())).touch()
        deadline = time.monotonic() + 0.5
        time.sleep(0.03)
        while len(list(tmp_path.iterdir())) < 4 and time.monotonic() < deadline:
            time.sleep(0.01)  # a slot that is late finds some, too
        return os.getppid()

    @work.frameEnd
    def known(store: set[int], parent: int) -> None:
        store.add(parent)

    [keepers] = work.run()
    assert len(keepers) == 4  # one above each slot, two at each Broker


def test_in_the_slots_of_this_process() -> None:
    for seed in SEEDS:
        assert sorted(built(specs(seed), slots=2).run()) == expected(specs(seed))


def test_on_a_pool_of_processes() -> None:
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        for seed in list(SEEDS)[:4]:
            assert sorted(built(specs(seed), engine=pool).run()) == expected(specs(seed))


def test_the_environment_names_the_cluster(
    cluster: RealCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYPELININ_API", cluster.api)
    work = Work([1])
    seen: list[int] = []

    @work.job
    def parent(item: int) -> Args:
        import os

        return Args(os.getppid(), getCpuCount(), getRank())

    @work.result
    def show(parent: int, cpus: int, rank: int) -> None:
        seen.append(parent)
        assert (cpus, rank) == (getCpuCount(), getRank()) == (4, 0)

    work.run()
    assert seen != [os.getpid()]
    with pytest.raises(RuntimeError):
        getCpuCount()


def test_what_jobs_print_comes_to_the_terminal(
    cluster: RealCluster, capfd: pytest.CaptureFixture[str]
) -> None:
    for place in ({"on": cluster.api}, {"slots": 1}, {"useMultiprocessing": False}):
        work = Work(range(3), **place)

        @work.job
        def loud(item: int) -> int:
            import sys

            print("printed", item)
            print("warned", item, file=sys.stderr)
            return item

        assert sorted(work.run()) == [0, 1, 2]
        out, err = capfd.readouterr()
        assert sorted(out.split("\n")) == ["", *(f"printed {i}" for i in range(3))]
        assert sorted(err.split("\n")) == ["", *(f"warned {i}" for i in range(3))]


# --- what dies ----------------------------------------------------------------------------------


@pytest.mark.chaos
def test_slots_that_are_killed_at_random_lose_nothing(tmp_path: Path) -> None:
    """Each item kills its slot once, at most; some twice."""
    work = Work(range(300), slots=3)

    @work.job
    def deadly(item: int) -> int:
        import os
        import signal

        for once in range(1 + (item % 50 == 0)):
            mark = tmp_path / f"{item}-{once}"
            if item % 10 == 0 and not mark.exists():
                mark.touch()
                os.kill(os.getpid(), signal.SIGKILL)
        return item

    assert sorted(work.run()) == list(range(300))


@pytest.mark.parametrize("on_error", ["stop", "skip", "collect"])
def test_an_item_that_kills_its_slot_is_found_among_many(on_error: str) -> None:
    work = Work(range(200), slots=2, on_error=on_error)

    @work.job
    def deadly(item: int) -> int:
        import os

        if item == 77:
            os._exit(3)
        return item

    if on_error == "stop":
        with pytest.raises(ItemFailed, match=r"deadly failed for the item 77: .*code 3"):
            work.run()
        return
    assert sorted(work.run()) == [i for i in range(200) if i != 77]
    assert [error.item for error in work.errors] == (["77"] if on_error == "collect" else [])


@pytest.mark.chaos
def test_daemons_that_are_killed_lose_nothing(tmp_path: Path) -> None:
    """The Router and a Broker, kill -9, while items flow."""
    with RealCluster(tmp_path / "c", brokers=2, slots=1) as cluster:
        items = tmp_path / "items"
        items.mkdir()
        work = Work(range(400), on=cluster.api)

        @work.job
        def slow(item: int) -> int:
            import time

            time.sleep(0.01)
            (items / str(item)).touch()
            return item

        @work.reduce(store=set)
        def all_of(store: set[int], works: list[int], others: list[set[int]]) -> None:
            store.update(works, *others)

        found: list[Any] = []
        thread = threading.Thread(target=lambda: found.extend(work.run()))
        thread.start()
        for name, seen in (("router", 60), ("broker-1", 160)):
            until(lambda seen=seen: len(list(items.iterdir())) >= seen, "items")
            cluster.kill(name, signal.SIGKILL)
            cluster.restart(name)
        thread.join(60)
        assert found == [set(range(400))]


# --- sources and order ----------------------------------------------------------------------------


def test_a_source_without_end_is_taken_from_as_there_is_room() -> None:
    """An endless generator: the stream ends when the result function has enough."""
    taken = itertools.count()
    work = Work(taken, slots=2)
    seen: list[int] = []

    @work.job
    def same(item: int) -> int:
        return item

    @work.result
    def enough(item: int) -> None:
        seen.append(item)
        if len(seen) >= 50_000:
            raise EOFError

    with pytest.raises(EOFError):
        work.run()
    assert len(set(seen)) == len(seen) == 50_000
    assert next(taken) < 2_000_000


def test_items_come_out_in_order_if_asked_for() -> None:
    for seed in SEEDS:
        spec = specs(seed)
        here = built(spec, useMultiprocessing=False, ordered=True).run()
        there = built(spec, ordered=True, slots=3).run()
        assert sorted(here) == expected(spec)
        assert [*map(len, (here, there))] == [len(here)] * 2
    work = Work(range(5000), ordered=True, slots=3)
    work.job(lambda item: Multiple([item, item]) if item % 3 else item)
    assert work.run() == sorted(work.run())
