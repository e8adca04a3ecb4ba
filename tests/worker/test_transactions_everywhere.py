"""Completions on every store that has transactions. The effect is a job that is enqueued in the same transaction.

While one is open on SQLite nobody else writes; what happens meanwhile is MongoDB's alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from mainspring import Context, Job, Mainspring, Retry, State, Task
from mainspring.process.supervisor import lapse_leases
from tests.servers.shared import needs_mongo
from tests.stores_for_apps import store_url
from tests.worker.conftest import wait_until
from tests.worker.shop import completion_of

MONGO = pytest.param("mongo", marks=needs_mongo())


@pytest.fixture(params=["file", MONGO])
async def app(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Mainspring]:
    with store_url(request.param, tmp_path) as url:
        async with Mainspring(url) as app:
            yield app


@pytest.fixture
def effect(app: Mainspring) -> Task[[int], None]:
    @app.task(queue="effects")
    def effect(attempt: int) -> None: ...

    return effect


async def effects(app: Mainspring) -> list[str | None]:
    ids = [job.id for job in (await app.jobs.list(task="effect")).jobs]
    return [(await app.get(id)).input for id in ids]


async def test_what_is_rolled_back_is_retried_and_what_is_committed_is_done(
    app: Mainspring, effect: Task[[int], None]
) -> None:
    @app.task(retry=Retry(max_attempts=2, initial_delay=0))
    async def work(ctx: Context) -> int:
        async with ctx.transaction() as session:
            await effect.options(session=session).enqueue(ctx.attempt)
            await ctx.mark_completed(ctx.attempt, session=session)
            if ctx.attempt == 1:
                raise ValueError("rolled back")
        raise ValueError("too late")

    async with app.worker(queues=["default"]) as worker:
        job = await work.enqueue()
        assert await job.result(timeout=60) == 2
        await wait_until(lambda: not worker.desk.holds, "the handler to end")
    assert [run.outcome for run in (await job.get()).runs] == ["failed", "succeeded"]
    assert await effects(app) == ['{"attempt":2}']


async def stale_run(app: Mainspring) -> Job:
    """The job, claimed by a worker that then loses it."""
    client = await app.connect()
    now = app.clock.now()
    [job] = (await client.store.claim("default", {"work": None}, "stale:1", "t", now, now + 60_000, 1)).jobs
    await lapse_leases(client.store, "stale:1", now)
    return job


async def commit(app: Mainspring, effect: Task[[int], None], stale: Job) -> None:
    """What the transaction of that run commits."""
    client = await app.connect()

    async def transaction(session: Any) -> None:
        await effect.options(session=session).enqueue(1)
        assert await client.store.write([completion_of(stale, '"first"')], session) != [None]

    await app.with_transaction(transaction)


async def test_a_dead_worker_s_commit_is_found(app: Mainspring, effect: Task[[int], None]) -> None:
    ran = 0

    @app.task
    async def work() -> str:
        nonlocal ran
        ran += 1
        return "second"

    job = await work.enqueue()
    await commit(app, effect, await stale_run(app))
    async with app.worker(queues=["default"]):
        assert await job.result(timeout=60) == "first"
    assert (ran, await effects(app)) == (0, ['{"attempt":1}'])


async def test_a_second_commit_for_the_same_work_is_refused(app: Mainspring, effect: Task[[int], None]) -> None:
    @app.task
    async def work(ctx: Context) -> str:
        async def again(session: Any) -> None:
            await effect.options(session=session).enqueue(2)
            await ctx.mark_completed("second", session=session)

        await commit(app, effect, stale)
        await ctx.with_transaction(again)
        return "second"

    job = await work.enqueue()
    stale = await stale_run(app)
    async with app.worker(queues=["default"]):
        assert await job.result(timeout=60) == "first"
    assert await effects(app) == ['{"attempt":1}']


@pytest.mark.parametrize("app", [MONGO], indirect=True)
async def test_one_that_conflicts_with_a_transaction_that_is_open_is_run_again_and_refused(
    app: Mainspring, effect: Task[[int], None]
) -> None:
    """Both looked before either had committed: the record is not in the later one's snapshot."""
    ran = 0

    @app.task
    async def work(ctx: Context) -> str:
        async def again(session: Any) -> None:
            nonlocal ran
            ran += 1
            await effect.options(session=session).enqueue(2)
            if ran == 1:
                await commit(app, effect, stale)
            await ctx.mark_completed("second", session=session)

        await ctx.with_transaction(again)
        return "second"

    job = await work.enqueue()
    stale = await stale_run(app)
    async with app.worker(queues=["default"]):
        assert await job.result(timeout=60) == "first"
    assert (ran, await effects(app)) == (2, ['{"attempt":1}'])


@pytest.mark.parametrize("app", [MONGO], indirect=True)
async def test_leases_are_renewed_while_a_transaction_is_open(app: Mainspring, effect: Task[[int], None]) -> None:
    """Its own and its neighbours': with the row in the transaction it would abort, or hold up all renewals."""

    @app.task
    async def work(ctx: Context) -> str:
        async with ctx.transaction() as session:
            await effect.options(session=session).enqueue(1)
            await ctx.mark_completed("done", session=session)
            holds, before = list(worker.desk.holds), ctx.job.version
            await wait_until(lambda: ctx.job.version >= before + 24, "two leases of renewals")
            assert len(holds) == 2
            assert {hold.stop for hold in holds} == {None}
            assert min(hold.job.due_at for hold in holds) > worker.clock.now()
            assert (await app.get(ctx.job_id)).state is State.RUNNING
        over.set()
        return "done"

    @app.task
    async def neighbour() -> str:
        await over.wait()
        return "lived"

    over = asyncio.Event()
    async with app.worker(queues=["default"], lease=3, beat=0.25) as worker:
        other = await neighbour.enqueue()
        await wait_until(lambda: worker.desk.running, "the neighbour to run")
        job = await work.enqueue()
        assert await job.result(timeout=60) == "done"
        assert await other.result(timeout=60) == "lived"
    for handle in (job, other):
        row = await handle.get()
        assert (row.claims, [run.outcome for run in row.runs]) == (1, ["succeeded"])
    assert await effects(app) == ['{"attempt":1}']
