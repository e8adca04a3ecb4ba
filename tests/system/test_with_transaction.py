"""`app.with_transaction`: the caller's writes and its jobs commit together, and lost races are run again."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from mainspring import DefinitionError, Mainspring, StoreUnavailable, Task
from mainspring.stores import open_store
from mainspring.testing import FakeClock, Outages, unreliable
from tests.system.conftest import count


@pytest.fixture
def outages() -> Outages:
    return Outages()


@pytest.fixture
async def app(outages: Outages, tmp_path: Path, clock: FakeClock) -> AsyncIterator[Mainspring]:
    app = Mainspring(unreliable(open_store(f"sqlite:///{tmp_path}/jobs.db", clock.now), outages), clock=clock)
    await app.open()
    with closing(sqlite3.connect(tmp_path / "jobs.db")) as connection:
        connection.execute("CREATE TABLE orders (id INTEGER)")
    yield app
    await app.close()


@pytest.fixture
def ship(app: Mainspring) -> Task[[int], None]:
    @app.task
    def ship(order: int) -> None: ...

    return ship


def orders(folder: Path) -> int:
    with closing(sqlite3.connect(folder / "jobs.db")) as connection:
        return int(connection.execute("SELECT count(*) FROM orders").fetchone()[0])


async def test_it_commits_and_answers_the_value(app: Mainspring, ship: Task[[int], None], tmp_path: Path) -> None:
    async def order(session: sqlite3.Connection) -> str:
        session.execute("INSERT INTO orders VALUES (1)")
        handle = await ship.options(session=session).enqueue(1)
        assert await count(app) == 0
        return handle.id

    id = await app.with_transaction(order)
    assert (orders(tmp_path), await count(app)) == (1, 1)
    assert (await app.get(id)).task == "ship"


async def test_an_exception_rolls_back_and_is_raised(app: Mainspring, ship: Task[[int], None], tmp_path: Path) -> None:
    ran = 0

    async def order(session: sqlite3.Connection) -> None:
        nonlocal ran
        ran += 1
        session.execute("INSERT INTO orders VALUES (1)")
        await ship.options(session=session).enqueue(1)
        raise KeyError

    with pytest.raises(KeyError):
        await app.with_transaction(order)
    assert (ran, orders(tmp_path), await count(app)) == (1, 0, 0)


async def test_a_lost_race_is_run_again(
    app: Mainspring, outages: Outages, ship: Task[[int], None], tmp_path: Path
) -> None:
    ran = 0

    async def order(session: sqlite3.Connection) -> int:
        nonlocal ran
        ran += 1
        session.execute("INSERT INTO orders VALUES (1)")
        await ship.options(session=session).enqueue(1)  # the first two fail here
        return ran

    outages.fail_next(2, operation="transaction")
    outages.lose_answers(2, operation="add")
    assert await app.with_transaction(order) == 3
    assert (orders(tmp_path), await count(app)) == (1, 1)


async def test_it_gives_up_after_its_time(app: Mainspring, clock: FakeClock, tmp_path: Path) -> None:
    ran = 0

    async def order(session: sqlite3.Connection) -> None:
        nonlocal ran
        ran += 1
        session.execute("INSERT INTO orders VALUES (1)")
        await clock.advance("20s")
        raise StoreUnavailable("lost against another writer")

    with pytest.raises(StoreUnavailable, match="lost against"):
        await app.with_transaction(order, timeout="1m")
    assert (ran, orders(tmp_path)) == (3, 0)


async def test_from_synchronous_code(app: Mainspring, tmp_path: Path) -> None:
    import asyncio

    async def order(session: sqlite3.Connection) -> int:
        session.execute("INSERT INTO orders VALUES (1)")
        return 7

    assert await asyncio.to_thread(app.sync, app.with_transaction, order) == 7
    await asyncio.to_thread(app.sync.close)
    assert orders(tmp_path) == 1


async def test_a_store_without_transactions_refuses() -> None:
    async def nothing(session: object) -> None: ...

    async with Mainspring("sqlite://:memory:") as app:
        with pytest.raises(DefinitionError, match="no transactions"):
            await app.with_transaction(nothing)
