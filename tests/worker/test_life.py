"""The life of a worker: started once, stopped however often, failing aloud, leaving nothing behind."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

import pytest

from mainspring import Mainspring
from mainspring.core.job import State
from mainspring.core.records import WORKER
from mainspring.errors import MainspringError, StoreUnavailable
from mainspring.stores.base import Beat, Claim, Store
from tests.worker.conftest import wait_until
from tests.worker.test_faults import Rig, rig

__all__ = ["rig"]


def heartbeats() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "mainspring-heartbeat"]


@pytest.fixture
def endless(app: Mainspring) -> Any:
    @app.task
    async def endless() -> None:
        await asyncio.Event().wait()

    return endless


async def test_a_worker_starts_once(app: Mainspring, endless: Any) -> None:
    worker = app.worker()
    await worker.stop()  # before its start: nothing to stop
    async with worker:
        with pytest.raises(MainspringError, match="started before"):
            await worker.start()
        assert len(heartbeats()) == 1
    with pytest.raises(MainspringError, match="started before"):
        await worker.start()
    worker.pause()
    worker.resume()
    assert worker.stats().status == "stopped"


async def test_a_start_that_failed_may_be_tried_again(rig: Rig) -> None:
    @rig.app.task
    async def job() -> int:
        return 1

    worker = rig.app.worker()
    rig.outages.down()
    with pytest.raises(StoreUnavailable):
        await worker.start()
    rig.outages.up()
    async with worker:
        assert await (await job.enqueue()).result(timeout=60) == 1


async def test_every_stop_waits_for_the_end(app: Mainspring, endless: Any) -> None:
    async with app.worker(grace=0.05) as worker:
        job = await endless.enqueue()
        await wait_until(lambda: worker.desk.running, "the handler to run")
        await asyncio.gather(*(worker.stop() for _ in range(3)))
        assert worker.stats().status == "stopped"
        assert await job.status() == "pending"


async def test_a_stop_that_is_cancelled_goes_on(app: Mainspring, endless: Any) -> None:
    worker = app.worker(grace=0.2)
    await worker.start()
    job = await endless.enqueue()
    await wait_until(lambda: worker.desk.running, "the handler to run")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await worker.stop()
    await worker.join()
    assert worker.stats().status == "stopped"
    assert await job.status() == "pending"
    assert not heartbeats()


async def test_a_service_that_swallows_a_cancellation_ends_all_the_same(
    app: Mainspring, endless: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a driver may, in the middle of a call."""
    swallowed = 0

    async def deaf() -> None:
        nonlocal swallowed
        while swallowed < 2:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                swallowed += 1
        await asyncio.Event().wait()

    monkeypatch.setattr("mainspring.worker.worker.AFTER_CANCEL", 10)
    worker = app.worker()
    monkeypatch.setattr(worker.ticker, "run", deaf)
    async with asyncio.timeout(60), worker:
        await asyncio.sleep(0)
    assert (swallowed, worker.stats().status) == (2, "stopped")


async def test_a_paused_worker_stops(app: Mainspring, endless: Any) -> None:
    async with app.worker() as worker:
        worker.pause()
        assert worker.stats().status == "paused"
        await endless.enqueue()
        await asyncio.wait_for(worker.stop(), 60)
        assert worker.stats().processed == 0


async def test_a_claim_under_way_at_a_stop_is_given_back(app: Mainspring, endless: Any) -> None:
    worker = app.worker(grace=0)
    await worker.start()
    claim, claimed, go_on = worker.store.claim, asyncio.Event(), asyncio.Event()

    async def slow(*args: Any) -> Claim:
        answer = await claim(*args)
        if answer.jobs:
            claimed.set()
            await go_on.wait()
        return answer

    worker.store.claim = slow  # type: ignore[method-assign, assignment]
    job = await endless.enqueue()
    await asyncio.wait_for(claimed.wait(), 60)
    stopping = asyncio.create_task(worker.stop())
    asyncio.get_running_loop().call_later(0.05, go_on.set)
    await stopping
    row = await job.get()
    assert row is not None
    assert (row.state, row.interruptions, row.runs) == (State.WAITING, 0, ())


@pytest.mark.parametrize("joined", [False, True])
async def test_a_heartbeat_that_dies_ends_the_worker_and_gives_its_jobs_back(
    app: Mainspring, endless: Any, joined: bool
) -> None:
    async with app.worker(beat=0.05, lease="1h", grace="1h") as worker:
        job = await endless.enqueue()
        await wait_until(lambda: worker.desk.running, "the handler to run")

        async def broken(store: Store, holds: Sequence[Beat], now: int) -> None:
            raise RuntimeError("a fault of ours")

        worker.heartbeat._renew = broken  # type: ignore[assignment, method-assign]
        if joined:
            with pytest.raises(RuntimeError, match="a fault of ours"):
                await asyncio.wait_for(worker.join(), 60)
        await wait_until(lambda: worker.stats().status == "stopped", "the worker to end by itself")
    row = await job.get()
    assert row is not None
    assert (row.state, [run.outcome for run in row.runs]) == (State.WAITING, ["released"])


async def test_a_pump_that_fails_ends_the_worker(app: Mainspring, endless: Any) -> None:
    async with app.worker(grace=0.05) as worker:

        async def broken(*args: Any) -> Claim:
            raise RuntimeError("a driver's fault")

        worker.store.claim = broken  # type: ignore[method-assign, assignment]
        await endless.enqueue()
        with pytest.raises(BaseExceptionGroup, match="unhandled errors"):
            await asyncio.wait_for(worker.join(), 60)
        assert worker.stats().status == "stopped"


async def test_a_heartbeat_whose_store_does_not_open_at_once_tries_again(rig: Rig) -> None:
    @rig.app.task
    async def job() -> int:
        return 1

    await rig.app.open()
    rig.outages.fail_next(3, operation="open")
    async with rig.app.worker(beat=0.02, lease=5) as worker:
        await wait_until(lambda: rig.outages.calls["renew"] + rig.outages.calls["time"] > 3, "the heartbeat to beat")
        assert await (await job.enqueue()).result(timeout=60) == 1
        assert worker.stats().status == "running"


@pytest.mark.parametrize("stopping", [False, True])
def test_a_loop_that_ends_without_a_stop_leaves_no_heartbeat_and_costs_no_attempt(stopping: bool) -> None:
    app = Mainspring("sqlite://:memory:")

    @app.task
    async def endless() -> None:
        await asyncio.Event().wait()

    async def main() -> str:
        worker = app.worker(beat=0.05, lease=1)
        await worker.start()
        job = await endless.enqueue()
        await wait_until(lambda: worker.desk.running, "the handler to run")
        if stopping:
            stop = asyncio.create_task(worker.stop("1h"))
            await wait_until(lambda: worker.stats().status == "stopping", "the stop to begin")
            assert not stop.done()
        return job.id

    id = asyncio.run(main())
    for thread in heartbeats():
        thread.join(5)
    assert not heartbeats()
    row = asyncio.run(app.get(id))
    assert row.attempts == 0, "the end of the loop is no failure of the handler"


def our_tasks() -> set[asyncio.Task[Any]]:
    """All but those of the driver, which come and go with its connections."""
    return {task for task in asyncio.all_tasks() if "/pymongo/" not in _code(task).co_filename}


def _code(task: asyncio.Task[Any]) -> Any:
    coroutine: Any = task.get_coro()
    return coroutine.cr_code


async def test_many_workers_leave_no_tasks_and_no_records(app: Mainspring) -> None:
    @app.task
    def in_thread() -> int:
        return 1

    @app.task
    async def coroutine() -> int:
        return 2

    async def work() -> None:
        async with app.worker(), app.worker(beat=0.05, lease=1):
            assert await (await in_thread.enqueue()).result(timeout=60) == 1
            assert await (await coroutine.enqueue()).result(timeout=60) == 2

    await work()
    before = our_tasks()  # the store's own are there from now on
    for _ in range(3):
        await work()
    await wait_until(lambda: our_tasks() <= before, "all tasks to end")
    assert await (await app.connect()).store.scan(WORKER) == []
