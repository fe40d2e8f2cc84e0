"""What the slots of a run tell (`inside.telling`), read while it runs."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import NamedTuple


class Told(NamedTuple):
    """A line of a task; *status* is one that it has from now on, or ""."""

    time: float
    level: int
    process: str
    task: str
    text: str
    status: str


class Hearing:
    """Reads the files that slots write into *directory*."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._read: dict[str, int] = {}

    def new(self) -> list[Told]:
        """What was told since the last call, the oldest first."""
        return sorted(self._new(), key=lambda told: told.time)

    def _new(self) -> Iterator[Told]:
        try:
            names = os.listdir(self._directory)
        except FileNotFoundError:
            return
        for name in names:
            if name.endswith(".jsonl"):
                yield from self._of(name)

    def _of(self, name: str) -> Iterator[Told]:
        begin = self._read.get(name, 0)
        with open(os.path.join(self._directory, name), "rb") as file:  # anew: it may be on NFS
            if os.fstat(file.fileno()).st_size == begin:
                return
            file.seek(begin)
            data = file.read()
        whole = data[: data.rfind(b"\n") + 1]
        self._read[name] = begin + len(whole)
        for line in whole.splitlines():
            try:
                yield Told(*json.loads(line))
            except (ValueError, TypeError):  # a part of a line whose writer was killed
                continue


__all__ = ["Hearing", "Told"]
