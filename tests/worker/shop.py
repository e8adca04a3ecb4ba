"""A shop whose orders lie beside its jobs, for the tests of transactions: each effect is one row of `orders`."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from mainspring import Job, Mainspring
from mainspring.core.records import COMPLETION, Record, completion_name
from mainspring.errors import StoreUnavailable
from mainspring.process.supervisor import lapse_leases
from mainspring.stores import open_store
from mainspring.testing import FakeClock, Outages, unreliable
from mainspring.worker.completion import Completions

STALE = "stale:1"
"""A worker that has died or sleeps."""


class Shop:
    """An app on a file, with a clock of its own and a store that fails on request."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "shop.db"
        self.clock = FakeClock()
        self.outages = Outages()
        self.app = self.another()

    def another(self) -> Mainspring:
        """Another program on the same file."""
        store = unreliable(open_store(f"sqlite:///{self.file}", self.clock.now), self.outages)
        return Mainspring(store, clock=self.clock)

    def connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self.file, isolation_level=None)

    def order(self, connection: sqlite3.Connection, id: int = 1) -> None:
        connection.execute("INSERT INTO orders VALUES (?)", (id,))

    @property
    def orders(self) -> list[int]:
        with closing(self.connect()) as connection:
            return [id for (id,) in connection.execute("SELECT id FROM orders ORDER BY rowid")]

    async def claim(self, task: str, token: str = "stale") -> Job:
        """Claim as a worker that never settles."""
        store = (await self.app.connect()).store
        now = self.clock.now()
        [job] = (await store.claim("default", {task: None}, STALE, token, now, now + 15_000, 1)).jobs
        return job

    async def die(self, task: str, result: str | None = '"stale"') -> Job:
        """A worker that wrote its order, completed the job in the same transaction, and died before it could settle."""
        job = await self.claim(task)
        await self.commit(job, result)
        await self.lapse()
        return job

    async def commit(self, job: Job, result: str | None = '"stale"') -> None:
        """What the transaction of a stale run commits: its order, and the completion."""
        client = await self.app.connect()
        async with client.store.transaction() as session:
            self.order(session, 100)
            await client.store.write([completion_of(job, result)], session)

    async def lapse(self) -> None:
        client = await self.app.connect()
        await lapse_leases(client.store, STALE, self.clock.now())


def completion_of(job: Job, result: str | None) -> Record:
    value = {"result": result, "token": job.token, "claim": job.claims, "worker": job.worker, "at": job.started_at}
    at = job.started_at or 0
    name = completion_name(job.id, job.ask, job.scheduled_at)
    return Record(kind=COMPLETION, name=name, written_at=at, expires_at=at + 1_000, value=value)


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    shop = Shop(tmp_path)
    await shop.app.open()
    with closing(shop.connect()) as connection:
        connection.execute("CREATE TABLE orders (id INTEGER)")
    yield shop
    await shop.app.close()


def ignored(caplog: pytest.LogCaptureFixture) -> list[Any]:
    """What handlers did after they had completed their jobs, as it was logged."""
    kept = [r for r in caplog.records if r.__dict__.get("event") == "completion.kept"]
    assert all(r.levelno == logging.WARNING for r in kept)
    return [r.__dict__["fields"]["ignored"] for r in kept]


def failing_looks(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Lets the next so many looks for a completion fail."""
    find, left = Completions.find, 0

    async def failing(self: Completions, job: Job) -> Record | None:
        nonlocal left
        left -= 1
        if left >= 0:
            raise StoreUnavailable("a look: planned to fail")
        return await find(self, job)

    def fail(times: int) -> None:
        nonlocal left
        left = times

    monkeypatch.setattr(Completions, "find", failing)
    return fail
