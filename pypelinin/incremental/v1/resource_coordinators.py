"""What says how much of the machine a graph may take."""

from __future__ import annotations

from pypelinin.incremental.util import CPUs
from pypelinin.incremental.v1.exceptions import ArgumentError
from pypelinin.runtime.capacity import memory_here


class LocalSystem:
    """This machine: *max_cores_to_use* of its cores (usual: all), and its memory.

    Slots are told of their cores by variables such as RAYON_NUM_THREADS. *profile* is taken and
    not used; without *interactive* no commands are read while a graph runs.
    """

    def __init__(
        self, max_cores_to_use: int | None = None, profile: bool = False, interactive: bool = True
    ) -> None:
        cores = CPUs() if max_cores_to_use is None else max_cores_to_use
        if type(cores) is not int or cores < 1:
            raise ArgumentError(f"max_cores_to_use is a whole number from 1 on: {cores!r}.")
        self.max_cores_to_use = cores
        self.profile = profile
        self.interactive = interactive

    @property
    def cores_available(self) -> int:
        return self.max_cores_to_use

    @property
    def physical_memory(self) -> int:
        """Bytes of memory that jobs may use."""
        return memory_here()


__all__ = ["LocalSystem"]
