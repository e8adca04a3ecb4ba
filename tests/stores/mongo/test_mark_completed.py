"""`ctx.mark_completed` on MongoDB: a transaction that is open over many beats completes its job when it commits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pymongo import AsyncMongoClient

from mainspring import Context, Mainspring, Retry
from mainspring.core.job import Job
from mainspring.errors import LeaseLost
from mainspring.process.supervisor import lapse_leases
from tests.servers.shared import SharedMongo
from tests.stores.mongo.rig import until

QUICK: dict[str, Any] = {"lease": 3, "beat": 0.4, "poll": 0.5, "concurrency": 10}
BEATS = 7
"""For so many beats a transaction stays open."""


class Shop:
    """An app, and a client of the handlers' own, with orders as effects."""

    def __init__(self, url: str) -> None:
        self.app = Mainspring(url)
        self.client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(url)
        self.orders = self.client.get_default_database()["orders"]

    async def order(self, session: Any, by: str) -> None:
        """Through the client of the session, as MongoDB demands."""
        await session.client[self.orders.database.name]["orders"].insert_one({"by": by}, session=session)

    async def sold(self) -> list[str]:
        return sorted([row["by"] async for row in self.orders.find({"by": {"$ne": ""}})])


@pytest.fixture
async def shop(mongo_server: SharedMongo, mongo_database: str) -> AsyncIterator[Shop]:
    shop = Shop(mongo_server.url_of(mongo_database))
    await shop.app.open()
    await shop.orders.insert_one({"by": ""})
    yield shop
    await shop.client.close()
    await shop.app.close()


async def beats(shop: Shop, job: Job, many: int = BEATS) -> None:
    """Until the heartbeat has written this row so many times."""
    jobs = shop.client.get_default_database()["mainspring_jobs"]

    async def beaten() -> bool:
        row = await jobs.find_one({"_id": job.id}, {"version": 1})
        return row is not None and row["version"] >= job.version + many

    await until(beaten, f"{many} beats")


@pytest.mark.parametrize("own", ["the app's", "their own"])
@pytest.mark.parametrize("ends", ["commits", "aborts", "raises afterwards"])
async def test_a_long_transaction_and_the_other_leases_of_its_worker(shop: Shop, own: str, ends: str) -> None:
    """Beats are counted on the neighbours, for the job itself is left in peace or beaten: both are right."""
    ran: list[str] = []
    go_on = asyncio.Event()
    neighbours: list[Job] = []

    @shop.app.task
    async def neighbour(ctx: Context, n: int) -> None:
        neighbours.append(ctx.job)
        await go_on.wait()
        ran.append(f"neighbour {n}")

    async def work(ctx: Context, session: Any) -> None:
        await shop.order(session, f"run {ctx.fence}")
        await ctx.mark_completed("sold", session=session)
        await beats(shop, neighbours[0])
        if ends == "aborts" and ctx.attempt == 1:
            raise ValueError("no stock")

    @shop.app.task(retry=Retry(max_attempts=2, initial_delay=0))
    async def sell(ctx: Context) -> str:
        ran.append("sell")
        if own == "the app's":
            async with ctx.transaction() as session:
                await work(ctx, session)
        else:
            async with shop.client.start_session() as session, await session.start_transaction():
                await beats(shop, neighbours[1])
                await work(ctx, session)
        if ends == "raises afterwards":
            raise RuntimeError("too late")
        return "sold"

    async with shop.app.worker(**QUICK):
        await shop.app.enqueue_many([neighbour.job(n) for n in range(5)])
        await until(lambda: len(neighbours) == 5, "the neighbours to begin")
        job = await sell.enqueue()
        assert await job.result(timeout=60) == "sold"
        go_on.set()
        await until(lambda: len(ran) >= 5 + (2 if ends == "aborts" else 1), "all to end")
    row = await job.get()
    runs = [run.outcome for run in row.runs]
    assert runs == (["failed", "succeeded"] if ends == "aborts" else ["succeeded"])
    assert await shop.sold() == ["run 2" if ends == "aborts" else "run 1"]
    assert sorted(ran) == sorted([f"neighbour {n}" for n in range(5)] + ["sell"] * len(runs)), "none runs twice"


async def test_a_stale_worker_does_not_commit(shop: Shop) -> None:
    """It has lost its job to another one while its transaction was open."""
    told: list[BaseException] = []
    lapsed = asyncio.Event()

    @shop.app.task
    async def sell(ctx: Context) -> str:
        if ctx.fence == 2:
            async with ctx.transaction() as session:
                await shop.order(session, "run 2")
                await ctx.mark_completed("newer", session=session)
            lapsed.set()
            return "newer"
        stale.pause()
        await lapse_leases(stale.store, stale.id, stale.clock.now())
        try:
            async with ctx.transaction() as session:
                await shop.order(session, "run 1")
                async with shop.app.worker(**QUICK):
                    await lapsed.wait()
                await ctx.mark_completed("stale", session=session)
        except (LeaseLost, asyncio.CancelledError) as error:
            told.append(error)
            raise
        return "stale"

    async with shop.app.worker(**QUICK) as stale:
        job = await sell.enqueue()
        assert await job.result(timeout=60) == "newer"
        await until(lambda: told, "the stale run to be told")
    assert await shop.sold() == ["run 2"]
    assert [run.outcome for run in (await job.get()).runs] == ["interrupted", "succeeded"]
