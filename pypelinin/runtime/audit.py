"""The audit log: who came, was refused, submitted, cancelled; one JSON document a line.

Written by a thread of its own, so a slow disk holds up nobody; what does not fit in its queue is
counted and told. Beyond its size the file is put aside once as `.1`.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from collections import deque
from pathlib import Path
from typing import Any

BYTES_MAX = 16 * 1024 * 1024
WAITING_MAX = 10_000
AGAIN_S = 10.0
"""The same refusal of the same holder is written once in so long, with how often it was."""
REFUSALS_MAX = 1_000


class Audit:
    """`note` returns at once, from any thread; `close` when all is written."""

    def __init__(self, path: Path, bytes_max: int = BYTES_MAX) -> None:
        self._path = path
        self._bytes_max = bytes_max
        self._waiting: deque[dict[str, Any]] = deque()
        self._dropped = 0
        self._refusals: dict[tuple[str, ...], tuple[float, int]] = {}
        self._lock = threading.Lock()
        self._woken = threading.Event()
        self._closed = False
        self.problem = ""
        """Why nothing can be written, if so."""
        self._thread = threading.Thread(target=self._write_all, name="audit", daemon=True)
        self._thread.start()

    def note(self, event: str, **facts: Any) -> None:
        if len(self._waiting) >= WAITING_MAX:
            self._dropped += 1
            return
        self._waiting.append({"time": _stamp(), "event": event, **facts})
        self._woken.set()

    def refused(self, event: str, by: tuple[str, ...], **facts: Any) -> None:
        """Note a refusal; the same again only after a while."""
        now = time.monotonic()
        with self._lock:
            since, more = self._refusals.get((event, *by), (float("-inf"), 0))
            if now - since < AGAIN_S:
                self._refusals[event, *by] = (since, more + 1)
                return
            while len(self._refusals) >= REFUSALS_MAX:
                del self._refusals[next(iter(self._refusals))]
            self._refusals[event, *by] = (now, 0)
        if more:
            facts["more_before"] = more
        self.note(event, **facts)

    def _write_all(self) -> None:
        while True:
            self._woken.wait()
            self._woken.clear()
            closed = self._closed
            try:
                self._append()
                self.problem = ""
            except OSError as error:  # the cluster goes on; the Router tells of it
                self.problem = f"{self._path} cannot be written: {error.strerror}"
            if closed:
                return

    def _append(self) -> None:
        lines = []
        while self._waiting:
            lines.append(json.dumps(self._waiting.popleft(), ensure_ascii=False))
        lost = self._dropped
        self._dropped -= lost
        try:
            if lost:
                told = json.dumps({"time": _stamp(), "event": "lost", "lines": lost})
                self._write([*lines, told])
            elif lines:
                self._write(lines)
        except OSError:
            self._dropped += lost + len(lines)
            raise

    def _write(self, lines: list[str]) -> None:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(self._path, flags, 0o600)
        with open(descriptor, "a", encoding="utf-8", errors="replace") as file:
            file.write("".join(f"{line}\n" for line in lines))
            size = file.tell()
        if size > self._bytes_max:
            self._path.replace(self._path.with_name(f"{self._path.name}.1"))

    def close(self) -> None:
        self._closed = True
        self._woken.set()
        with contextlib.suppress(RuntimeError):
            self._thread.join(timeout=5)


def _stamp() -> str:
    now = time.time()
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(now))}.{int(now * 1000) % 1000:03d}Z"
