"""A `concurrent.futures.Executor` on a cluster, or on slots of this process.

    with Executor() as executor:
        print(list(executor.map(square, range(10))))

One thread talks to the Router; what is submitted while it is busy goes out as one run.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor as BaseExecutor
from concurrent.futures import Future
from functools import partial
from typing import Any, TypeVar, Unpack

from pypelinin.client.batches import Call, JobFuture, Options, compiled, resolve
from pypelinin.client.conversation import Conversation
from pypelinin.config import Limits
from pypelinin.errors import ClusterError, DefinitionError, PypelininError
from pypelinin.graph.job import checked_labels, checked_priority, checked_retries
from pypelinin.graph.needs import NeedOptions, Needs, checked_needs
from pypelinin.ids import new_id
from pypelinin.local import LocalPort
from pypelinin.runtime.access import AccessSpec, api_named
from pypelinin.runtime.calls import call_each  # what every slot has loaded
from pypelinin.runtime.capacity import cores_here
from pypelinin.runtime.functions import Functions, pack_call
from pypelinin.runtime.value_store import size_of
from pypelinin.wire.definitions import (
    INLINE_BYTES_MAX,
    PART_BYTES_MAX,
    PART_JOBS_MAX,
)

T = TypeVar("T")
BATCH_BYTES_MAX = PART_BYTES_MAX // 2
KEPT_BYTES_MAX = 4 * 1024 * 1024
"""Large arguments that are written before their calls go out together."""
KEPT_OUT_MAX = 16 * 1024 * 1024
"""So many bytes of large arguments are out at once; the others wait here."""
KEPT_WEIGHT = 256
RETURNED_MAX = 1024 * 1024
RUNS_MAX = 1000
"""The Router may forget results when so many bytes, or runs, of them were taken."""
IDLE_S = 3600.0


class Executor(BaseExecutor):
    """Calls functions on a cluster, or in slots of this process.

    *max_workers* is how many slots this process runs (default: its CPUs), or on a cluster how
    many jobs are there at once (default: no bound). *api* is the address of a Router, *access* an
    access file; without them `PYPELININ_API` or `PYPELININ_ACCESS`, else the calls run here. With
    a *directory* they are durable here, too.
    *labels*, *retries*, *priority*, *cores*, *memory*, *resources*, *timeout*,
    *startup_timeout*, *isolate* and *env* are as for a Job; `options` gives a view with others.

    Results, exceptions and shutdown are as in `concurrent.futures`, but: `cancel` of a future
    ends running work; a slot that dies fails only the call that it ran (`Killed`); an exception
    whose class does not exist here comes as `Failed` with its name and text.

    Raises DefinitionError for arguments that make no sense, Unreachable if no Router answers.
    """

    def __init__(
        self,
        max_workers: int | None = None,
        *,
        api: str | None = None,
        directory: str | os.PathLike[str] | None = None,
        access: AccessSpec = None,
        labels: Mapping[str, str] | None = None,
        retries: int = 0,
        priority: int = 0,
        **needs: Unpack[NeedOptions],
    ) -> None:
        if max_workers is not None and (type(max_workers) is not int or max_workers < 1):
            raise DefinitionError(f"max_workers is at least 1, not {max_workers!r}.")
        self._options = _checked(labels or {}, retries, priority, checked_needs(**needs))
        api = api or api_named(access)
        self._max_workers = max_workers or (1000 if api else cores_here())  # Dask asks
        self._functions = Functions()
        self._thread = _Thread(api, max_workers, directory, access)
        self._thread.begin()
        self._finalizer = weakref.finalize(self, _Thread.abandon, self._thread)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        return self._submit(self._options, fn, args, kwargs)

    def _submit(
        self,
        options: Options,
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Future[Any]:
        future = JobFuture()
        try:
            name, packed = self._functions.function(fn)
            payload = pack_call("A call", args, kwargs, {})
        except DefinitionError as error:
            self._thread.check_open()
            future.set_exception(error)
            return future
        self._thread.put(Call(future, name, packed, payload, options))
        return future

    def options(
        self,
        *,
        labels: Mapping[str, str] | None = None,
        retries: int | None = None,
        priority: int | None = None,
        **needs: Unpack[NeedOptions],
    ) -> BaseExecutor:
        """The same executor for calls with other options."""
        old = self._options
        new = _checked(
            old.labels if labels is None else labels,
            old.retries if retries is None else retries,
            old.priority if priority is None else priority,
            checked_needs(**needs).over(old.needs),
        )
        return _View(self, new)

    def map(
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
    ) -> Iterator[T]:
        """As in `concurrent.futures`; *chunksize* calls are one job.

        With *buffersize* only so many jobs are ahead of the results that were taken.
        """
        return _map(self.submit, fn, iterables, timeout, chunksize, buffersize)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self._thread.end(cancel_futures)
        if wait:
            self._thread.join()
            self._finalizer.detach()


class _View(BaseExecutor):
    """An executor with other options; shares the thread of the first."""

    def __init__(self, executor: Executor, options: Options) -> None:
        self._executor = executor
        self._options = options

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        return self._executor._submit(self._options, fn, args, kwargs)

    def map(
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
    ) -> Iterator[T]:
        return _map(self.submit, fn, iterables, timeout, chunksize, buffersize)


def _checked(labels: Mapping[str, str], retries: int, priority: int, needs: Needs) -> Options:
    priority, retries = checked_priority(priority), checked_retries(retries)
    return Options(checked_labels(labels), retries, priority, needs)


# --- map ---------------------------------------------------------------------------------


def _map(
    submit: Callable[..., Future[Any]],
    fn: Callable[..., T],
    iterables: Sequence[Iterable[Any]],
    timeout: float | None,
    chunksize: int,
    buffersize: int | None,
) -> Iterator[T]:
    if chunksize < 1:
        raise ValueError("chunksize must be >= 1.")
    if buffersize is not None and buffersize < 1:
        raise ValueError("buffersize must be None or > 0")
    until = None if timeout is None else time.monotonic() + timeout
    calls = zip(*iterables, strict=False)
    if chunksize == 1:
        jobs = (submit(fn, *args) for args in calls)
    else:
        each = partial(call_each, fn)
        jobs = (submit(each, chunk) for chunk in _chunks(calls, chunksize))
    ahead = deque(jobs if buffersize is None else itertools.islice(jobs, buffersize))
    return _results(ahead, jobs, until, chunksize > 1)


def _chunks(calls: Iterator[tuple[Any, ...]], size: int) -> Iterator[list[tuple[Any, ...]]]:
    while chunk := list(itertools.islice(calls, size)):
        yield chunk


def _results(
    ahead: deque[Future[Any]], more: Iterator[Future[Any]], until: float | None, chunked: bool
) -> Iterator[Any]:
    try:
        while ahead:
            left = None if until is None else until - time.monotonic()
            result = ahead[0].result(left)
            del ahead[0]
            ahead.extend(itertools.islice(more, 1))
            if chunked:
                yield from result
            else:
                yield result
    finally:
        for future in ahead:
            future.cancel()


# --- the thread ----------------------------------------------------------------------------


class _Thread:
    """Talks to the Router: sends what was put, and resolves futures.

    It knows no Executor, so that one that is thrown away ends it.
    """

    def __init__(
        self,
        api: str | None,
        max_workers: int | None,
        directory: str | os.PathLike[str] | None,
        access: AccessSpec = None,
    ) -> None:
        self._access = access
        self._api, self._directory = api, directory
        self._max_workers = max_workers
        self._calls: deque[Call] = deque()
        self._cancels: deque[JobFuture] = deque()
        self._lock = threading.Lock()
        self._ending = False
        self._cancel_all = False
        self._error: BaseException | None = None
        self._ready = threading.Event()
        self._asleep = False
        self._manager: Conversation | None = None
        self._runs: dict[str, dict[int, JobFuture]] = {}
        self._keeping: dict[str, int] = {}
        """Bytes of large arguments, by run that the Router still has for us."""
        self._kept = 0
        """Their sum."""
        self._returned = 0
        """Bytes of results that came since some were released."""
        self._count = 0
        self._thread = threading.Thread(target=self._work, name="pypelinin-executor", daemon=True)

    # --- from any thread -----------------------------------------------------------------

    def begin(self) -> None:
        self._thread.start()
        self._ready.wait()
        if self._error is not None:
            raise self._error

    def check_open(self) -> None:
        if self._ending:
            raise RuntimeError("cannot schedule new futures after shutdown")
        if self._error is not None:
            raise ClusterError(f"The executor broke: {self._error}") from self._error

    def put(self, call: Call) -> None:
        with self._lock:
            self.check_open()
            call.future._on_cancel = self._cancelled
            self._calls.append(call)
        self._wake()

    def _cancelled(self, future: JobFuture) -> None:
        self._cancels.append(future)
        self._wake()

    def _wake(self) -> None:
        if self._asleep and self._manager is not None:
            self._asleep = False
            self._manager.wake()

    def end(self, cancel_futures: bool) -> None:
        with self._lock:
            self._ending = True
            self._cancel_all = self._cancel_all or cancel_futures
        if self._manager is not None:
            self._manager.wake()

    def join(self) -> None:
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def abandon(self) -> None:
        """Nobody has the executor any more."""
        self.end(cancel_futures=False)

    # --- in the thread -------------------------------------------------------------------

    def _work(self) -> None:
        try:
            if self._api:
                self._manager = Conversation(self._api, access=self._access)
                self._manager.configuration()
            else:
                self._manager = self._embedded()
        except BaseException as error:
            if self._manager is not None:
                self._manager.close()
            self._error = error
            self._ready.set()
            return
        self._ready.set()
        try:
            while not self._over:
                self._turn(self._manager)
        except BaseException as error:
            self._error = error
            self._give_up(error)
        finally:
            with contextlib.suppress(PypelininError, OSError):
                if self._error is None:
                    self._manager.release_results(self._taken(), wait=True)
            with contextlib.suppress(PypelininError, OSError):
                self._manager.close()

    def _embedded(self) -> Conversation:
        limits = Limits(history_runs_max=RUNS_MAX)  # nobody will ask for these runs
        port = LocalPort(self._max_workers, directory=self._directory, limits=limits)
        return Conversation(port=port, limits=port.limits)

    def _turn(self, manager: Conversation) -> None:
        if self._cancel_all:  # here, where nothing is on its way from one list to another
            self._cancel_all = False
            running = [future for run in self._runs.values() for future in run.values()]
            for future in [*(call.future for call in self._calls), *running]:
                future.cancel()
        self._cancel_jobs(manager)
        batch = self._batch()
        if batch:
            self._start(manager, batch)
        if self._over:
            return
        self._asleep = True
        news = bool(self._calls and self._has_room) or bool(self._cancels)
        manager.converse(0.0 if news else IDLE_S)
        self._asleep = False
        self._resolve(manager)

    @property
    def _over(self) -> bool:
        return self._ending and not self._calls and not self._runs

    @property
    def _has_room(self) -> bool:
        if self._kept >= KEPT_OUT_MAX:
            return False
        return not self._api or self._max_workers is None or self._count < self._max_workers

    def _batch(self) -> list[Call]:
        """What was put and not cancelled since, as far as it fits into one run."""
        batch: list[Call] = []
        size = kept = 0
        room = PART_JOBS_MAX
        if self._api and self._max_workers is not None:
            room = self._max_workers - self._count
        while (
            self._calls
            and self._has_room
            and size < BATCH_BYTES_MAX
            and kept < KEPT_BYTES_MAX
            and len(batch) < room
        ):
            call = self._calls.popleft()
            if call.future.cancelled():
                call.future.set_running_or_notify_cancel()
                continue
            batch.append(call)
            weight = size_of(call.payload)
            size += weight if weight <= INLINE_BYTES_MAX else KEPT_WEIGHT
            kept += weight
        return batch

    def _start(self, manager: Conversation, batch: list[Call]) -> None:
        run = new_id(os.urandom)
        large = {
            job: call.payload for job, call in enumerate(batch)
            if size_of(call.payload) > INLINE_BYTES_MAX
        }  # fmt: skip
        try:
            # not synced: if that machine crashes, who waits for the futures hears of it
            keep = manager.values.keep_arguments
            kept = keep(f"{run}/arguments", large, durable=False) if large else {}
        except (OSError, DefinitionError) as error:
            for call in batch:
                if call.future.set_running_or_notify_cancel():
                    call.future.set_exception(error)
            return
        sent = [kept.get(job) or b"".join(call.payload) for job, call in enumerate(batch)]
        header, part = compiled(run, manager.submitter, batch, sent)
        if kept:
            self._keeping[run] = sum(map(size_of, large.values()))
            self._kept += self._keeping[run]
        self._runs[run] = {job: call.future for job, call in enumerate(batch)}
        self._count += len(batch)
        for job, call in enumerate(batch):
            call.future.place = (run, job)
        manager.submit_compiled(run, header, [part])

    def _cancel_jobs(self, manager: Conversation) -> None:
        if not self._cancels:
            return
        jobs: dict[str, list[int]] = {}
        while self._cancels:
            future = self._cancels.popleft()
            if future.place is not None and future.place[0] in self._runs:
                jobs.setdefault(future.place[0], []).append(future.place[1])
        for run, numbers in jobs.items():
            manager.cancel_jobs(run, numbers)

    def _resolve(self, manager: Conversation) -> None:
        while manager.refused:
            run, error = manager.refused.popitem()
            for future in self._runs.pop(run, {}).values():
                self._count -= 1
                if future.set_running_or_notify_cancel():
                    future.set_exception(error)
            manager.forget(run)
        for run, outcomes in manager.take_outcomes():
            futures = self._runs.get(run)
            if futures is None:
                continue
            for job, outcome in outcomes.items():
                if job in futures:
                    self._count -= 1
                    if outcome.result:
                        self._returned += len(outcome.result)
                    resolve(run, job, futures.pop(job), outcome, manager.values)
            if not futures:
                del self._runs[run]
                self._keeping.setdefault(run, 0)
                manager.forget(run)
        large = self._returned >= RETURNED_MAX or self._kept
        if large or len(self._keeping) >= RUNS_MAX:
            manager.release_results(self._taken())

    def _taken(self) -> list[str]:
        """Runs that are over: nobody else will ask for their results."""
        self._returned = 0
        over = [run for run in self._keeping if run not in self._runs]
        for run in over:
            self._kept -= self._keeping.pop(run)
        return over

    def _give_up(self, error: BaseException) -> None:
        """The conversation is over: nothing will come any more."""
        with self._lock:
            calls, self._calls = self._calls, deque()
        futures = [call.future for call in calls]
        for run in self._runs.values():
            futures += run.values()
        self._runs.clear()
        for future in futures:
            if future.set_running_or_notify_cancel():
                future.set_exception(error)
