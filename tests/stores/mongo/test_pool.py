"""The smallest pool of connections that is allowed, and what is said when none is free."""

from __future__ import annotations

import asyncio

import pytest

from mainspring import Mainspring
from mainspring.errors import StoreUnavailable
from tests.factory import make_job
from tests.servers.mongo import MongoServer
from tests.stores.mongo.rig import store_at, with_options

pytestmark = pytest.mark.slow


async def test_a_worker_goes_on_with_the_smallest_pool_while_somebody_follows(hurt_url: str) -> None:
    async with Mainspring(with_options(hurt_url, maxPoolSize=4)) as app:

        @app.task
        async def double(n: int) -> int:
            return 2 * n

        jobs = await app.enqueue_many([double.job(n) for n in range(20)])
        async with asyncio.timeout(60), app.worker(concurrency=10):
            followed = [event.status async for event in jobs[-1].events()]
            assert followed[-1] == "completed"
            assert [await job.result() for job in jobs] == [2 * n for n in range(20)]


async def test_a_call_that_gets_no_connection_says_so(hurt_server: MongoServer, hurt_url: str) -> None:
    async with store_at(hurt_url, maxPoolSize=4, timeout=1) as store:
        with hurt_server.fail("insert", blockConnection=True, blockTimeMS=3_000, appName="mainspring"):
            calls = [store.add([make_job()]) for _ in range(10)]
            ended = await asyncio.gather(*calls, return_exceptions=True)
        said = [str(error) for error in ended if isinstance(error, StoreUnavailable)]
        assert len(said) == 10
        waited = [text for text in said if "connections of the pool were in use" in text]
        assert waited
        assert all("raise maxPoolSize" in text for text in waited)
