"""Messages that are well formed and mean anything at all."""

from __future__ import annotations

import dataclasses
import types
import typing
from array import array
from random import Random
from typing import Any

from pypelinin.wire.codec import Blobs, Ints, Record, pack_record
from pypelinin.wire.definitions import Details, Header, Structure
from pypelinin.wire.messages import HeldLot

SPECIAL = (0, 1, -1, 2, 3, 7, 255, 2**31, 2**40, 2**40 + 1, 2**41, 2**62, -(2**62))


class Nonsense:
    """Draws values for any annotation; *numbers* and *words* are what others know of."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.numbers: list[int] = list(SPECIAL)
        self.words: list[str] = ["", "A", "B", "node", "resident", "x" * 300]

    def record(self, cls: type[Record]) -> Record:
        hints = typing.get_type_hints(cls)
        return cls(*[self.value(hints[f.name]) for f in dataclasses.fields(cls)])  # type: ignore[arg-type]

    def value(self, hint: Any) -> Any:
        random = self.random
        origin, arguments = typing.get_origin(hint), typing.get_args(hint)
        simple: dict[Any, Any] = {
            int: lambda: random.choice(self.numbers),
            str: lambda: random.choice(self.words),
            bytes: self.data,
            bool: lambda: random.random() < 0.5,
            float: lambda: random.choice((0.0, -1.0, 1e9, 1e300, 1.5)),
            object: lambda: None,
            Blobs: lambda: Blobs(self.data() for _ in range(random.randrange(5))),
            Ints: self.ints,
        }
        if hint in simple:
            return simple[hint]()
        if origin in (typing.Union, types.UnionType):
            (inner,) = (a for a in arguments if a is not type(None))
            return None if random.random() < 0.5 else self.value(inner)
        if origin is tuple:
            return tuple(self.value(arguments[0]) for _ in range(random.randrange(4)))
        if origin is dict:
            return {
                self.value(arguments[0]): self.value(arguments[1])
                for _ in range(random.randrange(3))
            }
        return self.record(hint)

    def ints(self) -> array[int]:
        some = [n for n in self.numbers if 0 <= n < 2**32]
        return array("I", [self.random.choice(some) for _ in range(self.random.randrange(4))])

    def data(self) -> bytes:
        random = self.random
        kind = random.randrange(6)
        if kind == 0:
            return b""
        if kind == 1:
            return bytes(random.choice((1, 2, 3, 0, 255)) for _ in range(random.randrange(1, 5)))
        if kind == 2:
            return random.randbytes(random.randrange(20))
        cls = random.choice((HeldLot, Header, Structure, Details))
        return pack_record(self.record(cls))
