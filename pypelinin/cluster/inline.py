"""How much of each run's results travelled inline on this node, and so what still may."""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence

from pypelinin.wire.definitions import INLINE_BYTES_MAX

RUN_BYTES_MAX = 64 * 1024 * 1024
"""From so much of one run on only small results travel with their outcome: Router and journal
hold them all."""
SMALL_BYTES_MAX = 1024


class Inline:
    """Bytes by run number."""

    def __init__(self) -> None:
        self._bytes: dict[int, int] = {}

    def took(self, runs: Iterable[int], results: Sequence[bytes]) -> None:
        """The results of the next jobs of these runs, in order."""
        for run, result in zip(runs, results, strict=False):
            if result:
                self._bytes[run] = self._bytes.get(run, 0) + len(result)

    def most(self, runs: Iterable[int]) -> int:
        """How large a result of one of these may be to travel inline."""
        full = any(self._bytes.get(run, 0) >= RUN_BYTES_MAX for run in runs)
        return SMALL_BYTES_MAX if full else INLINE_BYTES_MAX

    def keep(self, runs: Container[int]) -> None:
        """All other runs are over."""
        self._bytes = {run: size for run, size in self._bytes.items() if run in runs}
