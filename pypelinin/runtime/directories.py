"""Inside a slot: the directory that a job works in.

Functions and commands work in that of the client who submitted them, if the node has one of that
name, so that a relative path means the same here and there; workers of the node in its Broker's.
"""

from __future__ import annotations

import os

import msgpack

NO_RUN = -1


class Directory:
    """Of a slot that was started in its Broker's; *moves* False: another's process, left alone."""

    def __init__(self, moves: bool) -> None:
        self._home = working_directory() if moves else ""
        self._run = NO_RUN

    def enter(self, number: int, header: bytes) -> None:
        """Work where the run's client is. Does nothing for another job of the same run."""
        if number != self._run:
            self._run = number
            self._go(place_of(header))

    def leave(self) -> None:
        """Work where the Broker is."""
        if self._run != NO_RUN:
            self._run = NO_RUN
            self._go(self._home)

    def _go(self, place: str) -> None:
        for directory in (place, self._home):
            if self._home and directory:
                try:
                    os.chdir(directory)
                except OSError:  # not on this node, or not for this user
                    continue
                return


def working_directory() -> str:
    """That of this process; "" if it is gone."""
    try:
        return os.getcwd()
    except OSError:
        return ""


def place_of(header: bytes) -> str:
    """The directory of a run's client; "" if its payload (see `values.pack_header`) has none."""
    if header[:1] != b"f":
        return ""
    _, _, *place = msgpack.unpackb(memoryview(header)[1:])
    return place[0] if place else ""


__all__ = ["NO_RUN", "Directory", "place_of", "working_directory"]
