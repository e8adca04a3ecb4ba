"""Idle workers: one job wakes one of them, and they cost the server next to nothing."""

from __future__ import annotations

import asyncio
import re
import socket
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from time import monotonic, perf_counter

import pytest

from mainspring.core.ids import new_token
from mainspring.core.job import Job
from mainspring.stores.base import Store
from mainspring.stores.redis import RedisStore
from tests.factory import NOW, FakeClock, make_job
from tests.servers import namespaces
from tests.servers.shared import Shared
from tests.stores.redis.rig import ONE, rig_to, server_of, turn, until

pytestmark = pytest.mark.slow  # seconds in all, and others show the essentials quickly

WAIT = 20.0
WAITERS = 4
QUIET = 0.1
"""Seconds in which whoever was woken would have said so: it takes a millisecond."""


@asynccontextmanager
async def idle_stores(server: Shared, namespace: str) -> AsyncIterator[list[Store]]:
    """Stores that have claimed in vain."""
    async with AsyncExitStack() as stack:
        stores: list[Store] = []
        for _ in range(WAITERS):
            store = RedisStore(f"{server.url}?namespace={namespace}", FakeClock())
            await store.open()
            stack.push_async_callback(store.close)
            assert await claim(store) == []
            stores.append(store)
        yield stores
    namespaces.drop(server.url, namespace)


async def claim(store: Store, limit: int = 1) -> list[Job]:
    return (await store.claim("default", {"t": None}, "w:1", new_token(), NOW, NOW + 15_000, limit)).jobs


class Waits:
    """Waits under way, of which those that have returned are taken out one by one."""

    def __init__(self, stores: list[Store]) -> None:
        self.stores = {asyncio.create_task(store.wait(["default"], WAIT)): store for store in stores}

    async def all_wait(self, server: Shared) -> None:
        await until(lambda: blocked(server) >= len(self.stores), "all to wait")

    async def woken(self) -> list[Store]:
        """Those that return within a moment."""
        await turn(QUIET)
        done = [task for task in self.stores if task.done()]
        assert all([await task for task in done]), "woken, not timed out"
        return [self.stores.pop(task) for task in done]

    async def end(self) -> None:
        for task in self.stores:
            task.cancel()
        await asyncio.gather(*self.stores, return_exceptions=True)


def blocked(server: Shared) -> int:
    return int(server.command("INFO", "clients")["blocked_clients"])


async def test_one_job_wakes_one_of_many(redis_server: Shared) -> None:
    async with idle_stores(redis_server, "one-of-many") as stores:
        waits = Waits(stores)
        await waits.all_wait(redis_server)
        for left in range(WAITERS - 1, -1, -1):
            await stores[0].add([make_job()])
            [store] = await waits.woken()
            assert len(waits.stores) == left
            assert len(await claim(store)) == 1, "there is something to claim for it"
        await waits.end()


async def test_a_batch_wakes_one_after_the_other_and_no_more_than_it_needs(redis_server: Shared) -> None:
    async with idle_stores(redis_server, "batch") as stores:
        waits = Waits(stores)
        await waits.all_wait(redis_server)
        await stores[0].add([make_job() for _ in range(3)])
        claimed = 0
        while claimed < 3:
            [store] = await waits.woken()
            claimed += len(await claim(store))
        assert await waits.woken() == []
        assert len(waits.stores) == 1
        await waits.end()


async def test_who_has_room_for_all_wakes_nobody_else(redis_server: Shared) -> None:
    async with idle_stores(redis_server, "room") as stores:
        waits = Waits(stores)
        await waits.all_wait(redis_server)
        await stores[0].add([make_job() for _ in range(10)])
        [store] = await waits.woken()
        assert len(await claim(store, 10)) == 10
        assert await waits.woken() == []
        await waits.end()


async def test_a_job_wakes_nobody_who_cannot_run_it(redis_server: Shared) -> None:
    async with idle_stores(redis_server, "cannot") as stores:
        waits = Waits(stores)
        await waits.all_wait(redis_server)
        await stores[0].add([make_job(task="unknown")])
        assert await waits.woken() == []
        await waits.end()


@ONE
async def test_a_job_is_picked_up_at_once(kind: str) -> None:
    """By an idle worker, as its own event loop sees it: by a hint, for its poll never comes. How soon is printed."""
    with server_of(kind) as server:
        async with rig_to(server.url) as rig, rig.app.worker(poll=600):
            await rig.goes_on()
            times = []
            for n in range(1_000, 1_030):
                begun = perf_counter()
                await rig.job.enqueue(n)
                while not rig.begun[n]:
                    await asyncio.sleep(0)
                times.append(perf_counter() - begun)
            print(f"picked up after {sorted(times)[15] * 1_000:.1f} ms")


@pytest.mark.slow
@ONE
async def test_an_idle_worker_sends_next_to_nothing(kind: str) -> None:
    """With the defaults. What scripts call inside is not sent, and is told apart by MONITOR."""
    with server_of(kind) as server:
        async with rig_to(server.url) as rig, rig.app.worker():
            await rig.goes_on()
            await turn(1)
            seconds = 10.0
            sent = await asyncio.to_thread(monitored, server.port, seconds)
            assert sent["BLPOP"]
            print(f"{sum(sent.values()) / seconds:.2f} commands a second: {dict(sent)}")
            assert sum(sent.values()) / seconds <= 2


def monitored(port: int, seconds: float) -> Counter[str]:
    """What clients send in that time, by command."""
    heard, end = b"", monotonic() + seconds
    with socket.create_connection(("127.0.0.1", port)) as monitor:
        monitor.sendall(b"MONITOR\r\n")
        while (left := end - monotonic()) > 0:
            monitor.settimeout(left)
            try:
                heard += monitor.recv(65_536)
            except TimeoutError:
                break
    lines = re.findall(r"^\+[\d.]+ \[\d+ (\S+)\] \"(\w+)\"", heard.decode(errors="replace"), re.MULTILINE)
    return Counter(command.upper() for who, command in lines if who != "lua")
