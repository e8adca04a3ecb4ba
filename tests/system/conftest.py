"""Apps for the system tests: through the public API, in memory and on a file, on a clock that stands still."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from mainspring import Job, Mainspring
from mainspring.core import states
from mainspring.core.ids import new_token
from mainspring.core.outcome import Outcome, Success
from mainspring.stores.base import Query
from mainspring.testing import FakeClock
from tests.stores_for_apps import SLOW_STORES, store_url

LEASE = 15_000


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(params=["memory", pytest.param("file", marks=pytest.mark.slow), *SLOW_STORES])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    with store_url(request.param, tmp_path) as url:
        yield url


@pytest.fixture
async def app(url: str, clock: FakeClock) -> AsyncIterator[Mainspring]:
    app = Mainspring(url, clock=clock)
    yield app
    await app.close()


async def count(app: Mainspring) -> int:
    """How many jobs are stored."""
    client = await app.connect()
    return sum(row.jobs for row in await client.store.count(Query()))


async def claim(app: Mainspring, limit: int = 1) -> list[Job]:
    """Claim what is due, as a worker would."""
    client = await app.connect()
    now = app.clock.now()
    caps = {name: task.max_concurrency for name, task in app.tasks.items()}
    jobs: list[Job] = []
    for queue in sorted({task.queue for task in app.tasks.values()}):
        jobs += (await client.store.claim(queue, caps, "w:1", new_token(), now, now + LEASE, limit)).jobs
    return jobs


async def settle(app: Mainspring, job: Job, outcome: Outcome | None = None) -> Job:
    """End a claimed job, as a worker would."""
    client = await app.connect()
    [held] = await client.store.get([job.id])
    assert held is not None, "the job is gone"
    held = held.evolve(input=None)  # as a worker holds it
    settled = states.settle(held, outcome or Success(result='"done"'), app.clock.now(), app.tasks[held.task].policy)
    [row] = await client.store.save([settled])
    assert row is not None, "the swap was lost"
    return row


async def run_one(app: Mainspring, outcome: Outcome | Callable[[Job], Outcome] | None = None) -> Job:
    """Claim the first due job and end it."""
    [job] = await claim(app)
    return await settle(app, job, outcome(job) if callable(outcome) else outcome)
