"""Log records by UDP."""

from __future__ import annotations

import json
import logging
import os
import socket
import sys
from collections.abc import Iterator

import pytest

from pypelinin.incremental import log_sending as module
from pypelinin.incremental.log_sending import LogSender, decoded, encoded


def record(text: str, *args: object) -> logging.LogRecord:
    return logging.LogRecord("my.log", logging.INFO, "/x/run.py", 7, text, args, None)


@pytest.fixture
def heard() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.settimeout(10)
        yield listener


def test_a_record_arrives_as_it_was(heard: socket.socket) -> None:
    sender = LogSender(("localhost", heard.getsockname()[1]))
    sender.handle(record("%s is done", "a"))
    found = decoded(heard.recv(65536))
    assert found is not None
    assert (found.level, found.logger, found.text) == ("INFO", "my.log", "a is done")
    assert found.place == "run.py:7"
    assert found.pid == os.getpid()
    sender.close()


def test_a_fork_has_a_socket_of_its_own(heard: socket.socket) -> None:
    sender = LogSender(("localhost", heard.getsockname()[1]))
    sender.handle(record("here"))
    heard.recv(65536)
    pid = os.fork()
    if not pid:
        assert sender._socket is not None
        os.close(sender._socket.fileno())  # what happens in a slot
        sender.handle(record("there"))
        os._exit(0)
    os.waitpid(pid, 0)
    found = decoded(heard.recv(65536))
    assert found is not None
    assert found.text == "there"
    sender.close()


def test_nobody_has_to_listen() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as gone:
        gone.bind(("127.0.0.1", 0))
        port = gone.getsockname()[1]
    sender = LogSender(("localhost", port))
    for _ in range(10):
        sender.handle(record("x"))
    sender.close()


def test_a_host_that_is_not_known_fails_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object) -> None:
        raise socket.gaierror("no such host")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    sender = LogSender(("nowhere.invalid", 5005))
    sender.handle(record("x"))
    sender.close()


def test_a_long_record_is_cut(heard: socket.socket) -> None:
    data = encoded(record("\u20ac" * 100_000), "host")
    assert len(data) < module.DATAGRAM_BYTES_MAX
    found = decoded(data)
    assert found is not None
    assert found.text.endswith("\u20ac ...")


def test_a_traceback_travels_too() -> None:
    made = record("it broke")
    try:
        raise ValueError("why")
    except ValueError:
        made.exc_info = sys.exc_info()
    found = decoded(encoded(made, "host"))
    assert found is not None
    assert "ValueError: why" in found.text


@pytest.mark.parametrize("data", [b"\xff", b"[]", b"{}", json.dumps({"time": "x"}).encode()])
def test_what_is_none_of_ours_is_not_read(data: bytes) -> None:
    assert decoded(data) is None
