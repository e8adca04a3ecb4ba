"""Handlers that say strange things: it costs them at most their own run, and never the neighbours in their batch."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from mainspring import Cancel, Context, DeadLetter, JobFailed, Mainspring, Retry, Skip, Snooze
from mainspring.core.job import Job
from mainspring.core.outcome import Steer
from mainspring.errors import DefinitionError, MainspringError
from mainspring.stores.base import BATCH_BYTES, BATCH_ROWS
from tests.worker.conftest import wait_until
from tests.worker.test_faults import Rig, rig

__all__ = ["rig"]

TEN = range(10)
STRANGE: list[Any] = ["\ud800", 5, None, ValueError("x"), "x" * 1_000_000]


class Unspeakable(Exception):
    """Its text cannot be made."""

    def __str__(self) -> str:
        raise ValueError

    __repr__ = __str__


@pytest.mark.parametrize("reason", STRANGE, ids=["surrogate", "number", "none", "object", "long"])
@pytest.mark.parametrize("how", [Cancel, DeadLetter, Skip, Snooze, Retry.after])
async def test_a_strange_reason_costs_neither_the_job_nor_its_neighbours(
    app: Mainspring, how: Any, reason: Any
) -> None:
    @app.task(retries=0)
    async def steer(n: int) -> int:
        if n == 0:
            raise how("1h", reason) if how in (Snooze, Retry.after) else how(reason)
        return n

    async with app.worker() as worker:
        handles = await app.enqueue_many([steer.job(n) for n in TEN])
        await wait_until(lambda: worker.processed == len(TEN), "all to be settled")
        rows = [row for handle in handles if (row := await handle.get()) is not None]
    assert [len(row.runs) for row in rows] == [1] * len(TEN)
    assert "interrupted" not in {run.outcome for row in rows for run in row.runs}
    said = rows[0].reason + rows[0].runs[0].note
    assert len(said) < 10_000
    if how in (Cancel, DeadLetter, Skip) and reason == "\ud800":
        assert "\\ud800" in said


async def test_a_row_that_cannot_be_written_does_not_cost_those_in_its_batch(app: Mainspring) -> None:
    together = asyncio.Barrier(len(TEN))

    class Broken(Steer):
        pass

    @app.task
    async def job(n: int) -> int:
        await together.wait()
        return n

    async with app.worker(lease="1h", beat="1m") as worker:
        save, batches = worker.store.save, []

        async def picky(jobs: list[Job], within: Any = None) -> list[Job | None]:
            batches.append(len(jobs))
            if any(job.result == "0" for job in jobs):
                raise TypeError("no such row")
            return await save(jobs, within)

        worker.store.save = picky  # type: ignore[method-assign, assignment]
        handles = await app.enqueue_many([job.job(n) for n in TEN])
        assert [await handle.result(timeout=60) for handle in handles[1:]] == [*TEN[1:]]
        await wait_until(lambda: not worker.desk.holds, "the bad one to be given up")
    assert max(batches) > 1


@pytest.mark.parametrize("in_thread", [False, True])
@pytest.mark.parametrize("error", [Unspeakable(), type("Base", (BaseException,), {"__repr__": Unspeakable.__str__})()])
async def test_an_exception_without_a_text_is_a_failure_like_any(
    app: Mainspring, error: BaseException, in_thread: bool
) -> None:
    def plain() -> None:
        raise error

    async def coroutine() -> None:
        raise error

    task = app.task(retries=0, name="raises")(plain if in_thread else coroutine)
    async with app.worker() as worker:
        with pytest.raises(JobFailed):
            await (await task.enqueue()).result(timeout=60)
        assert worker.stats().active == 0


@pytest.mark.slow
async def test_a_log_line_costs_no_lease(rig: Rig) -> None:
    go_on = asyncio.Event()

    @rig.app.task
    async def talk(ctx: Context) -> str:
        ctx.log("before \ud800 after")
        await go_on.wait()
        return "said"

    rig.outages.fail_next(10_000, operation="append")
    async with rig.app.worker(lease=2, beat=0.1) as worker:
        handle = await talk.enqueue()
        after = worker.clock.now() + 2_500
        await wait_until(lambda: worker.clock.now() > after, "the lines to fail for longer than the lease")
        assert rig.outages.calls["append"] > 5
        rig.outages.up()
        go_on.set()
        assert await handle.result(timeout=60) == "said"
        [line] = await (await rig.app.connect()).store.tail(handle.id)
    assert line.text == "before \\ud800 after"
    row = await handle.get()
    assert row is not None
    assert row.claims == 1


@pytest.mark.parametrize("level", [None, 5, "loud", []])
async def test_a_log_level_that_is_none_is_refused(app: Mainspring, level: Any) -> None:
    @app.task(retries=0)
    async def talk(ctx: Context) -> None:
        ctx.log("x", level=level)

    async with app.worker():
        with pytest.raises(JobFailed, match="bad log level"):
            await (await talk.enqueue()).result(timeout=60)


async def test_a_flood_of_log_lines_comes_in_batches_and_is_bounded(rig: Rig) -> None:
    sizes: list[tuple[int, int]] = []

    @rig.app.task
    async def flood(ctx: Context) -> None:
        for number in range(3_000):
            ctx.log(f"{number} {'é' * 8_000}")
        assert len(ctx._hold.lines) <= 700

    async with rig.app.worker(log_lines=700, beat="5m", lease="1h") as worker:
        append = worker.store.append

        async def measured(lines: Any, keep: int) -> None:
            sizes.append((len(lines), sum(len(line.text.encode()) for line in lines)))
            await append(lines, keep)

        worker.store.append = measured  # type: ignore[method-assign]
        handle = await flood.enqueue()
        await handle.result(timeout=60)
        last = (await worker.store.tail(handle.id, limit=700))[-1]
    assert last.text.startswith("2999 ")
    assert all(rows <= BATCH_ROWS and size <= BATCH_BYTES for rows, size in sizes), sizes


async def test_large_results_go_in_batches_that_a_store_takes(app: Mainspring) -> None:
    together = asyncio.Barrier(20)
    sizes: list[int] = []

    @app.task
    async def large() -> str:
        await together.wait()
        return "x" * 200_000

    async with app.worker(concurrency=20) as worker:
        save = worker.store.save

        async def measured(jobs: Any, within: Any = None) -> Any:
            sizes.append(sum(len(job.result or "") for job in jobs))
            return await save(jobs, within)

        worker.store.save = measured  # type: ignore[method-assign]
        for handle in await app.enqueue_many([large.job() for _ in range(20)]):
            assert len(await handle.result(timeout=60)) == 200_000
    assert max(sizes) <= BATCH_BYTES


async def test_sync_on_the_event_loop_is_refused_and_blocks_nobody(app: Mainspring) -> None:
    @app.task(retries=0)
    async def job(ctx: Context) -> None:
        with pytest.raises(MainspringError, match="Await the function itself"):
            ctx.sync(app.open)

    async with app.worker():
        await (await job.enqueue()).result(timeout=60)


@pytest.mark.parametrize("reason", [5, None, "\ud800", "x" * 3_000])
async def test_a_cancel_with_a_strange_reason_is_refused(app: Mainspring, reason: Any) -> None:
    @app.task
    async def job() -> None: ...

    handle = await job.enqueue()
    with pytest.raises(DefinitionError, match="bad reason"):
        await app.cancel(handle.id, reason)
    assert await handle.status() == "pending"


@pytest.mark.parametrize(
    "settings",
    [
        {"queues": "emails"}, {"queues": []}, {"queues": ["a", "a"]}, {"queues": [5]}, {"tasks": "job"},
        {"id": "plain"}, {"id": "w:\0"}, {"id": "w:\ud800"},
    ],
)  # fmt: skip
async def test_settings_that_make_no_sense_are_refused(app: Mainspring, settings: dict[str, Any]) -> None:
    @app.task
    async def job() -> None: ...

    with pytest.raises(DefinitionError, match=r"bad (queues|queue name|tasks|worker id)"):
        app.worker(**settings)
