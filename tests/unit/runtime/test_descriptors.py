from __future__ import annotations

import gc
import os
import resource
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pypelinin.errors import ClusterError
from pypelinin.runtime import descriptors as module
from pypelinin.runtime.descriptors import (
    BROKER_FILES,
    PRINTED_FILES,
    RESERVE,
    ROUTER_FILES_MIN,
    SLOT_FILES,
    Gate,
    demand,
    demand_for_router,
    demand_for_slots,
    files_spare,
    raised_limit,
)
from pypelinin.runtime.evidence import Collector
from pypelinin.runtime.slots import Setup, Slots


class Limit:
    """A limit of open files that only this module sees."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.value = (1024, 4096)
        monkeypatch.setattr(module.resource, "getrlimit", lambda _: self.value)
        monkeypatch.setattr(module.resource, "setrlimit", self._set)

    def _set(self, _what: int, value: tuple[int, int]) -> None:
        hard = self.value[1]
        assert hard == value[1]
        assert value[0] <= hard or hard == resource.RLIM_INFINITY
        self.value = value


@pytest.fixture(autouse=True)
def _no_garbage() -> None:
    """Files are counted here: those of other tests are not to be closed meanwhile."""
    gc.collect()


@pytest.fixture
def limit(monkeypatch: pytest.MonkeyPatch) -> Limit:
    return Limit(monkeypatch)


@pytest.mark.parametrize(
    ("before", "wanted", "after"),
    [
        ((1024, 4096), 500, 1024),
        ((1024, 4096), 2000, 2000),
        ((1024, 4096), 9000, 4096),
        ((1024, resource.RLIM_INFINITY), 9000, 9000),
    ],
)
def test_a_limit_is_raised_as_far_as_it_may(
    limit: Limit, before: tuple[int, int], wanted: int, after: int
) -> None:
    limit.value = before
    assert raised_limit(wanted) == after
    assert limit.value == (after, before[1])


def test_a_router_says_what_it_needs(limit: Limit) -> None:
    limit.value = (64, ROUTER_FILES_MIN)
    demand_for_router()
    limit.value = (64, ROUTER_FILES_MIN - 1)
    with pytest.raises(ClusterError, match="at least 256 open files, this one may have 255"):
        demand_for_router()


def test_a_broker_says_how_many_slots_there_can_be(limit: Limit) -> None:
    limit.value = (64, BROKER_FILES + 10 * SLOT_FILES)
    demand_for_slots(10)
    with pytest.raises(ClusterError, match=r"there can be 10 slots. Say --slots 10, or raise the"):
        demand_for_slots(11)
    limit.value = (32, 32)
    with pytest.raises(ClusterError, match=r"there can be none. Raise the limit"):
        demand_for_slots(1)


def test_a_slot_whose_output_is_not_kept_needs_fewer(limit: Limit) -> None:
    limit.value = (64, BROKER_FILES + 10 * (SLOT_FILES - PRINTED_FILES))
    demand_for_slots(10, keeps_output=False)
    with pytest.raises(ClusterError, match="there can be 10 slots"):
        demand_for_slots(11, keeps_output=False)
    with pytest.raises(ClusterError, match="there can be 6 slots"):
        demand_for_slots(10)


def test_a_slot_has_as_many_files_as_is_said(tmp_path: Path) -> None:
    slots = Slots(Setup([], [], "", {}), "node-1", (), Collector(100, 0.5, str(tmp_path)))
    plain = Slots(Setup([], [], "", {}), "node-1")
    try:
        for made, each in ((slots, SLOT_FILES), (plain, SLOT_FILES - PRINTED_FILES)):
            made.start(0)  # and the nursery
            before = files_spare()
            made.start(1)
            assert before - files_spare() == each
    finally:
        slots.close()
        plain.close()


def test_a_demand_leaves_nothing_open() -> None:
    before = files_spare()
    demand(10)
    assert files_spare() == before


def test_a_demand_that_cannot_be_met(monkeypatch: pytest.MonkeyPatch) -> None:
    really, opened = os.open, 0

    def few(*args: Any, **more: Any) -> int:
        nonlocal opened
        opened += 1
        if opened > 3:
            raise OSError(24, "Too many open files")
        return really(*args, **more)

    monkeypatch.setattr(module.os, "open", few)
    with pytest.raises(ClusterError, match="needs 5 more, there is room for 3") as raised:
        demand(5)
    assert "ulimit" in raised.value.remedy


# --- the gate -----------------------------------------------------------------------------------


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0), backlog=RESERVE - 1) as made:
        yield made


@pytest.fixture
def gate(listener: socket.socket) -> Iterator[Gate]:
    made = Gate([listener.getsockname()[1]])
    yield made
    made.close()


def connects(listener: socket.socket, timeout_s: float) -> bool:
    try:
        socket.create_connection(listener.getsockname(), timeout_s).close()
    except TimeoutError:
        return False
    return True


def test_a_shut_door_takes_nobody_and_opens_again(
    gate: Gate, listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert gate.look(0.0) == ""
    with socket.create_connection(listener.getsockname()) as inside:
        accepted = listener.accept()[0]
        with socket.create_connection(listener.getsockname()) as waiting:
            monkeypatch.setattr(module, "files_spare", lambda: 3)
            assert "no more connections" in gate.look(1.0)
            waiting.settimeout(30)
            assert waiting.recv(1) == b""  # turned away
        inside.sendall(b"x")
        assert accepted.recv(1) == b"x"
        accepted.close()
    assert not connects(listener, 0.2)
    monkeypatch.setattr(module, "files_spare", lambda: 1000)
    assert gate.look(1.1) == ""  # it has just looked
    assert "connections are taken" in gate.look(2.0)
    assert connects(listener, 30.0)


def test_a_gate_that_is_closed_leaves_the_port_open(
    gate: Gate, listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "files_spare", lambda: 3)
    assert "no more connections" in gate.look(1.0)
    gate.close()
    assert connects(listener, 30.0)


def test_a_gate_does_not_take_the_last_files(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = files_spare()
    with monkeypatch.context() as few:
        few.setattr(module, "files_spare", lambda: RESERVE + 2 * module.SPARE_MIN)
        gate = Gate([listener.getsockname()[1]])
    assert files_spare() == before - 1  # its hand on the port
    gate.close()


def test_a_door_without_a_listener_has_nothing_open() -> None:
    before = files_spare()
    gate = Gate([])
    assert files_spare() == before
    gate.close()
