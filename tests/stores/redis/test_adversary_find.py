"""Pages over many jobs, many lanes and much that runs: right, complete, and in calls that are short for the server."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator

import pytest

from mainspring.core.ids import new_token
from mainspring.core.job import Job, State
from mainspring.errors import DefinitionError
from mainspring.stores.base import BATCH_ROWS, Query
from mainspring.stores.redis import RedisStore
from mainspring.stores.redis.sources import READ
from tests.conformance.model import ModelStore
from tests.factory import NOW, FakeClock, make_job
from tests.servers.redis import RedisServer
from tests.stores.redis.rig import EVERY, ONE, server_of
from tests.stores.redis.test_load import calls, cost

numbers = itertools.count()


@pytest.fixture
async def store(server: RedisServer) -> AsyncIterator[RedisStore]:
    store = RedisStore(server.url, FakeClock())
    await store.open()
    yield store
    await store.close()


@pytest.fixture
def server(kind: str) -> object:
    with server_of(kind) as server:
        yield server


async def fill(store: RedisStore | ModelStore, jobs: list[Job]) -> None:
    for first in range(0, len(jobs), BATCH_ROWS):
        await store.add(jobs[first : first + BATCH_ROWS])


async def run(store: RedisStore | ModelStore, queue: str, task: str, most: int) -> None:
    while most > 0:
        claim = await store.claim(queue, {task: None}, "w:1", f"t{next(numbers)}", NOW, NOW + 15, min(most, BATCH_ROWS))
        if not claim.jobs:
            break
        most -= len(claim.jobs)


async def walk(store: RedisStore | ModelStore, query: Query) -> list[str]:
    """The ids on all pages."""
    ids: list[str] = []
    after = None
    while True:
        page = await store.find(query.evolve(after=after))
        assert len(page.jobs) == query.limit or page.cursor is None
        ids += [job.id for job in page.jobs]
        after = page.cursor
        if after is None:
            return ids


QUERIES = [
    Query(limit=37),
    Query(limit=500, oldest_first=True),
    Query(limit=7, states=(State.RUNNING,)),
    Query(limit=40, states=(State.RUNNING,), oldest_first=True),
    Query(limit=40, states=(State.RUNNING, State.DEAD)),
    Query(limit=40, states=(State.WAITING, State.RUNNING), queue="q1"),
    Query(limit=40, task="t3", oldest_first=True),
    Query(limit=40, worker="w:1"),
    Query(limit=40, worker="nobody"),
]


@EVERY
async def test_pages_over_hundreds_of_lanes_are_those_of_the_model(kind: str, store: RedisStore) -> None:
    model = ModelStore(FakeClock())
    await model.open()
    states = [State.WAITING, State.WAITING, State.DEAD, State.COMPLETED, State.PAUSED]
    jobs = [
        make_job(f"j{n:04}", queue=f"q{n % 5}", task=f"t{n % 41}", state=states[n % len(states)], expires_at=None)
        for n in range(800)
    ]
    for each in (store, model):
        await fill(each, jobs)
        for n in range(0, 41, 3):
            await run(each, f"q{n % 5}", f"t{n}", 2)
    for query in QUERIES:
        assert await walk(store, query) == await walk(model, query), query


@ONE
async def test_much_that_runs_is_found_without_blocking_anybody(
    kind: str, store: RedisStore, server: RedisServer
) -> None:
    await fill(store, [make_job(f"j{n:05}", queue="ab"[n % 2]) for n in range(5_000)])
    for queue in "ab":
        await run(store, queue, "t", 5_000)
    running = Query(states=(State.RUNNING,), limit=BATCH_ROWS)

    async def find() -> None:
        assert len((await store.find(running)).jobs) == BATCH_ROWS

    found = await cost(server, find)
    assert found["zmscore"]["calls"] >= 2 * 5_000 / READ, "no command looks up more"
    assert "evalsha" not in found, "no script does"
    assert await walk(store, running) == [f"j{n:05}" for n in reversed(range(5_000))]


@ONE
async def test_a_filter_that_fits_nothing_blocks_nobody(kind: str, store: RedisStore, server: RedisServer) -> None:
    await fill(store, [make_job(f"j{n}", task=f"t{n % 700}") for n in range(2_000)])

    async def find() -> None:
        assert await store.find(Query(worker="nobody")) == ([], None)

    found = calls(await cost(server, find))
    scripts = found["evalsha"]
    assert scripts > 2_000 / READ
    assert sum(found.values()) <= scripts * READ / 5, "no script reads more, on the average"


@ONE
async def test_who_walks_meets_each_job_once_while_all_of_them_live(kind: str, store: RedisStore) -> None:
    """Claimed, settled, added meanwhile: what was there all the time is on exactly one page."""
    there = [f"j{n:04}" for n in range(3 * READ)]
    await fill(store, [make_job(id) for id in there] + [make_job("done", state=State.COMPLETED, expires_at=None)])
    over = asyncio.Event()

    async def live() -> None:
        while not over.is_set():
            await store.add([make_job(f"new{next(numbers)}")])
            claim = await store.claim("default", {"t": None}, "w:1", new_token(), NOW, NOW + 15, 50)
            await store.save([job.evolve(state=State.COMPLETED, expires_at=None) for job in claim.jobs])

    living = asyncio.create_task(live())
    for query in (Query(limit=100), Query(limit=90, oldest_first=True), Query(limit=200)):
        met = [id for id in await walk(store, query) if id in set(there)]
        assert sorted(met) == there
    over.set()
    await living


@ONE
@pytest.mark.parametrize("cursor", ["", "x", "-1", "1.5", "１", " 1", "1 +inf"])
async def test_a_cursor_of_ones_own_making_is_refused(kind: str, store: RedisStore, cursor: str) -> None:
    with pytest.raises(DefinitionError, match="bad cursor"):
        await store.find(Query(after=cursor))
