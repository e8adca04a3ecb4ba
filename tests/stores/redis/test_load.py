"""Many jobs and large ones: what a batch costs the server, by the server's own count."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from time import perf_counter
from typing import Any

import pytest

from mainspring.core.ids import new_id, new_token
from mainspring.core.job import Job
from mainspring.stores.base import BATCH_BYTES, BATCH_ROWS, Beat, LogLine
from mainspring.stores.redis import RedisStore
from tests.factory import NOW, FakeClock, make_job
from tests.servers.cluster import RedisCluster
from tests.servers.redis import RedisServer
from tests.servers.shared import shared_cluster
from tests.stores.redis.rig import ONE, server_of

LARGE = 256 * 1024


@asynccontextmanager
async def store_at(url: str) -> AsyncIterator[RedisStore]:
    store = RedisStore(url, FakeClock())
    await store.open()
    yield store
    await store.close()


async def fill(store: RedisStore, many: int, **fields: Any) -> None:
    for first in range(0, many, BATCH_ROWS):
        await store.add([make_job(new_id(), **fields) for _ in range(min(BATCH_ROWS, many - first))])


async def take(store: RedisStore, limit: int, **fields: Any) -> list[Job]:
    given: dict[str, Any] = {"queue": "default", "tasks": {"t": None}} | fields
    return (await store.claim(**given, worker="w:1", token=new_token(), now=NOW, until=NOW + 15_000, limit=limit)).jobs


# -- many --------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@ONE
async def test_one_urgent_job_passes_a_hundred_thousand_that_are_due(kind: str) -> None:
    with server_of(kind) as server:
        async with store_at(server.url) as store:
            await fill(store, 100_000, priority=10)
            await store.add([make_job("urgent", priority=90)])
            begun = perf_counter()
            jobs = await take(store, 1)
            print(f"claimed in {(perf_counter() - begun) * 1_000:.1f} ms among {server.command('DBSIZE')} keys")
            assert [job.id for job in jobs] == ["urgent"]
            assert [job.priority for job in await take(store, 1)] == [10]
            server.flush()


@ONE
async def test_a_claim_looks_at_as_few_jobs_among_many_as_among_none(kind: str) -> None:
    """Commands that a claim of one job costs the server: not one more for 5,000 that wait beside it."""
    with server_of(kind) as server:
        async with store_at(server.url) as store:
            await fill(store, 50)
            await take(store, 1)  # has the script loaded
            few = await cost(server, lambda: take(store, 1))
            await fill(store, 5_000)
            many = await cost(server, lambda: take(store, 1))
            assert calls(many) == calls(few)


# -- large -------------------------------------------------------------------------------------------------------------


@ONE
async def test_a_batch_of_a_hundred_large_inputs_blocks_nobody(kind: str) -> None:
    with server_of(kind) as server:
        async with store_at(server.url) as store:
            await check_cost(server, lambda: large_batch(store))


async def large_batch(store: RedisStore) -> None:
    """25 MB, in batches of a megabyte, as callers must."""
    jobs = [make_job(new_id(), input='"' + "x" * (LARGE - 2) + '"') for _ in range(100)]
    at_once = BATCH_BYTES // LARGE
    for first in range(0, len(jobs), at_once):
        await store.add(jobs[first : first + at_once])
    taken = await take(store, 100)
    assert [len(job.input or "") for job in taken] == [LARGE] * 100
    await store.renew([Beat(job.id, job.token) for job in taken], NOW + 20_000)
    read = await store.get([job.id for job in taken[:3]])
    assert all(row is not None and row.input == job.input for row, job in zip(read, taken, strict=False))
    ended = [job.evolve(state="completed", expires_at=NOW, input=None, result=job.input) for job in taken]
    rows = await store.get([job.id for job in taken])
    ended = [job.evolve(version=row.version) for job, row in zip(ended, rows, strict=True) if row is not None]
    for first in range(0, len(ended), at_once):
        assert all(await store.save(ended[first : first + at_once]))
    while await store.purge(NOW, 100):
        pass


@ONE
async def test_full_batches_of_small_jobs_block_nobody(kind: str) -> None:
    with server_of(kind) as server:
        async with store_at(server.url) as store:
            await check_cost(server, lambda: full_batches(store))


async def full_batches(store: RedisStore) -> None:
    await fill(store, BATCH_ROWS)
    taken = await take(store, 100)
    await store.renew([Beat(job.id, job.token, "1") for job in taken], NOW + 20_000)
    await store.append([LogLine(job.id, 1, NOW, "info", "line") for job in taken], 10)
    rows = [row for row in await store.get([job.id for job in taken]) if row is not None]
    assert all(await store.save([row.evolve(state="completed", expires_at=NOW, result="1") for row in rows]))
    assert await store.purge(NOW, 100) == 100


async def check_cost(server: RedisServer, act: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """What a script does while others wait for it grows with its batch alone: so many commands for each of its jobs."""
    found = await cost(server, act)
    print({name: usage["usec"] for name, usage in found.items() if name in ("evalsha", "hmget", "hget")})
    assert sum(calls(found).values()) / 100 < 40


async def cost(server: RedisServer, act: Callable[[], Coroutine[Any, Any, Any]]) -> dict[str, dict[str, float]]:
    """What it cost, per command: how many calls, and us in all."""
    server.command("CONFIG", "RESETSTAT")
    await act()
    return {name.removeprefix("cmdstat_"): usage for name, usage in server.info("commandstats").items()}


def calls(found: dict[str, dict[str, float]]) -> dict[str, float]:
    return {name: usage["calls"] for name, usage in found.items() if not name.startswith(("config", "info"))}


# -- in a cluster ------------------------------------------------------------------------------------------------------


@pytest.fixture
def cluster() -> RedisCluster:
    return shared_cluster()


@ONE
async def test_a_batch_of_many_queues_and_calls_by_id_alone_stay_in_one_slot(kind: str, cluster: RedisCluster) -> None:
    names = [f"mixed-{n}" for n in range(20)]
    on_each = {cluster.owner(f"{{{name}}}").port: name for name in names}
    assert len(on_each) == 3, "a namespace on each node"
    for name in on_each.values():
        async with store_at(f"{cluster.url}?namespace={name}") as store:
            jobs = [make_job(new_id(), queue=f"q{n % 7}", task=f"t{n % 5}", priority=n) for n in range(100)]
            assert len(await store.add(jobs)) == 100
            ids = [job.id for job in jobs]
            assert [row.id for row in await store.get(ids) if row is not None] == ids
            for queue in range(7):
                taken = await take(store, 100, queue=f"q{queue}", tasks=dict.fromkeys([f"t{n}" for n in range(5)]))
                assert len(await store.renew([Beat(job.id, job.token) for job in taken], NOW + 20_000)) == len(taken)
            await store.append([LogLine(id, 1, NOW, "info", "said") for id in ids], 5)
            assert [len(await store.tail(id)) for id in ids[:5]] == [1] * 5
            rows = [row for row in await store.get(ids) if row is not None]
            assert all(await store.save([row.evolve(state="completed", expires_at=NOW) for row in rows]))
            assert await store.purge(NOW, 500) == 100
