"""Functions and their arguments on the way to a slot, on the side of who submits them.

A function travels as its code if it stands in a local module (below the working directory
or beside the script) and by its name if its module is installed.
"""

from __future__ import annotations

import contextlib
import functools
import io
import operator
import os
import pickle
import site
import sys
import sysconfig
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any, cast

import msgpack

from pypelinin.errors import NotPicklable
from pypelinin.graph.fingerprint import digest
from pypelinin.graph.job import Job, check_function
from pypelinin.runtime.directories import working_directory
from pypelinin.runtime.values import (
    OUT_OF_BAND_BYTES,
    Piece,
    collector,
    is_plain,
    pack_header,
    pickled_pieces,
)

CAPTURED_WARN_BYTES = 1024 * 1024
FUNCTION_BYTES_MAX = 4 * 1024 * 1024
FUNCTIONS_MAX = 1000
_CONSTANTS = (
    type(None), bool, int, float, complex, str, bytes, type, ModuleType, BuiltinFunctionType,
)  # fmt: skip


class Functions:
    """Packs functions, each one once, and their arguments (`pipeline.Calls`)."""

    version = "{}.{}".format(*sys.version_info)

    def __init__(self) -> None:
        self._packed: dict[int, tuple[list[object], str, bytes]] = {}
        self._modules_seen = 0

    def header(self, data: bytes, functions: Mapping[str, bytes]) -> bytes:
        return pack_header(data, functions, working_directory())

    def call(self, what: str, job: Job, inputs: Sequence[Job]) -> bytes:
        """The arguments of *job*. Raises NotPicklable."""
        place = {up: i for i, up in enumerate(inputs)}
        return b"".join(pack_call(what, job.args, job.kwargs, place))

    def function(self, function: Callable[..., Any]) -> tuple[str, bytes]:
        """(digest of its content, the function as bytes). Raises NotPicklable."""
        state = _state(function)
        known = self._packed.get(id(function))
        if known is not None and state is not None and _is_same(known[0], state):
            return known[1:]
        check_function(function)
        import cloudpickle

        self._mark_local_modules()
        try:
            packed = bytes(cloudpickle.dumps(function))
        except Exception as error:
            raise NotPicklable(
                f"{_name(function)} cannot be sent: {_culprit(function) or error}",
                remedy="Make it inside of the function, or pass what it is made from.",
            ) from error
        if len(packed) > FUNCTION_BYTES_MAX:
            raise NotPicklable(
                f"{_name(function)} takes {len(packed):,} bytes with all that it captures, at "
                f"most {FUNCTION_BYTES_MAX:,}. {_largest(function)}".strip(),
                remedy="Pass large data as an argument, or keep it in a file.",
            )
        if len(packed) > CAPTURED_WARN_BYTES:
            text = f"{_name(function)} takes {len(packed):,} bytes with it. {_largest(function)}"
            warnings.warn(text, stacklevel=2)
        found = digest(packed).hex()[:16]
        if state is not None:
            while len(self._packed) >= FUNCTIONS_MAX:
                del self._packed[next(iter(self._packed))]
            self._packed[id(function)] = (state, found, packed)
        return found, packed

    def _mark_local_modules(self) -> None:
        """Modules of the project are sent as code: the nodes may not have them."""
        if len(sys.modules) == self._modules_seen:
            return
        import cloudpickle

        roots, installed = _project_roots(), _installed()
        for module in list(sys.modules.values()):
            if _is_local(module, roots, installed) and sys.modules.get(module.__name__) is module:
                cloudpickle.register_pickle_by_value(module)
        self._modules_seen = len(sys.modules)


def pack_call(
    what: str, args: tuple[Any, ...], kwargs: dict[str, Any], place: Mapping[Job, int]
) -> list[Piece]:
    """The arguments of one call; jobs among them by their place. Raises NotPicklable."""
    large = any(_is_large(value) for value in (*args, *kwargs.values()))
    if not large and is_plain(kwargs) and all(map(is_plain, args)):
        with contextlib.suppress(UnicodeEncodeError):  # lone surrogates: pickle can
            return [b"m", msgpack.packb([args, kwargs], use_bin_type=True)]
    try:
        return _pickled(args, kwargs, place)
    except Exception as error:
        named = {**{f"argument {i}": value for i, value in enumerate(args)}, **kwargs}
        for name, value in named.items():
            try:
                _pickled((value,), {}, place)
            except Exception as cause:
                text = f"{what}: {name} ({type(value).__name__}) cannot be sent: {cause}"
                raise NotPicklable(text, remedy="Pass what it is made from.") from error
        raise NotPicklable(f"{what}: its arguments cannot be sent: {error}") from error


def _pickled(
    args: tuple[Any, ...], kwargs: dict[str, Any], place: Mapping[Job, int]
) -> list[Piece]:
    import cloudpickle

    file = io.BytesIO()
    buffers: list[memoryview] = []
    pickler = cloudpickle.Pickler(file, protocol=5, buffer_callback=collector(buffers))
    blobs: list[memoryview] = []
    named = False

    def persistent_id(value: object) -> int | None:
        """What stands elsewhere: the result of a job (from 0 on), or large bytes (below 0)."""
        nonlocal named
        if isinstance(value, Job):
            if value not in place:
                raise TypeError(
                    f"{value!r} is hidden in another object; a job can be an argument, or stand "
                    "in a list, tuple, set, or among the values of a dict"
                )
            named = True
            return place[value]
        if type(value) is bytes and len(value) >= OUT_OF_BAND_BYTES:
            named = True
            blobs.append(memoryview(value))
            return -len(blobs)
        return None

    pickler.persistent_id = persistent_id
    pickler.dump((args, kwargs))
    return pickled_pieces(file.getvalue(), [*buffers, *reversed(blobs)], b"r" if named else b"p")


def _is_large(value: object) -> bool:
    """Bytes that are not to be copied."""
    return type(value) is bytes and len(value) >= OUT_OF_BAND_BYTES


def _is_local(module: ModuleType, roots: Sequence[str], installed: Sequence[str]) -> bool:
    """Whether its file is below one of *roots*, and not where modules are *installed*."""
    path = getattr(module, "__file__", None)
    if not path or module.__name__ == "__main__" or module.__name__.startswith("pypelinin."):
        return False
    if path.startswith(tuple(installed)):
        return False
    found = os.path.realpath(path)
    return found.startswith(tuple(roots)) and not found.startswith(tuple(installed))


def _project_roots() -> list[str]:
    script = getattr(sys.modules.get("__main__"), "__file__", None)
    places = [os.getcwd()] + ([os.path.dirname(os.path.abspath(script))] if script else [])
    return [os.path.join(os.path.realpath(place), "") for place in places]


@functools.cache
def _installed() -> tuple[str, ...]:
    """Where installed modules are; a virtual environment may lie inside of the project."""
    paths = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    paths.update(site.getsitepackages())
    paths.add(os.path.dirname(os.path.dirname(__file__)))
    real = {os.path.realpath(path) for path in paths if path}
    return tuple(os.path.join(path, "") for path in sorted(real))


def _name(function: object) -> str:
    return f"{getattr(function, '__qualname__', repr(function))}()"


def _captured(function: object) -> Iterator[tuple[str, object]]:
    """(how it is called, value) of what a function takes with it."""
    code = getattr(function, "__code__", None)
    if code is None:
        return
    cells = getattr(function, "__closure__", None) or ()
    for name, cell in zip(code.co_freevars, cells, strict=False):
        try:
            yield f"the variable {name!r} of the function around it", cell.cell_contents
        except ValueError:
            continue
    around = getattr(function, "__globals__", None) or {}
    for name in code.co_names:
        if name in around:
            yield f"the global variable {name!r}", around[name]
    for value in getattr(function, "__defaults__", None) or ():
        yield "a default argument", value


def _state(function: object) -> list[object] | None:
    """The function and all that it captures; None if some of that can change in itself."""
    found: list[object] = []
    seen: set[int] = set()
    stack = [function]
    while stack:
        value = stack.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        found.append(value)
        kind = type(value)
        if kind is FunctionType:
            stack += (captured for _, captured in _captured(value))
        elif type(value) is functools.partial:
            stack += (value.func, *value.args, *value.keywords.values())
        elif kind is tuple or kind is frozenset:
            stack.extend(cast("tuple[object, ...]", value))
        elif not isinstance(value, _CONSTANTS):
            return None
    return found


def _is_same(old: list[object], new: list[object]) -> bool:
    return len(old) == len(new) and all(map(operator.is_, old, new))


def _culprit(function: object) -> str:
    """Which of the captured values cannot be sent, and where the function stands."""
    import cloudpickle

    for name, value in _captured(function):
        try:
            cloudpickle.dumps(value)
        except Exception as error:
            code = function.__code__  # type: ignore[attr-defined]  # what captures has it
            return (
                f"it uses {name} ({type(value).__name__}) at {code.co_filename}:"
                f"{_line(code, name)}: {error}."
            )
    return ""


def _line(code: Any, name: str) -> int:
    """The line in which a function first uses a name."""
    import dis

    line: int = code.co_firstlineno
    for step in dis.get_instructions(code):
        starts = step.starts_line
        if starts is not None and not isinstance(starts, bool):
            line = starts
        else:  # Python 3.13 says it for each step
            line = getattr(step, "line_number", None) or line
        if isinstance(step.argval, str) and repr(step.argval) in name:
            return line
    return int(code.co_firstlineno)


def _largest(function: object) -> str:
    import cloudpickle

    sizes = {}
    for name, value in _captured(function):
        try:
            sizes[name] = len(cloudpickle.dumps(value))
        except (pickle.PicklingError, TypeError):
            continue
    if not sizes:
        return ""
    name = max(sizes, key=sizes.__getitem__)
    return f"The largest is {name}: {sizes[name]:,} bytes."
