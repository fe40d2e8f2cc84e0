"""A store in a SQL database, SQLite or PostgreSQL, through SQLAlchemy 2 (extra `sql`).

    TABLE             pipeline, key, job, fence, value (JSON text); one row a key
    TABLE_fences      pipeline, job, fence: the highest that saved
    TABLE_monitoring  saved_at, data (JSON text); one row a report

A save is one transaction: it raises the job's fence, which an older attempt cannot, and then
replaces its keys in their order, so savers never wait for each other in a circle. Names longer
than an index takes are cut and hashed; the real one then stands in `full_pipeline`, `full_key`.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from pypelinin.store import StoreUnavailable
from pypelinin.stores.encoding import decode, encode, is_shortened, shortened
from pypelinin.stores.keyed import KeyedStore

try:
    import sqlalchemy as sa
    from sqlalchemy.dialects import postgresql, sqlite
    from sqlalchemy.engine import URL, Connection, make_url
    from sqlalchemy.exc import DBAPIError, InterfaceError, NoSuchModuleError, OperationalError
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "SQLStore needs SQLAlchemy 2, which is not installed: pip install 'pypelinin[sql]'",
        name=error.name,
    ) from error

NAME_LENGTH_MAX = 200
"""Characters of a name before it is cut: two such names fit into a PostgreSQL index entry."""

TABLE_NAME_LENGTH_MAX = 48
MONITORING_ROWS_READ = 1000
LOCK_LOOK_S = 0.01
_CREATE_LOCK = 0x70797065  # any number, the same for all that create our tables
_INSERTS: dict[str, Callable[[sa.Table], postgresql.Insert | sqlite.Insert]] = {
    "postgresql": postgresql.insert,
    "sqlite": sqlite.insert,
}


class SQLStore(KeyedStore):
    """Results in the tables *table*, *table*_fences and *table*_monitoring of the database *url*.

    *url* is SQLAlchemy's: `sqlite:////data/results.db`, `postgresql://user:password@host/name`
    (psycopg 3). Tables that are missing are created on first use; the first connection is made
    then too, so a slot starts while the server is away. *timeout_s*: how long to wait for a
    connection, for a lock of SQLite and for a server that stopped answering.

    Every slot holds one connection, so the server must allow as many. SQLite is for processes of
    one machine only, never for a file on a shared file system. Raises `StoreUnavailable` when
    the database cannot be used; nothing of the save was kept then, unless the connection broke
    while the server confirmed it, and saving the same attempt again is right in both cases.
    """

    def __init__(
        self, url: str, table: str = "pypelinin_results", *, timeout_s: float = 30.0
    ) -> None:
        self._url = _checked_url(url)
        self._insert = _INSERTS[self._url.get_backend_name()]
        self._timeout_s = timeout_s
        self._results, self._fences, self._monitoring = _tables(_checked_table(table))
        try:
            # hide_parameters: an error must not carry the user's values into logs.
            self._engine = sa.create_engine(
                self._url,
                pool_pre_ping=True,
                hide_parameters=True,
                connect_args=_connect_args(self._url, timeout_s),
            )
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                f"SQLStore needs {error.name} for {self._place}: pip install 'pypelinin[sql]'",
                name=error.name,
            ) from error
        if not self._is_sqlite:
            sa.event.listen(self._engine, "connect", self._limit_waiting)
        self._owner_pid = os.getpid()
        self._tables_exist = False

    def close(self) -> None:
        """Close the connections; the next use opens new ones."""
        self._leave_parents_connections()
        self._engine.dispose()

    def pipelines(self) -> list[str]:
        name = _full(self._results, "pipeline")
        with self._transaction("list pipelines") as connection:
            return sorted(connection.scalars(sa.select(name).distinct()))

    def save_monitoring(self, data: dict[str, Any]) -> None:
        text = encode("monitoring", data)
        with self._transaction("save figures") as connection:
            connection.execute(self._monitoring.insert(), {"data": text})

    def load_monitoring(self) -> list[dict[str, Any]]:
        """The newest thousand reports, oldest first."""
        table = self._monitoring.c
        newest = sa.select(table.data).order_by(table.id.desc()).limit(MONITORING_ROWS_READ)
        with self._transaction("read figures") as connection:
            return [decode(text) for text in connection.scalars(newest)][::-1]

    def _write(self, pipeline: str, job: str, fence: int, entries: Mapping[str, str]) -> None:
        pipeline_name, job_name = _cut(pipeline), _cut(job)
        rows = [
            {
                "pipeline": pipeline_name,
                "key": _cut(key),
                "job": job,
                "fence": fence,
                "value": text,
                "full_pipeline": pipeline if is_shortened(pipeline_name) else None,
                "full_key": key if is_shortened(_cut(key)) else None,
            }
            for key, text in entries.items()
        ]
        attempt = {"pipeline": pipeline_name, "job": job_name, "fence": fence}
        with self._transaction(f"save job {job!r} of pipeline {pipeline!r}") as connection:
            if connection.execute(self._raise_fence(), attempt).first() is None:
                return
            if rows:
                connection.execute(self._replace_key(), rows)

    def _raise_fence(self) -> sa.Executable:
        """Gives a row if the attempt is the newest, none if a newer one saved."""
        table = self._fences
        insert = self._insert(table)
        # Asked for by RETURNING: the count of changed rows is not the same in all drivers.
        return insert.on_conflict_do_update(
            index_elements=[table.c.pipeline, table.c.job],
            set_={"fence": insert.excluded.fence},
            where=table.c.fence <= insert.excluded.fence,
        ).returning(table.c.fence)

    def _replace_key(self) -> sa.Insert:
        table = self._results
        insert = self._insert(table)
        changing = ("job", "fence", "value")
        return insert.on_conflict_do_update(
            index_elements=[table.c.pipeline, table.c.key],
            set_={name: insert.excluded[name] for name in changing},
        )

    def _read(self, pipeline: str, keys: Iterable[str] | None) -> dict[str, Any]:
        table = self._results.c
        wanted = sa.select(_full(self._results, "key"), table.value).where(
            table.pipeline == _cut(pipeline)
        )
        if keys is not None:
            wanted = wanted.where(table.key.in_([_cut(key) for key in keys]))
        with self._transaction(f"read results of pipeline {pipeline!r}") as connection:
            rows = connection.execute(wanted).all()
        return {key: decode(value) for key, value in rows}

    def _keys(self, pipeline: str) -> list[str]:
        wanted = sa.select(_full(self._results, "key")).where(
            self._results.c.pipeline == _cut(pipeline)
        )
        with self._transaction(f"list keys of pipeline {pipeline!r}") as connection:
            return list(connection.scalars(wanted))

    @contextmanager
    def _transaction(self, doing: str) -> Iterator[Connection]:
        """A connection that commits when the block ends; *doing* stands in the error."""
        self._leave_parents_connections()
        try:
            if not self._tables_exist:
                self._create_tables()
            with self._engine.begin() as connection:
                yield connection
        except DBAPIError as error:
            away = isinstance(error, OperationalError | InterfaceError)
            if not (away or error.connection_invalidated):
                raise  # the fault is not the database's
            raise StoreUnavailable(
                f"cannot {doing}: {self._place} answers: {' '.join(str(error.orig).split())}.",
                remedy=_remedy(self._url),
            ) from error

    def _leave_parents_connections(self) -> None:
        # After a fork both processes would speak on one connection.
        if self._owner_pid != os.getpid():
            self._engine.dispose(close=False)
            self._owner_pid = os.getpid()

    def _limit_waiting(self, connection: Any, _record: object) -> None:
        # Nobody waits for ever for a row, and a saver that froze loses its transaction.
        timeout_ms = round(self._timeout_s * 1000)
        with connection.cursor() as cursor:
            cursor.execute(f"SET lock_timeout = {timeout_ms}")
            cursor.execute(f"SET idle_in_transaction_session_timeout = {timeout_ms}")
        connection.commit()

    def _create_tables(self) -> None:
        tables = (self._results, self._fences, self._monitoring)
        with self._engine.begin() as connection:
            if self._is_sqlite:
                self._let_readers_beside_the_writer(connection)
            inspector = sa.inspect(connection)
            missing = [table for table in tables if not inspector.has_table(table.name)]
            if missing and not self._is_sqlite:
                # PostgreSQL's IF NOT EXISTS fails when two create the same table at once.
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_CREATE_LOCK)))
            for table in missing:
                connection.execute(sa.schema.CreateTable(table, if_not_exists=True))
        self._tables_exist = True

    def _let_readers_beside_the_writer(self, connection: Connection) -> None:
        """Turn the write-ahead log on, which the file remembers. Of several that do this at once
        SQLite refuses some without waiting for the lock, so the waiting is done here.
        """
        deadline = time.monotonic() + self._timeout_s
        while True:
            try:
                connection.exec_driver_sql("PRAGMA journal_mode=WAL")
                return
            except OperationalError as error:
                if "locked" not in str(error.orig) or time.monotonic() > deadline:
                    raise
            time.sleep(LOCK_LOOK_S)

    @property
    def _is_sqlite(self) -> bool:
        return _is_sqlite(self._url)

    @property
    def _place(self) -> str:
        place: str = self._url.render_as_string(hide_password=True)
        return place


def _cut(name: str) -> str:
    return shortened(name, NAME_LENGTH_MAX)


def _full(table: sa.Table, column: str) -> sa.ColumnElement[str]:
    return sa.func.coalesce(table.c[f"full_{column}"], table.c[column])


def _tables(name: str) -> tuple[sa.Table, sa.Table, sa.Table]:
    metadata = sa.MetaData()
    results = sa.Table(
        name,
        metadata,
        sa.Column("pipeline", sa.Text, primary_key=True),
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("job", sa.Text, nullable=False),
        sa.Column("fence", sa.BigInteger, nullable=False),
        sa.Column("value", sa.Text, nullable=False),
        sa.Column("full_pipeline", sa.Text),
        sa.Column("full_key", sa.Text),
    )
    fences = sa.Table(
        f"{name}_fences",
        metadata,
        sa.Column("pipeline", sa.Text, primary_key=True),
        sa.Column("job", sa.Text, primary_key=True),
        sa.Column("fence", sa.BigInteger, nullable=False),
    )
    monitoring = sa.Table(
        f"{name}_monitoring",
        metadata,
        # SQLite counts up by itself only in a column that is an INTEGER to the letter.
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
        sa.Column(
            "saved_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False
        ),
        sa.Column("data", sa.Text, nullable=False),
    )
    return results, fences, monitoring


def _checked_url(text: str) -> URL:
    """*text* as a URL of a database we know, with the driver and the path made definite."""
    url = make_url(text)
    if url.drivername in ("postgresql", "postgres"):
        url = url.set(drivername="postgresql+psycopg")  # SQLAlchemy 2.0 would take psycopg2
    if not _is_known(url):
        raise ValueError(
            f"SQLStore works with SQLite and PostgreSQL, not with {url.drivername!r}: "
            "write sqlite:////path/to/file or postgresql://user@host/database"
        )
    in_a_file = _is_sqlite(url) and url.database not in (None, "", ":memory:")
    if in_a_file and url.database is not None and not url.database.startswith("file:"):
        # A job may run in another working directory than the slot started in.
        url = url.set(database=os.path.abspath(os.path.expanduser(url.database)))
    return url


def _is_sqlite(url: URL) -> bool:
    backend: str = url.get_backend_name()
    return backend == "sqlite"


def _is_known(url: URL) -> bool:
    try:
        return url.get_backend_name() in _INSERTS and not url.get_dialect().is_async
    except NoSuchModuleError:
        return False


def _checked_table(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) or len(name) > TABLE_NAME_LENGTH_MAX:
        raise ValueError(
            f"table {name!r}: letters, digits and underscores, "
            f"{TABLE_NAME_LENGTH_MAX} characters at most"
        )
    return name


def _connect_args(url: URL, timeout_s: float) -> dict[str, Any]:
    if _is_sqlite(url):
        return {"timeout": timeout_s}
    ours = {
        "connect_timeout": max(2, round(timeout_s)),  # libpq reads 1 as 2
        "tcp_user_timeout": round(timeout_s * 1000),
    }
    return {name: value for name, value in ours.items() if name not in url.query}


def _remedy(url: URL) -> str:
    if _is_sqlite(url):
        return (
            "Check that the directory exists and can be written, that the disk is not full and "
            "that no other program holds the database; then run the job again."
        )
    return "Check that the server runs and takes connections; then run the job again."
