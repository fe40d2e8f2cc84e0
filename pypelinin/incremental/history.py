"""What is remembered of earlier runs: a SQLite file with one writer.

Of each job's last success what it was made from (*records*), what the files were like when they
were last read (*files*), the texts behind digests, so that a change can be shown (*texts*), why
jobs ran (*reasons*), and records of pypipegraph2 that wait for their job (*imported*). A record is
gone, durably, before its job is handed out, and comes back with its success: a crash can only
cost a run too many.
"""

from __future__ import annotations

import contextlib
import fcntl
import filecmp
import json
import os
import shutil
import socket
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple
from urllib.parse import quote

import msgpack

from pypelinin.graph.declared import Record
from pypelinin.graph.fingerprint import Tags
from pypelinin.incremental.exceptions import HistoryLoadingFailed, ProjectLocked
from pypelinin.incremental.hashers import hash_file
from pypelinin.incremental.records import Records, row_of

VERSION = 1
ROOM = "Make room, or give new() a directory that can be written to."
_TABLES = """
create table if not exists meta(key text primary key, value text) without rowid;
create table if not exists records(job text primary key, stamp blob, made blob, body blob)
    without rowid;
create table if not exists files(path text primary key, size integer, changed_ns integer,
                                 digest blob) without rowid;
create table if not exists texts(digest blob primary key, text text) without rowid;
create table if not exists handed(job text primary key, api text, run text, number integer,
                                  body blob) without rowid;
create table if not exists reasons(key text primary key, body blob) without rowid;
create table if not exists imported(key text primary key, body blob) without rowid;
"""


class Stored(NamedTuple):
    """A record with nothing but names of outputs: who made them is not kept."""

    spec: Tags
    outputs: dict[str, Tags]
    inputs: dict[str, Tags]
    made_by: Mapping[str, str] = MappingProxyType({})
    """Who made inputs that are not called like their job."""


class History:
    """Raises ProjectLocked if another process has it open, HistoryLoadingFailed if it cannot be
    read (a copy is kept then).

    *read_only*: no lock is taken and nothing is ever written; what is not there is empty.
    """

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self.path = path
        self.read_only = read_only
        self._lock = None if read_only else self._locked()
        self.is_new = not path.exists()
        """There was no history yet."""
        self.importer: Any = None
        """Makes records of those of pypipegraph2, if some were taken over."""
        self._db: sqlite3.Connection | None = None
        try:
            self._open()
        except BaseException:
            self.close()
            raise
        self._handed: dict[str, Handed | None] = {}
        """What is new in that table; None: the job has ended."""
        self._texts: dict[bytes, str] = {}

    def _locked(self) -> Any:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            return _locked(self.path.with_suffix(".lock"))
        except OSError as error:
            raise self._failed(f"cannot be kept: {error}.", ROOM) from error

    def _failed(self, what: str, remedy: str) -> HistoryLoadingFailed:
        return HistoryLoadingFailed(f"The history {self.path} {what}", remedy=remedy)

    def _open(self) -> None:
        try:
            self._db = db = self._read_only() if self.read_only else self._connected()
            self._check_version()
            if not self.read_only:
                db.execute("pragma journal_mode=wal")
                db.execute("pragma synchronous=full")
                db.executescript(_TABLES)
            self.packed = Records(db)
            self.files = Files(_files(db))
            self.meta = Rows(db, "meta")
            self.reasons = Rows(db, "reasons")
            """Why jobs ran when they last ran; see `reasons`."""
            self.imported = Rows(db, "imported")
            """Records of pypipegraph2 whose jobs have not been seen yet; see `importing`."""
        except (sqlite3.DatabaseError, OSError) as error:
            raise self._unreadable(error) from error

    def _unreadable(self, error: Exception) -> HistoryLoadingFailed:
        if self.is_new:
            return self._failed(f"cannot be kept: {error}.", ROOM)
        copy = None if self.read_only else self._keep_copy()
        kept = f" A copy is at {copy}." if copy else ""
        return self._failed(
            f"cannot be read: {error}.{kept} Nothing was rebuilt.",
            f"Remove {self.path} to build everything anew.",
        )

    def _connected(self) -> sqlite3.Connection:
        if self.is_new:
            self._begin()
        elif not self.path.stat().st_size:
            raise OSError("it is empty")
        return sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)

    def _begin(self) -> None:
        """An empty history appears whole: a file without content was damaged by others."""
        unfinished = self.path.with_suffix(".begun")
        unfinished.unlink(missing_ok=True)
        with contextlib.closing(sqlite3.connect(unfinished)) as db:
            db.executescript(f"{_TABLES} pragma user_version={VERSION};")
        os.replace(unfinished, self.path)

    def _read_only(self) -> sqlite3.Connection:
        if self.is_new:
            db = sqlite3.connect(":memory:")
            db.executescript(_TABLES)
            return db
        is_at_rest = not self.path.with_name(f"{self.path.name}-wal").exists()
        how = "mode=ro&immutable=1" if is_at_rest else "mode=ro"  # which leaves no files beside it
        return sqlite3.connect(f"file:{quote(os.path.abspath(self.path))}?{how}", uri=True)

    def _check_version(self) -> None:
        assert self._db is not None
        found = self._db.execute("pragma user_version").fetchone()[0]
        if found > VERSION:
            raise self._failed(
                f"was written by a newer version ({found}, this one reads {VERSION}). It was not "
                "touched.",
                "Update pypelinin, or give new() another directory.",
            )

    def _keep_copy(self) -> Path | None:
        for old in self.path.parent.glob(f"{self.path.name}.unreadable-*"):
            if filecmp.cmp(old, self.path, shallow=False):
                return old
        copy = self.path.with_name(f"{self.path.name}.unreadable-{time.strftime('%Y%m%d-%H%M%S')}")
        try:
            shutil.copy2(self.path, copy)
        except OSError:
            copy.unlink(missing_ok=True)
            return None
        return copy

    # --- records -------------------------------------------------------------------------------

    def record(self, job: str, producers: Mapping[str, str]) -> Record | None:
        """What *job*'s last success was made from; *producers* says who makes which output now."""
        stored = self.stored(job)
        if stored is None:
            return None
        named = {  # who is to be made in this run is as it was
            (producers.get(name) or stored.made_by.get(name, name), name): tags
            for name, tags in stored.inputs.items()
        }
        return Record(stored.spec, stored.outputs, named)

    def stored(self, job: str) -> Stored | None:
        """The record of a job by names of outputs. Raises HistoryLoadingFailed."""
        packed = self.packed.get(job)
        if packed is None:
            return None
        try:
            return Stored(*msgpack.unpackb(packed, use_list=False))
        except Exception as error:  # whatever damaged bytes lead to
            raise self._failed(
                f"has a record of {job!r} that cannot be read: {error!r}.",
                f"`pypelinin history forget {job!r}` lets it be built anew.",
            ) from error

    def forget(self, jobs: Iterable[str]) -> None:
        """Before these are handed out; `commit` makes it durable."""
        for job in jobs:
            self.packed.drop(job)

    def remember(self, job: str, record: Record) -> None:
        self.packed.put(job, row_of(record))

    def hand_out(self, handed: Iterable[Handed]) -> None:
        """These go to a cluster; when `commit` has made it durable."""
        self._handed.update((one.job, one) for one in handed)

    def came_back(self, job: str) -> None:
        """It has ended, and this process knows how."""
        self._handed[job] = None

    def out(self) -> list[Handed]:
        """What is with a cluster, and was handed out by a process that has died since."""
        assert self._db is not None
        rows = self._db.execute("select job, api, run, number, body from handed")
        return [Handed(*row[:4], *msgpack.unpackb(row[4], use_list=False)) for row in rows]

    def text(self, digest: bytes, text: str) -> None:
        """What stands behind a digest."""
        self._texts[digest] = text

    def text_of(self, digest: bytes) -> str | None:
        if digest in self._texts or self._db is None:
            return self._texts.get(digest)
        found = self._db.execute("select text from texts where digest=?", (digest,)).fetchone()
        return None if found is None else str(found[0])

    @property
    def is_dirty(self) -> bool:
        rows = (self.meta.changed, self.reasons.changed, self.imported.changed)
        new = (self.packed.changed, self.files.changed, self._texts, self._handed)
        return any(rows) or any(new)

    def commit(self) -> None:
        """All of it is durable when this returns. Raises OSError if the disk does not take it."""
        if self.read_only or self._db is None or not self.is_dirty:
            return
        tables = (self.meta, self.reasons, self.imported)
        try:
            self._db.execute("begin immediate")
            self.packed.write()
            self._db.executemany("insert or replace into files values(?,?,?,?)", self.files.rows())
            self._db.executemany("insert or ignore into texts values(?,?)", self._texts.items())
            gone = [(job,) for job, handed in self._handed.items() if handed is None]
            self._db.executemany("delete from handed where job=?", gone)
            new = [one.row for one in self._handed.values() if one is not None]
            self._db.executemany("insert or replace into handed values(?,?,?,?,?)", new)
            for table in tables:
                table.write()
            self._db.execute("commit")
        except BaseException as error:
            with contextlib.suppress(sqlite3.Error):
                self._db.execute("rollback")
            if not isinstance(error, sqlite3.Error):
                raise
            raise OSError(f"The history {self.path} cannot be written: {error}.") from error
        self.packed.changed.clear()
        self._texts.clear()
        self._handed.clear()
        self.files.changed.clear()
        for table in tables:
            table.changed.clear()

    def close(self) -> None:
        if self._db is not None:
            with contextlib.suppress(sqlite3.Error):
                self._db.close()
        _let_go(self._lock)


class Rows:
    """A table of bodies by their key; changes are written with the next commit."""

    def __init__(self, db: sqlite3.Connection, name: str) -> None:
        self._db = db
        self._name = name
        self.changed: dict[str, bytes | str | None] = {}
        """What is new; None: the row goes."""
        self._has_rows = db.execute(f"select 1 from {name} limit 1").fetchone() is not None

    def get(self, key: str) -> Any:
        """The body, or None."""
        if key in self.changed or not self._has_rows:
            return self.changed.get(key)
        row = self._db.execute(f"select * from {self._name} where key=?", (key,))
        found = row.fetchone()
        return None if found is None else found[1]

    def put(self, key: str, body: bytes | str) -> None:
        self.changed[key] = body

    def drop(self, key: str) -> None:
        self.changed[key] = None

    def keys(self) -> list[str]:
        """Of all rows, in order."""
        found = dict.fromkeys(key for (key,) in self._db.execute(
            f"select key from {self._name}"))  # fmt: skip
        for key, body in self.changed.items():
            found.pop(key, None)
            if body is not None:
                found[key] = None
        return sorted(found)

    @property
    def is_empty(self) -> bool:
        return not self._has_rows and not any(body is not None for body in self.changed.values())

    def write(self) -> None:
        gone = [(key,) for key, body in self.changed.items() if body is None]
        new = [(key, body) for key, body in self.changed.items() if body is not None]
        self._db.executemany(f"delete from {self._name} where key=?", gone)
        self._db.executemany(f"insert or replace into {self._name} values(?,?)", new)
        self._has_rows = self._has_rows or bool(new)


class Handed(NamedTuple):
    """A job that is with a cluster: as job *number* of *run* there, and what it is made from."""

    job: str
    api: str
    run: str
    number: int
    spec: Tags
    outputs: tuple[str, ...]
    inputs: dict[str, Tags]

    @property
    def row(self) -> tuple[str, str, str, int, bytes]:
        body = msgpack.packb((self.spec, self.outputs, self.inputs))
        return (self.job, self.api, self.run, self.number, body)


class Files:
    """What files were like when they were last read, so that most need not be read again."""

    def __init__(self, known: dict[str, tuple[int, int, bytes]]) -> None:
        self.known = known
        self.changed: dict[str, None] = {}
        self.before: dict[str, tuple[int, int, bytes]] = {}
        """What is known no more, as the content is another one."""
        self.altered: dict[str, tuple[int, int, bytes]] = {}
        """Outputs that others changed, as they were found."""

    def learn(self, path: str, size: int, changed_ns: int, digest: bytes) -> None:
        old = self.known.get(path)
        if old is not None and old[2] != digest:
            self.before[path] = old
        self.known[path] = (size, changed_ns, digest)
        self.changed[path] = None

    def digest(self, path: str) -> bytes:
        """Of its content now; it is read only if its size or time is another. Raises OSError."""
        stat = os.stat(path)
        known = self._known_at(path, stat)
        if known is None:
            known = hash_file(path)
            self.note(path, stat, known)
        return known

    def unread(self, name: str, path: str) -> bytes | None:
        """The digest under *name*, if *path* is still as it was then. Raises OSError."""
        return self._known_at(name, os.stat(path))

    def note(self, name: str, stat: os.stat_result, digest: bytes) -> None:
        """A digest of a file that is like *stat*."""
        if self._known_at(name, stat) != digest:
            self.learn(name, stat.st_size, stat.st_mtime_ns, digest)

    def _known_at(self, name: str, stat: os.stat_result) -> bytes | None:
        known = self.known.get(name)
        if known is None or known[:2] != (stat.st_size, stat.st_mtime_ns):
            return None
        return known[2]

    def rows(self) -> Iterator[tuple[str, int, int, bytes]]:
        for path in self.changed:
            yield (path, *self.known[path])


def _files(db: sqlite3.Connection) -> dict[str, tuple[int, int, bytes]]:
    rows = db.execute("select path, size, changed_ns, digest from files")
    return {path: (size, changed, digest) for path, size, changed, digest in rows}


def _locked(path: Path) -> Any:
    """The open lock file; it is ours while it is open."""
    file = open(path, "a+")  # noqa: SIM115 - it stays open
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.seek(0)
        holder = _holder(file.read())
        file.close()
        raise ProjectLocked(
            f"Another run of this project is under way: {holder} holds {path}.",
            remedy="Wait for it, or give new() another directory.",
        ) from None
    file.truncate(0)
    file.write(json.dumps({"pid": os.getpid(), "host": socket.gethostname(),
                           "since": time.strftime("%Y-%m-%d %H:%M:%S")}))  # fmt: skip
    file.flush()
    return file


def _let_go(lock: Any) -> None:
    if lock is not None:
        fcntl.flock(lock, fcntl.LOCK_UN)  # also if a process that was forked still has it open
        lock.close()


def _holder(text: str) -> str:
    try:
        found = json.loads(text)
        told = f"process {found['pid']} on {found['host']} (since {found['since']})"
        if found["host"] == socket.gethostname() and not _is_there(int(found["pid"])):
            return f"something that {told} left behind, which has ended,"
        return told
    except (ValueError, KeyError, TypeError):
        return "an unknown process"


def _is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # of somebody else
        pass
    return True


__all__ = ["Files", "Handed", "History", "Rows", "Stored", "Tags"]
