"""`?shared=true`: tables beside those of an application, in a database that was there before."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from mainspring.errors import StoreUnavailable
from mainspring.stores.base import Query
from mainspring.stores.sqlite import SQLiteStore
from tests.factory import make_job
from tests.stores.sqlite.processes import Child, run_children

THEIR_VERSION, THEIR_MARK = 42, 4711


@pytest.fixture
def theirs(path: Path) -> Iterator[sqlite3.Connection]:
    """An application's database, with its tables and its numbers in the head of the file."""
    with closing(sqlite3.connect(path, timeout=0)) as connection:
        connection.execute("CREATE TABLE orders (id TEXT PRIMARY KEY)")
        connection.execute("INSERT INTO orders VALUES ('o1')")
        connection.execute(f"PRAGMA user_version = {THEIR_VERSION}")
        connection.execute(f"PRAGMA application_id = {THEIR_MARK}")
        connection.commit()
        yield connection


async def opened(path: Path, options: str = "shared=true&busy_timeout=200ms") -> SQLiteStore:
    store = SQLiteStore(f"sqlite:///{path}?{options}")
    await store.open()
    return store


def number(connection: sqlite3.Connection, pragma: str) -> int:
    (value,) = connection.execute(f"PRAGMA {pragma}").fetchone()
    assert isinstance(value, int)
    return value


def rows(connection: sqlite3.Connection) -> list[str]:
    return [id for (id,) in connection.execute("SELECT id FROM orders ORDER BY id")]


async def test_their_tables_and_numbers_stay_as_they_were(path: Path, theirs: sqlite3.Connection) -> None:
    store = await opened(path)
    await store.add([make_job("a")])
    await store.close()
    assert (number(theirs, "user_version"), number(theirs, "application_id")) == (THEIR_VERSION, THEIR_MARK)
    assert rows(theirs) == ["o1"]


async def test_a_job_commits_and_rolls_back_with_their_rows(path: Path, theirs: sqlite3.Connection) -> None:
    store = await opened(path)
    theirs.execute("INSERT INTO orders VALUES ('o2')")
    await store.add([make_job("kept")], within=theirs)
    theirs.commit()
    theirs.execute("INSERT INTO orders VALUES ('o3')")
    await store.add([make_job("dropped")], within=theirs)
    theirs.rollback()
    kept, dropped = await store.get(["kept", "dropped"])
    assert kept is not None
    assert dropped is None
    assert rows(theirs) == ["o1", "o2"]
    await store.close()


async def test_once_the_tables_are_there_the_option_says_nothing_new(path: Path, theirs: sqlite3.Connection) -> None:
    store = await opened(path)
    await store.add([make_job("a")])
    await store.close()
    store = await opened(path, "shared=false")
    assert await store.get(["a"]) != [None]
    await store.close()
    assert number(theirs, "user_version") == THEIR_VERSION


@pytest.mark.parametrize("first", ["true", "false"])
async def test_a_file_of_our_own_takes_in_their_tables_later(first: str, path: Path) -> None:
    await (await opened(path, f"shared={first}")).close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE orders (id TEXT PRIMARY KEY)")
        connection.execute(f"PRAGMA user_version = {THEIR_VERSION}")
        connection.execute(f"PRAGMA application_id = {THEIR_MARK}")
        connection.commit()
    for options in ("shared=true", "shared=false"):
        store = await opened(path, options)
        assert (await store.add([make_job(options)]))[0].version == 1
        await store.close()


@pytest.mark.slow
async def test_processes_that_create_the_tables_at_once(path: Path, theirs: sqlite3.Connection) -> None:
    await run_children(*(Child("open_once", path, "shared=true") for _ in range(4)))
    store = await opened(path)
    [found] = await store.count(Query())
    assert found.jobs == 4
    await store.close()
    assert number(theirs, "user_version") == THEIR_VERSION
    assert rows(theirs) == ["o1"]


async def test_their_open_transaction_holds_up_the_creation(path: Path, theirs: sqlite3.Connection) -> None:
    theirs.execute("INSERT INTO orders VALUES ('o2')")
    with pytest.raises(StoreUnavailable, match="locked"):
        await opened(path)
    theirs.commit()
    await (await opened(path)).close()
    assert rows(theirs) == ["o1", "o2"]
