"""Slots that are somebody else's: lots go to any `concurrent.futures.Executor`.

What a nursery's slots can and these cannot: a job that runs is not ended by a cancel (its
outcome is dropped), no memory limit holds, no output is seen while it runs.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections import deque
from collections.abc import Container, Iterable
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from functools import partial
from typing import Any

import msgpack

from pypelinin.cluster.slots import (
    PLAIN_SHAPE,
    RunLot,
    Shape,
    SlotExited,
    SlotProgressed,
    SlotRecalled,
    SlotStarted,
)
from pypelinin.errors import PypelininError
from pypelinin.machine import Event
from pypelinin.runtime import guest
from pypelinin.runtime.outcomes import Outcomes
from pypelinin.runtime.surroundings import Setup
from pypelinin.runtime.value_store import Values
from pypelinin.wire.definitions import SHELL, Failure, call_worker, is_kept

_BUFFER_MAX = 2**31 - 1


@dataclass(slots=True)
class _Out:
    """A lot that the engine has."""

    lot: RunLot
    future: Future[bytes]


class ForeignSlots:
    """The face of `Slots`, for an executor; *slots* of them are used at once."""

    def __init__(self, engine: Executor, setup: Setup, node: str) -> None:
        self._engine = engine
        self._node = node
        self._values = Values(setup.place, setup.host)
        self._workers = setup.workers
        nowhere = ["", "", 0, False, ""]
        self._setup = [[], setup.workers, setup.store, setup.configuration, nowhere]
        self._key = msgpack.packb(self._setup[1:], use_bin_type=True)
        self._out: dict[int, _Out] = {}
        self._done: deque[tuple[int, Future[bytes]]] = deque()
        self._pending: list[Event] = []
        self._lock = threading.Lock()
        self._read, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    # --- doing -------------------------------------------------------------------------

    def start(self, number: int, _shape: Shape = PLAIN_SHAPE) -> None:
        """A slot here is a place in the engine's queue: it is there at once."""
        try:
            names = self._names()
        except PypelininError as error:
            why = Failure("import", type(error).__name__, str(error), "", self._node)
            self._pending.append(SlotStarted(number, (), why))
            return
        self._pending.append(SlotStarted(number, names))

    def _names(self) -> tuple[str, ...]:
        """What the engine can run: what can be imported here is taken to be there, too."""
        from pypelinin.runtime.child import SetupError, load_workers

        try:
            return (*sorted(load_workers(self._workers)), call_worker(guest.PYTHON), SHELL)
        except SetupError as error:
            raise PypelininError(f"{error.args[0]}: {error.args[1]}") from None

    def run(self, command: RunLot, _now: float) -> None:
        slot = command.slot
        try:
            lot = self._lot(command)
            future = self._engine.submit(guest.perform, guest.PYTHON, self._key, self._setup, lot)
        except Exception as error:  # the engine is shut down or broken, an input is gone
            self._pending.append(self._broken(slot, error))
            return
        self._out[slot] = _Out(command, future)
        future.add_done_callback(partial(self._wake, slot))

    def _lot(self, command: RunLot) -> list[Any]:
        """The arguments of `Slot.run_lot`; all values are within."""
        headers = {number: list(header) for number, header in command.headers.items()}
        return [
            0, command.fence, 0, command.worker, command.runs.tobytes(), command.jobs.tobytes(),
            self._payloads(command), headers, [], command.follows, guest.INLINE,
        ]  # fmt: skip

    def _payloads(self, command: RunLot) -> bytes:
        if not command.payloads:
            return b""
        unpacker = msgpack.Unpacker(raw=False, max_buffer_size=_BUFFER_MAX)
        unpacker.feed(command.payloads)
        for _ in range(command.skip):
            unpacker.skip()
        return b"".join(msgpack.packb(self._opened(own), use_bin_type=True) for own in unpacker)

    def _opened(self, own: Any) -> Any:
        if type(own) is not list:
            return own
        if own[1] is not None:
            own[1] = bytes(self._values.open(own[1]))
        if len(own) > 2:
            own[2] = [bytes(self._values.open(value)) for value in own[2]]
        return own

    def recall(self, number: int) -> Event:
        out = self._out.get(number)
        if out is None or not out.future.cancel():
            return SlotRecalled(number, 0)
        del self._out[number]
        return SlotRecalled(number, len(out.lot.jobs))

    def kill(self, number: int, _gently: bool = False) -> None:
        """The engine goes on with a job that runs; nobody waits for it any more."""
        out = self._out.pop(number, None)
        unbegun = len(out.lot.jobs) if out is not None and out.future.cancel() else 0
        text = "it was ended; the engine may still be busy with it"
        why = Failure("signal", "Killed", text, "", self._node)
        self._pending.append(SlotExited(number, why, unbegun))

    def _wake(self, slot: int, future: Future[bytes]) -> None:
        """In a thread of the engine."""
        with self._lock, contextlib.suppress(BlockingIOError):
            self._done.append((slot, future))
            if self._write >= 0:
                os.write(self._write, b"\0")

    # --- what happened -----------------------------------------------------------------

    def fds(self, _now: float) -> Iterable[tuple[int, bool]]:
        yield self._read, False

    def deadline(self) -> float | None:
        return 0.0 if self._pending or self._done else None

    def read(self, _now: float, ready: Container[int]) -> list[Event]:
        if self._read in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(self._read, 65536)
        events, self._pending = self._pending, []
        while self._done:
            slot, future = self._done.popleft()
            out = self._out.get(slot)
            if out is not None and out.future is future:
                del self._out[slot]
                events.append(self._outcome(slot, out.lot, future))
        return events

    def _outcome(self, slot: int, lot: RunLot, future: Future[bytes]) -> Event:
        if future.cancelled():
            return self._broken(slot, RuntimeError("the engine cancelled it"))
        error = future.exception()
        if error is not None:
            return self._broken(slot, error)
        try:
            return self._progress(slot, lot, future.result())
        except Exception as odd:  # what another process wrote
            return self._broken(slot, odd)

    def _progress(self, slot: int, lot: RunLot, written: bytes) -> SlotProgressed:
        found = Outcomes(self._node)
        unpacker = msgpack.Unpacker(raw=False, max_buffer_size=_BUFFER_MAX)
        unpacker.feed(written)
        for outcome in unpacker:
            found.take(outcome)
        if len(found.statuses) != len(lot.jobs):
            raise ValueError("the engine did not tell the outcome of each job")
        for place, result in found.results.items():
            if not is_kept(result):
                run = lot.headers[lot.runs[place]][0]
                name = f"{run}/{lot.jobs[place]}-{lot.fence + place:x}"
                found.results[place] = self._values.keep(name, [result], lot.inline_max)
        return found.told(slot)

    def _broken(self, slot: int, error: BaseException) -> SlotExited:
        text = f"the engine failed: {error}"
        return SlotExited(slot, Failure("exit", type(error).__name__, text, "", self._node), 0)

    def close(self) -> None:
        """The engine is its owner's."""
        for out in self._out.values():
            out.future.cancel()
        self._out.clear()
        with self._lock:
            if self._write < 0:
                return  # the numbers may be another file's by now
            write, self._write = self._write, -1  # first: this may be interrupted
            os.close(self._read)
            os.close(write)


def default_slots(engine: Executor) -> int:
    """How many lots to have there at once: twice what it says that it runs."""
    workers = getattr(engine, "_max_workers", None)
    if type(workers) is not int or workers < 1:
        workers = len(os.sched_getaffinity(0))
    return 2 * workers


def as_engine(engine: object) -> Executor:
    """Raises TypeError for what has no `submit`."""
    if not callable(getattr(engine, "submit", None)):
        raise TypeError(
            f"An engine is a concurrent.futures.Executor, not {engine!r}: it needs "
            "submit(function, *args) that returns a Future."
        )
    return engine  # type: ignore[return-value]  # what has submit() is one
