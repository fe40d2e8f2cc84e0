"""The one loop of all daemons: wait, take everything that is there, decide, perform."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
from collections.abc import Callable, Container, Sequence
from typing import Any, Protocol

import zmq

from pypelinin.cluster.events import Stop
from pypelinin.machine import Command, Event, Machine

Waitable = tuple[Any, int]
"""(ZeroMQ socket or descriptor, READ | WRITE)."""
READ, WRITE = int(zmq.POLLIN), int(zmq.POLLOUT)
"""As plain integers: each operation on the enums costs a microsecond."""
WAIT_MAX_S = 5.0


class World(Protocol):
    """What a daemon's machine can have done, and hear from."""

    def waitables(self, now: float) -> list[Waitable]: ...

    def deadline(self) -> float | None: ...

    def collect(self, now: float, ready: Container[object]) -> list[Event]: ...

    def perform(self, commands: Sequence[Command], now: float) -> Sequence[Event]: ...


class Loop:
    """Drives *machine* in *world* until it says Stop; returns its error, if any."""

    def __init__(self, machine: Machine, world: World, on_signal: Callable[[], Event]) -> None:
        self.machine = machine
        self.world = world
        self._on_signal = on_signal
        self._woken, self._wake = socket.socketpair()
        self._woken.setblocking(False)
        self._wake.setblocking(False)
        self._signals = 0
        self.asked_to_stop = False
        self._check = bool(os.environ.get("PYPELININ_CHECK"))

    def wake(self) -> None:
        """Call from any thread: something happened. Harmless once the loop has ended."""
        with contextlib.suppress(OSError):
            self._wake.send(b"\0")

    def stop(self) -> None:
        """Ask the machine to end, as SIGTERM does; from any thread."""
        self.asked_to_stop = True
        self._signals += 1
        self.wake()

    def catch_signals(self) -> None:
        """SIGTERM and SIGINT drain, asked again they stop. Main thread only."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self.stop())

    def run(self, first: Sequence[Command] = ()) -> str:
        now = time.monotonic()
        events: list[Event] = list(self.world.perform(first, now))
        while True:
            ready = self._wait(now, at_once=bool(events))
            now = time.monotonic()
            events += self.world.collect(now, ready)
            while self._signals:
                self._signals -= 1
                events.append(self._on_signal())
            commands = self.machine.handle(events, now)
            if self._check:
                self.machine.check()
            events = list(self.world.perform(commands, now))
            for command in commands:
                if isinstance(command, Stop):
                    return command.error

    def _wait(self, now: float, at_once: bool) -> Container[object]:
        """Sleep until something happens or is due; returns what is ready."""
        until = now if at_once else now + WAIT_MAX_S
        for deadline in (self.machine.deadline(), self.world.deadline()):
            if deadline is not None:
                until = min(until, deadline)
        waitables = [*self.world.waitables(now), (self._woken.fileno(), READ)]
        timeout = max(0.0, until - time.monotonic())
        if self._signals:
            timeout = 0.0
        found = zmq.zmq_poll(waitables, int(timeout * 1000 + 0.999))
        ready: set[object] = {what for what, _ in found}
        if self._woken.fileno() in ready:
            with contextlib.suppress(BlockingIOError):
                self._woken.recv(65536)
        return ready

    def close(self) -> None:
        self._woken.close()
        self._wake.close()
