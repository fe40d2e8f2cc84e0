"""What a function does, as digests: its code, what it closes over, its default arguments.

Two views of it: the byte code under this minor version of Python, and the source, for when the
version changes. Comments, docstrings, names and places count in neither of them.
"""

from __future__ import annotations

import ast
import builtins
import contextlib
import dis
import functools
import hashlib
import importlib.util
import inspect
import io
import linecache
import operator
import os
import sys
import sysconfig
import textwrap
import tokenize
import types
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from pypelinin.graph.fingerprint import DIGEST_BYTES, Tags
from pypelinin.runtime.hashers import encoded, hash_bytes, name_of, without_address

CODE_VIEW = "code:{}.{}".format(*sys.version_info)
SOURCE_VIEW = "source"

_code_digests: dict[int, tuple[types.CodeType, bytes]] = {}
_source_digests: dict[int, tuple[types.CodeType, bytes | None]] = {}
"""By the id of a code object, which they keep alive: closures made in a loop share one."""


def function_tags(function: Callable[..., Any], follow: bool = False) -> Tags:
    """The views of *function*, the most specific first.

    *follow*: the functions of the project that it calls count as well (see `followed`).
    Raises TypeError for what is not callable.
    """
    called, function = function, unwrapped(function)
    code = getattr(function, "__code__", None)
    if code is None:
        return (("name", hash_bytes(_named(function).encode())),)
    outer = _outer(function) + _attributes(called, function)
    helpers = [function_tags(helper) for helper in followed(function)] if follow else []
    tags = [(CODE_VIEW, _joined(code_digest(code), outer, [tags[0][1] for tags in helpers]))]
    source = source_digest(code)
    if source is not None:
        tags.append((SOURCE_VIEW, _joined(source, outer, [tags[-1][1] for tags in helpers])))
    return tuple(tags)


def unwrapped(function: Callable[..., Any]) -> Callable[..., Any]:
    """What has the code: of a method its function, of an object its `__call__`, of what a cache
    was put around (functools.cache) what is in it."""
    if isinstance(function, types.MethodType):
        return function.__func__
    if hasattr(function, "__code__") or isinstance(function, (type, functools.partial)):
        return function
    call: Any = getattr(type(function), "__call__", None)  # noqa: B004 - it is what is wanted
    if hasattr(call, "__code__"):
        return call  # type: ignore[no-any-return]  # it is a function
    inner = getattr(function, "__wrapped__", None)
    return unwrapped(inner) if callable(inner) else function


def _joined(own: bytes, outer: bytes, helpers: list[bytes]) -> bytes:
    if not outer and not helpers:
        return own
    state = hashlib.blake2b(own, digest_size=DIGEST_BYTES)
    state.update(outer)
    for helper in helpers:
        state.update(helper)
    return state.digest()


def _named(function: Any) -> str:
    """Of what has no byte code: a builtin, a class, a partial."""
    if isinstance(function, functools.partial):
        inner = function_tags(function.func)
        given = "".join(map(repr, [_value(v) for v in (*function.args, *sorted(
            function.keywords.items()))]))  # fmt: skip
        return f"partial {inner} {given}"
    if isinstance(function, type):
        parts = [f"{name}={_value(value)!r}" for name, value in sorted(vars(function).items())
                 if name not in _OF_CLASSES]  # fmt: skip
        return f"class {function.__qualname__} {parts}"
    if not callable(function):
        raise TypeError(f"{function!r} is no function, so there is nothing to follow.")
    module, name = getattr(function, "__module__", None), getattr(function, "__qualname__", None)
    return f"{module}.{name}" if name else name_of(type(function))


_OF_CLASSES = frozenset(
    "__dict__ __weakref__ __doc__ __module__ __qualname__ __firstlineno__ "
    "__static_attributes__".split()
)
"""Members of classes that say nothing of what they do."""


# --- what stands outside of its code ----------------------------------------------------------


def _outer(function: Any) -> bytes:
    """Its closure and its default arguments; empty if there are none."""
    cells, code = function.__closure__ or (), function.__code__
    parts: list[bytes] = []
    for name, cell in zip(code.co_freevars, cells, strict=True):
        try:
            value = cell.cell_contents
        except ValueError:  # not bound yet
            continue
        if name not in ("self", "__class__") and not isinstance(value, types.ModuleType):
            parts.append(f"\0{name}=".encode() + _value(value))
    for position, value in enumerate(function.__defaults__ or ()):
        parts.append(f"\0{position}=".encode() + _value(value))
    for name, value in (function.__kwdefaults__ or {}).items():
        parts.append(f"\0{name}:".encode() + _value(value))
    return b"".join(parts)


class Told(NamedTuple):
    """Bytes that stand for a variable."""

    content: bytes


translations: list[Callable[[Any], Any]] = []
"""What front-ends make of a variable before it is looked at: another value, or `Told`."""
_busy: list[Any] = []
"""What is being read: it may hold itself."""


def _attributes(called: Any, function: Any) -> bytes:
    """Of an object whose `__call__` *function* is; of a method they do not count."""
    if getattr(type(called), "__call__", None) is not function:  # noqa: B004 - as above
        return b""
    return b"\0self=" + _value(getattr(called, "__dict__", {}))


def _value(value: Any) -> bytes:
    """A variable of a closure, or a default: exactly if it has a lasting content, else by parts,
    and what has neither by its repr."""
    seen = value
    for translate in translations:
        seen = translate(seen)
        if isinstance(seen, Told):
            return seen.content
    if any(value is one for one in _busy):
        return b"itself"
    _busy.append(value)
    try:
        return _by_parts(seen)
    finally:
        _busy.pop()


def _by_parts(value: Any) -> bytes:
    code = getattr(unwrapped(value), "__code__", None) if callable(value) else None
    if isinstance(value, functools.partial) or isinstance(code, types.CodeType):
        own = _value(value.__self__) if isinstance(value, types.MethodType) else b""
        return function_tags(value)[0][1] + own
    try:
        return encoded(value)
    except (TypeError, RecursionError):
        parts = _parts(value)
    if parts is None:
        return without_address(repr(value)).encode("utf-8", "surrogatepass")
    sized = (len(part).to_bytes(8, "big") + part for part in parts)
    return b"".join([type(value).__qualname__.encode(), *sized])


def _parts(value: Any) -> list[bytes] | None:
    """Of a container, each of which may be a function, or have no lasting content."""
    if isinstance(value, Mapping):
        return sorted(_value(key) + b"=" + _value(item) for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return [_value(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted(map(_value, value))
    return None


# --- byte code --------------------------------------------------------------------------------


def code_digest(code: types.CodeType) -> bytes:
    """Of what it does under this version of Python: instructions, with constants and names."""
    known = _code_digests.get(id(code))
    if known is None:
        state = hashlib.blake2b(digest_size=DIGEST_BYTES)
        for part in _instructions(code):
            state.update(part.encode("utf-8", "surrogatepass"))
        known = _code_digests[id(code)] = (code, state.digest())
    return known[1]


_HAS_DOCSTRING = 0x4000000
"""A flag of Python from 3.13 on."""


def _instructions(code: types.CodeType) -> Iterator[str]:
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    flags = code.co_flags & ~_HAS_DOCSTRING
    yield f"{code.co_argcount},{code.co_posonlyargcount},{flags},{names},{code.co_freevars}"
    yield code.co_exceptiontable.hex()
    for one in _counting(code):
        yield f"\n{one.opname} {_argument(one)}"


def _counting(code: types.CodeType) -> Iterator[dis.Instruction]:
    """Of the body of a class without its name and docstring, and where it stands."""
    before: dis.Instruction | None = None
    for one in dis.get_instructions(code):
        if one.opname == "STORE_NAME" and one.argval in _OF_CLASSES:
            before = None  # what it would store
            continue
        if before is not None:
            yield before
        before = one
    if before is not None:
        yield before


def _argument(one: dis.Instruction) -> str:
    if isinstance(one.argval, types.CodeType):
        return code_digest(one.argval).hex()
    if isinstance(one.argval, frozenset):
        return f"frozenset{sorted(map(_constant, one.argval))}"
    if one.opcode in dis.hasconst:
        return _constant(one.argval)
    return f"{one.arg} {one.argval!r}" if one.argval != one.arg else f"{one.arg}"


def _constant(value: object) -> str:
    if isinstance(value, tuple):
        return f"({','.join(map(_constant, value))})"
    return f"{type(value).__name__}:{value!r}"


# --- source -----------------------------------------------------------------------------------


def source_digest(code: types.CodeType) -> bytes | None:
    """Of its source without comments, docstrings and its name; None if there is no source."""
    known = _source_digests.get(id(code))
    if known is None:
        text = source_of(code)
        found = None if text is None else hash_bytes(normalised(text).encode())
        known = _source_digests[id(code)] = (code, found)
    return known[1]


def source_of(code: types.CodeType) -> str | None:
    """The text of a function or lambda, None if its file does not have it any more."""
    if code.co_filename == "<string>":  # of exec: from Python 3.13 on that names what -c was given
        return None
    try:
        if code.co_name == "<lambda>":
            lines = linecache.getlines(code.co_filename)
            last = max((line for *_, line in code.co_lines() if line), default=code.co_firstlineno)
            return "".join(lines[code.co_firstlineno - 1 : last]) or None
        return inspect.getsource(code)
    except (OSError, TypeError, IndexError, SyntaxError, tokenize.TokenError):
        return None


def text_of_function(function: Callable[..., Any]) -> str:
    """What people see of a function: its source, and the variables that it brings along."""
    inner: Any = unwrapped(function)
    code = getattr(inner, "__code__", None)
    if code is None:
        return _named(inner) if isinstance(inner, type) else without_address(repr(inner))
    source = source_of(code)
    lines = [textwrap.dedent(source).rstrip() if source else f"{inner.__qualname__}: no source"]
    names = code.co_varnames[: code.co_argcount]
    defaults = inner.__defaults__ or ()
    outer = {**dict(zip(names[len(names) - len(defaults) :], defaults, strict=True)),
             **(inner.__kwdefaults__ or {})}  # fmt: skip
    lines += [f"# by default {name} = {_shown(value)}" for name, value in outer.items()]
    for name, cell in zip(code.co_freevars, inner.__closure__ or (), strict=True):
        with contextlib.suppress(ValueError):  # not bound yet
            lines.append(f"# outside {name} = {_shown(cell.cell_contents)}")
    return "\n".join(lines)


SHOWN_MAX = 2000


def _shown(value: object) -> str:
    try:
        return without_address(repr(value))[:SHOWN_MAX]
    except Exception as error:  # of somebody's class
        return f"a {type(value).__name__} whose repr fails: {error!r}"


def normalised(source: str) -> str:
    """The tokens of a function's source, as lines; not its name, comments and docstrings."""
    text = textwrap.dedent(source)
    skipped = _docstrings(text)
    lines: list[str] = []
    line: list[str] = []
    named = False
    try:
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type in _IGNORED or any(a <= token.start < b for a, b in skipped):
                continue
            if token.type == tokenize.NEWLINE:
                if any(map(str.strip, line)):
                    lines.append(" ".join(line))
                    line = []
            elif line == ["def"] and not named:
                named = True
                line.append("_")
            else:
                line.append(_INDENTATION.get(token.type, token.string))
    except (tokenize.TokenError, IndentationError, SyntaxError):  # the middle of an expression
        pass
    return "\n".join([*lines, " ".join(line)])


_IGNORED = (tokenize.COMMENT, tokenize.NL, tokenize.ENCODING, tokenize.ENDMARKER)
_INDENTATION = {tokenize.INDENT: "\t", tokenize.DEDENT: "\v"}
_Place = tuple[int, int]


def _docstrings(text: str) -> list[tuple[_Place, _Place]]:
    """Where each docstring begins and ends: (line, column)."""
    try:
        tree = ast.parse(text)
    except SyntaxError:
        return []
    lines = text.splitlines()

    def place(line: int, column_bytes: int) -> _Place:
        before = lines[line - 1].encode()[:column_bytes]
        return line, len(before.decode(errors="replace"))

    found = []
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            first = node.body[0]
            value = first.value if isinstance(first, ast.Expr) else None
            is_text = isinstance(value, ast.Constant) and isinstance(value.value, str)
            if is_text and len(node.body) > 1:
                begin = place(first.lineno, first.col_offset)
                end = place(first.end_lineno or first.lineno, first.end_col_offset or 0)
                found.append((begin, end))
    return found


# --- what it calls ----------------------------------------------------------------------------


def followed(function: Callable[..., Any]) -> list[Callable[..., Any]]:
    """The functions of the project that *function* calls, and those that these call, by name.

    Of the project: their file is neither in the standard library nor among installed packages.
    Found are global names and attributes of modules; what is called by other ways is not.
    """
    found: list[tuple[str, Callable[..., Any]]] = []
    stack = [unwrapped(function)]
    seen = {id(stack[0])}
    while stack:
        one: Any = stack.pop()
        for helper in _called(one):
            if id(helper) not in seen and is_of_project(helper):
                seen.add(id(helper))
                found.append((f"{helper.__module__}.{helper.__qualname__}", helper))
                stack.append(helper)
    found.sort(key=operator.itemgetter(0))  # several lambdas have one name
    return [helper for _, helper in found]


def _called(function: Any) -> Iterator[Any]:
    """Functions that its code names."""
    for code in codes_of(function.__code__):
        for name in code.co_names:
            value = function.__globals__.get(name)
            if isinstance(value, types.FunctionType):
                yield value
            elif isinstance(value, type):
                yield from (v for v in vars(value).values() if isinstance(v, types.FunctionType))
            elif isinstance(value, types.ModuleType):
                inner = (getattr(value, other, None) for other in code.co_names)
                yield from (v for v in inner if isinstance(v, types.FunctionType))


def codes_of(code: types.CodeType) -> Iterator[types.CodeType]:
    """A code object and all that are nested in it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from codes_of(constant)


_READS = ("LOAD_GLOBAL", "LOAD_NAME")
_global_names: dict[int, tuple[types.CodeType, tuple[str, ...]]] = {}
"""By the id of a code object, which it keeps alive."""


def names_read(code: types.CodeType) -> list[str]:
    """The global names that *code* reads, that of nested functions too, in order."""
    names = (
        str(one.argval)
        for inner in codes_of(code)
        for one in _counting(inner)
        if one.opname in _READS
    )
    return list(dict.fromkeys(names))


def global_names(code: types.CodeType) -> tuple[str, ...]:
    """The same without names of builtins; looked at once."""
    known = _global_names.get(id(code))
    if known is None:
        names = tuple(name for name in names_read(code) if not hasattr(builtins, name))
        known = _global_names[id(code)] = (code, names)
    return known[1]


_INSTALLED = frozenset({"site-packages", "dist-packages"})


@functools.cache
def _library_places() -> tuple[str, ...]:
    names = ("stdlib", "platstdlib", "purelib", "platlib")
    places = {os.path.realpath(sysconfig.get_path(name)) + os.sep for name in names}
    own = importlib.util.find_spec("pypelinin")
    if own is not None and own.submodule_search_locations:
        places |= {os.path.realpath(place) + os.sep for place in own.submodule_search_locations}
    return tuple(sorted(places))


@functools.lru_cache(4096)
def is_of_library(path: str) -> bool:
    """Whether a file is in the standard library, or among installed packages: those of this
    Python, of its user, or of the system."""
    real = os.path.realpath(path)
    return real.startswith(_library_places()) or not _INSTALLED.isdisjoint(real.split(os.sep))


def is_of_project(function: Any) -> bool:
    path = function.__code__.co_filename
    return os.path.exists(path) and not is_of_library(path)


__all__ = [
    "CODE_VIEW", "SOURCE_VIEW", "Told", "code_digest", "codes_of", "followed", "function_tags",
    "global_names", "is_of_library", "is_of_project", "names_read", "normalised", "source_of",
    "text_of_function", "translations", "unwrapped",
]  # fmt: skip
