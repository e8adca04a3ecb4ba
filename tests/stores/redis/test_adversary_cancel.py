"""Calls that are cancelled, and stores that are closed, at any moment: nothing is left, and the next call works."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest

from mainspring.core.ids import new_id, new_token
from mainspring.core.job import Job, State
from mainspring.core.records import GATE, Record, queue_gate
from mainspring.errors import StoreUnavailable
from mainspring.stores.base import Beat, Event, LogLine, Query
from mainspring.stores.redis import RedisStore
from tests.factory import LEASE, NOW, FakeClock, make_job
from tests.servers.redis import RedisServer
from tests.stores.redis.rig import server_of, until

Call = Callable[[RedisStore], Coroutine[Any, Any, object]]
EVENT = Event(job_id="j", task="t", queue="default", kind="state", status="completed", at=NOW)
TURNS = [*range(12), 15, 20, 30, 50]
"""Turns of the event loop after which a call is cut off."""


async def claim(store: RedisStore, limit: int = 10) -> list[Job]:
    return (await store.claim("default", {"t": None}, "w:1", new_token(), NOW, NOW + LEASE, limit)).jobs


async def settle(store: RedisStore) -> object:
    return await store.save([job.evolve(state=State.COMPLETED, expires_at=NOW) for job in await claim(store)])


async def follow(store: RedisStore) -> None:
    stream = store.subscribe()
    try:
        async for _ in stream:
            await store.publish([EVENT])
    finally:
        await stream.aclose()


async def move_gate(store: RedisStore) -> None:
    [gate] = await store.write([Record(kind=GATE, name=queue_gate(new_id()), written_at=NOW)])
    assert gate is not None
    await store.erase(gate)


CALLS: dict[str, Call] = {
    "add": lambda store: store.add([make_job() for _ in range(20)]),
    "claim": claim,
    "large claim": lambda store: claim(store, 500),
    "settle": settle,
    "renew": lambda store: store.renew([Beat("j", "t")], NOW),
    "get": lambda store: store.get(["a", "b"]),
    "find": lambda store: store.find(Query(error="no")),
    "count": lambda store: store.count(Query(worker="nobody")),
    "gate": move_gate,
    "append": lambda store: store.append([LogLine("j", 1, NOW, "info", "x")], 5),
    "purge": lambda store: store.purge(NOW, 10),
    "wait": lambda store: store.wait(["default"], 20),
    "wake": lambda store: store.wake("default"),
    "follow": follow,
    "facts": lambda store: store.facts(),
}
calls = pytest.mark.parametrize("call", list(CALLS))


@pytest.fixture(scope="module")
def server() -> Any:
    with server_of("valkey8") as server:
        yield server


@pytest.fixture
async def store(server: RedisServer) -> AsyncIterator[RedisStore]:
    store = RedisStore(server.url, FakeClock())
    await store.open()
    await store.add([make_job(input='"' + "x" * 10_000 + '"') for _ in range(150)])
    yield store
    await store.close()
    await until(lambda: connections(server) == 0, "all connections to be closed")
    server.flush()


def connections(server: RedisServer) -> int:
    return str(server.command("CLIENT", "LIST")).count(" name=mainspring ")


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


@calls
async def test_a_call_that_is_cancelled_leaves_nothing_behind(
    call: str, store: RedisStore, server: RedisServer
) -> None:
    for count in TURNS:
        task = asyncio.create_task(CALLS[call](store))
        await turns(count)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert await store.get(["none"]) == [None]
    assert connections(server) <= 4, "the shared one, two spare ones, and one that is being hung up"
    while await claim(store, 500):
        pass
    await store.add([make_job("last")])
    assert await store.wait(["default"], 20)
    assert [job.id for job in await claim(store)] == ["last"]


@calls
async def test_a_store_that_is_closed_during_a_call_says_so(call: str, store: RedisStore, server: RedisServer) -> None:
    for count in TURNS:
        other = RedisStore(server.url, FakeClock())
        await other.open()
        task = asyncio.create_task(CALLS[call](other))
        await turns(count)
        async with asyncio.timeout(60):
            await other.close()
            [answer] = await asyncio.gather(task, return_exceptions=True)
        assert not isinstance(answer, BaseException) or isinstance(answer, StoreUnavailable), repr(answer)
        await until(lambda: connections(server) <= 3, "its connections to be closed")


async def test_an_open_that_is_cancelled_leaves_nothing_behind(server: RedisServer) -> None:
    for count in TURNS:
        store = RedisStore(server.url, FakeClock())
        task = asyncio.create_task(store.open())
        await turns(count)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await store.close()
    await until(lambda: connections(server) == 0, "all connections to be closed")


async def test_many_waits_that_are_cancelled_at_once_keep_the_hint(store: RedisStore, server: RedisServer) -> None:
    while await claim(store, 500):
        pass
    waits = [asyncio.create_task(store.wait(["default"], 20)) for _ in range(30)]
    await until(lambda: int(server.command("INFO", "clients")["blocked_clients"]) == 30, "all to wait")
    for wait in waits:
        wait.cancel()
    await store.add([make_job("new")])
    await asyncio.gather(*waits, return_exceptions=True)
    assert await store.wait(["default"], 20)
    assert [job.id for job in await claim(store)] == ["new"]
