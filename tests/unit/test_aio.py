"""AsyncCluster: awaitables of what runs elsewhere."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pypelinin import AsyncCluster, Job, Pipeline
from pypelinin.errors import DefinitionError, JobError

pytestmark = pytest.mark.timeout(60)


def slow(path: str) -> None:
    """Tells when it has begun, and then takes its time."""
    Path(path).write_text("begun")
    time.sleep(60)


async def begun(path: Path) -> None:
    until = time.monotonic() + 20
    while not path.exists():
        assert time.monotonic() < until
        await asyncio.sleep(0.01)


def test_calls_run_at_the_same_time_as_the_loop() -> None:
    async def main() -> list[int]:
        async with AsyncCluster(2) as cluster:
            return list(await asyncio.gather(*(cluster.submit(pow, i, 2) for i in range(50))))

    assert asyncio.run(main()) == [i**2 for i in range(50)]


def test_map_takes_only_what_it_may_have_ahead() -> None:
    drawn = []

    def numbers() -> Iterator[int]:
        for i in range(100):
            drawn.append(i)
            yield i

    async def main() -> list[int]:
        found = []
        async with AsyncCluster(1) as cluster:
            async for result in cluster.map(abs, numbers(), ahead=5):
                found.append(result)
                assert len(drawn) <= len(found) + 5
        return found

    assert asyncio.run(main()) == list(range(100))


def test_a_cancelled_task_ends_its_job(tmp_path: Path) -> None:
    async def main() -> None:
        async with AsyncCluster(1) as cluster:
            path = tmp_path / "begun"
            future = cluster.submit(slow, str(path))
            await begun(path)
            future.cancel()
            with pytest.raises(asyncio.CancelledError):
                await future
            assert await asyncio.wait_for(cluster.submit(abs, -1), 20) == 1

    asyncio.run(main())


def test_an_exception_is_raised_where_it_is_awaited() -> None:
    async def main() -> None:
        async with AsyncCluster(1) as cluster:
            with pytest.raises(ValueError, match="invalid literal"):
                await cluster.submit(int, "x")

    asyncio.run(main())


def test_a_graph() -> None:
    async def main() -> None:
        async with AsyncCluster(1) as cluster:
            first = Job(abs, args=(-4,))
            assert await cluster.run(Job(pow, args=(first, 2))) == 16
            found = await cluster.run(Pipeline([Job(int, args=("x",))]), raise_on_failure=False)
            assert found.state == "failed"
            with pytest.raises(JobError):
                await cluster.run(Job(int, args=("x",)))

    asyncio.run(main())


def test_a_cancelled_run_ends_its_jobs(tmp_path: Path) -> None:
    async def main() -> None:
        async with AsyncCluster(1) as cluster:
            path = tmp_path / "begun"
            task = asyncio.ensure_future(cluster.run(Job(slow, args=(str(path),))))
            await begun(path)
            task.cancel()
            began = time.monotonic()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert time.monotonic() - began < 20

    asyncio.run(main())


def test_an_error_in_the_block_ends_what_runs(tmp_path: Path) -> None:
    async def main() -> None:
        async with AsyncCluster(1) as cluster:
            future = cluster.submit(slow, str(tmp_path / "begun"))
            await begun(tmp_path / "begun")
            future.add_done_callback(lambda done: done.cancelled() or done.exception())
            raise KeyError("mine")

    began = time.monotonic()
    with pytest.raises(KeyError, match="mine"):
        asyncio.run(main())
    assert time.monotonic() - began < 30


def test_it_is_used_in_a_block() -> None:
    with pytest.raises(DefinitionError, match="async with"):
        AsyncCluster().submit(abs, 1)
