"""Any sequence of calls leaves rows and indexes that fit together, and answers what the model answers.

The saves here are harsher than any that the product makes: they move a job to another queue, task, priority, state, due
time, expiry, origin and kind of key, two of them at once, and with old versions and foreign tokens between them.
"""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mainspring.core.job import Job, State
from mainspring.core.records import GATE, Record, queue_gate, task_gate
from mainspring.stores.base import Beat, LogLine, Query
from mainspring.stores.redis import RedisStore
from tests.conformance.model import ModelStore, bare
from tests.factory import NOW, FakeClock, make_job
from tests.servers import namespaces
from tests.servers.binaries import needs
from tests.servers.shared import shared
from tests.stores.redis.audit import audit

KINDS = pytest.mark.parametrize("kind", [pytest.param(kind, marks=needs(kind)) for kind in ("valkey8", "redis62")])
IDS = ("a", "b", "c", "d")
QUEUES, TASKS = ("q", "r"), ("t", "u")
ids = st.sampled_from(IDS)
times = st.sampled_from([NOW - 10, NOW, NOW + 10, 0, 2**53 - 1])
changes = st.fixed_dictionaries(
    {},
    optional={
        "queue": st.sampled_from(QUEUES),
        "task": st.sampled_from(TASKS),
        "priority": st.sampled_from([0, 7, 50, 100]),
        "due_at": times,
        "state": st.sampled_from(list(State)),
        "expires_at": st.sampled_from([None, 0, 1, NOW, NOW + 20]),
        "keyed": st.booleans(),
        "origin": st.sampled_from(["call", "cron:x", "☃", ""]),
        "progress": st.sampled_from([None, "1", '"☃"']),
        "settled": st.integers(0, 3),
        "input": st.sampled_from([None, "{}", '{"x":"☃"}']),
        "result": st.sampled_from([None, "1"]),
    },
)
saves = st.tuples(ids, changes, st.sampled_from(["fair", "fair", "fair", "old", "foreign"]))
calls = st.one_of(
    st.tuples(st.just("add"), st.lists(st.tuples(ids, changes), min_size=1, max_size=4)),
    st.tuples(st.just("save"), st.lists(saves, min_size=1, max_size=4)),
    st.tuples(
        st.just("claim"),
        st.tuples(
            st.sampled_from(QUEUES),
            st.dictionaries(st.sampled_from(TASKS), st.sampled_from([None, None, 0, 1]), max_size=2),
            st.integers(1, 3),
            st.sampled_from([None, None, 1]),
        ),
    ),
    st.tuples(st.just("renew"), st.lists(st.tuples(ids, st.booleans()), min_size=1, max_size=3)),
    st.tuples(st.just("purge"), st.integers(1, 3)),
    st.tuples(st.just("append"), st.lists(ids, min_size=1, max_size=3)),
    st.tuples(st.just("gate"), st.sampled_from([queue_gate("q"), task_gate("t")])),
    st.tuples(st.just("advance"), st.sampled_from([1, 10, 1_000])),
)


class Pair:
    """A store and the model, which are told the same."""

    def __init__(self, url: str) -> None:
        self.clock = FakeClock()
        self.store, self.model = RedisStore(url, self.clock), ModelStore(self.clock)
        self.tokens = itertools.count()

    async def do(self, name: str, given: Any) -> None:
        await getattr(self, name)(given)
        mine, right = await self.store.get(IDS), await self.model.get(IDS)
        assert mine == right, name

    async def both(self, method: str, *args: Any) -> Any:
        mine, right = [await getattr(store, method)(*args) for store in (self.store, self.model)]
        assert [_bare(each) for each in mine] == [_bare(each) for each in right], method
        return mine

    async def add(self, jobs: list[tuple[str, dict[str, Any]]]) -> None:
        for each in (self.store, self.model):
            await each.add([_made(id, fields) for id, fields in jobs])

    async def save(self, saves: list[tuple[str, dict[str, Any], str]]) -> None:
        rows, jobs = dict(self.model.data.rows), list[Job]()
        for id, fields, how in saves:
            row = bare(rows[id]) if id in rows else make_job(id, version=1)
            saved = row.evolve(version=row.version - (how == "old"), token="x" if how == "foreign" else row.token)
            jobs.append(saved.evolve(**fields))
            if how == "fair":  # the next of this batch builds on it
                rows[id] = row.evolve(version=row.version + 1)
        await self.both("save", jobs)

    async def claim(self, given: tuple[str, dict[str, int | None], int, int | None]) -> None:
        queue, tasks, limit, cap = given
        now, token = self.clock.now, f"token-{next(self.tokens)}"
        for store in (self.store, self.model):
            await store.claim(queue, tasks, "w:1", token, now, now + 15, limit, cap)

    async def renew(self, beats: list[tuple[str, bool]]) -> None:
        rows = self.model.data.rows
        told = [Beat(id, rows[id].token if id in rows else "", "7" if said else None) for id, said in beats]
        await self.both("renew", told, self.clock.now + 15)

    async def purge(self, limit: int) -> None:
        # Which go first is not told; with room for all, all go.
        assert await self.store.purge(self.clock.now, 100) == await self.model.purge(self.clock.now, 100)

    async def append(self, which: list[str]) -> None:
        for store in (self.store, self.model):
            await store.append([LogLine(id, 1, NOW, "info", id) for id in which], 2)

    async def gate(self, name: str) -> None:
        for store in (self.store, self.model):
            old = await store.read(GATE, name) or Record(kind=GATE, name=name)
            await store.write([old.evolve(written_at=NOW, expires_at=self.clock.now + 10)])

    async def advance(self, ms: int) -> None:
        self.clock.advance(ms)


def _made(id: str, fields: dict[str, Any]) -> Job:
    return make_job(id).evolve(**fields)


def _bare(answer: Any) -> Any:
    return bare(answer) if isinstance(answer, Job) else answer


async def live(url: str, namespace: str, history: list[tuple[str, Any]]) -> None:
    pair = Pair(f"{url}?namespace={namespace}")
    await pair.store.open()
    await pair.model.open()
    try:
        for name, given in history:
            await pair.do(name, given)
        audit(url, namespace)
        for query in (Query(), Query(oldest_first=True), Query(states=(State.RUNNING,)), Query(keyed=True)):
            mine, right = await pair.store.find(query), await pair.model.find(query)
            assert mine.jobs == right.jobs
            counts = [sorted(await store.count(query)) for store in (pair.store, pair.model)]
            assert counts[0] == counts[1]
    finally:
        await pair.store.close()
        namespaces.drop(url, namespace)


@KINDS
def test_any_history_leaves_what_fits_together(kind: str) -> None:
    url = shared(kind).url
    numbers = itertools.count()

    @settings(max_examples=max(100, settings().max_examples), database=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(calls, min_size=1, max_size=25))
    def try_history(history: list[tuple[str, Any]]) -> None:
        asyncio.run(live(url, f"history-{kind}-{next(numbers)}", history))

    try_history()
