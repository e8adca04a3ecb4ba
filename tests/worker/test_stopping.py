"""Timeouts, cancels, lost leases and shutdown: a run is over when its handler has ended, and not before."""

from __future__ import annotations

import asyncio
import threading

import pytest

from mainspring import Context, JobFailed, Mainspring, Retry
from mainspring.core.job import Job, State
from mainspring.errors import JobCancelled, ResultTimeout
from tests.worker.conftest import wait_until

ONCE_MORE = Retry(max_attempts=2, backoff="fixed", initial_delay=0.001, jitter=0)


async def stored(app: Mainspring, id: str) -> Job:
    job = await app.jobs.get(id)
    assert job is not None
    return job


async def test_a_timed_out_coroutine_is_over_before_its_retry(app: Mainspring) -> None:
    alive, most, ended = 0, 0, 0

    @app.task(timeout=0.02, retry=ONCE_MORE)
    async def slow() -> None:
        nonlocal alive, most, ended
        alive += 1
        most = max(most, alive)
        try:
            await asyncio.Event().wait()
        finally:
            alive -= 1
            ended += 1

    async with app.worker():
        job = await slow.enqueue()
        with pytest.raises(JobFailed, match=r"TimeoutError: timed out after 0\.02 s"):
            await job.result(timeout=60)
    assert (most, ended, alive) == (1, 2, 0)
    assert [run.outcome for run in (await stored(app, job.id)).runs] == ["timed_out", "timed_out"]


@pytest.mark.slow
async def test_a_timed_out_thread_never_runs_beside_its_retry(app: Mainspring) -> None:
    release, entered = threading.Event(), threading.Semaphore(0)

    @app.task(timeout=0.02, retry=ONCE_MORE)
    def slow(ctx: Context) -> None:
        entered.release()
        release.wait(30)

    async with app.worker(grace=0.05, lease=2, beat=0.1) as worker:
        job = await slow.enqueue()
        with pytest.raises(ResultTimeout):
            await job.result(timeout=1)
        row = await stored(app, job.id)
        assert (row.state, row.claims, worker.stats().active) == (State.RUNNING, 1, 1)
        assert row.due_at > worker.clock.now()
        release.set()
        await job.result(timeout=60)
    assert [run.outcome for run in (await stored(app, job.id)).runs] == ["timed_out", "succeeded"]


async def test_a_cooperative_thread_sees_that_it_is_cancelled(app: Mainspring) -> None:
    @app.task(timeout=0.02, retries=0)
    def loops(ctx: Context) -> None:
        while not ctx.cancelled:
            pass

    async with app.worker():
        with pytest.raises(JobFailed, match="timed out"):
            await (await loops.enqueue()).result(timeout=60)


@pytest.mark.parametrize("swallows", [False, True])
async def test_cancel_reaches_a_running_coroutine(app: Mainspring, swallows: bool) -> None:
    entered = asyncio.Event()

    @app.task
    async def waits() -> str:
        entered.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if not swallows:
                raise
        return "went on"

    async with app.worker():
        job = await waits.enqueue()
        await asyncio.wait_for(entered.wait(), 60)
        assert await job.cancel()
        with pytest.raises(JobCancelled, match="cancelled"):
            await job.result(timeout=60)


async def test_a_waiting_job_is_cancelled_at_once(app: Mainspring) -> None:
    @app.task
    async def later() -> None: ...

    job = await later.options(delay="1h").enqueue()
    assert await job.cancel()
    assert not await job.cancel()
    assert await job.status() == "cancelled"


async def test_a_lost_lease_ends_the_run_and_changes_nothing(app: Mainspring) -> None:
    entered, ended = asyncio.Event(), asyncio.Event()

    @app.task
    async def waits() -> str:
        entered.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return ""

    async with app.worker(lease=1, beat=0.1, concurrency=1) as worker:
        job = await waits.enqueue()
        await asyncio.wait_for(entered.wait(), 60)
        for _ in range(20):  # a beat may renew the lease in between
            await worker.store.save([(await stored(app, job.id)).evolve(due_at=worker.clock.now() - 1, input=None)])
            now = worker.clock.now()
            stolen = await worker.store.claim("default", {"waits": None}, "other:1", "stolen", now, now + 60_000, 1)
            if stolen.jobs:
                break
        assert [j.id for j in stolen.jobs] == [job.id]
        await asyncio.wait_for(ended.wait(), 60)
    row = await stored(app, job.id)
    assert (row.state, row.token, row.worker) == (State.RUNNING, "stolen", "other:1")


async def test_shutdown_waits_for_handlers_and_gives_back_the_rest(app: Mainspring) -> None:
    entered = [asyncio.Event(), asyncio.Event()]
    finish = asyncio.Event()

    @app.task(max_concurrency=None)
    async def waits(n: int) -> str:
        entered[n].set()
        await (finish.wait() if n == 0 else asyncio.Event().wait())
        return "done"

    async with app.worker() as worker:
        ends, waits_on = await waits.enqueue(0), await waits.enqueue(1)
        for event in entered:
            await asyncio.wait_for(event.wait(), 60)
        stopping = asyncio.create_task(worker.stop(grace=0.2))
        finish.set()
        await stopping
    assert await ends.status() == "completed"
    row = await stored(app, waits_on.id)
    assert (row.state, row.attempts, row.interruptions) == (State.WAITING, 0, 0)
    assert [run.outcome for run in row.runs] == ["released"]


@pytest.mark.slow
async def test_a_thread_that_outlives_the_stop_is_left_behind_as_interrupted(app: Mainspring) -> None:
    entered, release = threading.Event(), threading.Event()

    @app.task
    def stubborn() -> None:
        entered.set()
        release.wait(30)

    worker = app.worker(grace=0.05)
    async with worker:
        job = await stubborn.enqueue()
        await wait_until(entered.is_set, "the handler to begin")
    row = await stored(app, job.id)
    assert row.state is State.RUNNING
    assert row.due_at <= worker.clock.now() + 2_000
    release.set()


async def test_stop_is_hurried(app: Mainspring) -> None:
    entered = asyncio.Event()

    @app.task
    async def waits() -> None:
        entered.set()
        await asyncio.Event().wait()

    async with app.worker(grace="1h") as worker:
        await waits.enqueue()
        await asyncio.wait_for(entered.wait(), 60)
        stopping = asyncio.create_task(worker.stop())
        await asyncio.sleep(0)
        worker.hurry()
        await asyncio.wait_for(stopping, 60)
    assert worker.stats().status == "stopped"


@pytest.mark.slow
async def test_a_blocked_loop_keeps_its_leases(app: Mainspring) -> None:
    @app.task
    async def blocks() -> str:
        threading.Event().wait(4)
        return "kept"

    async with app.worker(lease=2, beat=0.1):
        job = await blocks.enqueue()
        assert await job.result(timeout=60) == "kept"
    row = await stored(app, job.id)
    assert (row.claims, [run.outcome for run in row.runs]) == (1, ["succeeded"])
    assert row.version > 5  # it was renewed meanwhile


@pytest.mark.slow
async def test_a_loop_that_stands_still_for_too_long_gives_its_jobs_up(
    app: Mainspring, capfd: pytest.CaptureFixture[str]
) -> None:
    began = threading.Event()

    @app.task
    async def blocks() -> None:
        began.set()
        threading.Event().wait(1.5)

    async with app.worker(lease=0.3, beat=0.1, stall_limit=0.3) as worker:
        job = await blocks.enqueue()
        store = worker.store.clone()
        await wait_until(lambda: began.is_set() and worker.desk.running == 0, "the handler to end")
        row = await stored(app, job.id)
        assert row.started_at is not None
        await store.close()
    assert "most recent call first" in capfd.readouterr().err
