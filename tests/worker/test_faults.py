"""The store fails at the worst moments: nothing is lost, nothing is doubled, and the worker goes on by itself."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from functools import partial
from typing import Literal, NamedTuple

import pytest

from mainspring import Context, Mainspring, Retry
from mainspring.core.job import State
from mainspring.stores import open_store
from mainspring.stores.base import Query
from mainspring.testing import Outages, unreliable
from mainspring.worker.worker import Worker
from tests.worker.conftest import wait_until

When = Literal["before", "after"]


class Rig(NamedTuple):
    app: Mainspring
    outages: Outages


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    outages = Outages()
    app = Mainspring(unreliable(open_store("sqlite://:memory:"), outages))
    yield Rig(app, outages)
    await app.close()


def fail(outages: Outages, operation: str, when: When, times: int = 1) -> None:
    """Let the next calls fail before they take effect, or lose their answers after that."""
    plan = outages.fail_next if when == "before" else outages.lose_answers
    plan(times, operation=operation)


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_settle_whose_answer_is_lost_is_no_lost_run(rig: Rig, when: When) -> None:
    ran = 0

    @rig.app.task
    async def job() -> int:
        nonlocal ran
        ran += 1
        fail(rig.outages, "save", when, times=2)
        return 7

    async with rig.app.worker() as worker:
        handle = await job.enqueue()
        assert await handle.result(timeout=60) == 7
        await wait_until(lambda: worker.processed == 1, "the settle to be known")
    row = await handle.get()
    assert row is not None
    assert (ran, row.claims, [run.outcome for run in row.runs]) == (1, 1, ["succeeded"])


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_claim_whose_answer_is_lost_is_given_back(rig: Rig, when: When) -> None:
    @rig.app.task
    async def job() -> int:
        return 7

    handle = await job.enqueue()
    fail(rig.outages, "claim", when)
    async with rig.app.worker(lease="1h", beat="1m"):
        assert await handle.result(timeout=60) == 7
    row = await handle.get()
    assert row is not None
    assert (row.claims, row.interruptions) == (1 if when == "before" else 2, 0)
    assert [run.outcome for run in row.runs] == ["succeeded"]


@pytest.mark.slow
async def test_a_store_that_is_down_for_a_while(rig: Rig) -> None:
    entered, go_on = asyncio.Event(), asyncio.Event()
    ran = Counter[int]()

    @rig.app.task(retry=Retry(max_attempts=2, initial_delay=0.01))
    async def job(n: int) -> int:
        ran[n] += 1
        entered.set()
        await go_on.wait()
        return n

    async with rig.app.worker(lease=10, beat=0.1, poll=0.1):
        first = await job.enqueue(1)
        await asyncio.wait_for(entered.wait(), 60)
        rig.outages.down()
        renewals, before = rig.outages.calls["renew"], looks(rig.outages)
        go_on.set()
        await wait_until(lambda: looks(rig.outages) > before + 2, "looks for work to fail")
        assert looks(rig.outages) - before < 20  # it does not hammer
        rig.outages.up()
        assert await first.result(timeout=60) == 1
        assert await (await job.enqueue(2)).result(timeout=60) == 2
        assert rig.outages.calls["renew"] - renewals < 1_000
    assert ran == {1: 1, 2: 1}


def looks(outages: Outages) -> int:
    """How often a worker looked for work, or for what a lost answer left behind."""
    return outages.calls["claim"] + outages.calls["find"]


@pytest.mark.slow
async def test_handlers_are_told_before_a_lease_that_cannot_be_renewed_ends(rig: Rig) -> None:
    entered, told = asyncio.Event(), asyncio.Event()

    @rig.app.task
    async def job(ctx: Context) -> None:
        entered.set()
        if ctx.fence > 1:
            return
        try:
            await asyncio.Event().wait()
        finally:
            told.set()

    async with rig.app.worker(lease=6, beat=2, poll=0.1) as worker:
        handle = await job.enqueue()
        await asyncio.wait_for(entered.wait(), 60)
        [hold] = worker.desk.holds
        rig.outages.down()
        await asyncio.wait_for(told.wait(), 60)
        assert worker.clock.now() <= hold.job.due_at
        rig.outages.up()
        await handle.result(timeout=60)
    row = await handle.get()
    assert row is not None
    assert [run.outcome for run in row.runs] == ["interrupted", "succeeded"]


async def test_log_lines_and_hints_may_fail_and_the_run_does_not(rig: Rig) -> None:
    @rig.app.task(max_concurrency=1)
    async def job(ctx: Context) -> str:
        await ctx.log("gone")
        for name in ("append", "publish", "wake"):
            rig.outages.fail_next(3, operation=name)
        return "done"

    async with rig.app.worker():
        handle = await job.enqueue()
        assert await handle.result(timeout=60) == "done"


def _has_done(worker: Worker, jobs: int) -> bool:
    return worker.processed >= jobs


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.slow
async def test_a_thousand_jobs_through_a_store_that_fails_all_the_time(rig: Rig, when: When) -> None:
    ran = Counter[int]()

    @rig.app.task
    async def job(n: int) -> None:
        ran[n] += 1

    await rig.app.enqueue_many([job.job(n) for n in range(1_000)])
    async with rig.app.worker(poll=0.05) as worker:
        for _ in range(6):
            for name in ("claim", "save", "find", "get"):
                if not rig.outages.planned(name):  # never many in a row: the worker would back off for long
                    fail(rig.outages, name, when)
            done = worker.processed
            await wait_until(partial(_has_done, worker, min(done + 20, 1_000)), "progress")
        rig.outages.up()
        await wait_until(lambda: worker.desk.running == 0 and worker.processed >= 1_000, "all to run")
        counts = await worker.store.count(Query())
    assert {row.state: row.jobs for row in counts if row.jobs} == {State.COMPLETED: 1_000}
    assert set(ran) == set(range(1_000))
    assert max(ran.values()) == 1
