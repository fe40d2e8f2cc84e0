"""The Broker's side of its slots: one nursery, a socket and a token pipe for each slot.

Each job of a lot has one byte in the token pipe. The slot takes a byte before it begins a
job; the Broker holds the same end of the pipe and can take back what is left. The kernel
gives each byte to one of them, so a recalled job never begins and a begun one is never
recalled. The slot's bytes are not trusted: what cannot be read ends the slot.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Container, Iterable
from dataclasses import dataclass, field
from typing import Any

import msgpack

from pypelinin.cluster.slots import (
    RunLot,
    SlotExited,
    SlotProgressed,
    SlotRecalled,
    SlotStarted,
)
from pypelinin.graph import states
from pypelinin.machine import Event
from pypelinin.wire.definitions import Failure
from pypelinin.wire.messages import JobFailure

LOOK_INTERVAL_S = 0.002
"""A slot with many jobs is looked at this often, not at each of its outcomes."""
KNOWN_RUNS_MAX = 256
SERVICE = -1
"""The slot that only saves monitoring samples."""


@dataclass(frozen=True, slots=True)
class Setup:
    """What a slot loads: module search path, workers modules, store and its configuration."""

    path: list[str]
    workers: list[str]
    store: str | bytes
    configuration: dict[str, object]


@dataclass(slots=True)
class _Slot:
    number: int
    link: socket.socket
    token_read: int
    token_write: int
    pid: int = 0
    tag: int = 0
    left: int = 0
    look_at: float = 0.0
    broken: bool = False
    runs: dict[int, str] = field(default_factory=dict)
    unpacker: Any = field(
        default_factory=lambda: msgpack.Unpacker(raw=False, max_buffer_size=64 * 1024 * 1024)
    )


class Slots:
    """Starts, feeds, reads and kills slots; `read` returns what happened."""

    def __init__(self, setup: Setup, node: str) -> None:
        self.setup = setup
        self.node = node
        self._slots: dict[int, _Slot] = {}
        self._by_pid: dict[int, int] = {}
        self._nursery: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._pending: list[Event] = []

    # --- doing -------------------------------------------------------------------------

    def start(self, number: int) -> None:
        """Fork a slot and let it load the user's modules; answered by SlotStarted."""
        control = self._ensure_nursery()
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        token_read, token_write = os.pipe()
        os.set_blocking(token_read, False)
        os.set_blocking(token_write, False)
        slot = _Slot(number, ours, token_read, token_write)
        self._slots[number] = slot
        request = msgpack.packb(["fork", number])
        try:
            socket.send_fds(control, [request], [theirs.fileno(), token_read])
        except OSError as error:
            self._lose_nursery(f"the nursery is gone ({error})")
        finally:
            theirs.close()
        setup = self.setup
        self._send(slot, ["setup", setup.path, setup.workers, setup.store, setup.configuration])

    def run(self, command: RunLot, now: float) -> None:
        """Tokens first, so that a slot without a token knows it was recalled."""
        slot = self._slots.get(command.slot)
        if slot is None:
            return
        slot.tag = (slot.tag + 1) % 256
        slot.left = len(command.jobs)
        slot.look_at = now + LOOK_INTERVAL_S if slot.left > 1 else 0.0
        os.write(slot.token_write, bytes((slot.tag,)) * slot.left)
        # a number can mean another run after a Router lost an uncommitted one
        new = {n: list(h) for n, h in command.headers.items() if slot.runs.get(n) != h[0]}
        for number, header in command.headers.items():  # the least recently used goes first
            slot.runs.pop(number, None)
            slot.runs[number] = header[0]
        forget = []
        while len(slot.runs) > max(KNOWN_RUNS_MAX, len(command.headers)):
            forget.append(next(iter(slot.runs)))
            del slot.runs[forget[-1]]
        self._send(
            slot,
            [
                "lot", slot.tag, command.fence, command.skip, command.worker,
                command.runs.tobytes(), command.jobs.tobytes(), command.payloads, new, forget,
            ],
        )  # fmt: skip

    def recall(self, number: int) -> Event:
        slot = self._slots.get(number)
        return SlotRecalled(number, 0 if slot is None else self._take_back(slot))

    def _take_back(self, slot: _Slot) -> int:
        """Jobs of the slot's lot that nobody has begun; nobody will."""
        try:
            taken = len(os.read(slot.token_read, 65536))
        except BlockingIOError:
            return 0
        slot.left -= taken
        return taken

    def kill(self, number: int) -> None:
        """End the slot and all its processes; answered by SlotExited."""
        slot = self._slots.get(number)
        if slot is None or not slot.pid:
            return
        for kill in (os.killpg, os.kill):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                kill(slot.pid, signal.SIGKILL)

    def save_monitoring(self, sample: dict[str, object]) -> None:
        """Hand *sample* to the store in a slot of its own, started when first needed."""
        if SERVICE not in self._slots:
            self.start(SERVICE)
        self._send(self._slots[SERVICE], ["monitoring", sample])

    def _send(self, slot: _Slot, message: object) -> None:
        data = memoryview(msgpack.packb(message, use_bin_type=True))
        try:
            sent = slot.link.send(data)
            if sent < len(data):  # more than the socket's buffer: the slot is about to read it
                slot.link.settimeout(10.0)
                slot.link.sendall(data[sent:])
                slot.link.setblocking(False)
        except OSError:
            slot.broken = True  # it is dying; the nursery will say how

    # --- what happened -----------------------------------------------------------------

    def fds(self, now: float) -> Iterable[int]:
        """Descriptors worth waiting for."""
        if self._control is not None:
            yield self._control.fileno()
        for slot in self._slots.values():
            if slot.look_at <= now:
                yield slot.link.fileno()

    def deadline(self) -> float | None:
        """When a slot that was left alone should be looked at."""
        times = [slot.look_at for slot in self._slots.values() if slot.look_at]
        return min(times, default=None)

    def read(self, now: float, ready: Container[int]) -> list[Event]:
        """What has happened; *ready* are the descriptors that can be read now."""
        events, self._pending = self._pending, []
        for slot in list(self._slots.values()):
            if slot.look_at <= now and (slot.look_at or slot.link.fileno() in ready):
                events += self._read_slot(slot, now)
        if self._control is not None and self._control.fileno() in ready:
            events += self._read_nursery(now)
        return events

    def _read_slot(self, slot: _Slot, now: float) -> list[Event]:
        while True:
            try:
                data = slot.link.recv(1 << 18)
            except (BlockingIOError, ConnectionError):
                break
            if not data:
                slot.look_at = float("inf")  # closed: the nursery will say how it ended
                break
            slot.unpacker.feed(data)
            if len(data) < 1 << 18:
                break
        return self._outcomes(slot, now)

    def _outcomes(self, slot: _Slot, now: float) -> list[Event]:
        statuses = bytearray()
        failures: list[JobFailure] = []
        events: list[Event] = []
        elapsed = 0.0
        try:
            for outcome in slot.unpacker:
                if type(outcome) is float:
                    elapsed += outcome
                    statuses.append(states.DONE)
                elif outcome[0] == "started":
                    events.append(self._started(slot, *outcome[1:]))
                elif outcome[0] == "monitored":
                    if outcome[1]:
                        print(f"save_monitoring failed: {outcome[1][2]}", file=sys.stderr)
                else:
                    elapsed += float(outcome[0])
                    failures.append(JobFailure(len(statuses), self._failure(outcome[1:])))
                    statuses.append(states.FAILED)
            if len(statuses) > slot.left:
                raise ValueError("more outcomes than jobs")
        except Exception:  # bytes of user code: whatever they are, they only end the slot
            self.kill(slot.number)
            slot.look_at = float("inf")
            return events
        if statuses and slot.number != SERVICE:
            slot.left -= len(statuses)
            events.append(SlotProgressed(slot.number, bytes(statuses), tuple(failures), elapsed))
        if slot.look_at != float("inf"):
            slot.look_at = now + LOOK_INTERVAL_S if slot.left > 1 else 0.0
        return events

    def _started(self, slot: _Slot, workers: list[str], failure: list[str] | None) -> Event:
        known = None if failure is None else self._failure(failure)
        if known is not None:
            self.kill(slot.number)  # a slot without workers is of no use
            self._drop(slot)
        return SlotStarted(slot.number, tuple(workers), known)

    def _failure(self, data: list[str]) -> Failure:
        cause, kind, text, trace = (str(item) for item in data)
        return Failure(cause, kind, text, trace, self.node)

    def _read_nursery(self, now: float) -> list[Event]:
        events: list[Event] = []
        while self._control is not None:
            try:
                data = self._control.recv(65536)
            except BlockingIOError:
                break
            except ConnectionError:
                data = b""
            if not data:
                self._lose_nursery("the nursery died")
                events += self._pending
                self._pending = []
                break
            kind, first, second = msgpack.unpackb(data)
            if kind == "forked":
                if first in self._slots:
                    self._slots[first].pid = second
                    self._by_pid[second] = first
                else:
                    os.kill(second, signal.SIGKILL)
            elif (number := self._by_pid.pop(first, None)) is not None:
                events += self._exited(number, first, second, now)
        return events

    def _exited(self, number: int, pid: int, status: int, now: float) -> list[Event]:
        slot = self._slots.get(number)
        if slot is None or slot.pid != pid:
            return []
        slot.look_at = 0.0
        events = self._read_slot(slot, now)
        unbegun = self._take_back(slot)
        self._drop(slot)
        if number == SERVICE:
            return []
        return [*events, SlotExited(number, ending(status, self.node), unbegun)]

    def _drop(self, slot: _Slot) -> None:
        self._slots.pop(slot.number, None)
        slot.link.close()
        os.close(slot.token_read)
        os.close(slot.token_write)

    # --- the nursery -------------------------------------------------------------------

    def _ensure_nursery(self) -> socket.socket:
        if self._control is None:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            ours.setblocking(False)
            self._nursery = subprocess.Popen(
                [sys.executable, "-m", "pypelinin.runtime.nursery", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
            )
            theirs.close()
            self._control = ours
        return self._control

    def _lose_nursery(self, what: str) -> None:
        """All slots end with the nursery; the next start makes a new one."""
        failure = Failure("exit", "Killed", what, "", self.node)
        for slot in list(self._slots.values()):
            unbegun = self._take_back(slot)
            self._drop(slot)
            if slot.number != SERVICE:
                self._pending.append(SlotExited(slot.number, failure, unbegun))
        self._by_pid.clear()
        self._close_nursery()

    def _close_nursery(self) -> None:
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._nursery is not None:
            try:
                self._nursery.wait(timeout=5)
            except subprocess.TimeoutExpired:
                self._nursery.kill()
                self._nursery.wait()
            self._nursery = None

    def close(self) -> None:
        """End all slots and the nursery; returns when they are gone."""
        for number in list(self._slots):
            self.kill(number)
        for slot in list(self._slots.values()):
            self._drop(slot)
        self._close_nursery()


def ending(status: int, node: str) -> Failure:
    """How a process ended, told from its wait status."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        try:
            name = signal.Signals(number).name
        except ValueError:
            name = f"signal {number}"
        text = f"the slot was killed by {name} while it ran this job"
        return Failure("signal", name, text, "", node)
    code = os.waitstatus_to_exitcode(status)
    return Failure("exit", "Exit", f"the slot exited with code {code} in this job", "", node)
