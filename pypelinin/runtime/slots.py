"""The Broker's side of its slots: one nursery, a socket and a token pipe for each slot.

Each job of a lot has one byte in the token pipe. The slot takes a byte before it begins a
job; the Broker holds the same end of the pipe and can take back what is left. The kernel
gives each byte to one of them, so a recalled job never begins and a begun one is never
recalled. The slot's bytes are not trusted: what cannot be read ends the slot.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, field, replace
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
    Undead,
)
from pypelinin.machine import Event
from pypelinin.runtime.evidence import Collector, SlotOutput
from pypelinin.runtime.nurseries import Fork, Nursery, Starter, session_of, start_nursery
from pypelinin.runtime.outcomes import Outcomes, blamed, ending, failure, used_too_much
from pypelinin.runtime.surroundings import Pins, Setup, opened
from pypelinin.wire.codec import pack_plain
from pypelinin.wire.definitions import Failure

LOOK_INTERVAL_S = 0.001
"""A slot with many jobs is looked at this often, not at each of its outcomes."""
KNOWN_RUNS_MAX = 256
SERVICE = -1
"""The slot that only saves monitoring samples."""


@dataclass(slots=True)
class _Slot:
    number: int
    home: Nursery
    link: socket.socket
    token_read: int
    token_write: int
    pid: int = 0
    tag: int = 0
    left: int = 0
    started: bool = False
    doomed: bool = False
    memory_max: int = 0
    cores: int = 1
    doubtful: list[SlotProgressed] = field(default_factory=list)
    """A failure, and what came behind it: the nursery is asked whether it was for memory."""
    held_back: list[Any] | None = None
    """A lot that is sent when the limit of its jobs is in force."""
    memory_peak: int = 0
    """What its jobs used when that was too much."""
    look_at: float = 0.0
    outbox: memoryview | None = None
    output: SlotOutput | None = None
    runs: dict[int, tuple[str, bytes]] = field(default_factory=dict)
    unpacker: Any = field(
        default_factory=lambda: msgpack.Unpacker(raw=False, max_buffer_size=64 * 1024 * 1024)
    )


class Slots:
    """Starts, feeds, reads and kills slots; `read` returns what happened."""

    def __init__(
        self,
        setup: Setup,
        node: str,
        kept: Sequence[int] = (),
        collector: Collector | None = None,
        sessions: Starter | None = None,
    ) -> None:
        """The descriptors *kept* stay open in all processes here. What jobs print goes to
        *collector*, or where this process prints. Who starts *sessions* (see `nurseries`) replaces
        the last one by the next."""
        self._collector = collector
        self._sessions = sessions
        self.setup = setup
        self._kept = kept
        self.node = node
        self._slots: dict[int, _Slot] = {}
        self._by_pid: dict[int, int] = {}
        self._nurseries: dict[str, Nursery] = {}
        """By session; the last one is the newest."""
        self._pending: list[Event] = []
        self._pins = Pins(setup.affinity)
        self._buffer = memoryview(bytearray(1 << 18))
        """For what slots write: to make one costs ten times as much as a read."""

    # --- doing -------------------------------------------------------------------------

    def start(self, number: int, shape: Shape = PLAIN_SHAPE) -> None:
        """Fork a slot and let it load the user's modules; answered by SlotStarted."""
        try:
            home = self._nursery(session_of(shape))
            theirs, ours, token_read, token_write = opened()
        except OSError as error:  # too many open files, or processes
            self._pending += self._not_started(number, str(error))
            return
        slot = self._slots[number] = _Slot(number, home, ours, token_read, token_write)
        home.slots.add(number)
        slot.cores = shape.cores
        self._send(slot, ["setup", *self.setup.of(shape)])
        if self._collector is not None and number != SERVICE:
            slot.output = self._collector.open()
        files = [] if slot.output is None else slot.output.fds
        self._request(home, ["fork", number], (theirs, [slot.token_read, *files]))

    def _request(self, nursery: Nursery, request: list[object], fork: Fork | None = None) -> None:
        try:
            nursery.request(request, fork)
        except OSError as error:
            self._lose(nursery, f"the nursery is gone ({error})")

    def run(self, command: RunLot, now: float) -> None:
        """Tokens first, so that a slot without a token knows it was recalled."""
        slot = self._slots.get(command.slot)
        if slot is None:
            return
        slot.tag = (slot.tag + 1) % 256
        slot.left = len(command.jobs)
        if slot.output is not None:
            slot.output.lot(command, now, slot.pid)
        slot.look_at = now + LOOK_INTERVAL_S if slot.left > 1 else 0.0
        self._pins.begin(slot.number, slot.pid, slot.cores)
        limited = bool(command.memory_max or slot.memory_max)
        if limited:  # anew for each lot: from what is there now
            slot.memory_max = command.memory_max
            self._limit(slot)
        os.write(slot.token_write, bytes((slot.tag,)) * slot.left)
        # a number can mean another run after a Router lost an uncommitted one
        new = {n: list(h) for n, h in command.headers.items() if slot.runs.get(n) != h}
        for number, header in command.headers.items():  # the least recently used goes first
            slot.runs.pop(number, None)
            slot.runs[number] = header
        forget = []
        while len(slot.runs) > max(KNOWN_RUNS_MAX, len(command.headers)):
            forget.append(next(iter(slot.runs)))
            del slot.runs[forget[-1]]
        lot = [
            "lot", slot.tag, command.fence, command.skip, command.worker,
            command.runs.tobytes(), command.jobs.tobytes(), command.payloads, new, forget,
            command.follows, command.inline_max,
        ]  # fmt: skip
        if limited:  # it begins when the nursery knows what is there before it
            slot.held_back = lot
        else:
            self._send(slot, lot)

    def _limit(self, slot: _Slot) -> None:
        if slot.pid:
            self._request(slot.home, ["limit", slot.pid, slot.memory_max])

    def recall(self, number: int) -> Event:
        slot = self._slots.get(number)
        return SlotRecalled(number, 0 if slot is None else self._take_back(slot))

    def _take_back(self, slot: _Slot) -> int:
        """Jobs of the slot's lot that nobody has begun; nobody will."""
        try:
            taken = len(os.read(slot.token_read, 65536))
        except BlockingIOError:
            return 0
        self._ended(slot, taken)
        return taken

    def _ended(self, slot: _Slot, count: int) -> None:
        """So many jobs of its lot are over, or no longer its own."""
        slot.left -= count
        if not slot.left:
            self._pins.end(slot.number)

    def kill(self, number: int, gently: bool = False) -> None:
        """End the slot and all its processes; answered by SlotExited. *gently*: ask it to end."""
        slot = self._slots.get(number)
        if slot is None:
            return
        slot.doomed = slot.doomed or not gently  # the nursery may not have told its pid yet
        if slot.pid:
            self._request(slot.home, ["end", slot.pid, gently])

    def save_monitoring(self, sample: dict[str, object]) -> None:
        """Hand *sample* to the store in a slot of its own, started when first needed.

        While the store is still busy with the sample before, this one is dropped.
        """
        if SERVICE not in self._slots:
            self.start(SERVICE)
        slot = self._slots.get(SERVICE)
        if slot is not None and not slot.left:
            slot.left = 1
            self._send(slot, ["monitoring", sample])

    def beat(self, now: float) -> None:
        """Look at what jobs that run have printed."""
        assert self._collector is not None
        busy = [(s.output, s.left > 0) for s in self._slots.values() if s.output is not None]
        self._collector.beat(busy, now)

    def _send(self, slot: _Slot, message: object) -> None:
        data = pack_plain(message)
        slot.outbox = memoryview(data if slot.outbox is None else bytes(slot.outbox) + data)
        self._flush(slot)

    def _flush(self, slot: _Slot) -> None:
        """Send what the socket takes; a slot that does not read holds up nobody else."""
        try:
            while slot.outbox:
                slot.outbox = slot.outbox[slot.link.send(slot.outbox) :]
        except BlockingIOError:
            return
        except OSError:
            pass  # it is dying; the nursery will say how
        slot.outbox = None

    # --- what happened -----------------------------------------------------------------

    def fds(self, now: float) -> Iterable[tuple[int, bool]]:
        """Descriptors to wait for input on, and whether for room to write as well."""
        for nursery in self._nurseries.values():
            yield nursery.control.fileno(), False
        for slot in self._slots.values():
            if slot.outbox is not None or slot.look_at <= now:
                yield slot.link.fileno(), slot.outbox is not None

    def deadline(self) -> float | None:
        """When a slot that was left alone should be looked at."""
        if self._pending:
            return 0.0
        times = [slot.look_at for slot in self._slots.values() if slot.look_at]
        return min(times, default=None)

    def read(self, now: float, ready: Container[int]) -> list[Event]:
        """What has happened; *ready* are the descriptors that can be read now."""
        events, self._pending = self._pending, []
        for slot in list(self._slots.values()):
            if self._slots.get(slot.number) is not slot:
                continue  # it was lost with its nursery just now
            if slot.outbox is not None and slot.link.fileno() in ready:
                self._flush(slot)
            if slot.look_at <= now and (slot.look_at or slot.link.fileno() in ready):
                events += self._read_slot(slot, now)
        for nursery in list(self._nurseries.values()):
            if nursery.control.fileno() in ready:
                events += self._read_nursery(nursery, now)
        return events

    def _read_slot(self, slot: _Slot, now: float) -> list[Event]:
        while True:
            try:
                count = slot.link.recv_into(self._buffer)
            except (BlockingIOError, ConnectionError):
                break
            if not count:
                slot.look_at = float("inf")  # closed: the nursery will say how it ended
                break
            try:
                slot.unpacker.feed(self._buffer[:count])
            except msgpack.BufferFull:
                self._distrust(slot)
                break
            if count < len(self._buffer):
                break
        return self._outcomes(slot, now)

    def _distrust(self, slot: _Slot) -> None:
        """Bytes of user code: whatever they are, they only end the slot."""
        self.kill(slot.number)
        slot.look_at = float("inf")

    def _outcomes(self, slot: _Slot, now: float) -> list[Event]:
        found = Outcomes(self.node)
        events: list[Event] = []
        try:
            for outcome in slot.unpacker:
                if type(outcome) is list and outcome and type(outcome[0]) is str:
                    events += self._said(slot, *outcome)
                elif len(found.statuses) >= slot.left or slot.number == SERVICE:
                    raise ValueError("more outcomes than jobs")
                else:
                    found.take(outcome)
        except Exception:
            self._distrust(slot)
        if found.statuses:
            if slot.output is not None:
                slot.output.progressed(len(found.statuses))
            self._ended(slot, len(found.statuses))
            events += self._judged(slot, found.told(slot.number))
        if slot.look_at != float("inf"):
            slot.look_at = now + LOOK_INTERVAL_S if slot.left > 1 else 0.0
        return events

    def _judged(self, slot: _Slot, told: SlotProgressed) -> list[Event]:
        """A failure of a job with a limit is told when the nursery has looked at the others."""
        if not slot.doubtful and not (told.failures and slot.memory_max and slot.pid):
            return [told]
        slot.doubtful.append(told)  # first: it is told now if there is no nursery any more
        if len(slot.doubtful) == 1:
            self._request(slot.home, ["look", slot.pid])
        return []

    def _looked(self, slot: _Slot, peak: int) -> list[Event]:
        """What was doubtful: if the job used too much, *peak* bytes, that was why it failed."""
        told, slot.doubtful = slot.doubtful, []
        if told and peak:
            why = used_too_much(peak, slot.memory_max, self.node)
            told[0] = replace(told[0], failures=blamed(told[0].failures, why))
        return list(told)

    def _said(self, slot: _Slot, kind: str, first: Any, *more: Any) -> list[Event]:
        """What is no outcome: a slot is ready, a sample was saved, or what a job used."""
        if kind == "note" and slot.output is not None:
            slot.output.note(first, *more)
            return []
        if kind == "monitored":
            slot.left = 0
            known = None if first is None else failure(first, self.node)
        else:
            failed, declared = more
            known = None if failed is None else failure(failed, self.node)
            if slot.started:
                raise ValueError("a slot starts once")
            slot.started = True
            if known is not None:  # a slot without workers is of no use
                self._drop(slot)
                if slot.pid:
                    self._request(slot.home, ["end", slot.pid, False])
            if slot.number != SERVICE:
                names = tuple(map(str, first))
                return [SlotStarted(slot.number, names, known, tuple(map(bytes, declared)))]
        if known is not None:
            print(f"Monitoring failed: {known.type}: {known.text}", file=sys.stderr)
        return []

    def _read_nursery(self, nursery: Nursery, now: float) -> list[Event]:
        events: list[Event] = []
        while self._nurseries.get(nursery.session) is nursery:
            try:
                data = nursery.control.recv(65536)
            except BlockingIOError:
                self._request_more(nursery)
                break
            except ConnectionError:
                data = b""
            if not data:
                self._lose(nursery, "the nursery died")
                events += self._pending
                self._pending = []
                break
            events += self._heard(nursery, now, *msgpack.unpackb(data))
        return events

    def _request_more(self, nursery: Nursery) -> None:
        try:
            nursery.flush()
        except OSError as error:
            self._lose(nursery, f"the nursery is gone ({error})")

    def _heard(
        self, nursery: Nursery, now: float, kind: str, first: int, second: Any, *more: Any
    ) -> list[Event]:
        """One answer of a nursery."""
        if kind == "forked":
            self._forked(nursery, first, second)
        elif kind == "not forked":
            return self._not_forked(first, second)
        elif kind == "undead":
            return [Undead(first, second)]
        elif kind in ("memory", "limited", "looked"):
            slot = self._slots.get(self._by_pid.get(first, SERVICE))
            if slot is not None and kind == "memory":
                slot.memory_peak = second
            elif slot is not None and kind == "looked":
                return self._looked(slot, second or slot.memory_peak)
            elif slot is not None and slot.held_back is not None:
                lot, slot.held_back = slot.held_back, None
                self._send(slot, lot)
        elif (number := self._by_pid.pop(first, None)) is not None:
            return self._exited(number, first, second, now, *more)
        return []

    def _forked(self, nursery: Nursery, number: int, pid: int) -> None:
        slot = self._slots.get(number)
        if slot is None:
            self._request(nursery, ["end", pid, False])
            return
        slot.pid = pid
        self._by_pid[pid] = number
        if slot.doomed:
            self.kill(number)
        elif slot.memory_max:
            self._limit(slot)

    def _not_forked(self, number: int, why: str) -> list[Event]:
        slot = self._slots.get(number)
        if slot is None or slot.pid:
            return []
        self._drop(slot)
        return self._not_started(number, why)

    def _not_started(self, number: int, why: str) -> list[Event]:
        if number == SERVICE:
            return []
        text = f"no process could be started for the slot: {why}"
        return [SlotStarted(number, (), Failure("exit", "OSError", text, "", self.node))]

    def _exited(self, number: int, pid: int, status: int, now: float, *used: Any) -> list[Event]:
        slot = self._slots.get(number)
        if slot is None or slot.pid != pid:
            return []
        slot.look_at = 0.0
        events = self._read_slot(slot, now)
        if self._slots.get(number) is not slot:  # it has just said that it is of no use
            return events
        events += self._looked(slot, slot.memory_peak)
        unbegun = self._take_back(slot)
        if slot.output is not None and slot.left > 0:
            slot.output.died(*used)
        self._drop(slot)
        how = ending(status, self.node)
        if slot.memory_peak:
            how = used_too_much(slot.memory_peak, slot.memory_max, self.node)
        if number == SERVICE:
            print(f"Monitoring failed: {how.text}", file=sys.stderr)
            return []
        return [*events, SlotExited(number, how, unbegun)]

    def _drop(self, slot: _Slot) -> None:
        if self._slots.get(slot.number) is not slot:
            return  # its descriptors are other files' by now
        del self._slots[slot.number]
        slot.home.slots.discard(slot.number)
        self._tidy()
        self._pins.gone(slot.number, slot.pid)
        if slot.output is not None:
            slot.output.close()
        slot.link.close()
        os.close(slot.token_read)
        os.close(slot.token_write)

    # --- nurseries ---------------------------------------------------------------------

    def _nursery(self, session: str) -> Nursery:
        """Raises OSError if it cannot be started."""
        known = self._nurseries.get(session)
        if known is None:
            if session and self._sessions is not None:
                known = Nursery(session, *self._sessions(session, self._kept))
            else:
                known = start_nursery(self.setup.temporary, self._kept)
            self._nurseries[known.session] = known
            self._tidy()
        return known

    def _tidy(self) -> None:
        """Sessions that have no slots, and that a newer one has replaced, end."""
        for old in [n for n in list(self._nurseries.values())[:-1] if n.session and not n.slots]:
            del self._nurseries[old.session]
            old.close()

    def _lose(self, nursery: Nursery, what: str) -> None:
        """All its slots end with a nursery; the next start makes a new one."""
        if self._nurseries.pop(nursery.session, None) is None:
            return
        how = Failure("exit", "Killed", what, "", self.node)
        for slot in [slot for slot in self._slots.values() if slot.home is nursery]:
            self._by_pid.pop(slot.pid, None)
            self._pending += self._looked(slot, 0)
            unbegun = self._take_back(slot)
            if slot.output is not None and slot.left > 0:
                slot.output.died(0.0, 0)
            self._drop(slot)
            if slot.number != SERVICE:
                self._pending.append(SlotExited(slot.number, how, unbegun))
        nursery.close()

    def close(self) -> None:
        """End all slots and the nursery; returns when they are gone."""
        for number in list(self._slots):
            self.kill(number)
        for slot in list(self._slots.values()):
            self._drop(slot)
        while self._nurseries:
            self._nurseries.popitem()[1].close()
