"""Values on their way in or out of a process: small ones inline, large ones kept elsewhere."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from pypelinin.errors import DefinitionError
from pypelinin.runtime.value_files import PROBE, NotSealed, ValueFiles, this_start
from pypelinin.runtime.values import Piece
from pypelinin.wire.definitions import INLINE_BYTES_MAX, ValuePlace, is_kept

if TYPE_CHECKING:
    from pypelinin.runtime.access import Access


class ValueStore(Protocol):
    """Keeps packed values under names."""

    def put(self, name: str, values: Iterable[Sequence[Piece]], *, durable: bool) -> list[bytes]:
        """Write values into one new file; returns their references. Raises OSError."""
        ...

    def get(self, packed: bytes) -> memoryview:
        """The packed value a reference stands for; changing it changes nobody else's.

        Raises ValueLost.
        """
        ...

    def close(self) -> None: ...


class Values:
    """Values on their way in or out of a process: small ones inline, large ones kept.

    *host* is where the Router is, for who cannot read its directory, or the whole address of its
    value server; *access* the file (or what stood in it) by which it lets us in, if it has keys.
    """

    def __init__(
        self, place: ValuePlace, host: str = "127.0.0.1", access: Access | str = ""
    ) -> None:
        self.place = place
        self._host = host
        self._access = access
        self._store: ValueStore | None = None
        self._other: ValueStore | None = None

    @property
    def store(self) -> ValueStore:
        """Raises DefinitionError if this cluster keeps no large values."""
        if self._store is None:
            self._store = self._found()
        return self._store

    def _found(self) -> ValueStore:
        place = self.place
        if place.directory and is_readable(place):
            return ValueFiles(place.directory, place.start)
        if not place.port:
            raise DefinitionError(
                f"A value of more than {INLINE_BYTES_MAX:,} bytes needs a Router that keeps "
                "values; this one keeps none."
            )
        return self._served()

    def _served(self) -> ValueStore:
        from pypelinin.runtime.access import named
        from pypelinin.runtime.value_server import RemoteValues  # zmq: only where it is needed

        host = self._host
        address = host if "://" in host else f"tcp://{host}:{self.place.port}"
        return RemoteValues(address, self.place.probe, named(self._access))

    def close(self) -> None:
        """Let go of the way to the store; the next use finds it again."""
        for store in (self._store, self._other):
            if store is not None:
                store.close()
        self._store = self._other = None

    def keep(self, name: str, pieces: Sequence[Piece], inline_max: int = INLINE_BYTES_MAX) -> bytes:
        """A packed value of this process as it travels. Raises DefinitionError, OSError."""
        if size_of(pieces) <= inline_max:
            return b"".join(pieces)
        return self.store.put(name, [pieces], durable=False)[0]

    def keep_all(self, name: str, values: Sequence[bytes | None]) -> Sequence[bytes | None]:
        """What jobs get, as it travels, the large ones in the file *name*.

        Durable before this returns, if that is what the Router wants. Raises DefinitionError,
        OSError.
        """
        large = {i: [v] for i, v in enumerate(values) if v and len(v) > INLINE_BYTES_MAX}
        if not large:
            return values
        kept = self.keep_arguments(name, large, durable=self.place.durable)
        return [kept.get(i, value) for i, value in enumerate(values)]

    def keep_arguments(
        self, name: str, values: Mapping[int, Sequence[Piece]], *, durable: bool
    ) -> dict[int, bytes]:
        """References to values, by their keys."""
        kept = self.store.put(name, values.values(), durable=durable)
        return dict(zip(values, kept, strict=True))

    def open(self, packed: bytes | memoryview) -> bytes | memoryview:
        """The packed value itself. Raises ValueLost."""
        if not is_kept(packed):
            return packed
        try:
            return self.store.get(bytes(packed))
        except NotSealed:
            if not self.place.port or self.place.start == this_start():
                raise
            # the directory is shared with the machine that has it: only there they can tell
            self._other = self._other or self._served()
            return self._other.get(bytes(packed))


def size_of(pieces: Iterable[Piece]) -> int:
    """Bytes of a packed value."""
    return sum(memoryview(piece).nbytes for piece in pieces)


def is_readable(place: ValuePlace) -> bool:
    """Whether this process can use the directory: on its host, or where its files are shared."""
    if not place.probe:
        return True
    try:
        found = Path(place.directory, PROBE).read_text(encoding="ascii")
    except (OSError, ValueError):
        return False
    return found == place.probe and os.access(place.directory, os.R_OK | os.W_OK | os.X_OK)
