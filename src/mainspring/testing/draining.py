"""Running jobs in a test: those that are due, and those that will be, in the event loop of the test.

The workers are real ones. Where none runs in this event loop, one is started for as long as it takes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from mainspring.core.duration import Duration, milliseconds
from mainspring.core.job import State
from mainspring.core.naming import check_count, check_name
from mainspring.errors import DefinitionError, NotDrained
from mainspring.stores.base import BATCH_ROWS, Query
from mainspring.testing.clock import FakeClock
from mainspring.worker.drain import LIMIT, TIMEOUT, Drained, Tally, raise_first

if TYPE_CHECKING:
    from mainspring.app import Mainspring
    from mainspring.worker.worker import Worker


async def drain(
    app: Mainspring,
    *,
    queue: str | None = None,
    with_scheduled: bool = False,
    timeout: Duration = TIMEOUT,
    limit: int = LIMIT,
    raise_errors: bool = False,
) -> Drained:
    """Run the jobs that are due, and those that they enqueue, until nothing is due; answers what became of the runs.

    Workers of this app that run in this event loop by a `FakeClock` do it; where there are none, one is started and
    stopped. `queue`: only that one. `with_scheduled`: what is due later, too, delays and retries: the clock moves from
    one to the next, and what schedules have due on the way runs as well. A handler that fails makes its job fail, or
    wait for its retry, as always; `raise_errors`: at the end, raise what the first handler raised.

    Raises `NotDrained` where it does not end within `timeout` of real time, or after `limit` runs; `DefinitionError`.
    """
    clock = app.time if isinstance(app.time, FakeClock) else None
    if with_scheduled and clock is None:
        raise DefinitionError(
            "with_scheduled=True without a clock that can be moved. Expected an app with a FakeClock."
        )
    check_count(limit, "limit", 0)
    milliseconds(timeout, "timeout")
    tally = Tally(limit)
    try:
        await _run_due(app, queue, timeout, tally)
        while with_scheduled and clock is not None and (due := await _next_due(app, queue)) is not None:
            await advance(app, clock, (due - clock.now()) / 1000, tally, queue)
            tally.check()
            await _run_due(app, queue, timeout, tally)
    except NotDrained:
        tally.check()  # what it was in all, and not since the clock moved last
        raise
    drained = tally.drained()
    if raise_errors:
        raise_first(drained.errors)
    return drained


async def advance(
    app: Mainspring, clock: FakeClock, duration: Duration, tally: Tally, queue: str | None = None
) -> None:
    """Move the clock on, and run all that is due on the way, in order."""
    milliseconds(duration, "advance")  # a slip is told before a worker starts
    async with _working(app, queue, tally):
        await clock.advance(duration)


async def _run_due(app: Mainspring, queue: str | None, timeout: Duration, tally: Tally) -> None:
    """Until nothing is due in any queue: a job may enqueue into one that no worker served when this began."""
    while True:
        served = set[str]()
        async with _working(app, queue, tally) as workers:
            served |= {name for worker in workers for name in worker.queues}
            await _run_out(workers, timeout, tally)
        if queue is not None or not await _queues(app) - served:
            return


async def _run_out(workers: list[Worker], timeout: Duration, tally: Tally) -> None:
    while True:
        before = tally.runs
        for worker in workers:
            await worker.drain(timeout=timeout, limit=max(0, (tally.limit or LIMIT) - tally.runs))
        if len(workers) == 1 or tally.runs == before:  # what one worker ends may be work for another
            return


@asynccontextmanager
async def _working(app: Mainspring, queue: str | None, tally: Tally) -> AsyncIterator[list[Worker]]:
    """The workers that run here, and one more where they do not serve all there is. The tally counts what they do."""
    workers = [] if queue is not None else workers_here(app)
    queues = {check_name(queue, "queue")} if queue is not None else await _queues(app)
    async with AsyncExitStack() as stack:
        if not workers or queues - {name for worker in workers for name in worker.queues}:
            worker = app.worker(queues=sorted(queues) or None)
            await worker.start()
            stack.push_async_callback(worker.stop, 0)  # what has not ended by then does not end
            workers.append(worker)
        for worker in workers:
            worker.tallies.add(tally)
            stack.callback(worker.tallies.discard, tally)
        yield workers


def workers_here(app: Mainspring) -> list[Worker]:
    """The workers of an app that run in this event loop, by its fake clock."""
    attached = app.time.attached if isinstance(app.time, FakeClock) else ()
    here = asyncio.get_running_loop()
    return [one.worker for one in attached if one.worker.app is app and one.worker.loop is here]


async def _queues(app: Mainspring) -> set[str]:
    """The queues of the tasks, and those in which jobs of them wait, due or not."""
    client = await app.connect()
    counts = await client.store.count(Query(states=(State.WAITING, State.RUNNING)))
    waiting = {count.queue for count in counts if count.task in app.tasks}
    return {task.queue for task in app.tasks.values()} | waiting


async def _next_due(app: Mainspring, queue: str | None) -> int | None:
    """When the first job is due that is not due now."""
    client = await app.connect()
    query = Query(states=(State.WAITING,), queue=queue, limit=BATCH_ROWS)
    dues: list[int] = []
    while True:
        page = await client.store.find(query)
        dues += [job.due_at for job in page.jobs if job.task in app.tasks and job.due_at > client.clock.now()]
        if page.cursor is None:
            return min(dues, default=None)
        query = query.evolve(after=page.cursor)
