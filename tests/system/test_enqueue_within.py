"""Enqueueing within the caller's own transaction: the job exists when it commits, and not before."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from mainspring import DefinitionError, Mainspring
from mainspring.testing import FakeClock
from tests.system.conftest import claim, count, run_one


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/jobs.db"


@pytest.fixture
async def connection(app: Mainspring, tmp_path: Path) -> AsyncIterator[sqlite3.Connection]:
    await app.open()
    with closing(sqlite3.connect(tmp_path / "jobs.db", isolation_level=None)) as connection:
        connection.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY)")
        yield connection


async def test_commit_makes_the_job_and_rollback_makes_none(app: Mainspring, connection: sqlite3.Connection) -> None:
    @app.task
    def ship(order: int) -> None: ...

    for end, expected in [("ROLLBACK", 0), ("COMMIT", 1)]:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT INTO orders VALUES (1)")
        handle = await ship.options(within=connection).enqueue(1)
        assert await count(app) == 0, "nobody sees it yet"
        connection.execute(end)
        assert await count(app) == expected
        assert connection.execute("SELECT count(*) FROM orders").fetchone() == (expected,)
    assert await handle.status() == "pending"
    assert [job.id for job in await claim(app)] == [handle.id]


async def test_many_at_once_are_all_or_nothing(app: Mainspring, connection: sqlite3.Connection) -> None:
    @app.task
    def ship(order: int) -> None: ...

    connection.execute("BEGIN IMMEDIATE")
    await app.enqueue_many([ship.job(n) for n in range(700)], within=connection)
    connection.execute("ROLLBACK")
    assert await count(app) == 0
    connection.execute("BEGIN IMMEDIATE")
    await app.enqueue_many([ship.job(n) for n in range(700)], within=connection)
    connection.execute("COMMIT")
    assert await count(app) == 700


async def test_a_taken_key_is_answered_and_a_burst_joined_within(
    app: Mainspring, connection: sqlite3.Connection, clock: FakeClock
) -> None:
    @app.task(debounce="1s")
    def index(n: int) -> None: ...

    @app.task
    def charge() -> str:
        return ""

    first = await charge.options(idempotency_key="k").enqueue()
    burst = await index.enqueue(0)
    connection.execute("BEGIN IMMEDIATE")
    again = await charge.options(idempotency_key="k", within=connection).enqueue()
    await index.options(within=connection).enqueue(1)
    assert (await burst.get()).input == '{"n":0}'
    connection.execute("COMMIT")
    assert (again.id, again.created) == (first.id, False)
    assert (await burst.get()).input == '{"n":1}'


async def test_a_finished_holder_is_revived_within(app: Mainspring, connection: sqlite3.Connection) -> None:
    @app.task(unique=True)
    def build() -> str:
        return ""

    handle = await build.enqueue()
    await run_one(app)
    for end, status in [("ROLLBACK", "completed"), ("COMMIT", "pending")]:
        connection.execute("BEGIN IMMEDIATE")
        await build.options(within=connection).enqueue()
        connection.execute(end)
        assert await handle.status() == status


async def test_a_request_with_a_transaction_of_its_own_is_no_part_of_a_bulk(
    app: Mainspring, connection: sqlite3.Connection
) -> None:
    @app.task
    def ship(order: int) -> None: ...

    with pytest.raises(DefinitionError, match="within= of their own"):
        await app.enqueue_many([ship.options(within=connection).job(1)])
    assert await count(app) == 0


async def test_session_is_another_name_of_within(app: Mainspring, connection: sqlite3.Connection) -> None:
    @app.task
    def ship(order: int) -> None: ...

    for end, expected in [("ROLLBACK", 0), ("COMMIT", 4)]:
        connection.execute("BEGIN IMMEDIATE")
        await ship.options(session=connection).enqueue(1)
        await app.enqueue("ship", {"order": 2}, session=connection)
        await app.enqueue_many([ship.job(3), ship.job(4)], session=connection)
        connection.execute(end)
        assert await count(app) == expected
    with pytest.raises(DefinitionError, match="both within= and session="):
        ship.options(session=connection, within=connection)
    with pytest.raises(DefinitionError, match="both within= and session="):
        await app.enqueue_many([ship.job(1)], connection, session=connection)


async def test_a_connection_to_something_else_is_refused(app: Mainspring) -> None:
    @app.task
    def ship(order: int) -> None: ...

    with closing(sqlite3.connect(":memory:")) as other, pytest.raises(DefinitionError):
        await ship.options(within=other).enqueue(1)
    assert await count(app) == 0
