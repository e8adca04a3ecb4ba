"""Collections that somebody drops while processes run."""

from __future__ import annotations

from typing import Any

import pytest
from pymongo import AsyncMongoClient

from mainspring import Mainspring
from mainspring.stores import open_store
from mainspring.stores.base import Query
from tests.stores.mongo.rig import until


@pytest.mark.slow
@pytest.mark.parametrize("what", ["meta", "database"])
async def test_a_worker_goes_on(url: str, database: Any, what: str) -> None:
    async with Mainspring(url) as app:

        @app.task
        async def double(n: int) -> int:
            return 2 * n

        async with app.worker(beat="200ms", poll="200ms"):
            assert await (await double.enqueue(1)).result(timeout=60) == 2
            if what == "meta":
                database.drop_collection("mainspring_meta")
            else:
                database.client.drop_database(database.name)
            await until(lambda: database["mainspring_meta"].find_one(), "a beat to make it again", 60)
            assert await (await double.enqueue(4)).result(timeout=60) == 8


async def test_a_clock_that_is_asked_makes_it_again(url: str, database: Any) -> None:
    store = open_store(url)
    await store.open()
    try:
        before = await store.time()
        database.drop_collection("mainspring_meta")
        assert await store.time() >= before
        assert database["mainspring_meta"].count_documents({}) == 1
    finally:
        await store.close()


async def test_a_transaction_of_a_client_that_is_new_is_of_this_database_all_the_same(url: str, database: Any) -> None:
    async with Mainspring(url) as app, AsyncMongoClient[dict[str, Any]](url) as theirs:

        @app.task
        def ship(order: int) -> None: ...

        database.drop_collection("mainspring_meta")
        async with Mainspring(url) as other, theirs.start_session() as session:
            await other.connect()
            await session.start_transaction()
            await ship.options(session=session).enqueue(1)
            await session.commit_transaction()
        assert sum(row.jobs for row in await (await app.connect()).store.count(Query())) == 1
