"""`within`: the caller's own transaction, in all the ways in which Python's sqlite3 begins one."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from mainspring.core.records import Record
from mainspring.errors import DefinitionError, StoreFull, StoreUnavailable
from mainspring.stores.sqlite import SQLiteStore
from tests.conformance.bench import Bench
from tests.factory import make_job


@pytest.fixture
def theirs(path: Path, store: SQLiteStore) -> Iterator[sqlite3.Connection]:
    """The caller's connection, as `sqlite3.connect` makes it, with a table of the caller's own."""
    with closing(sqlite3.connect(path, timeout=0)) as connection:
        connection.execute("CREATE TABLE orders (id TEXT PRIMARY KEY)")
        connection.commit()
        yield connection


async def test_a_job_and_a_row_of_the_caller_commit_together(
    store: SQLiteStore, bench: Bench, theirs: sqlite3.Connection
) -> None:
    theirs.execute("INSERT INTO orders VALUES ('o1')")
    [job] = await store.add([make_job("a")], within=theirs)
    assert job.version == 1
    assert theirs.in_transaction
    assert await bench.gone("a"), "nobody sees it before the commit"
    theirs.commit()
    assert (await bench.row("a")).input == '{"a":1}'


async def test_a_rollback_takes_the_job_with_it(store: SQLiteStore, bench: Bench, theirs: sqlite3.Connection) -> None:
    theirs.execute("INSERT INTO orders VALUES ('o1')")
    await store.add([make_job("a")], within=theirs)
    await store.write([Record(kind="k", name="n", written_at=5)], within=theirs)
    theirs.rollback()
    assert await bench.gone("a")
    assert await store.read("k", "n") is None
    assert theirs.execute("SELECT count(*) FROM orders").fetchone() == (0,)


async def test_where_python_has_not_begun_yet_the_transaction_is_begun(
    store: SQLiteStore, bench: Bench, theirs: sqlite3.Connection
) -> None:
    with theirs:
        await store.add([make_job("a")], within=theirs)
        assert theirs.in_transaction
        assert await bench.gone("a")
    assert not await bench.gone("a")


async def test_a_connection_that_commits_each_statement_needs_a_begin(
    store: SQLiteStore, bench: Bench, other: sqlite3.Connection
) -> None:
    with pytest.raises(DefinitionError, match=r"no transaction is open\. Execute BEGIN first"):
        await store.add([make_job("a")], within=other)
    other.execute("BEGIN")
    await store.add([make_job("a")], within=other)
    other.execute("COMMIT")
    assert not await bench.gone("a")


async def test_a_failure_undoes_ours_alone(store: SQLiteStore, bench: Bench, theirs: sqlite3.Connection) -> None:
    theirs.execute("INSERT INTO orders VALUES ('o1')")
    theirs.execute("PRAGMA max_page_count = 1")
    with pytest.raises(StoreFull):
        await store.add([make_job(f"{n}", input=f'"{"x" * 10_000}"') for n in range(100)], within=theirs)
    assert theirs.in_transaction
    theirs.commit()
    assert theirs.execute("SELECT id FROM orders").fetchall() == [("o1",)]
    assert await bench.gone("0")


async def test_a_lock_held_by_another_is_told(
    store: SQLiteStore, theirs: sqlite3.Connection, other: sqlite3.Connection
) -> None:
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable, match="locked"):
        await store.add([make_job("a")], within=theirs)
    assert not theirs.in_transaction


async def test_a_save_and_a_swap_in_the_callers_transaction(
    store: SQLiteStore, bench: Bench, theirs: sqlite3.Connection
) -> None:
    [job] = await bench.take(make_job("a"))
    with theirs:
        saved, lost = await store.save([job.evolve(progress="1"), job.evolve(id="b")], within=theirs)
        assert saved is not None
        assert lost is None
    assert (await bench.row("a")).progress == "1"


async def test_the_callers_ways_of_reading_are_left_alone(store: SQLiteStore, theirs: sqlite3.Connection) -> None:
    theirs.row_factory = sqlite3.Row
    theirs.text_factory = bytes
    with theirs:
        first = await store.add([make_job("é")], within=theirs)
        assert await store.add([make_job("é")], within=theirs) == first
    assert theirs.row_factory is sqlite3.Row
    assert theirs.text_factory is bytes


async def test_what_is_no_transaction_of_this_store(store: SQLiteStore, tmp_path: Path) -> None:
    elsewhere = sqlite3.connect(tmp_path / "elsewhere.db")
    elsewhere.execute("CREATE TABLE t (x)")
    closed = sqlite3.connect(tmp_path / "jobs.db")
    closed.close()
    with closing(elsewhere), closing(sqlite3.connect(":memory:")) as memory:
        cases: list[tuple[Any, str]] = [
            (elsewhere, "elsewhere.db'. Expected the store's file"),
            (memory, "':memory:'"),
            (closed, "closed database"),
            ("BEGIN", "str is not a transaction of this store"),
        ]
        for within, told in cases:
            with pytest.raises(DefinitionError, match=told):
                await store.add([make_job("a")], within=within)


async def test_a_store_in_memory_has_no_other_connections() -> None:
    store = SQLiteStore("sqlite://:memory:")
    await store.open()
    with closing(sqlite3.connect(":memory:")) as connection, pytest.raises(DefinitionError, match="in memory"):
        await store.add([make_job("a")], within=connection)
    await store.close()
