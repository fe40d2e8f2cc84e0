"""Results as files: a pickle in gzip, which `joblib.load` reads as well.

They are written beside their place and moved there whole, so what is there is complete. Of the
files of the original, which joblib wrote, those without arrays are the same; the others need
joblib to be read.
"""

from __future__ import annotations

import contextlib
import gzip
import os
import pickle
import stat
import threading
import zlib
from typing import Any

from pypelinin.errors import NotPicklable
from pypelinin.tasks.exceptions import ResultDamaged, ResultMissing
from pypelinin.tasks.inside import classes

RESULT = "result.dump.gz"
PARAMS = "params.yaml"
OLD = f"{RESULT}.old"
"""Where a result is until the run is begun that makes it again."""
HANDED_BYTES_MAX = 64 * 1024
"""Pickles up to this size are handed on with the outcome; of others only the file is named."""
LEVEL = 1
READ_BYTES = 1024 * 1024
TINY_BYTES = 512
"""What is not larger is not worth compressing."""
GZIP = 16 + zlib.MAX_WBITS
_READ_WRONG = (
    EOFError, zlib.error, gzip.BadGzipFile, pickle.UnpicklingError, ValueError, IndexError,
)  # fmt: skip
_REMEDY = "Delete it, or run its task with reload=True."


class _Gzip:
    """A file to pickle into: compresses, and keeps what was written while it is little."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._zip: Any = None
        self._kept: list[bytes] = []
        self._size = 0

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B") if not isinstance(data, bytes) else data
        self._size += len(view)
        if self._size <= HANDED_BYTES_MAX:
            self._kept.append(bytes(view))
            return len(view)
        if self._zip is None:
            self._begin(LEVEL)
        self._put(self._zip.compress(view))
        return len(view)

    def _begin(self, level: int) -> None:
        self._zip = zlib.compressobj(level, zlib.DEFLATED, GZIP)
        for data in self._kept:
            self._put(self._zip.compress(data))
        self._kept.clear()

    def _put(self, data: bytes) -> None:
        while data:
            data = data[os.write(self._fd, data) :]

    def end(self) -> bytes | None:
        """What was written, if that is little."""
        small = b"".join(self._kept) if self._size <= HANDED_BYTES_MAX else None
        if self._zip is None:
            self._begin(LEVEL if self._size > TINY_BYTES else 0)
        self._put(self._zip.flush())
        return small


def store(path: str, value: object, what: str) -> bytes | None:
    """Write *value*, of a task called *what*; its pickle if that is small enough to hand on.

    Raises NotPicklable, OSError.
    """
    temporary = _beside(path)
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        try:
            file = _Gzip(fd)
            try:
                classes.pickler()(file, protocol=5).dump(value)
            except OSError:
                raise
            except Exception as error:
                raise NotPicklable(
                    f"The result of {what} cannot be stored: {type(error).__name__}: {error}.",
                    remedy="Return what it is made from.",
                ) from error
            small = file.end()
        finally:
            os.close(fd)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    return small


def is_there(path: str) -> bool:
    """Whether there is a result; an empty file, as a lost power leaves, is none."""
    try:
        found = os.stat(path)
    except OSError:
        return False
    return stat.S_ISREG(found.st_mode) and found.st_size > 0


def set_aside(folder: str) -> bool:
    """Take the result away from there, and remove what somebody was killed at while he wrote.

    Gives whether there was one. Raises OSError: what stays would pass for what is made now.
    """
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return False
    for name in names:
        if name.startswith(f"{RESULT}."):
            os.unlink(os.path.join(folder, name))
    if RESULT not in names:
        return False
    os.rename(os.path.join(folder, RESULT), os.path.join(folder, OLD))
    return True


def put_back(folder: str) -> None:
    """What was set aside there."""
    with contextlib.suppress(OSError):
        os.rename(os.path.join(folder, OLD), os.path.join(folder, RESULT))


def drop(folder: str) -> None:
    """What was set aside there is not needed any more."""
    with contextlib.suppress(OSError):
        os.unlink(os.path.join(folder, OLD))


def write_text(path: str, text: str) -> None:
    """The same for text. Raises OSError."""
    temporary = _beside(path)
    with open(temporary, "x", encoding="utf-8", errors="surrogatepass") as file:
        file.write(text)
    os.replace(temporary, path)


def _beside(path: str) -> str:
    return f"{path}.{os.uname().nodename}.{os.getpid()}.{threading.get_ident()}"


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if module.startswith("joblib.numpy_pickle"):
            raise _IsJoblibs
        return super().find_class(module, name)


class _IsJoblibs(Exception):
    """There are arrays in it, in joblib's own format."""


def load(path: str) -> Any:
    """The result in a file.

    Raises ResultMissing, ResultDamaged, ModuleNotFoundError for the extra "joblib", and what the
    classes of its values raise.
    """
    try:
        with gzip.open(path) as file:
            found = _Unpickler(file).load()
            if file.read(1):  # to its end: there stands the checksum
                raise ValueError("there is more in it than one value")
            return found
    except FileNotFoundError:
        raise ResultMissing(
            f"There is no result {path}.",
            remedy="The task did not run, or failed, or its result was deleted: run it again.",
        ) from None
    except _IsJoblibs:
        return _load_with_joblib(path)
    except _READ_WRONG as error:
        raise ResultDamaged(
            f"The result {path} cannot be read: {type(error).__name__}: {error}.",
            remedy=_REMEDY,
        ) from error
    except Exception as error:  # of a class of its values, or of bytes that mean nothing
        _check_whole(path, error)
        raise


def _check_whole(path: str, error: Exception) -> None:
    """Raises ResultDamaged if its checksum is wrong, so that *error* is no other's fault."""
    try:
        with gzip.open(path) as file:
            while file.read(READ_BYTES):
                pass
    except _READ_WRONG:
        raise ResultDamaged(
            f"The result {path} cannot be read: {type(error).__name__}, as its bytes are damaged.",
            remedy=_REMEDY,
        ) from error


def _load_with_joblib(path: str) -> Any:
    try:
        import joblib
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            f"{path} was written by joblib, which is not installed: "
            "pip install 'pypelinin[joblib]'",
            name="joblib",
        ) from None
    return joblib.load(path)


__all__ = [
    "HANDED_BYTES_MAX", "PARAMS", "RESULT", "drop", "is_there", "load", "put_back", "set_aside",
    "store", "write_text",
]  # fmt: skip
