"""A slot as a guest: lots of jobs run in a worker of another engine.

`perform` is what the engine calls, in whatever process or thread it likes. It needs pypelinin
installed there, and nothing else: no socket, no file, no state but what it keeps for speed.
"""

from __future__ import annotations

import os
import sys
import threading
from typing import Any

from pypelinin.runtime.child import Slot

INLINE = 2**62
"""Results of any size go back with their outcome."""
PYTHON = "{}.{}".format(*sys.version_info)
_guests: dict[tuple[int, int, bytes], _Guest] = {}


class _Guest(Slot):
    """Writes its outcomes into a list; nobody takes jobs back from it."""

    def __init__(self) -> None:
        super().__init__(self, -1)  # type: ignore[arg-type]  # it is its own socket
        self.written: list[bytes] = []

    def sendall(self, data: bytes) -> None:
        self.written.append(data)

    def take_token(self, _tag: int) -> bool:
        return True


def perform(python: str, setup_key: bytes, setup: list[Any], lot: list[Any]) -> bytes:
    """Run a lot; returns what a slot would write. *lot* are the arguments of `Slot.run_lot`.

    Raises RuntimeError if this is another *python* ("3.11"), or the workers or the store
    cannot be loaded here.
    """
    if python != PYTHON:
        raise RuntimeError(f"this worker has Python {PYTHON}, the jobs come from {python}")
    key = (os.getpid(), threading.get_ident(), setup_key)
    guest = _guests.get(key)
    if guest is None:
        guest = _Guest()
        failed = guest.set_up(*setup)[2]
        if failed is not None:
            raise RuntimeError(f"{failed[1]}: {failed[2]}")
        _guests[key] = guest
    guest.written = []
    guest.runs.clear()  # a number means another run in another life of the driver
    guest.run_lot(*lot)
    return b"".join(guest.written)
