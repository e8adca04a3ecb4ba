"""A single server without replica set: what works, what is refused, and that it is said."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from mainspring import Mainspring
from mainspring.core.job import State
from mainspring.errors import DefinitionError
from mainspring.stores import open_store
from mainspring.stores.base import Query
from tests.factory import NOW, make_job
from tests.servers import databases
from tests.servers.mongo import MongoServer, client
from tests.stores.mongo.rig import claim, store_at

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def single() -> Iterator[MongoServer]:
    with MongoServer.started(replica_set=False) as server:
        yield server


@pytest.fixture
def url(single: MongoServer, tmp_path: Path) -> Iterator[str]:
    name = databases.name_for(tmp_path)
    yield single.url_of(name)
    single.client.drop_database(name)


async def test_it_is_said_once_what_is_weaker(url: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "mainspring"):
        async with store_at(url) as store:
            other = store.clone()
            await other.open()
            await other.close()
    [said] = sayings(caplog)
    assert said.levelno == logging.WARNING
    for weaker in ("no transactions", "no other member", "crash", "--replSet"):
        assert weaker in said.getMessage()


async def test_an_app_says_it_as_it_opens_and_its_worker_does_not_say_it_again(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    app = Mainspring(url)

    @app.task
    async def work() -> None: ...

    with caplog.at_level(logging.WARNING, "mainspring"):
        await app.open()
        assert len(sayings(caplog)) == 1
        async with app.worker():
            await (await work.enqueue()).result(timeout=60)
        await app.close()
    assert len(sayings(caplog)) == 1


def sayings(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if getattr(record, "event", "") == "store.standalone"]


async def test_a_whole_app_runs_there(url: str) -> None:
    async with Mainspring(url) as app:
        running: list[int] = []
        most = 0

        @app.task(max_concurrency=3)
        async def work(n: int) -> int:
            nonlocal most
            running.append(n)
            most = max(most, len(running))
            await asyncio.sleep(0)
            running.remove(n)
            return n

        async with app.worker(concurrency=10):
            jobs = await app.enqueue_many([work.job(n) for n in range(30)])
            assert [await job.result(timeout=60) for job in jobs] == list(range(30))
    assert most <= 3


async def test_caps_hold_among_many_who_claim_at_once(url: str) -> None:
    stores = [open_store(url, time=lambda: NOW) for _ in range(8)]
    await asyncio.gather(*(store.open() for store in stores))
    try:
        await stores[0].add([make_job() for _ in range(100)])
        for cap in (3, 4, 7):
            await asyncio.gather(*(claim(store, {"t": cap}, limit=5) for store in stores))
            held = sum(row.jobs for row in await stores[0].count(Query(states=(State.RUNNING,))))
            assert held == cap, "exactly, and all of it used"
    finally:
        await asyncio.gather(*(store.close() for store in stores))


async def test_transactions_are_refused_with_what_to_do(url: str) -> None:
    async with store_at(url) as store:
        with pytest.raises(DefinitionError, match="single server") as caught:
            async with store.transaction():
                pass
        assert "mongod --replSet, then rs.initiate()" in str(caught.value)


async def test_a_session_of_a_callers_is_refused(single: MongoServer, url: str) -> None:
    with client(single.url) as theirs, theirs.start_session() as session:
        async with store_at(url) as store:
            session.start_transaction()
            with pytest.raises(DefinitionError, match="replica set"):
                await store.add([make_job("never")], within=session)
            assert await store.get(["never"]) == [None]
            session.abort_transaction()
