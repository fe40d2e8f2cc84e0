"""A store in a directory: one file a key, for one machine or a shared file system.

    DIRECTORY/pipelines/<pipeline>/<key>.json         pipeline, key, job, fence and value as JSON
    DIRECTORY/pipelines/<pipeline>/.jobs/<job>.fence  the job's highest fence; locked by who saves
    DIRECTORY/monitoring.jsonl                        one line a report

Names are quoted as in a URL, long ones cut and hashed (the real name is in the file), so any
name is safe. A key's file is written beside its place, synced and renamed: a reader sees the old
or the new value, never a part, and savers of different jobs need no lock against each other. The
lock is per job because only attempts of one job compete: a frozen attempt holds up nobody else.
What a killed process leaves behind is a hidden `.tmp` file, which nothing reads.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import time
import uuid
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from pypelinin.store import StoreUnavailable
from pypelinin.stores.encoding import decode, encode, is_shortened, shortened
from pypelinin.stores.keyed import KeyedStore

FILE_NAME_LENGTH_MAX = 180
"""Characters of a quoted name before it is cut; file systems take 255 with the suffix."""

MONITORING_LINES_READ = 1000
_EMPTY_NAME = "%empty"  # quote() never writes it: after its % stand two hexadecimal digits
_SUFFIX = ".json"
_LOCK_PAUSE_MIN_S = 0.001
_LOCK_PAUSE_MAX_S = 0.05


class FileStore(KeyedStore):
    """Results as JSON files under *directory*, which is created if it is missing.

    *monitoring_filename*: where figures go, relative to *directory* or absolute. A path that is
    relative means the working directory of the moment the store is made. *lock_timeout_s*: how
    long a save waits for another attempt of its job before it raises `StoreUnavailable`.

    Several hosts may share the directory if their file system has `flock` across hosts (NFS 4
    does); the file system must tell upper case from lower.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        *,
        monitoring_filename: str | os.PathLike[str] = "monitoring.jsonl",
        lock_timeout_s: float = 30.0,
    ) -> None:
        # A job may run in another working directory than the slot started in.
        self.directory = Path(directory).expanduser().absolute()
        self.monitoring_path = self.directory / Path(monitoring_filename).expanduser()
        self._lock_timeout_s = lock_timeout_s
        self._pipelines = self.directory / "pipelines"
        self._pipelines.mkdir(parents=True, exist_ok=True)

    def pipelines(self) -> list[str]:
        names = (_pipeline_name(folder) for folder in self._pipelines.iterdir())
        return sorted(name for name in names if name is not None)

    def path(self, pipeline: str, key: str) -> Path:
        """Where the value of *key* is, or would be, kept."""
        return self._folder(pipeline) / f"{_file_name(key)}{_SUFFIX}"

    def save_monitoring(self, data: dict[str, Any]) -> None:
        line = f"{encode('monitoring', data)}\n".encode()
        with self._locked(self.monitoring_path, os.O_APPEND) as descriptor:
            _append(descriptor, self.monitoring_path, line)

    def load_monitoring(self) -> list[dict[str, Any]]:
        """The newest thousand reports, oldest first; one that is being written is not there yet."""
        try:
            with self.monitoring_path.open("rb") as lines:
                newest = deque(lines, maxlen=MONITORING_LINES_READ)
                return [decode(line) for line in newest if line.endswith(b"\n")]
        except FileNotFoundError:
            return []

    def _folder(self, pipeline: str) -> Path:
        return self._pipelines / _file_name(pipeline)

    def _write(self, pipeline: str, job: str, fence: int, entries: Mapping[str, str]) -> None:
        folder = self._folder(pipeline)
        fences = folder / ".jobs"
        fences.mkdir(parents=True, exist_ok=True)
        with self._locked(fences / f"{_file_name(job)}.fence", 0) as descriptor:
            if fence < _read_fence(descriptor, fence):
                return
            # Before the values: from here on no older attempt can put its own beside them.
            os.pwrite(descriptor, b"%020d\n" % fence, 0)
            for key, text in entries.items():
                head = {"pipeline": pipeline, "key": key, "job": job, "fence": fence}
                _replace(self.path(pipeline, key), f'{json.dumps(head)[:-1]}, "value": {text}}}\n')
            if entries:
                _sync_directory(folder)
                _sync_directory(self._pipelines)

    def _read(self, pipeline: str, keys: Iterable[str] | None) -> dict[str, Any]:
        if keys is None:
            paths = list(_key_files(self._folder(pipeline)))
        else:
            paths = [self.path(pipeline, key) for key in keys]
        records = (_read_record(path) for path in paths)
        return {record["key"]: record["value"] for record in records if record is not None}

    def _keys(self, pipeline: str) -> list[str]:
        keys = (_key_name(path) for path in _key_files(self._folder(pipeline)))
        return [key for key in keys if key is not None]

    @contextmanager
    def _locked(self, path: Path, flags: int) -> Iterator[int]:
        """Open *path* for writing and hold its lock; yields the descriptor."""
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | flags, 0o666)
        try:
            self._lock(descriptor, path)
            yield descriptor
        finally:
            os.close(descriptor)

    def _lock(self, descriptor: int, path: Path) -> None:
        # Not a blocking flock: its holder may be frozen, and then nobody would learn why.
        deadline = time.monotonic() + self._lock_timeout_s
        pause_s = _LOCK_PAUSE_MIN_S
        while True:
            try:
                return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise StoreUnavailable(
                        f"{path} is locked by another process for more than "
                        f"{self._lock_timeout_s:g} s; nothing was saved.",
                        remedy="Look for a stopped process of an older attempt of this job "
                        f"(fuser {path}) and end it.",
                    ) from None
            except OSError as error:
                raise StoreUnavailable(
                    f"{path} cannot be locked: {error.strerror}; nothing was saved.",
                    remedy="Keep results on a file system that has flock.",
                ) from error
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, _LOCK_PAUSE_MAX_S)


def _file_name(name: str) -> str:
    """*name* as a part of a path: never empty, hidden, `.`, `..` or too long."""
    quoted = quote(name, safe="")
    if quoted.startswith("."):
        quoted = "%2E" + quoted[1:]
    return shortened(quoted or _EMPTY_NAME, FILE_NAME_LENGTH_MAX)


def _name(file_name: str) -> str:
    """The reverse of `_file_name` for a name that was not shortened."""
    return "" if file_name == _EMPTY_NAME else unquote(file_name)


def _key_files(folder: Path) -> Iterator[Path]:
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.endswith(_SUFFIX) and not entry.name.startswith("."):
                    yield folder / entry.name
    except (FileNotFoundError, NotADirectoryError):  # not saved yet; somebody else's file
        return


def _key_name(path: Path) -> str | None:
    file_name = path.name.removesuffix(_SUFFIX)
    if not is_shortened(file_name):
        return _name(file_name)
    record = _read_record(path)
    return None if record is None else record["key"]


def _pipeline_name(folder: Path) -> str | None:
    """The pipeline kept in *folder*, or None if no key of it is."""
    first = next(_key_files(folder), None)
    if first is None:
        return None
    if not is_shortened(folder.name):
        return _name(folder.name)
    record = _read_record(first)
    return None if record is None else record["pipeline"]


def _read_record(path: Path) -> dict[str, Any] | None:
    """The content of a key's file, or None if there is none."""
    try:
        record = decode(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise ValueError(f"{path} was changed by somebody else: {error}") from error
    if not isinstance(record, dict) or not record.keys() >= {"pipeline", "key", "value"}:
        raise ValueError(f"{path} was changed by somebody else: not a record of a FileStore")
    return record


def _read_fence(descriptor: int, default: int) -> int:
    # Unreadable only after the host lost power in the first save: no attempt survived that.
    try:
        return int(os.pread(descriptor, 64, 0))
    except ValueError:
        return default


def _replace(path: Path, text: str) -> None:
    """Put *text* at *path* at once and durably, but for the directory's own sync."""
    temporary = path.parent / f".{uuid.uuid4().hex}.tmp"
    try:
        with temporary.open("xb") as file:
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(path)  # a full disk says so without saying where
        raise


def _append(descriptor: int, path: Path, line: bytes) -> None:
    """Write *line* whole or not at all; the caller holds the lock."""
    length = os.fstat(descriptor).st_size
    if os.write(descriptor, line) != len(line):
        os.ftruncate(descriptor, length)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
