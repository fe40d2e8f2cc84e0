"""SQLStore on SQLite; on PostgreSQL in `tests/integration/test_sql_store_postgres.py`."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import pypelinin.stores
from pypelinin.store import StoreUnavailable
from tests.unit.stores.contract import StoreContract, save

if TYPE_CHECKING:
    from pypelinin.stores import SQLStore
    from tests.unit.stores.contract import Opener

needs_sqlalchemy = pytest.mark.skipif(
    find_spec("sqlalchemy") is None, reason="SQLAlchemy is not installed: 'pypelinin[sql]'"
)
needs_psycopg = pytest.mark.skipif(
    find_spec("psycopg") is None, reason="psycopg is not installed: 'pypelinin[sql]'"
)

WITHOUT = """
import sys
sys.modules[sys.argv[1]] = None
try:
    from pypelinin.stores import SQLStore
    SQLStore("postgresql://user:secret@host/name")
except ModuleNotFoundError as error:
    print(error)
"""


def python(*arguments: str) -> str:
    package = Path(pypelinin.stores.__path__[0]).parents[1]
    command = [sys.executable, "-c", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(package)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return done.stdout


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Opener]:
    from pypelinin.stores import SQLStore

    with ExitStack() as stack:
        yield lambda: stack.enter_context(SQLStore(f"sqlite:///{tmp_path}/results.db"))


@needs_sqlalchemy
class TestContract(StoreContract):
    pass


# --- what must be installed -------------------------------------------------------------------


def test_without_sqlalchemy_the_error_says_what_to_install() -> None:
    assert python(WITHOUT, "sqlalchemy") == (
        "SQLStore needs SQLAlchemy 2, which is not installed: pip install 'pypelinin[sql]'\n"
    )


@needs_sqlalchemy
def test_without_psycopg_the_error_says_what_to_install() -> None:
    assert python(WITHOUT, "psycopg") == (
        "SQLStore needs psycopg for postgresql+psycopg://user:***@host/name: "
        "pip install 'pypelinin[sql]'\n"
    )


# --- where it goes ----------------------------------------------------------------------------


@needs_sqlalchemy
@pytest.mark.parametrize(
    "url", ["mysql://host/x", "oracle://host/x", "sqlite+aiosqlite:///x", "postgresql+none://h/x"]
)
def test_a_database_we_do_not_know_is_refused(url: str) -> None:
    from pypelinin.stores import SQLStore

    with pytest.raises(ValueError, match="SQLStore works with SQLite and PostgreSQL, not with"):
        SQLStore(url)


@needs_sqlalchemy
@needs_psycopg
@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_postgresql_is_spoken_through_psycopg(scheme: str) -> None:
    from pypelinin.stores import SQLStore

    with SQLStore(f"{scheme}://user@host/name") as store:
        assert store._url.drivername == "postgresql+psycopg"


@needs_sqlalchemy
@pytest.mark.parametrize("table", ["", "1a", "a-b", "a.b", "a b", 'a"', "x" * 49])
def test_a_table_name_that_needs_quotes_or_is_too_long_is_refused(table: str) -> None:
    from pypelinin.stores import SQLStore

    with pytest.raises(ValueError, match="letters, digits and underscores, 48 characters"):
        SQLStore("sqlite://", table)


@needs_sqlalchemy
def test_results_are_plain_tables(tmp_path: Path) -> None:
    from pypelinin.stores import SQLStore

    with SQLStore(f"sqlite:///{tmp_path}/results.db", "x" * 48) as store:
        save(store, {"text": "ü", "page": b"ab"}, fence=3)
        store.save_monitoring({"cpu": 1})
    with closing(sqlite3.connect(tmp_path / "results.db")) as database:
        rows = database.execute(f"SELECT * FROM {'x' * 48} ORDER BY key").fetchall()
        figures = database.execute(f"SELECT id, data FROM {'x' * 48}_monitoring").fetchall()
    assert rows == [
        ("p1", "page", "count", 3, '{"$bytes": "YWI="}', None, None),
        ("p1", "text", "count", 3, '"ü"', None, None),
    ]
    assert figures == [(1, '{"cpu": 1}')]


@needs_sqlalchemy
def test_the_working_directory_of_a_job_does_not_matter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pypelinin.stores import SQLStore

    monkeypatch.chdir(tmp_path)
    with SQLStore("sqlite:///results.db") as store:
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir(tmp_path / "elsewhere")
        save(store, {"x": 1})
    assert (tmp_path / "results.db").exists()
    assert list((tmp_path / "elsewhere").iterdir()) == []


@needs_sqlalchemy
def test_a_database_in_memory_is_kept_while_the_store_is() -> None:
    from pypelinin.stores import SQLStore

    with SQLStore("sqlite://") as store:
        save(store, {"x": 1})
        assert store.load("p1") == {"x": 1}


# --- when it cannot be used -------------------------------------------------------------------


def locked_store(tmp_path: Path) -> SQLStore:
    from pypelinin.stores import SQLStore

    return SQLStore(f"sqlite:///{tmp_path}/results.db", timeout_s=0.05)


@needs_sqlalchemy
def test_a_database_that_another_program_holds_is_told(tmp_path: Path) -> None:
    with locked_store(tmp_path) as store:
        save(store, {"x": 1})
        with closing(sqlite3.connect(tmp_path / "results.db", isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            with pytest.raises(StoreUnavailable, match=r"database is locked.*no other program"):
                save(store, {"x": 2})
            assert store.load("p1") == {"x": 1}  # readers are not held up
        save(store, {"x": 2})
        assert store.load("p1") == {"x": 2}


@needs_sqlalchemy
def test_a_directory_that_is_not_there_is_told(tmp_path: Path) -> None:
    from pypelinin.stores import SQLStore

    with SQLStore(f"sqlite:///{tmp_path}/none/results.db") as store:
        expected = r"cannot save job 'count' of pipeline 'p1': sqlite:.*/none/results\.db answers"
        with pytest.raises(StoreUnavailable, match=expected) as caught:
            save(store, {"x": "secret value"})
        assert "secret" not in str(caught.value)
        (tmp_path / "none").mkdir()
        save(store, {"x": 1})
        assert store.load("p1") == {"x": 1}


@needs_sqlalchemy
def test_a_save_that_fails_in_the_middle_keeps_nothing(tmp_path: Path) -> None:
    with locked_store(tmp_path) as store:
        save(store, {"a": 1}, fence=1)
        with closing(sqlite3.connect(tmp_path / "results.db")) as database, database:
            database.execute(
                "CREATE TRIGGER refuse BEFORE INSERT ON pypelinin_results WHEN new.key = 'z' "
                "BEGIN SELECT RAISE(ABORT, 'refused'); END"
            )
        with pytest.raises(Exception, match="refused") as caught:
            save(store, {"a": 2, "z": "secret value"}, fence=2)
        assert "secret" not in str(caught.value)
        assert store.load("p1") == {"a": 1}
        save(store, {"a": 3}, fence=1)
        assert store.load("p1") == {"a": 3}


@needs_sqlalchemy
def test_the_first_use_tries_again_while_another_sets_the_file_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of several that turn the write-ahead log on at once, SQLite refuses one in some hundred
    without waiting; here it refuses the first two.
    """
    import sqlalchemy as sa

    from pypelinin.stores import SQLStore

    execute, refused = sa.Connection.exec_driver_sql, []

    def refuse_twice(connection: sa.Connection, statement: str) -> object:
        if len(refused) < 2:
            refused.append(statement)
            locked = sqlite3.OperationalError("database is locked")
            raise sa.exc.OperationalError(statement, None, locked)
        return execute(connection, statement)

    monkeypatch.setattr(sa.Connection, "exec_driver_sql", refuse_twice)
    with SQLStore(f"sqlite:///{tmp_path}/results.db", timeout_s=20) as store:
        save(store, {"x": 1})
        assert store.load("p1") == {"x": 1}
    assert refused == 2 * ["PRAGMA journal_mode=WAL"]
