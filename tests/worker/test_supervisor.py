"""The parent of worker processes, without processes: what it does when one is dead, or cannot be born."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from mainspring import Mainspring
from mainspring.core.records import WORKER, Record
from mainspring.process import children
from mainspring.process.children import back_off
from mainspring.process.supervisor import Supervisor, bury
from tests.worker.conftest import wait_until


async def test_a_dead_child_is_no_worker_any_longer(app: Mainspring) -> None:
    @app.task
    async def job() -> None: ...

    handle = await job.enqueue()
    client = await app.connect()
    store = client.store
    now = client.clock.now()
    for name in ("host:1:dead", "host:2:alive"):
        value = {"queues": ["default"], "tasks": ["job"], "status": "running", "concurrency": 1}
        await store.write([Record(kind=WORKER, name=name, written_at=now, expires_at=now + 60_000, value=value)])
    await store.claim("default", {"job": None}, "host:1:dead", "t", now, now + 60_000, 1)
    assert (await app.queues.stats("default")).workers == 2

    await bury(store, "host:1:dead", client.clock)

    assert [record.name for record in await store.scan(WORKER)] == ["host:2:alive"]
    assert (await app.queues.stats("default")).workers == 1
    row = await handle.get()
    assert row is not None
    assert row.due_at <= client.clock.now()
    await bury(store, "host:1:dead", client.clock)  # who erased its record itself leaves nothing to bury


async def test_the_pause_before_another_start_is_bounded_however_often_it_died(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pauses: list[float] = []

    async def record(waiting: Any, seconds: float) -> None:
        waiting.close()
        pauses.append(seconds)

    monkeypatch.setattr(asyncio, "wait_for", record)
    for deaths in (0, 1, 2, 8, 2_000):
        await back_off(deaths, asyncio.Event())
    assert pauses == [0.1, 0.2, 10.0, 10.0]


async def test_a_system_without_another_process_is_asked_again(
    app: Mainspring, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = 0

    async def refuse(*args: object, **kwargs: object) -> None:
        nonlocal asked
        asked += 1
        raise BlockingIOError("no more processes")

    monkeypatch.setattr(asyncio, "create_subprocess_exec", refuse)
    monkeypatch.setattr(children, "FIRST_BACK_OFF", 0.001)
    parent = Supervisor(app, "tests:app", 2, {})
    running = asyncio.create_task(parent.run())
    await wait_until(lambda: asked >= 6, "more tries")
    parent._stopping.set()
    assert await asyncio.wait_for(running, 60) == 0
