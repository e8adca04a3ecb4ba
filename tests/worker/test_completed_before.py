"""Several runs of one job, and `ctx.mark_completed`: its effects happen once, and the last run settles the job."""

from __future__ import annotations

import asyncio
from contextlib import closing, nullcontext, suppress

import pytest

from mainspring import Context, Retry, Snooze
from mainspring.core.job import Job
from mainspring.core.records import COMPLETION, completion_name
from mainspring.errors import LeaseLost
from mainspring.process.supervisor import lapse_leases
from mainspring.worker.completion import AlreadyCompleted, Completions
from tests.worker.conftest import wait_until
from tests.worker.shop import Shop, completion_of, failing_looks, ignored, shop

__all__ = ["shop"]

AT_ONCE = Retry(max_attempts=3, initial_delay=0)


@pytest.mark.parametrize("interruptions", [3, 0])
async def test_the_next_claim_of_a_dead_worker_s_job_finds_it_completed(shop: Shop, interruptions: int) -> None:
    ran = 0

    @shop.app.task(max_interruptions=interruptions)
    async def sell() -> str:
        nonlocal ran
        ran += 1
        return "again"

    job = await sell.enqueue()
    await shop.die("sell")
    async with shop.app.worker() as worker:
        assert await job.result(timeout=60) == "stale"
        await wait_until(lambda: worker.processed == 1, "the settle to be known")
    row = await job.get()
    assert (ran, shop.orders) == (0, [100])
    assert (row.claims, row.interruptions, [run.outcome for run in row.runs]) == (2, 0, ["succeeded"])


async def test_a_cancel_that_came_before_the_worker_died_does_not_undo_its_commit(shop: Shop) -> None:
    @shop.app.task
    async def sell() -> str:
        return "again"

    job = await sell.enqueue()
    stale = await shop.claim("sell")
    await job.cancel()
    await shop.commit(stale)
    await shop.lapse()
    async with shop.app.worker():
        assert await job.result(timeout=60) == "stale"


async def test_a_new_ask_that_came_before_the_worker_died_runs(shop: Shop) -> None:
    ran: list[int] = []

    @shop.app.task(debounce="1ms")
    async def index(n: int) -> str:
        ran.append(n)
        return f"ran {n}"

    job = await index.enqueue(1)
    await shop.clock.advance("1ms")
    stale = await shop.claim("index")
    await index.enqueue(2)
    await shop.clock.advance("1ms")
    await shop.commit(stale)
    await shop.lapse()
    async with shop.app.worker():
        await wait_until(lambda: ran, "the new ask to run")
        assert await job.result(timeout=60) == "ran 2"
    assert ran == [2]
    assert [run.outcome for run in (await job.get()).runs] == ["succeeded", "succeeded"]


async def test_a_commit_of_a_stale_run_is_found_by_a_retry(shop: Shop) -> None:
    ran = 0

    @shop.app.task(retry=AT_ONCE)
    async def sell(ctx: Context) -> str:
        nonlocal ran
        ran += 1
        await shop.commit(stale)
        raise ValueError("this run has failed")

    job = await sell.enqueue()
    stale = await shop.claim("sell")
    await shop.lapse()
    async with shop.app.worker():
        assert await job.result(timeout=60) == "stale"
    assert (ran, shop.orders) == (1, [100])


@pytest.mark.parametrize("swallow", [False, True])
async def test_a_second_transaction_for_the_same_work_is_rolled_back(
    shop: Shop, caplog: pytest.LogCaptureFixture, swallow: bool
) -> None:
    """The stale run commits while the newer one is at work."""

    @shop.app.task
    async def sell(ctx: Context) -> str:
        await shop.commit(stale)
        async with ctx.transaction() as session:
            shop.order(session, 2)
            with suppress(AlreadyCompleted) if swallow else nullcontext():
                await ctx.mark_completed("newer", session=session)
        return "newer"

    job = await sell.enqueue()
    stale = await shop.claim("sell")
    await shop.lapse()
    async with shop.app.worker():
        assert await job.result(timeout=60) == "stale"
    assert shop.orders == [100]
    assert [run.outcome for run in (await job.get()).runs] == ["interrupted", "succeeded"]
    assert ignored(caplog) == []


async def test_of_two_workers_one_transaction_commits(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stale worker looked whether the job is its own before it lost it, and writes after another has committed."""
    entered, lapsed = asyncio.Event(), asyncio.Event()
    told: list[str] = []

    async def looked_before(self: Completions, hold: object) -> None: ...

    async def sell(ctx: Context) -> str:
        if ctx.fence == 2:
            async with ctx.transaction() as session:
                shop.order(session, 2)
                await ctx.mark_completed("newer", session=session)
            return "newer"
        with closing(shop.connect()) as connection:
            connection.execute("BEGIN")
            connection.execute("SELECT count(*) FROM orders").fetchone()  # its snapshot is of now
            entered.set()
            await lapsed.wait()
            monkeypatch.setattr(Completions, "_check", looked_before)
            for _ in range(2):
                try:
                    await ctx.mark_completed("stale", session=connection)
                except Exception as error:
                    told.append(type(error).__name__)
                connection.execute("ROLLBACK")
                connection.execute("BEGIN IMMEDIATE")
                shop.order(connection, 1)
        return "stale"

    other = shop.another()
    shop.app.task(sell)
    other.task(sell)
    async with shop.app.worker() as stale:
        job = await shop.app.tasks["sell"].enqueue()
        await asyncio.wait_for(entered.wait(), 60)
        stale.pause()
        await lapse_leases(stale.store, stale.id, shop.clock.now())
        async with other.worker():
            assert await job.result(timeout=60) == "newer"
            lapsed.set()
            await wait_until(lambda: not stale.desk.holds, "the stale run to end")
    await other.close()
    assert shop.orders == [2]
    assert told == ["StoreUnavailable", "AlreadyCompleted"]
    row = await job.get()
    assert ([run.outcome for run in row.runs], row.claims) == (["interrupted", "succeeded"], 2)


@pytest.mark.parametrize("swallow", [False, True])
async def test_a_run_that_has_lost_its_job_completes_nothing(shop: Shop, swallow: bool) -> None:
    told: list[Exception] = []

    @shop.app.task
    async def sell(ctx: Context) -> str:
        worker.pause()
        await lapse_leases(worker.store, worker.id, shop.clock.now())
        await shop.claim("sell", "newer")
        try:
            async with ctx.transaction() as session:
                shop.order(session)
                with suppress(LeaseLost) if swallow else nullcontext():
                    await ctx.mark_completed("lost", session=session)
        except LeaseLost as error:
            told.append(error)
        return "lost"

    async with shop.app.worker() as worker:
        job = await sell.enqueue()
        await wait_until(lambda: told and not worker.desk.holds, "the run to be lost")
        assert await job.status() == "running"
    assert shop.orders == []


async def test_a_rerun_by_hand_runs_even_in_the_same_millisecond(shop: Shop) -> None:
    @shop.app.task
    async def sell(ctx: Context) -> int:
        async with ctx.transaction() as session:
            shop.order(session, ctx.fence)
            await ctx.mark_completed(ctx.fence, session=session)
        return ctx.fence

    async with shop.app.worker():
        job = await sell.enqueue()
        assert await job.result(timeout=60) == 1
        for fence in (2, 3):
            await shop.app.client.retry(job.id)
            assert await job.result(timeout=60) == fence
    assert shop.orders == [1, 2, 3]


async def test_a_snooze_is_the_same_work_and_a_new_ask_is_not(shop: Shop) -> None:
    names: set[str] = set()

    @shop.app.task(unique=True)
    async def sell(ctx: Context) -> None:
        names.add(completion_name(ctx.job.id, ctx.job.ask, ctx.job.scheduled_at))
        await ctx.log("ran")

    @shop.app.task
    async def snoozes(ctx: Context) -> None:
        names.add(completion_name(ctx.job.id, ctx.job.ask, ctx.job.scheduled_at))
        if ctx.fence < 3:
            raise Snooze(0)

    async with shop.app.worker():
        await (await snoozes.enqueue()).result(timeout=60)
        assert len(names) == 1
        for _ in range(2):
            await (await sell.enqueue()).result(timeout=60)
        assert len(names) == 3


async def test_only_a_job_that_was_claimed_before_costs_a_look(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[str] = []
    find = Completions.find

    async def counted(self: Completions, job: Job) -> object:
        looks.append(job.task)
        return await find(self, job)

    monkeypatch.setattr(Completions, "find", counted)

    @shop.app.task
    async def once() -> None: ...

    @shop.app.task(retry=AT_ONCE)
    async def twice(ctx: Context) -> None:
        if ctx.attempt == 1:
            raise ValueError

    async with shop.app.worker():
        jobs = await shop.app.enqueue_many([once.job() for _ in range(20)])
        for job in jobs:
            await job.result(timeout=60)
        assert looks == []
        await (await twice.enqueue()).result(timeout=60)
    assert looks == ["twice"]


async def test_a_look_that_fails_is_repeated_before_the_handler_runs(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = 0

    @shop.app.task
    async def sell() -> str:
        nonlocal ran
        ran += 1
        return "again"

    job = await sell.enqueue()
    await shop.die("sell")
    failing_looks(monkeypatch)(3)
    async with shop.app.worker():
        assert await job.result(timeout=60) == "stale"
    assert ran == 0


async def test_a_completion_is_kept_for_days(shop: Shop) -> None:
    @shop.app.task
    async def sell(ctx: Context) -> str:
        async with ctx.transaction() as session:
            await ctx.mark_completed("sold", session=session)
        return "sold"

    async with shop.app.worker() as worker:
        job = await sell.enqueue()
        await job.result(timeout=60)
        [record] = await worker.store.scan(COMPLETION)
        row = await job.get()
        assert record.name == completion_name(row.id, row.ask, row.scheduled_at)
        assert record.value == completion_of(row, '"sold"').value
        assert record.expires_at is not None
        assert record.expires_at - shop.clock.now() >= 24 * 60 * 60 * 1_000
        await worker.store.purge(record.expires_at, 100)
        assert await worker.store.scan(COMPLETION) == []
