"""The Router's journal: an SQLite file that one writer appends rows to.

Rows are committed in groups and in order, so a durable row implies all before it: on a
thread of its own, or right here if somebody waits and the disk is quick (ADR 8). A group is
one row of the table; its CRC covers the one before: a flipped bit or a hole is noticed when
the journal is read, never served. A side file holds the head's number and CRC; it is written
after each commit, so a head beyond the database's means that SQLite lost commits (a damaged
WAL is dropped silently). Opening takes an flock on the directory. Rows that images stand for
are dropped (see `cluster.images`). A full disk is waited for, on a reserve (see `reserve`).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
import struct
import threading
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType

from pypelinin.cluster.events import Compact, KeepImage, Write
from pypelinin.errors import ClusterError, JournalDamaged, Refused, VersionMismatch
from pypelinin.runtime.reserve import LOOK_S, Reserve, is_full
from pypelinin.wire.codec import pack_plain, pack_record, unpack_plain
from pypelinin.wire.rows import pack_row

FORMAT = 1
GROUP_S = 0.010
"""How long a row nobody waits for may wait for others to share its commit."""
QUICK_S = 0.001
"""Commits that usually take no longer than this are not worth another thread's wake-up ..."""
QUICK_ROWS_MAX = 200
"""... if so few rows wait that packing them is quick, too."""
SYNCHRONOUS = {"full": "FULL", "normal": "NORMAL"}
GROUP_ROWS_MAX = 10_000
WAL_BYTES = 4 * 1024 * 1024
"""SQLite checkpoints every 1,000 pages of 4 KiB, so the WAL stays about this long."""
_HEAD = struct.Struct("<QI")
"""The newest row and its CRC."""
_BASE = struct.Struct("<QII")
"""The row that the images stand for, its CRC, and the CRC of all images' CRCs."""

_UNREADABLE = (sqlite3.Error, UnicodeError, TypeError, ValueError, OverflowError)
"""What reading a damaged database can raise."""
_PLACE = (
    sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PERM, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_NOMEM,
)  # fmt: skip
"""Codes of what is wrong with the place, not with the bytes."""


def _crc(lsn: int, body: bytes, before: int) -> int:
    return zlib.crc32(body, zlib.crc32(lsn.to_bytes(8, "little"), before))


def _extend_wal(db: sqlite3.Connection, path: Path) -> None:
    """Give the WAL its full length once: commits that overwrite cost half of those that grow."""
    wal = path.with_name(path.name + "-wal")
    if wal.exists() and wal.stat().st_size >= WAL_BYTES:
        return
    db.execute("BEGIN")
    db.execute("DROP TABLE IF EXISTS pad")  # of a start that was killed
    db.execute("CREATE TABLE pad (bytes BLOB)")
    db.execute("INSERT INTO pad VALUES (zeroblob(?))", (WAL_BYTES,))
    db.execute("COMMIT")
    db.execute("DROP TABLE pad")
    db.execute("PRAGMA wal_checkpoint(RESTART)")


class Journal:
    """An open journal. *on_commit(lsn, error)* is called on the journal's thread.

    Raises Refused if another Router has it, VersionMismatch if a newer version wrote it,
    ClusterError if the directory cannot be used.
    """

    def __init__(
        self,
        directory: Path,
        synchronous: str,
        holder: str,
        on_commit: Callable[[int, str], None],
    ) -> None:
        self.directory = directory
        self._on_commit = on_commit
        self._waiting: deque[Write | KeepImage | Compact] = deque()
        self._anything = threading.Event()
        self._thread: threading.Thread | None = None
        self._hurried = threading.Event()
        self._committing = threading.Lock()
        self._usual_s = float("inf")
        self._failed = False
        self._closing = threading.Event()
        self._look_at = 0.0
        self.reserve = Reserve(directory)
        self.stuck = False
        """Not even the reserve was enough: nothing is durable until there is room again."""
        self._owner = os.urandom(8).hex()
        self._synchronous = synchronous
        self._crc = 0
        self.lsn = 0
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ClusterError(
                f"The journal directory {directory} cannot be written: {error.strerror}.",
                remedy="Give another one with --journal DIR.",
            ) from None
        try:
            self._take_lock(holder)
            self._head = os.open(directory / "head", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                self._db = self._open(SYNCHRONOUS[synchronous])
            except BaseException:
                os.close(self._head)
                raise
        except BaseException as error:
            os.close(self._lock)
            if isinstance(error, OSError):
                text = f"The journal {directory} cannot be written: {error.strerror}."
                raise ClusterError(text) from None
            raise

    def _take_lock(self, holder: str) -> None:
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            other = os.pread(self._lock, 1000, 0).decode(errors="replace").strip()
            raise Refused(
                f"Another Router has the journal {self.directory}: {other}.",
                remedy="Stop it first, or give another directory with --journal DIR.",
            ) from None
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, holder.encode(), 0)

    def _open(self, synchronous: str) -> sqlite3.Connection:
        path = self.directory / "journal.sqlite"
        try:
            db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5)
        except sqlite3.Error as error:
            raise ClusterError(f"The journal {path} cannot be opened: {error}.") from None
        try:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute(f"PRAGMA synchronous = {synchronous}")
            # what it grew by while the disk was full is given back
            db.execute(f"PRAGMA journal_size_limit = {2 * WAL_BYTES}")
            db.execute(
                "CREATE TABLE IF NOT EXISTS meta "
                "(key TEXT PRIMARY KEY, value ANY NOT NULL) STRICT, WITHOUT ROWID"
            )
            db.execute(
                "CREATE TABLE IF NOT EXISTS rows "
                "(lsn INTEGER PRIMARY KEY, count INTEGER NOT NULL, crc INTEGER NOT NULL, "
                "body BLOB NOT NULL) STRICT"
            )
            db.execute(
                "CREATE TABLE IF NOT EXISTS images (number INTEGER, lsn INTEGER, "
                "crc INTEGER NOT NULL, body BLOB NOT NULL, PRIMARY KEY (number, lsn)) STRICT"
            )
            found = db.execute("SELECT value FROM meta WHERE key = 'format'").fetchone()
            if found is not None and found[0] > FORMAT:
                raise VersionMismatch(
                    f"The journal {path} has format {found[0]}; this version reads up to {FORMAT}.",
                    remedy="Use the version of pypelinin that wrote it, or another --journal DIR.",
                )
        except (*_UNREADABLE, VersionMismatch) as error:
            db.close()
            raise self._unusable(error) from None
        return db

    def _unusable(self, error: Exception) -> Exception:
        if isinstance(error, VersionMismatch):
            return error
        placed = isinstance(error, OSError)
        if not placed and getattr(error, "sqlite_errorcode", 0) & 0xFF not in _PLACE:
            return self._damaged(str(error))  # "malformed", "not a database", not even text
        return ClusterError(
            f"The journal {self.directory} cannot be used: {error}.",
            remedy="Is the disk full, or the directory read-only?",
        )

    # --- reading -----------------------------------------------------------------------

    def images(self) -> Iterator[tuple[int, bytes]]:
        """(run number, image) as of the base, verified; first that of the state (0)."""
        base, _, expected = self._base()
        chain = 0
        try:
            for number, lsn, stored, body in self._db.execute(
                "SELECT number, MAX(lsn), crc, body FROM images WHERE lsn <= ? "
                "GROUP BY number ORDER BY number",
                (base,),
            ):
                if _crc(lsn, body, number) != stored:
                    raise self._damaged(f"the image of run {number} is altered")
                chain = zlib.crc32(stored.to_bytes(4, "little"), chain)
                yield number, body
        except _UNREADABLE as error:
            raise self._damaged(f"SQLite cannot read the images ({error})") from None
        if chain != expected:
            raise self._damaged("images are missing")

    def _base(self) -> tuple[int, int, int]:
        """See _BASE."""
        try:
            found = self._db.execute("SELECT value FROM meta WHERE key = 'base'").fetchone()
        except _UNREADABLE as error:
            raise self._damaged(f"SQLite cannot read the base ({error})") from None
        if found is None:
            return 0, 0, 0
        (packed,) = found
        if type(packed) is not bytes or len(packed) != _BASE.size + 4:
            raise self._damaged("the base is altered")
        if zlib.crc32(packed[:-4]) != int.from_bytes(packed[-4:], "little"):
            raise self._damaged("the base is altered")
        lsn, crc, images = _BASE.unpack(packed[:-4])
        return lsn, crc, images

    def rows(self) -> Iterator[tuple[int, bytes]]:
        """All rows behind the base in order, verified; raises JournalDamaged at the first
        wrong one."""
        expected, crc, _ = self._base()
        try:
            for lsn, count, stored, body in self._db.execute("SELECT * FROM rows ORDER BY lsn"):
                crc = _crc(lsn, body, crc)
                if lsn != expected + count or crc != stored:
                    raise self._damaged(f"row {expected + 1} is missing or altered")
                group = [body] if count == 1 else unpack_plain(body, len(body), own=True)
                yield from enumerate(group, expected + 1)
                expected = lsn
        except _UNREADABLE as error:
            raise self._damaged(f"SQLite cannot read behind row {expected} ({error})") from None
        head = os.pread(self._head, _HEAD.size, 0)
        if len(head) == _HEAD.size:
            lsn, head_crc = _HEAD.unpack(head)
            if lsn > expected or (lsn == expected and head_crc != crc):
                raise self._damaged(f"rows up to {lsn} were committed, {expected} are there")
        self.lsn, self._crc = expected, crc

    def _damaged(self, what: str) -> JournalDamaged:
        return JournalDamaged(
            f"The journal {self.directory} is damaged: {what}.",
            remedy="Nothing of it is used. Restore it from a copy, or start with another "
            "--journal DIR and submit again.",
        )

    # --- writing -----------------------------------------------------------------------

    def start(self, thread: bool = True) -> None:
        """Begin to commit what is appended; nothing is written before.

        Without a *thread* of its own only `commit` does so.
        """
        try:
            try:
                _extend_wal(self._db, self.directory / "journal.sqlite")
            except sqlite3.Error as error:
                if not is_full(error):
                    raise
                self.reserve.give()  # commits will only take longer
            os.posix_fallocate(self._head, 0, _HEAD.size)  # on a full disk it is there
            with self._db:
                self._db.execute("BEGIN IMMEDIATE")
                meta = [("format", FORMAT), ("owner", self._owner)]
                self._db.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", meta)
                # of a compaction that did not come to its end
                self._db.execute("DELETE FROM images WHERE lsn > ?", (self._base()[0],))
        except (sqlite3.Error, OSError) as error:
            raise self._unusable(error) from None
        if thread:
            self.reserve.look()
            self._thread = threading.Thread(target=self._work, name="journal", daemon=True)
            self._thread.start()

    def append(self, *items: Write | KeepImage | Compact) -> None:
        """Commit them with the next group, in the order of the calls."""
        self._waiting.extend(items)
        if self._waiting and not self._anything.is_set():
            self._anything.set()

    def hurry(self) -> bool:
        """Somebody waits for what was appended: commit it without gathering more.

        Returns whether that is done; if not, the thread will say so.
        """
        quick = self._usual_s <= QUICK_S and len(self._waiting) <= QUICK_ROWS_MAX
        quick = quick and not self.stuck
        if not (quick and self._committing.acquire(blocking=False)):
            self._hurried.set()
            return False
        try:
            return self._commit_group() and not self._waiting
        finally:
            self._committing.release()

    def commit(self) -> bool:
        """Commit everything that was appended, here and now; False after a failure."""
        with self._committing:
            while self._waiting and self._commit_group():
                pass
        return not self._failed

    def _work(self) -> None:
        while not self._is_over():
            if self._anything.wait(LOOK_S):
                self._hurried.wait(GROUP_S)
                self._hurried.clear()
                self._anything.clear()  # before the look: what comes after it sets it again
                with self._committing:
                    if self._waiting and self._commit_group():
                        self._on_commit(self.lsn, "")
            self._look()
            if self._waiting or self._closing.is_set():
                self._anything.set()

    def _is_over(self) -> bool:
        over = self._closing.is_set() and (self.stuck or not self._waiting)
        return self._failed or over

    def _look(self) -> None:
        """Is there room on the disk? While there is none, this waits between two tries."""
        if self.stuck:
            self._closing.wait(LOOK_S)
        now = time.monotonic()
        if now >= self._look_at or self.stuck:
            self._look_at = now + LOOK_S
            before = self.reserve.short
            self.reserve.look(fill=not self.stuck)
            if before != self.reserve.short:
                with self._committing:  # whose rows are not durable yet
                    self._on_commit(self.lsn, "")

    def _commit_group(self) -> bool:
        """Commit what waits, or the first of it; False after a failure, for ever, or while the
        disk is full."""
        count = 0 if self._failed else min(len(self._waiting), GROUP_ROWS_MAX)
        group = [self._waiting.popleft() for _ in range(count)]
        began = time.perf_counter()
        try:
            if group:
                left = self._commit_what_fits(group)
                self._waiting.extendleft(reversed(left))
                self.stuck = len(left) == len(group)
        except Exception as error:  # whatever it is, nobody may wait for ever
            self._failed = True
            self._on_commit(self.lsn, str(error) or type(error).__name__)
        took_s = time.perf_counter() - began
        self._usual_s = min(self._usual_s, 1.0) * 0.8 + took_s * 0.2 if group else self._usual_s
        return not (self._failed or self.stuck)

    def _commit_what_fits(
        self, group: list[Write | KeepImage | Compact]
    ) -> list[Write | KeepImage | Compact]:
        """Commit all of it, on a full disk as much as the reserve holds; returns the rest."""
        size = len(group)
        while size:
            try:
                self._commit(group[:size])
                break
            except sqlite3.Error as error:
                if self._thread is None or not is_full(error) or self.reserve.roomy:
                    raise
            if self.reserve.held:
                self.reserve.give()
            else:
                size //= 2
        if not self.reserve.held:
            self._look_at = 0.0
        return group[size:]

    def _commit(self, group: list[Write | KeepImage | Compact]) -> None:
        before = self._crc, self.lsn
        rows = [item for item in group if isinstance(item, Write)]
        if len(rows) == len(group):
            self._insert(rows)
        else:
            try:
                self._commit_together(group)
            except BaseException:
                self._crc, self.lsn = before
                with contextlib.suppress(sqlite3.Error):
                    self._db.execute("ROLLBACK")
                raise
        if self._synchronous == "full":  # else the disk may keep the head and lose the rows
            os.pwrite(self._head, _HEAD.pack(self.lsn, self._crc), 0)

    def _commit_together(self, group: list[Write | KeepImage | Compact]) -> None:
        self._db.execute("BEGIN IMMEDIATE")
        pending: list[Write] = []
        for item in group:
            if isinstance(item, Write):
                pending.append(item)
                continue
            self._insert(pending)
            pending = []
            self._keep(item) if isinstance(item, KeepImage) else self._compact(item)
        self._insert(pending)
        self._db.execute("COMMIT")

    def _insert(self, rows: list[Write]) -> None:
        """One statement a group: each call into SQLite may have to wait for the loop's thread."""
        if not rows:
            return
        bodies = [pack_row(write.row) for write in rows]
        body = bodies[0] if len(bodies) == 1 else pack_plain(bodies)
        lsn = rows[-1].lsn
        crc = _crc(lsn, body, self._crc)
        done = self._db.execute(
            "INSERT INTO rows SELECT ?, ?, ?, ? FROM meta WHERE key = 'owner' AND value = ?",
            (lsn, len(bodies), crc, body, self._owner),
        )
        if done.rowcount != 1:
            raise ClusterError("another Router took this journal over")
        self._crc, self.lsn = crc, lsn

    def _keep(self, item: KeepImage) -> None:
        body = pack_record(item.image)
        self._db.execute(
            "INSERT OR REPLACE INTO images VALUES (?, ?, ?, ?)",
            (item.number, item.lsn, _crc(item.lsn, body, item.number), body),
        )

    def _compact(self, item: Compact) -> None:
        """The images up to the last row are complete: drop what they stand for."""
        db = self._db
        db.executemany("DELETE FROM images WHERE number = ?", [(number,) for number in item.gone])
        db.execute(
            "DELETE FROM images WHERE EXISTS (SELECT 1 FROM images AS newer "
            "WHERE newer.number = images.number AND newer.lsn > images.lsn)"
        )
        db.execute("DELETE FROM rows WHERE lsn <= ?", (item.lsn,))
        images = 0
        for (crc,) in db.execute(
            "SELECT crc FROM images WHERE lsn <= ? ORDER BY number", (item.lsn,)
        ):
            images = zlib.crc32(crc.to_bytes(4, "little"), images)
        packed = _BASE.pack(item.lsn, self._crc, images)
        packed += zlib.crc32(packed).to_bytes(4, "little")
        db.execute("INSERT OR REPLACE INTO meta VALUES ('base', ?)", (packed,))

    def close(self) -> None:
        """Commit what was appended, then let go of the files."""
        if self._thread is not None:
            self._closing.set()
            self._hurried.set()
            self._anything.set()
            self._thread.join(timeout=30)
        else:
            self.commit()
        self._db.close()
        os.close(self._head)
        os.close(self._lock)

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
