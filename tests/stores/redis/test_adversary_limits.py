"""Large batches, long names and strange texts: what Lua, the server or the row layout might not take."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from mainspring.core.ids import new_id
from mainspring.core.job import Job, State
from mainspring.core.records import Record
from mainspring.stores.base import BATCH_ROWS, Beat, LogLine
from mainspring.stores.redis import RedisStore
from tests.factory import NOW, FakeClock, make_job
from tests.servers import namespaces
from tests.servers.shared import Shared
from tests.stores.redis.audit import audit
from tests.stores.redis.rig import ONE, server_of

MANY = 9_000
"""More than Lua can unpack at once."""


@pytest.fixture
async def store(redis_server: Shared, request: pytest.FixtureRequest) -> AsyncIterator[RedisStore]:
    namespace = f"limits-{abs(hash(request.node.name))}"
    store = RedisStore(f"{redis_server.url}?namespace={namespace}&timeout=40s", FakeClock())
    await store.open()
    yield store
    await store.close()
    audit(redis_server.url, namespace)
    namespaces.drop(redis_server.url, namespace)


async def fill(store: RedisStore, jobs: list[Job]) -> None:
    for first in range(0, len(jobs), BATCH_ROWS):
        await store.add(jobs[first : first + BATCH_ROWS])


async def test_a_purge_of_any_size_is_whole(store: RedisStore) -> None:
    await fill(store, [make_job(f"j{n}", state=State.COMPLETED, expires_at=NOW) for n in range(MANY)])
    assert await store.purge(NOW, MANY + 1) == MANY
    assert await store.purge(NOW, MANY + 1) == 0


async def test_a_scan_of_any_size_is_answered(store: RedisStore) -> None:
    names = [f"r{n:05}" for n in range(MANY)]
    for first in range(0, MANY, BATCH_ROWS):
        batch = names[first : first + BATCH_ROWS]
        await store.write([Record(kind="k", name=name, written_at=NOW, due_at=NOW) for name in batch])
    assert [record.name for record in await store.scan("k", limit=MANY)] == names
    assert [record.name for record in await store.scan("k", due=NOW, limit=MANY)] == names


async def test_a_claim_of_any_size_is_whole(store: RedisStore) -> None:
    await fill(store, [make_job(f"j{n:05}") for n in range(MANY)])
    claim = await store.claim("default", {"t": None}, "w:1", "token", NOW, NOW + 15, MANY)
    assert [job.id for job in claim.jobs] == [f"j{n:05}" for n in range(MANY)]
    beats = [Beat(job.id, job.token) for job in claim.jobs]
    assert len(await store.renew(beats, NOW + 20)) == MANY
    assert len(await store.claim("default", {"t": None}, "w:2", "other", NOW + 20, NOW + 40, MANY)) == 2


async def test_a_batch_over_many_lanes_is_whole(store: RedisStore) -> None:
    jobs = [make_job(f"j{n}", task=f"t{n}", queue=f"q{n % 7}", priority=n % 101) for n in range(BATCH_ROWS)]
    rows = await store.add(jobs)
    moved = [row.evolve(task="t", queue="q", priority=0) for row in rows]
    assert all(await store.save(moved))
    claim = await store.claim("q", {"t": 7}, "w:1", "token", NOW, NOW + 15, BATCH_ROWS)
    assert len(claim.jobs) == 7


@ONE
async def test_lapsed_leases_of_a_task_that_may_not_run_cost_other_claims_little(kind: str) -> None:
    """As when the workers of a paused task have died: each claim of its queue passes over all of them."""
    with server_of(kind) as server:
        store = RedisStore(server.url, FakeClock())
        await store.open()
        await fill(store, [make_job(task="dead") for _ in range(700)])
        for _ in range(2):
            await store.claim("default", {"dead": None}, "w:1", new_id(), NOW, NOW + 1, BATCH_ROWS)
        await store.add([make_job("alive", due=NOW + 10)])
        server.command("CONFIG", "RESETSTAT")
        claim = await store.claim("default", {"t": None, "dead": 0}, "w:2", "token", NOW + 10, NOW + 20, 5)
        assert [job.id for job in claim.jobs] == ["alive"]
        assert sum(usage["calls"] for usage in server.info("commandstats").values()) < 40
        await store.close()


@pytest.mark.parametrize("id", ["a:b", "x" * 10_000, "{}", "*", "☃", "a\nb", " "])
async def test_ids_may_be_anything(store: RedisStore, id: str) -> None:
    await store.add([make_job(id), make_job("other")])
    claim = await store.claim("default", {"t": None}, "w:1", "token", NOW, NOW + 15, 2)
    assert {job.id for job in claim.jobs} == {id, "other"}
    await store.append([LogLine(id, 1, NOW, "info", "said")], 5)
    assert [line.text for line in await store.tail(id)] == ["said"]
    [row] = [job for job in claim.jobs if job.id == id]
    [saved] = await store.save([row.evolve(state=State.COMPLETED, expires_at=0)])
    assert saved is not None
    assert await store.get([id]) == [None]


@pytest.mark.parametrize("due", [-(2**53), -1, 0, 1, 2**53 - 2])
async def test_due_times_are_exact(store: RedisStore, due: int) -> None:
    await store.add([make_job("a", due=due), make_job("later", due=2**53)])
    claim = await store.claim("default", {"t": None}, "w:1", "token", due, due + 1, 1)
    assert [(job.id, job.due_at) for job in claim.jobs] == [("a", due + 1)]
