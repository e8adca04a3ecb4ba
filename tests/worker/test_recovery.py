"""Runs that vanish: recorded, bounded, and never at the expense of their neighbours."""

from __future__ import annotations

import asyncio

import pytest

from mainspring import Context, JobFailed, Mainspring
from mainspring.core.job import Job, State
from mainspring.core.policy import Policy
from mainspring.process.supervisor import lapse_leases
from mainspring.stores.base import Query, Store
from mainspring.worker import pump
from mainspring.worker.janitor import Janitor


async def crash(app: Mainspring, task: str, times: int = 1, limit: int = 100) -> list[Job]:
    """Claim as workers that then die, with their parent watching."""
    client = await app.connect()
    jobs: list[Job] = []
    for number in range(times):
        now, worker = client.clock.now(), f"dead:{number}"
        jobs = (await client.store.claim("default", {task: None}, worker, f"t{number}", now, now + 60_000, limit)).jobs
        await lapse_leases(client.store, worker, now)
    return jobs


async def test_a_vanished_run_is_recorded_and_the_job_runs_again(app: Mainspring) -> None:
    @app.task
    async def job(ctx: Context) -> tuple[int, int]:
        return ctx.attempt, ctx.fence

    handle = await job.enqueue()
    await crash(app, "job", times=2)
    async with app.worker():
        assert await handle.result(timeout=60) == (1, 3)
    row = await handle.get()
    assert row is not None
    assert [(r.outcome, r.claim) for r in row.runs] == [("interrupted", 1), ("interrupted", 2), ("succeeded", 3)]
    assert row.runs[1].worker == "dead:1"


@pytest.mark.parametrize(("bound", "crashes", "dies"), [(3, 3, False), (3, 4, True), (0, 1, True), (1, 1, False)])
async def test_interruptions_are_bounded(app: Mainspring, bound: int, crashes: int, dies: bool) -> None:
    @app.task(max_interruptions=bound)
    async def job() -> str:
        return "ran"

    handle = await job.enqueue()
    await crash(app, "job", times=crashes)
    async with app.worker():
        if dies:
            with pytest.raises(JobFailed, match="vanished"):
                await handle.result(timeout=60)
        else:
            assert await handle.result(timeout=60) == "ran"
    row = await handle.get()
    assert row is not None
    assert row.state is (State.DEAD if dies else State.COMPLETED)
    assert row.reason == ("poison" if dies else "")


async def test_jobs_on_their_last_chance_run_one_by_one(app: Mainspring) -> None:
    alive = most = 0

    @app.task(max_interruptions=2)
    async def job() -> None:
        nonlocal alive, most
        alive += 1
        most = max(most, alive)
        for _ in range(10):
            await asyncio.sleep(0)
        alive -= 1

    handles = await app.enqueue_many([job.job() for _ in range(10)])
    assert len(await crash(app, "job", times=2)) == 10
    async with app.worker():
        for handle in handles:
            await handle.result(timeout=60)
    assert most == 1
    rows = [row for handle in handles if (row := await handle.get()) is not None]
    assert all([run.outcome for run in row.runs] == ["interrupted", "interrupted", "succeeded"] for row in rows)


async def test_a_long_run_of_a_suspect_lets_others_in_but_no_other_suspect(
    app: Mainspring, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pump, "ALONE_FOR", 0.05)
    monkeypatch.setattr(pump, "ALONE_WITHIN", 0.05)
    alive = most = 0
    go_on = asyncio.Event()

    @app.task(max_interruptions=2)
    async def suspect() -> None:
        nonlocal alive, most
        alive += 1
        most = max(most, alive)
        await go_on.wait()
        alive -= 1

    @app.task
    async def other(n: int) -> int:
        return n

    suspects = await app.enqueue_many([suspect.job() for _ in range(3)])
    await crash(app, "suspect", times=2)
    async with app.worker():
        for n in range(5):
            assert await (await other.enqueue(n)).result(timeout=60) == n
        client = await app.connect()
        ids = [handle.id for handle in suspects]
        before = sum(row.version for row in await _get(app, ids) if row is not None)
        assert await (await other.options(delay=0.5).enqueue(5)).result(timeout=60) == 5
        after = sum(row.version for row in await _get(app, ids) if row is not None)
        assert after - before < 100, "those that wait are claimed and given back now and then, not all the time"
        go_on.set()
        for handle in suspects:
            await client.ended(handle.id, timeout=10)
    assert most == 1


async def test_a_lapsed_job_runs_before_a_backlog(app: Mainspring) -> None:
    ran: list[int] = []

    @app.task
    async def job(n: int) -> None:
        ran.append(n)

    lapsed = await job.options(priority=0).enqueue(-1)
    await crash(app, "job")
    await app.enqueue_many([job.job(n) for n in range(10_000)])
    async with app.worker(concurrency=1):
        await lapsed.result(timeout=60)
    assert ran[0] == -1


async def test_an_ask_during_a_vanished_run_is_what_runs_next(app: Mainspring) -> None:
    ran: list[int] = []

    @app.task(debounce=0.001)
    async def job(n: int) -> None:
        ran.append(n)

    handle = await job.enqueue(1)
    client = await app.connect()
    while not (await crash(app, "job")):
        await asyncio.sleep(0)
    await job.enqueue(2)
    await job.enqueue(3)
    async with app.worker():
        await handle.result(timeout=60)
    assert ran[-1] == 3
    assert 1 not in ran
    row = await client.get(handle.id)
    assert [run.outcome for run in row.runs] == ["interrupted", "succeeded"]


async def test_the_janitor_erases_what_is_over_and_keeps_a_count(app: Mainspring) -> None:
    @app.task(retention="1ms")
    async def short() -> None: ...

    @app.task
    async def counted() -> None: ...

    @app.task(idempotency_key=lambda n: f"key {n}")
    async def keyed(n: int) -> None: ...

    jobs = [short.job() for _ in range(20)] + [counted.job() for _ in range(30)] + [keyed.job(n) for n in range(30)]
    handles = await app.enqueue_many(jobs)
    async with app.worker() as worker:
        for handle in handles[20:]:
            await handle.result(timeout=60)
        await _tick(worker.store, worker.clock.now())
        await Janitor(worker, keep=10).round()
        left = {row.task: row.jobs for row in await worker.store.count(Query()) if row.jobs}
    assert left == {"counted": 10, "keyed": 30}
    kept = [handle.id for handle in handles[40:50]]
    assert [row is not None for row in await _get(app, kept)] == [True] * 10


async def _tick(store: Store, since: int) -> None:
    while await store.time() <= since + 1:
        await asyncio.sleep(0)


async def _get(app: Mainspring, ids: list[str]) -> list[Job | None]:
    return await (await app.connect()).store.get(ids)


async def test_a_release_keeps_the_count_of_interruptions(app: Mainspring) -> None:
    from mainspring.core import states

    @app.task
    async def job() -> None: ...

    await job.enqueue()
    [row] = await crash(app, "job", times=2)
    client = await app.connect()
    now = client.clock.now()
    [claimed] = (await client.store.claim("default", {"job": None}, "w:1", "t", now, now + 1_000, 1)).jobs
    assert claimed.interruptions == 2
    released = states.release(claimed, now, now, Policy())
    assert released.interruptions == 2
    assert row.id == released.id
