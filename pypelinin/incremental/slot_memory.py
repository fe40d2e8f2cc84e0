"""What slots have in memory: what there was when they were forked, or their pack was written."""

from __future__ import annotations

from collections.abc import Mapping

from pypelinin.engine.run import Run
from pypelinin.incremental.loaders import Reads


class SlotMemory:
    """Tells when slots have to be forked anew, as they do not have what jobs may look for."""

    def __init__(self) -> None:
        self._jobs = 0
        self._misses_data = True
        self._acted: set[int] = set()

    def loaded(self) -> None:
        """Data was loaded in the caller."""
        self._misses_data = True

    def acted(self, number: int) -> None:
        """A job that is no loader ran in the caller. It may have left something there, which
        those who depend on it shall find."""
        self._acted.add(number)

    def lacks(self, run: Run, numbers: Mapping[int, Reads], loads_here: bool) -> bool:
        """Whether jobs of these *numbers* need newer slots; *loads_here*: data is in the caller."""
        if max(numbers) >= self._jobs:
            return True
        if self._misses_data and loads_here and any(numbers.values()):
            return True
        inputs = (up for number in numbers for up, _, _ in run.jobs[number].inputs)
        return bool(self._acted) and any(up.number in self._acted for up in inputs)

    def renewed(self, jobs: int) -> None:
        """Slots have all that is here now, and so many jobs; 0: none of those that come next."""
        self._jobs = jobs
        self._misses_data = False
        self._acted.clear()
