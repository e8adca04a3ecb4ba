"""`app.workers`: which workers live, what they tell of themselves, and how one of them is paused from outside."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from mainspring import DefinitionError, Mainspring
from mainspring.admin.workers import SILENT
from mainspring.core.records import WORKER, Record
from mainspring.stores import open_store
from mainspring.testing import FakeClock
from tests.system.watched import watched


async def put(app: Mainspring, id: str, ago: int = 0, lasts: int = 60_000, **value: Any) -> None:
    """A worker that said `value` of itself so long ago."""
    seen = app.clock.now() - ago
    record = Record(kind=WORKER, name=id, written_at=seen, expires_at=seen + lasts, value=value)
    await (await app.connect()).store.write([record])


async def beats(clock: FakeClock) -> None:
    """Long enough for a worker to write its record, in steps shorter than a lease."""
    for _ in range(4):
        await clock.advance("5s")


async def test_what_a_live_worker_tells(app: Mainspring, clock: FakeClock) -> None:
    @app.task(queue="emails")
    async def send() -> None: ...

    @app.task(retries=0)
    async def fail() -> None:
        raise ValueError

    async with app.worker(concurrency=7) as worker:
        await send.enqueue()
        await fail.enqueue()
        await beats(clock)
        [info] = await app.workers.list()
        assert info == await app.workers.get(worker.id)
        assert (info.id, info.host, info.pid) == (worker.id, socket.gethostname(), os.getpid())
        assert (info.status, info.active, info.concurrency) == ("running", 0, 7)
        assert (info.processed, info.failed) == (2, 1)
        assert info.queues == ("default", "emails")
        assert info.tasks == ("fail", "send")
        assert clock.now() - info.last_seen <= 16_000
    assert await app.workers.list() == []
    assert await app.workers.get(worker.id) is None


async def test_workers_are_listed_by_id_while_they_live(app: Mainspring) -> None:
    for id in ("b:1", "a:1", "c:1"):
        await put(app, id, status="running", queues=["default"], tasks=["t"])
    await put(app, "gone:1", ago=60_000)
    assert [worker.id for worker in await app.workers.list()] == ["a:1", "b:1", "c:1"]
    assert await app.workers.get("gone:1") is None
    assert await app.workers.get("nobody") is None


async def test_a_worker_that_says_nothing_is_called_silent(app: Mainspring) -> None:
    await put(app, "a:1", ago=SILENT, status="running")
    await put(app, "b:1", ago=SILENT + 1, status="running")
    assert [(worker.id, worker.status) for worker in await app.workers.list()] == [
        ("a:1", "running"),
        ("b:1", "silent"),
    ]


async def test_a_record_of_an_older_version_is_read(app: Mainspring) -> None:
    await put(app, "host-7:99:abc", status="running", queues=["default"])
    [worker] = await app.workers.list()
    assert (worker.host, worker.pid, worker.tasks, worker.concurrency) == ("host-7", None, (), 0)


async def test_a_worker_is_paused_and_resumed_from_outside(app: Mainspring, clock: FakeClock) -> None:
    ran: list[int] = []

    @app.task
    async def work(n: int) -> None:
        ran.append(n)

    async with app.worker() as worker, asyncio.timeout(60):
        await work.enqueue(1)
        await beats(clock)
        assert ran == [1]
        assert await app.workers.pause(worker.id, "a look at its memory")
        await beats(clock)
        info = await app.workers.get(worker.id)
        assert info is not None
        assert (info.status, worker.stats().status) == ("paused", "paused")
        await work.enqueue(2)
        await beats(clock)
        assert ran == [1]
        assert await app.workers.resume(worker.id)
        await beats(clock)
        assert worker.stats().status == "running"
        await beats(clock)
        assert ran == [1, 2]
    entries = [(entry.action, entry.target, entry.reason) for entry in await app.audit.list()]
    assert entries == [("workers.resume", worker.id, ""), ("workers.pause", worker.id, "a look at its memory")]


async def test_nobody_is_there_to_be_paused(app: Mainspring) -> None:
    await put(app, "gone:1", ago=60_000)
    assert not await app.workers.pause("gone:1")
    assert not await app.workers.resume("nobody")


async def test_a_word_to_a_worker_that_writes_meanwhile_is_not_lost(clock: FakeClock, tmp_path: Path) -> None:
    store, watch = watched(open_store(f"sqlite:///{tmp_path}/jobs.db", clock.now))
    app = Mainspring(store, clock=clock)
    await put(app, "a:1", status="running")

    async def beat(_: object) -> None:
        del watch.before["write"]
        client = await app.connect()
        record = await client.store.read(WORKER, "a:1")
        assert record is not None
        await client.store.write([record.evolve(value={"status": "running", "active": 3})])

    watch.before["write"] = beat
    assert await app.workers.pause("a:1")
    record = await (await app.connect()).store.read(WORKER, "a:1")
    assert record is not None
    assert record.value == {"status": "running", "active": 3, "asked": "pause"}
    await app.close()


async def test_a_reason_is_checked(app: Mainspring) -> None:
    await put(app, "a:1")
    with pytest.raises(DefinitionError, match="bad reason"):
        await app.workers.pause("a:1", "x" * 3_000)
