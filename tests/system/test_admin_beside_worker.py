"""Acts on jobs while a real worker runs them: nothing is lost, and nobody's word is overheard."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import pytest

from mainspring import Context, JobCancelled, Mainspring


@pytest.fixture
async def app() -> AsyncIterator[Mainspring]:
    app = Mainspring("sqlite://:memory:")
    yield app
    await app.close()


async def test_cancel_reaches_a_running_handler(app: Mainspring) -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    @app.task
    async def endless() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with app.worker(), asyncio.timeout(60):
        job = await endless.enqueue()
        await begun.wait()
        assert await app.jobs.cancel(job.id, "changed my mind")
        await ended.wait()
        with pytest.raises(JobCancelled, match="changed my mind"):
            await job.result()
    row = await job.get()
    assert [run.outcome for run in row.runs] == ["cancelled"]


async def test_a_running_job_that_is_retried_runs_once_more(app: Mainspring) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()
    runs: list[str] = []

    @app.task
    async def greet(name: str) -> None:
        begun.set()
        await go_on.wait()
        runs.append(name)

    async with app.worker(), asyncio.timeout(60):
        job = await greet.enqueue("Ada")
        await begun.wait()
        await app.jobs.retry(job.id)
        go_on.set()
        await job.result()
        assert runs == ["Ada", "Ada"]
    assert await app.jobs.count(status="completed") == 1


async def test_a_running_job_that_is_deleted_is_gone_when_it_ends(app: Mainspring) -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    @app.task
    async def endless() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with app.worker(), asyncio.timeout(60):
        job = await endless.enqueue()
        await begun.wait()
        assert await app.jobs.delete(job.id)
        await ended.wait()
    assert await app.jobs.get(job.id) is None


async def test_a_paused_queue_stands_still_and_goes_on(app: Mainspring) -> None:
    ran: list[int] = []

    @app.task
    async def work(n: int) -> None:
        ran.append(n)

    @app.task(queue="others")
    async def other() -> None: ...

    async with app.worker(), asyncio.timeout(60):
        await app.queues.pause("default")
        jobs = await app.enqueue_many([work.job(n) for n in range(50)])
        await (await other.enqueue()).result()
        assert ran == []
        assert (await app.queues.stats("default")).workers == 1
        assert (await app.queues.stats("default")).no_handler == ()
        await app.queues.resume("default")
        await asyncio.gather(*(job.result() for job in jobs))
    assert sorted(ran) == list(range(50))


@pytest.mark.slow
async def test_a_storm_of_operators_loses_nothing(app: Mainspring) -> None:
    """Retry, pause, resume and retry again all that there is, while workers drain it: each job ends, none is stuck."""
    runs: Counter[int] = Counter()

    @app.task(retries=0)
    async def work(n: int) -> None:
        runs[n] += 1
        if n % 10 == 0 and runs[n] == 1:
            raise ValueError("the first time")

    jobs = await app.enqueue_many([work.job(n) for n in range(400)])
    async with app.worker(concurrency=10), app.worker(concurrency=10), asyncio.timeout(60):
        for _ in range(5):
            await app.jobs.retry(task="work", status=["running", "completed", "dead"])
            await app.jobs.pause(task="work")
            await app.jobs.resume(task="work")
        while await app.jobs.retry(task="work"):  # what has died, until nothing has
            await _ended(app)
        await _ended(app)

    counts = await app.jobs.counts()
    assert {status: n for status, n in counts.items() if n} == {"completed": 400}
    assert len(runs) == 400
    for job in jobs:
        row = await job.get()
        assert row.runs[-1].outcome == "succeeded"
        assert row.again is None


async def _ended(app: Mainspring) -> None:
    """Wait until nothing is left that is to run."""
    live = ["scheduled", "pending", "retrying", "running", "paused"]
    while page := (await app.jobs.list(status=live, limit=500)).jobs:
        await asyncio.gather(*(app.ended(job.id) for job in page), return_exceptions=True)


async def test_cancel_of_everything_while_it_runs_ends_everything(app: Mainspring) -> None:
    begun = asyncio.Semaphore(0)

    @app.task
    async def wait(ctx: Context) -> None:
        begun.release()
        await asyncio.Event().wait()

    await app.enqueue_many([wait.job() for _ in range(200)])
    async with app.worker(concurrency=20), asyncio.timeout(60):
        for _ in range(20):
            await begun.acquire()
        assert await app.jobs.cancel(task="wait") >= 200
        await _ended(app)
    assert (await app.jobs.counts())["cancelled"] == 200
