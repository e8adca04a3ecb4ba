"""What every hot query reads, of a large database: its index, and about as many rows as it answers.

What is compared is rows, not times. `MAINSPRING_TEST_PLAN_JOBS=1000000` makes the large one larger: that takes two
minutes to fill on two cores (300,000: half a minute), and the numbers are the same: a claim of ten jobs from a hundred
lanes reads 133 keys and 21 documents, with 20,000 jobs as with a million. In the small one each query has run before
when there was hardly anything: a plan that was remembered from then would be noticed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, NamedTuple

import pytest
from pymongo.database import Database

from mainspring.core.ids import new_token
from mainspring.core.job import State
from mainspring.core.records import GATE, Record, task_gate
from mainspring.stores import open_store
from mainspring.stores.base import Beat, LogLine, Query, Store
from tests.factory import NOW, make_job
from tests.servers import databases
from tests.servers.binaries import needs
from tests.servers.mongo import MongoServer
from tests.servers.shared import needs_mongo, shared_mongo
from tests.stores.mongo.backlog import FEW, HOUR, LANES, MANY, fill
from tests.stores.mongo.profile import watching

LARGE = int(os.environ.get("MAINSPRING_TEST_PLAN_JOBS", "300000"))
UNTIL = NOW + 15_000
Work = Callable[[Store], Awaitable[object]]
pytestmark = pytest.mark.timeout(600)


async def take(store: Store, queue: str, tasks: dict[str, int | None], limit: int = 10, cap: int | None = None) -> int:
    claim = await store.claim(queue, tasks, "w:1", new_token(), NOW, UNTIL, limit, cap)
    return len(claim.jobs)


def named(*tasks: str, cap: int | None = None) -> dict[str, int | None]:
    return dict.fromkeys(tasks, cap)


def lanes(number: int, cap: int | None = None) -> dict[str, int | None]:
    return named(*(f"lane-{n}" for n in range(number)), cap=cap)


def many(number: int, cap: int | None = None) -> dict[str, int | None]:
    return named(*(f"many-{n}" for n in range(number)), cap=cap)


FLOODED = named("wanted", "gated") | named("full", cap=1)


async def past_a_flood(store: Store) -> None:
    assert await take(store, "flood", FLOODED, 5) == 5


async def finds_nothing_due(store: Store) -> None:
    claim = await store.claim("flood", named("gated", "none"), "w:1", "t", NOW - 2 * HOUR, UNTIL, 10)
    assert claim.jobs == []


async def finds_nothing_due_of_many(store: Store) -> None:
    claim = await store.claim("many", many(MANY), "w:1", "t", NOW - 10**9, UNTIL, 10)
    assert claim.jobs == []
    assert claim.next_due is not None


async def of_lapsed(store: Store) -> None:
    assert await take(store, "busy", named("lapsed"), 3) == 3


async def adds(store: Store) -> None:
    jobs = [make_job(queue="archive", task="added") for n in range(50)]
    assert len(await store.add(jobs)) == 50
    assert len(await store.add(jobs)) == 50, "and again, which answers what is there"


async def takes_renews_saves(store: Store) -> None:
    claim = await store.claim("lanes", lanes(LANES), "w:1", new_token(), NOW, UNTIL, 50)
    assert len(claim.jobs) == 50
    renewed = await store.renew([Beat(job.id, job.token) for job in claim.jobs], UNTIL + 1)
    over = [job.evolve(state=State.COMPLETED, settled=1, input=None, expires_at=NOW + HOUR) for job in renewed]
    assert None not in await store.save(over)
    assert await store.save(over) == [None] * 50, "and again, in vain"


async def gets(store: Store) -> None:
    assert None not in await store.get([f"logged-{n}" for n in range(20)])
    assert await store.get([f"nobody-{n}" for n in range(50)]) == [None] * 50


async def counts_what_lives(store: Store) -> None:
    assert await store.count(Query(states=(State.RUNNING,), queue="busy"))


async def purges(store: Store) -> None:
    assert await store.purge(NOW, 10) >= 10


async def reads_records(store: Store) -> None:
    assert len(await store.scan("plan", limit=10)) == 10
    assert len(await store.scan("plan", due=NOW, limit=10)) == 10
    [first] = await store.scan("plan", limit=1)
    assert await store.read("plan", first.name) == first
    [again] = await store.write([first])
    assert again is not None


async def writes_logs(store: Store) -> None:
    await store.append([LogLine("logged-7", 1, NOW, "info", "x")] * 5, keep=100)
    assert len(await store.tail("logged-7", 0, 5)) == 5
    [last] = (await store.tail("logged-7", 0, 500))[-1:]
    assert await store.tail("logged-7", last.seq) == []


def page(**fields: Any) -> Work:
    async def pages(store: Store) -> None:
        first = await store.find(Query(limit=10, **fields))
        assert len(first.jobs) == 10
        assert await store.find(Query(limit=10, after=first.cursor, **fields))

    return pages


def claims(queue: str, tasks: dict[str, int | None], cap: int | None = None) -> Work:
    async def claim(store: Store) -> None:
        assert await take(store, queue, tasks, 10, cap) > 0

    return claim


class Bound(NamedTuple):
    """A work, and how much it may read."""

    work: Work
    keys: int
    docs: int


BOUNDS: dict[str, Bound] = {
    "claim of one task": Bound(claims("lanes", lanes(1)), 50, 30),
    "claim of 100 lanes": Bound(claims("lanes", lanes(100)), 200, 30),
    "claim of 120 tasks": Bound(claims("many", many(120)), 200, 30),
    "claim of 300 tasks": Bound(claims("many", many(300)), 500, 60),
    "claim of 300 tasks with caps": Bound(claims("many", many(300, 10**6)), 1_000, 60),
    "claim in a capped queue": Bound(claims("lanes", lanes(100), 10**6), 600, 100),
    "claim past a flood": Bound(past_a_flood, 100, 30),
    "claim of lapsed leases": Bound(of_lapsed, 20, 10),
    "nothing due": Bound(finds_nothing_due, 10, 2),
    "nothing due of 300 tasks": Bound(finds_nothing_due_of_many, 1_500, 4),
    "add": Bound(adds, 120, 60),
    "take, renew, save": Bound(takes_renews_saves, 700, 400),
    "get": Bound(gets, 75, 25),
    "page of a state": Bound(page(states=(State.DEAD,)), 1_700, 60),
    "page of all": Bound(page(), 4_000, 1_000),
    "page of a queue": Bound(page(queue="archive"), 100, 40),
    "page of a state in a queue": Bound(page(states=(State.WAITING,), queue="lanes"), 500, 60),
    "page of a task": Bound(page(task="wanted"), 60, 30),
    "page of a task and a state": Bound(page(task="wanted", states=(State.WAITING,)), 50, 30),
    "page of a queue of 300 tasks": Bound(page(queue="many"), 3_000, 700),
    "page of what a worker holds": Bound(page(states=(State.RUNNING,), worker="w:0"), 2 * FEW + 1_700, 2 * FEW),
    "counts": Bound(counts_what_lives, FEW + 1, 0),
    "purge": Bound(purges, 50, 30),
    "records": Bound(reads_records, 30, 30),
    "logs": Bound(writes_logs, 130, 130),
}
"""Of a claim or page of 10, or of a batch of 50: up to twice what was measured, with 20,000 jobs as with a million."""


class Place:
    """A database that is full, and stores on it whose clock stands still."""

    def __init__(self, url: str, database: Database[dict[str, Any]]) -> None:
        self._url = url
        self.database = database

    @asynccontextmanager
    async def store(self) -> AsyncIterator[Store]:
        store = open_store(self._url, time=lambda: NOW)
        await store.open()
        try:
            yield store
        finally:
            await store.close()

    async def furnish(self) -> None:
        """What is there besides jobs: records, a closed gate, logs."""
        async with self.store() as store:
            for first in range(0, 3_000, 500):
                records = [Record(kind="plan", name=f"{n:05}", written_at=NOW, due_at=NOW - n) for n in range(500)]
                await store.write([record.evolve(name=f"{first}-{record.name}") for record in records])
            await store.write([Record(kind=GATE, name=task_gate("gated"), written_at=NOW)])
            await store.add([make_job(f"logged-{n}", queue="archive", task="logged") for n in range(20)])
            for n in range(20):
                await store.append([LogLine(f"logged-{n}", 1, NOW, "info", "x") for _ in range(90)], keep=100)

    async def warm(self) -> None:
        """Run every work, whether or not there is anything for it."""
        async with self.store() as store:
            for bound in BOUNDS.values():
                with contextlib.suppress(AssertionError, ValueError):
                    await bound.work(store)


@pytest.fixture(
    scope="module",
    params=[pytest.param(20_000, marks=needs_mongo()), pytest.param(LARGE, marks=[*needs("mongo6"), pytest.mark.slow])],
    ids=["quick", "large"],
)
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    if request.param == 20_000:
        server, name = shared_mongo(), databases.name_for(tmp_path_factory.mktemp("plans"))
        place = Place(server.url_of(name), server.client[name])
        for _ in range(3):
            asyncio.run(place.warm())
        fill(place.database, request.param)
        asyncio.run(place.furnish())
        yield place
        databases.drop(server.url, name)
        return
    with MongoServer.started(cache=1) as own:
        place = Place(own.url_of("plans"), own.client["plans"])
        fill(
            place.database, request.param
        )  # before there are indexes: they are made in 20 s then, and not kept for 150
        asyncio.run(place.furnish())
        yield place


@pytest.mark.parametrize("name", BOUNDS)
async def test_a_hot_query_reads_its_index_and_little_else(place: Place, name: str) -> None:
    bound = BOUNDS[name]
    async with place.store() as store, watching(place.database) as watched:
        await bound.work(store)
    print(f"{name}: {watched.keys} {watched.docs}")
    assert watched.operations
    assert not [each for each in watched.operations if each.scans or each.sorted], str(watched)
    assert watched.keys <= bound.keys, str(watched)
    assert watched.docs <= bound.docs, str(watched)


IN_THE_DOCUMENTS: dict[str, dict[str, Any]] = {
    "dead": {"queue": {"$gte": ""}, "state": "dead", "finished_at": {"$gte": datetime(2020, 1, 1, tzinfo=UTC)}},
    "held": {"queue": {"$gte": ""}, "state": "running", "worker": "w:0"},
    "dead of a queue": {"queue": "archive", "state": "dead"},
    "log": {"life": 7},
}
"""What docs/mongodb.md tells people to ask."""


@pytest.mark.parametrize("name", IN_THE_DOCUMENTS)
def test_what_people_are_told_to_ask_reads_little(place: Place, name: str) -> None:
    collection = "mainspring_logs" if name == "log" else "mainspring_jobs"
    asked = {"find": collection, "filter": IN_THE_DOCUMENTS[name]}
    told = place.database.command("explain", asked, verbosity="executionStats")["executionStats"]
    assert told["totalDocsExamined"] <= 3 * FEW
    assert told["totalKeysExamined"] <= 3 * FEW + 4 * (LANES + MANY)
