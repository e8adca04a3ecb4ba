"""`transaction()`: a connection for the caller, with the write lock from the start, in the event loop's thread."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from mainspring.errors import DefinitionError, StoreUnavailable
from mainspring.stores.sqlite import SQLiteStore
from tests.conformance.bench import Bench
from tests.factory import make_job


@pytest.fixture
def other(path: Path, store: SQLiteStore) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as connection:
        connection.execute("CREATE TABLE orders (id TEXT PRIMARY KEY)")
        yield connection


async def test_rows_of_the_caller_and_jobs_commit_together(
    store: SQLiteStore, bench: Bench, other: sqlite3.Connection
) -> None:
    async with store.transaction() as connection:
        connection.execute("INSERT INTO orders VALUES ('o1')")
        await store.add([make_job("a")], within=connection)
        assert other.execute("SELECT count(*) FROM orders").fetchone() == (0,)
    assert other.execute("SELECT id FROM orders").fetchall() == [("o1",)]
    assert (await bench.row("a")).id == "a"


async def test_who_finds_the_lock_taken_is_told_to_run_it_again(store: SQLiteStore, other: sqlite3.Connection) -> None:
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable, match="locked"):
        async with store.transaction():
            pytest.fail("it has begun beside another writer")


async def test_one_inside_another_is_told_and_does_not_wait_for_ever(store: SQLiteStore) -> None:
    async with store.transaction() as connection:
        with pytest.raises(StoreUnavailable, match="one inside another"):
            async with store.transaction():
                pytest.fail("it has begun inside another")
        assert connection.in_transaction
    async with store.transaction() as connection:
        assert connection.in_transaction


async def test_the_loop_turns_while_the_lock_is_waited_for(store: SQLiteStore, other: sqlite3.Connection) -> None:
    other.execute("BEGIN IMMEDIATE")
    asyncio.get_running_loop().call_later(0.01, other.execute, "COMMIT")
    async with store.transaction() as connection:
        assert connection.in_transaction


@pytest.mark.parametrize("end", ["COMMIT", "ROLLBACK"])
async def test_it_is_not_to_be_ended_inside_its_block(store: SQLiteStore, end: str) -> None:
    with pytest.raises(DefinitionError, match="ended inside its block"):
        async with store.transaction() as connection:
            connection.execute(end)


async def test_an_error_of_the_callers_statement_is_raised_as_it_is(
    store: SQLiteStore, other: sqlite3.Connection
) -> None:
    async def insert(*tables: str) -> None:
        async with store.transaction() as connection:
            for table in tables:
                connection.execute(f"INSERT INTO {table} VALUES ('o1')")

    with pytest.raises(sqlite3.IntegrityError):
        await insert("orders", "orders")
    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        await insert("orders", "nowhere")
    assert other.execute("SELECT count(*) FROM orders").fetchone() == (0,)


async def test_a_cursor_that_was_kept_does_not_keep_the_lock(store: SQLiteStore, other: sqlite3.Connection) -> None:
    other.executemany("INSERT INTO orders VALUES (?)", [("o1",), ("o2",)])
    cursors: list[sqlite3.Cursor] = []

    async def fail() -> None:
        async with store.transaction() as connection:
            connection.execute("DELETE FROM orders WHERE id = 'o1'")
            cursors.append(connection.execute("SELECT id FROM orders"))
            raise KeyError

    with pytest.raises(KeyError):
        await fail()
    other.execute("INSERT INTO orders VALUES ('o3')")
    assert other.execute("SELECT count(*) FROM orders").fetchone() == (3,)
    assert cursors


async def test_a_store_that_is_closed(path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="not open"):
        SQLiteStore(f"sqlite:///{path}").transaction()
