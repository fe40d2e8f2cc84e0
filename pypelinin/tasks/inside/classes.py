"""Classes of the project in results.

Code travels by value, so in a slot a class of the project is a copy, and each run has copies of
its own. In a result it stands with its name and, packed, with its content: it is loaded as the
class of that name that the task knows (in a script: that its module has), so that `isinstance`
and `is` mean the same whether a result was stored just now or by an earlier run. Where there is
none, or one with other fields, it is made of the content.
"""

from __future__ import annotations

import enum
import functools
import importlib
import io
import operator
import pickle
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Brought = Mapping[tuple[str, str], Sequence[type]]
"""By module and qualified name."""
_MAKERS = ("_make_skeleton_class", "_make_skeleton_enum")
"""What makes a class that travels by value, in cloudpickle."""
_FIELDS = ("__dataclass_fields__", "_fields", "__slots__")

_thread = threading.local()
_packed: weakref.WeakKeyDictionary[type, bytes] = weakref.WeakKeyDictionary()


@functools.cache
def pickler() -> type[Any]:
    """The class of what pickles results; made late, as cloudpickle is imported late."""
    import cloudpickle

    class Pickler(cloudpickle.Pickler):  # type: ignore[misc]  # it has no types
        def reducer_override(self, value: Any) -> Any:
            how = super().reducer_override(value)
            if how is NotImplemented or not isinstance(value, type):
                return how
            if value.__module__ == "builtins" or "<locals>" in value.__qualname__:
                return how
            if value not in _packed:
                _packed[value] = bytes(cloudpickle.dumps(value, protocol=5))
            return named, (value.__module__, value.__qualname__, shape(value), _packed[value])

    return Pickler


def named(module: str, name: str, fields: tuple[str, ...], packed: bytes) -> Any:
    """The class of a result that is loaded; stands in the results."""
    brought: Brought | None = getattr(_thread, "brought", None)
    known = _of_module(module, name) if brought is None else brought.get((module, name), ())
    for found in known:
        if shape(found) == fields:
            return found
    return pickle.loads(packed)


def _of_module(module: str, name: str) -> Sequence[type]:
    try:
        found = operator.attrgetter(name)(importlib.import_module(module))
    except Exception:  # it is of another script, or its module fails where it is loaded
        return ()
    return [found] if isinstance(found, type) else ()


def shape(kind: type) -> tuple[str, ...]:
    """What the objects of a class consist of, as far as it says so."""
    if issubclass(kind, enum.Enum):
        return tuple(f"{name}={one.value!r}" for name, one in kind.__members__.items())
    return tuple(f"{what}.{name}" for what in _FIELDS for name in getattr(kind, what, ()))


class _Reader(pickle.Unpickler):
    """Notes the classes that come by value."""

    def __init__(self, work: bytes) -> None:
        super().__init__(io.BytesIO(work))
        self.made: list[type] = []

    def find_class(self, module: str, name: str) -> Any:
        found = super().find_class(module, name)
        if name in _MAKERS and module.startswith("cloudpickle"):
            return functools.partial(self._make, found)
        return found

    def _make(self, maker: Callable[..., type], *args: Any) -> type:
        self.made.append(maker(*args))
        return self.made[-1]


def opened(work: bytes) -> tuple[Any, Brought]:
    """What was packed by cloudpickle, and the classes that it brought."""
    reader = _Reader(work)
    value = reader.load()
    brought: dict[tuple[str, str], list[type]] = {}
    for kind in reader.made:
        brought.setdefault((kind.__module__, kind.__qualname__), []).append(kind)
    return value, brought


def use(brought: Brought | None) -> None:
    """From now on results are loaded in this thread with these classes; None: with modules."""
    _thread.brought = brought


__all__ = ["Brought", "named", "opened", "pickler", "shape", "use"]
