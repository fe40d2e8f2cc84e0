"""SQLStore on a real PostgreSQL server that the tests start, kill and start again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from typing import TYPE_CHECKING

import pytest

from pypelinin.store import StoreUnavailable
from tests.integration.postgres import PostgresServer
from tests.integration.savers import FORKS, RACE_OF_ATTEMPTS, SAVE_MANY, nothing_was_lost, saving
from tests.unit.stores.contract import StoreContract, attempt, save

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

    from tests.unit.stores.contract import Opener

pytestmark = pytest.mark.postgres

PATIENCE_S = 2.0
"""How long the server waits for a saver: one that is only slow is no frozen one."""
TABLES = (f"results_{number}" for number in count())


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    server = PostgresServer()
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture
def table() -> str:
    """Fresh for every test."""
    return next(TABLES)


@pytest.fixture
def opened(server: PostgresServer, table: str) -> Iterator[Opener]:
    from pypelinin.stores import SQLStore

    with ExitStack() as stack:
        yield lambda: stack.enter_context(SQLStore(server.url, table))


@contextmanager
def administrator(server: PostgresServer) -> Iterator[Connection]:
    """A transaction of somebody else than a store."""
    import sqlalchemy as sa

    engine = sa.create_engine(server.url.replace("postgresql:", "postgresql+psycopg:"))
    try:
        with engine.begin() as connection:
            yield connection
    finally:
        engine.dispose()


class TestContract(StoreContract):
    pass


# --- several slots ----------------------------------------------------------------------------


def test_eight_slots_that_save_into_one_pipeline_lose_nothing(
    server: PostgresServer, table: str, opened: Opener
) -> None:
    # The tables are not there yet: the eight also create them at once.
    configuration = {"url": server.url, "table": table}
    with saving(SAVE_MANY, "SQLStore", configuration, processes=8, count=50) as savers:
        savers.go()
        assert savers.finished()
        nothing_was_lost(opened(), savers.jobs, 50)


def test_of_attempts_that_save_at_once_the_newest_stays(
    server: PostgresServer, table: str, opened: Opener
) -> None:
    configuration = {"url": server.url, "table": table}
    with saving(RACE_OF_ATTEMPTS, "SQLStore", configuration, processes=4, count=20) as savers:
        savers.go()
        assert savers.finished()
    results = opened().load("p1")
    assert results["x"] == 3
    assert results["only-3"] == 19


def test_a_store_may_be_made_before_a_fork(
    server: PostgresServer, table: str, opened: Opener
) -> None:
    configuration = {"url": server.url, "table": table}
    with saving(FORKS, "SQLStore", configuration, count=20) as savers:
        assert savers.finished()
    assert len(opened().load("p1")) == 41


def test_a_saver_that_froze_does_not_hold_up_others_for_ever(
    server: PostgresServer, table: str, opened: Opener
) -> None:
    import sqlalchemy as sa

    from pypelinin.stores import SQLStore

    with SQLStore(server.url, table, timeout_s=PATIENCE_S) as store:
        save(store, {"x": 1})
        with administrator(server) as frozen:
            frozen.execute(sa.text(f"UPDATE {table} SET fence = 2"))
            with pytest.raises(StoreUnavailable, match="canceling statement due to lock timeout"):
                save(store, {"x": 2})
        save(store, {"x": 3})
        assert store.load("p1") == {"x": 3}


def test_a_saver_that_froze_loses_its_transaction(
    server: PostgresServer, table: str, opened: Opener
) -> None:
    import sqlalchemy as sa

    from pypelinin.stores import SQLStore

    store = opened()
    save(store, {"x": 1})
    ended = pytest.raises(StoreUnavailable, match="idle-in-transaction timeout")
    with SQLStore(server.url, table, timeout_s=PATIENCE_S) as frozen:
        with ended, frozen._transaction("freeze") as connection:
            connection.execute(sa.text(f"UPDATE {table} SET value = '7'"))
            save(store, {"x": 2})  # waits until the server ended the other
            connection.execute(sa.text("SELECT 1"))
        assert frozen.load("p1") == {"x": 2}


# --- the server goes away ---------------------------------------------------------------------


@pytest.mark.chaos
def test_a_server_that_is_away_is_told_and_used_again_when_it_is_back(
    server: PostgresServer, opened: Opener
) -> None:
    store = opened()
    save(store, {"x": 1})
    server.kill()
    try:
        with pytest.raises(StoreUnavailable) as caught:
            save(store, {"x": 2}, fence=2)
        with pytest.raises(StoreUnavailable, match="cannot read results of pipeline 'p1'"):
            store.retrieve(attempt(requires=["x"]))
    finally:
        server.start()
    told = str(caught.value)
    assert told.startswith("cannot save job 'count' of pipeline 'p1': postgresql+psycopg://tester@")
    assert "connection" in told
    assert told.endswith(
        "Check that the server runs and takes connections; then run the job again."
    )
    assert store.load("p1") == {"x": 1}
    save(store, {"x": 2}, fence=2)
    assert store.load("p1") == {"x": 2}


@pytest.mark.chaos
def test_a_restart_between_two_saves_is_not_noticed(server: PostgresServer, opened: Opener) -> None:
    store = opened()
    save(store, {"x": 1})
    server.kill()
    server.start()
    save(store, {"y": 2}, fence=2)
    assert store.load("p1") == {"x": 1, "y": 2}


def test_a_slot_may_start_before_the_server(server: PostgresServer, table: str) -> None:
    from pypelinin.stores import SQLStore

    with SQLStore("postgresql://tester:secret@127.0.0.1:1/none", table, timeout_s=2) as store:
        with pytest.raises(StoreUnavailable, match=r"tester:\*\*\*@127\.0\.0\.1:1/none") as caught:
            save(store, {"x": 1})
        assert "secret" not in str(caught.value)


def test_a_user_without_rights_to_create_uses_tables_that_are_there(
    server: PostgresServer, table: str, opened: Opener
) -> None:
    import sqlalchemy as sa

    from pypelinin.stores import SQLStore

    opened().save_monitoring({"cpu": 1})
    guest = f"guest_of_{table}"
    with administrator(server) as connection:
        connection.execute(sa.text(f"CREATE ROLE {guest} LOGIN"))
        for name in (table, f"{table}_fences", f"{table}_monitoring"):
            connection.execute(sa.text(f"GRANT SELECT, INSERT, UPDATE ON {name} TO {guest}"))
    url = server.url.replace("tester", guest)
    with SQLStore(url, table) as store:
        save(store, {"x": 1})
        assert store.load("p1") == {"x": 1}
    refused = pytest.raises(sa.exc.ProgrammingError, match="permission denied for schema public")
    with SQLStore(url, f"{table}_none") as store, refused:
        save(store, {"x": 1})
