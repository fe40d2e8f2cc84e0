"""Records of jobs, as they lie in the history.

All are known by their *stamp*, a digest of what the job was made from, and the tags of what it
made: that is enough to see that a job stands (see `standing`). The rest, as packed bytes, is
read when it is asked for.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable, Iterator, Mapping

import msgpack

from pypelinin.graph.declared import Record
from pypelinin.graph.fingerprint import DIGEST_BYTES, Tags

_pack = msgpack.Packer(use_bin_type=True).pack
_blake2b = hashlib.blake2b


def packed(tags: Tags) -> bytes:
    """Tags as bytes; equal ones are equal."""
    return bytes(_pack(tags))


def stamp(spec: bytes, inputs: Iterable[tuple[str, bytes]]) -> bytes:
    """The digest of what a job is made from: its packed spec, and (name, packed tags) by name."""
    parts = [spec]
    for name, tags in sorted(inputs):
        parts.append(name.encode("utf-8", "surrogateescape"))
        parts.append(tags)
    return _blake2b(b"\0".join(parts), digest_size=DIGEST_BYTES).digest()


def row_of(record: Record) -> tuple[bytes, bytes, bytes]:
    """(stamp, packed tags of the outputs, the whole record) of a success."""
    inputs = {name: tags for (_, name), tags in record.inputs.items()}
    producers = {name: job_id for job_id, name in record.inputs if job_id != name}
    more = (producers,) if producers else ()
    body = bytes(_pack((record.spec, record.outputs, inputs, *more)))
    made = [packed(tags) for tags in record.outputs.values()]
    mark = stamp(packed(record.spec), [(name, packed(tags)) for name, tags in inputs.items()])
    return mark, made[0] if len(made) == 1 else bytes(_pack(made)), body


class Records(Mapping[str, bytes]):
    """Packed records by job; changes are written with `write`."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self.stamps: dict[str, tuple[bytes, bytes]] = {
            job: (mark, made)
            for job, mark, made in db.execute("select job, stamp, made from records")
        }
        """By job, its stamp and the packed tags of its outputs."""
        self.changed: dict[str, tuple[bytes, bytes, bytes] | None] = {}
        """What is new; None: it goes."""

    def __getitem__(self, job: str) -> bytes:
        if job not in self.stamps:
            raise KeyError(job)
        new = self.changed.get(job)
        if new is not None:
            return new[2]
        (body,) = self._db.execute("select body from records where job=?", (job,)).fetchone()
        return bytes(body)

    def __iter__(self) -> Iterator[str]:
        return iter(self.stamps)

    def __len__(self) -> int:
        return len(self.stamps)

    def __contains__(self, job: object) -> bool:
        return job in self.stamps

    def row(self, job: str) -> tuple[bytes, bytes, bytes] | None:
        """What `put` takes, of one that is there."""
        known = self.stamps.get(job)
        return None if known is None else (*known, self[job])

    def put(self, job: str, row: tuple[bytes, bytes, bytes]) -> None:
        self.stamps[job] = row[:2]
        self.changed[job] = row

    def drop(self, job: str) -> None:
        if self.stamps.pop(job, None) is not None:
            self.changed[job] = None

    def write(self) -> None:
        gone = [(job,) for job, row in self.changed.items() if row is None]
        new = [(job, *row) for job, row in self.changed.items() if row is not None]
        self._db.executemany("delete from records where job=?", gone)
        self._db.executemany("insert or replace into records values(?,?,?,?)", new)


__all__ = ["Records", "packed", "row_of", "stamp"]
