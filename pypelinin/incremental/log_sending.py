"""Log records by UDP, one JSON document each, to whoever listens; nobody has to."""

from __future__ import annotations

import json
import logging
import os
import socket
from typing import Any, NamedTuple

TEXT_BYTES_MAX = 30_000
DATAGRAM_BYTES_MAX = 65_507


class LogSender(logging.Handler):
    """Never waits, and fails nothing: what cannot be sent at once is dropped."""

    def __init__(self, address: tuple[str, int], level: int = logging.NOTSET) -> None:
        super().__init__(level)
        self._socket: socket.socket | None = None
        self._pid = 0
        self._host = socket.gethostname()
        self._family, self._address = _resolved(address)

    def emit(self, record: logging.LogRecord) -> None:
        if self._address is None:
            return
        try:
            if self._pid != os.getpid():  # a slot has not inherited it, only its number
                if self._socket is not None:
                    self._socket.detach()
                self._socket, self._pid = (
                    socket.socket(self._family, socket.SOCK_DGRAM),
                    os.getpid(),
                )
                self._socket.setblocking(False)
            assert self._socket is not None
            self._socket.sendto(encoded(record, self._host), self._address)
        except OSError:
            pass
        except Exception:
            self.handleError(record)

    def close(self) -> None:
        if self._socket is not None and self._pid == os.getpid():
            self._socket.close()
        self._socket = None
        super().close()


def _resolved(address: tuple[str, int]) -> tuple[int, Any]:
    """(family, address) to send to; no address if the name is not known."""
    try:
        found = socket.getaddrinfo(*address, socket.AF_INET, socket.SOCK_DGRAM)
    except OSError:
        return socket.AF_INET, None
    return socket.AF_INET, found[0][4]


class Heard(NamedTuple):
    """A record as it came in."""

    time: float
    level: str
    host: str
    pid: int
    logger: str
    place: str
    text: str


def encoded(record: logging.LogRecord, host: str) -> bytes:
    """A datagram of it; what is too long is cut off."""
    text = record.getMessage()
    if record.exc_info:
        text += "\n" + logging.Formatter().formatException(record.exc_info)
    place = f"{record.filename}:{record.lineno}"
    pid = record.process or os.getpid()
    fields = Heard(record.created, record.levelname, host, pid, record.name, place, text)
    data = json.dumps(fields._asdict()).encode()
    if len(data) > DATAGRAM_BYTES_MAX:
        cut = fields._replace(text=text[: TEXT_BYTES_MAX // 6] + " ...", place=place[:200])
        data = json.dumps(cut._asdict()).encode()
    return data


def decoded(datagram: bytes) -> Heard | None:
    """None if it is none of ours."""
    try:
        found = json.loads(datagram)
        return Heard(
            float(found["time"]), str(found["level"]), str(found["host"]), int(found["pid"]),
            str(found["logger"]), str(found["place"]), str(found["text"]),
        )  # fmt: skip
    except (ValueError, KeyError, TypeError):
        return None
