"""Who may run when: pauses, throttles, caps, priorities, delays, wake-ups."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from mainspring import Context, Mainspring, Snooze
from mainspring.core.job import State
from tests.worker.conftest import wait_until


async def test_priority_is_strict_and_order_kept(app: Mainspring) -> None:
    ran: list[str] = []

    @app.task
    async def note(name: str) -> None:
        ran.append(name)

    jobs = []
    for priority, name in [(0, "low"), (50, "first"), (50, "second"), (100, "high")]:
        jobs.append(await note.options(priority=priority).enqueue(name))
    async with app.worker(concurrency=1):
        for job in jobs:
            await job.result(timeout=60)
    assert ran == ["high", "first", "second", "low"]


async def test_a_delayed_job_starts_on_time_with_all_workers_idle(app: Mainspring) -> None:
    late: list[float] = []

    @app.task
    async def note(ctx: Context) -> None:
        late.append((ctx.started_at - ctx.scheduled_at).total_seconds())

    async with app.worker(poll=600):  # it sleeps until the due time
        jobs = [await note.options(delay=0.1 * n).enqueue() for n in range(1, 4)]
        for job in jobs:
            await job.result(timeout=60)
    assert all(delay >= 0 for delay in late)


@pytest.mark.slow
async def test_nothing_starts_after_pause_has_returned(app: Mainspring) -> None:
    started = 0

    @app.task
    async def count() -> None:
        nonlocal started
        started += 1

    async with app.worker():
        for _ in range(100):
            await app.queues.pause("default")
            before = started
            job = await count.enqueue()
            for _ in range(10):
                await asyncio.sleep(0)
            assert started == before
            await app.queues.resume("default")
            await job.result(timeout=60)
    assert started == 100


async def test_resume_fills_an_idle_worker(app: Mainspring) -> None:
    running, all_running = 0, asyncio.Event()

    @app.task
    async def hold() -> None:
        nonlocal running
        running += 1
        if running == 50:
            all_running.set()
        await all_running.wait()

    await app.queues.pause("default", reason="maintenance")
    await app.enqueue_many([hold.job() for _ in range(1_000)])
    async with app.worker(concurrency=50, poll=600):  # it is the resume that wakes it
        assert await app.queues.is_paused("default")
        await app.queues.resume("default")
        await asyncio.wait_for(all_running.wait(), 60)


async def test_a_throttled_task_waits_and_others_do_not(app: Mainspring) -> None:
    ran = Counter[str]()

    @app.task
    async def breaker(ctx: Context) -> None:
        ran["breaker"] += 1
        await ctx.throttle("1h", "the service is down")
        raise Snooze(0)

    @app.task
    async def other() -> None:
        ran["other"] += 1

    async with app.worker(concurrency=1):
        await app.enqueue_many([breaker.job() for _ in range(200)])
        await wait_until(lambda: ran["breaker"], "the first one to run")
        job = await other.enqueue()
        await job.result(timeout=60)
    assert ran == {"breaker": 1, "other": 1}


@pytest.mark.parametrize("scope", ["local", "cluster"])
async def test_a_throttle_ends_by_itself(app: Mainspring, scope: str) -> None:
    ran = 0

    @app.task
    async def breaker(ctx: Context) -> None:
        nonlocal ran
        ran += 1
        if ran == 1:
            await ctx.throttle(0.2, scope=scope)
            raise Snooze(0)

    async with app.worker(poll=600):  # the end of the throttle is a time to look again
        job = await breaker.enqueue()
        await job.result(timeout=60)
    assert ran == 2


async def test_max_concurrency_over_several_workers(app: Mainspring) -> None:
    running, most = 0, 0

    @app.task(max_concurrency=3)
    async def limited() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        for _ in range(20):
            await asyncio.sleep(0)
        running -= 1

    await app.enqueue_many([limited.job() for _ in range(100)])
    async with app.worker(concurrency=10), app.worker(concurrency=10):
        client = await app.connect()
        async with asyncio.timeout(60):
            while (await app.jobs.count(status="completed")) < 100:
                await client.store.wait(["default"], 0.05)
    assert most == 3


async def test_a_paused_worker_claims_nothing_and_resumes(app: Mainspring) -> None:
    @app.task
    async def job() -> str:
        return "ran"

    async with app.worker(poll=600) as worker:
        worker.pause()
        handle = await job.enqueue()
        for _ in range(20):
            await asyncio.sleep(0)
        assert await handle.status() == "pending"
        assert worker.stats().status == "paused"
        worker.resume()
        assert await handle.result(timeout=60) == "ran"
        await wait_until(lambda: worker.stats().processed, "the settle to be told")  # the result may be seen before
        stats = worker.stats()
        assert (stats.status, stats.processed, stats.failed) == ("running", 1, 0)


async def test_a_worker_of_some_tasks_leaves_the_others(app: Mainspring) -> None:
    @app.task
    async def mine() -> None: ...

    @app.task
    async def not_mine() -> None: ...

    await app.enqueue_many([not_mine.job() for _ in range(2_000)])
    async with app.worker(tasks=["mine"]):
        await (await mine.enqueue()).result(timeout=60)
    assert await app.jobs.count(status="pending", task="not-mine") == 2_000


async def test_queues_in_rotation(app: Mainspring) -> None:
    ran: list[str] = []

    @app.task(queue="a")
    async def in_a() -> None:
        ran.append("a")

    @app.task(queue="b")
    async def in_b() -> None:
        ran.append("b")

    await app.enqueue_many([in_a.job() for _ in range(20)] + [in_b.job() for _ in range(20)])
    async with app.worker(concurrency=1):
        await wait_until(lambda: len(ran) == 40, "all to run")
    assert set(ran[:4]) == {"a", "b"}


@pytest.mark.slow
async def test_debounce_runs_the_last_ask_once(app: Mainspring) -> None:
    ran: list[int] = []

    @app.task(debounce=1)  # far longer than one ask takes on a busy machine
    async def save(x: int) -> None:
        ran.append(x)

    async with app.worker():
        jobs = [await save.enqueue(n) for n in range(50)]
        assert len({job.id for job in jobs}) == 1
        await jobs[-1].result(timeout=60)
    assert ran == [49]


async def test_an_ask_during_a_run_runs_after_it_and_never_beside_it(app: Mainspring) -> None:
    ran: list[int] = []
    entered, go_on = asyncio.Event(), asyncio.Event()

    @app.task(debounce=0.001)
    async def save(x: int) -> None:
        ran.append(x)
        entered.set()
        await go_on.wait()

    async with app.worker():
        await save.enqueue(1)
        await asyncio.wait_for(entered.wait(), 60)
        for n in range(2, 6):
            job = await save.enqueue(n)
        row = await job.get()
        assert row is not None
        assert row.state is State.RUNNING
        go_on.set()
        await job.result(timeout=60)
    assert ran == [1, 5]
