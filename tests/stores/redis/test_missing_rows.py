"""A row that is gone (evicted, deleted by hand) stops nobody else."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from mainspring.core.job import State
from mainspring.stores import open_store
from mainspring.stores.base import Query, Store
from tests.factory import LEASE, NOW, make_job
from tests.servers.redis import RedisServer

NAMESPACE = "missing"


@pytest.fixture
async def store(redis_server: RedisServer) -> AsyncIterator[Store]:
    store = open_store(f"{redis_server.url}?namespace={NAMESPACE}", time=lambda: NOW)
    await store.open()
    yield store
    await store.close()
    for key in redis_server.command("KEYS", f"{{{NAMESPACE}}}:*"):
        redis_server.command("DEL", key)


async def claim(store: Store, now: int = NOW) -> list[str]:
    claim = await store.claim("default", {"t": None}, "w:1", f"token-{now}", now, now + LEASE, 10)
    assert claim.next_due is None or claim.next_due > now
    return [job.id for job in claim.jobs]


def forget(server: RedisServer, id: str) -> None:
    assert server.command("DEL", f"{{{NAMESPACE}}}:job:{id}") == 1


async def test_of_a_waiting_job(store: Store, redis_server: RedisServer) -> None:
    await store.add([make_job(id) for id in "abc"])
    forget(redis_server, "b")
    assert await claim(store) == ["a", "c"]
    assert await claim(store) == []


async def test_of_all_that_waits(store: Store, redis_server: RedisServer) -> None:
    await store.add([make_job("a")])
    forget(redis_server, "a")
    assert await claim(store) == []
    await store.add([make_job("b")])
    assert await claim(store) == ["b"]


async def test_of_a_running_job(store: Store, redis_server: RedisServer) -> None:
    await store.add([make_job(id) for id in "ab"])
    assert await claim(store) == ["a", "b"]
    forget(redis_server, "a")
    assert [job.id for job in (await store.find(Query(states=(State.RUNNING,)))).jobs] == ["b"]
    assert await claim(store, NOW + LEASE) == ["b"]


async def test_of_a_finished_job(store: Store, redis_server: RedisServer) -> None:
    await store.add([make_job(id, state=State.COMPLETED, expires_at=NOW) for id in "ab"])
    forget(redis_server, "a")
    assert [job.id for job in (await store.find(Query())).jobs] == ["b"]
    await store.purge(NOW, 10)
    assert (await store.find(Query())).jobs == []
    assert await store.purge(NOW, 10) == 0


async def test_its_id_is_free(store: Store, redis_server: RedisServer) -> None:
    await store.add([make_job("a")])
    forget(redis_server, "a")
    [row] = await store.add([make_job("a")])
    assert row.version == 1
    assert await claim(store) == ["a"]
