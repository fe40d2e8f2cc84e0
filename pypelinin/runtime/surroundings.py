"""What surrounds a slot: what it loads, its environment, the ends of its pipes, and the cores that
it may run on."""

from __future__ import annotations

import os
import socket
from collections.abc import Collection

from pypelinin.cluster.cores import Cores
from pypelinin.cluster.slots import Shape
from pypelinin.machine import record
from pypelinin.runtime.trees import descendants
from pypelinin.wire.definitions import NO_PLACE, ValuePlace

THREAD_VARIABLES = (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS", "BLIS_NUM_THREADS", "RAYON_NUM_THREADS", "POLARS_MAX_THREADS",
)  # fmt: skip
"""Libraries that start a thread a core of the machine, unless these say how many."""


@record
class Setup:
    """What a slot loads: module search path, workers modules, store and its configuration.

    Large values are at *place*, or on *host* for who cannot read that, by the *access* file if
    there is one. A *temporary* directory is removed with the last process here. *affinity*: jobs
    run on cores of their own.
    """

    path: list[str]
    workers: list[str]
    store: str | bytes
    configuration: dict[str, object]
    place: ValuePlace = NO_PLACE
    host: str = "127.0.0.1"
    temporary: str = ""
    affinity: bool = False
    access: str = ""

    def of(self, shape: Shape) -> list[object]:
        """What is sent to a slot of that shape."""
        place = self.place
        values = [
            place.directory, place.probe, place.port, place.durable, place.start, self.host,
            self.access,
        ]  # fmt: skip
        return [
            self.path, self.workers, self.store, self.configuration, values, shape.cores,
            dict(shape.devices), environment_of(shape),
        ]  # fmt: skip


def environment_of(shape: Shape) -> dict[str, str]:
    """What a slot of that shape adds to the environment: how many threads, which devices."""
    added = dict.fromkeys(THREAD_VARIABLES, str(shape.cores))
    for name, indices in shape.devices:
        listed = ",".join(map(str, indices))
        added["CUDA_VISIBLE_DEVICES" if name == "gpu" else f"PYPELININ_{name.upper()}"] = listed
    return {**added, "PYPELININ_CORES": str(shape.cores), **dict(shape.env)}


def opened() -> tuple[socket.socket, socket.socket, int, int]:
    """The slot's and the Broker's end of a link, and a token pipe: to read from, to write to."""
    ours, theirs = socket.socketpair()
    try:
        token_read, token_write = os.pipe()
    except OSError:
        ours.close()
        theirs.close()
        raise
    ours.setblocking(False)
    os.set_blocking(token_read, False)
    os.set_blocking(token_write, False)
    return theirs, ours, token_read, token_write


class Pins:
    """Keeps the processes of slots on cores of their own; does nothing unless it is *wanted*."""

    def __init__(self, wanted: bool) -> None:
        self._cores = Cores(usable_cores()) if wanted and usable_cores() else None
        self._pinned: dict[int, tuple[int, ...]] = {}
        """By the keeper of the slot."""

    def begin(self, slot: int, keeper: int, count: int) -> None:
        """A lot begins on *slot*: all its processes go where it may run."""
        if self._cores is None or not keeper:
            return
        cores = self._cores.take(slot, count)
        if self._pinned.get(keeper) != cores:
            self._pinned[keeper] = cores
            for pid in descendants([keeper]):
                pin(pid, cores)

    def end(self, slot: int) -> None:
        """Its lot is finished."""
        if self._cores is not None:
            self._cores.free(slot)

    def gone(self, slot: int, keeper: int) -> None:
        """Its processes are gone."""
        self.end(slot)
        self._pinned.pop(keeper, None)


def usable_cores() -> frozenset[int]:
    """The numbers of the cores that this process may run on; none where that is not known."""
    try:
        return frozenset(os.sched_getaffinity(0))
    except AttributeError:  # not on every system
        return frozenset()


def pin(pid: int, cores: Collection[int]) -> None:
    """All threads of *pid* run on *cores*, and what they start; who has ended need not."""
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            os.sched_setaffinity(int(thread), cores)
    except OSError:
        return


__all__ = ["Pins", "THREAD_VARIABLES", "environment_of", "opened", "pin", "usable_cores"]
