"""A server whose memory is full: what is new is refused, and all that makes room goes on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mainspring import Mainspring
from mainspring.core.job import State
from mainspring.errors import StoreFull
from mainspring.stores.base import Query
from tests.servers.redis import RedisServer
from tests.stores.redis.rig import kinds, until

NEW = pytest.mark.parametrize("full", kinds("redis7", "valkey8"), indirect=True)
OLD = pytest.mark.parametrize("full", kinds("redis62"), indirect=True)


@pytest.fixture
def full(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    """To be filled by `fill`."""
    with RedisServer.started(request.param) as server:
        yield server


def fill(server: RedisServer) -> None:
    server.command("CONFIG", "SET", "maxmemory", "1")


def make_app(server: RedisServer) -> Mainspring:
    app = Mainspring(server.url)

    @app.task(queue="numbers")
    async def job(n: int) -> int:
        return n

    return app


async def waiting(app: Mainspring) -> int:
    counts = await (await app.connect()).store.count(Query(states=(State.WAITING, State.RUNNING)))
    return sum(count.jobs for count in counts)


async def enqueue(app: Mainspring, many: int) -> None:
    task = app.tasks["job"]
    await app.enqueue_many([task.job(n) for n in range(many)])


@NEW
async def test_a_full_server_refuses_what_is_new_and_works_off_what_is_there(full: RedisServer) -> None:
    async with make_app(full) as app:
        await enqueue(app, 100)
        fill(full)
        with pytest.raises(StoreFull):
            await enqueue(app, 1)
        async with app.worker():
            await until(lambda: drained(app), "what was there to end")
        assert await (await app.connect()).store.purge(app.clock.now() + 10**9, 500) >= 100


async def drained(app: Mainspring) -> bool:
    return await waiting(app) == 0


@NEW
async def test_a_queue_of_a_full_server_can_be_paused_and_resumed(full: RedisServer) -> None:
    async with make_app(full) as app:
        await enqueue(app, 1)
        fill(full)
        await app.queues.pause("numbers")
        assert await app.queues.is_paused("numbers")
        await app.queues.resume("numbers")
        assert not await app.queues.is_paused("numbers")


@OLD
async def test_an_old_server_that_is_full_stands_still_until_there_is_room(full: RedisServer) -> None:
    async with make_app(full) as app:
        await enqueue(app, 10)
        async with app.worker(queues=["numbers"], poll=0.2):
            await until(lambda: drained(app), "the first ones to end")
            fill(full)
            with pytest.raises(StoreFull):
                await enqueue(app, 1)
            full.command("CONFIG", "SET", "maxmemory", "0")
            await enqueue(app, 10)
            await until(lambda: drained(app), "the others to end")
