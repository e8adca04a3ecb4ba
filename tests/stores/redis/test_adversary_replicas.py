"""`?replicas=` where a replica is away: what was promised is kept, and who asked for nothing is not held up."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from mainspring.errors import StoreUnavailable
from mainspring.stores.redis import RedisStore
from tests.factory import FakeClock, make_job
from tests.servers.redis import RedisServer
from tests.servers.waiting import until
from tests.stores.redis.rig import EVERY, ONE, turn


@pytest.fixture
def pair(kind: str) -> Iterator[tuple[RedisServer, RedisServer]]:
    """A master, and a replica that is in step."""
    with RedisServer.started(kind) as master, RedisServer.started(kind) as replica:
        replica.command("REPLICAOF", "127.0.0.1", master.port)
        until(lambda: replica.info("replication")["master_link_status"] == "up", "the replica is in step")
        until(lambda: master.command("WAIT", 1, 100) == 1, "the replica to answer")
        yield master, replica
        if replica.running:
            replica.thaw()


async def opened(master: RedisServer) -> RedisStore:
    store = RedisStore(f"{master.url}?replicas=1&timeout=1s", FakeClock())
    await store.open()
    return store


@EVERY
async def test_an_add_that_is_repeated_elsewhere_does_not_promise_more(
    kind: str, pair: tuple[RedisServer, RedisServer]
) -> None:
    """Its row is there already, so it writes nothing; the replica has not got the row all the same."""
    master, replica = pair
    first, second = await opened(master), await opened(master)
    await first.add([make_job("before")])
    replica.freeze()
    for store in (first, first, second, second):
        with pytest.raises(StoreUnavailable, match="0 of 1 have it"):
            await store.add([make_job("a")])
    replica.thaw()
    await second.add([make_job("a")])
    assert replica.command("EXISTS", "{mainspring}:job:a") == 1
    await first.close()
    await second.close()


@ONE
async def test_other_calls_do_not_wait_for_the_replicas(kind: str, pair: tuple[RedisServer, RedisServer]) -> None:
    master, replica = pair
    store = await opened(master)
    await store.add([make_job("before")])
    replica.freeze()
    adding = [asyncio.create_task(store.add([make_job()])) for _ in range(5)]
    await turn(0.05)
    assert await store.get(["none"]) == [None]
    assert not any(add.done() for add in adding)
    assert all(isinstance(answer, StoreUnavailable) for answer in await asyncio.gather(*adding, return_exceptions=True))
    await store.close()
