"""`FakeClock.advance`: a worker does all that is due on the way, in order, and nothing twice."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mainspring import Mainspring, ResultTimeout
from mainspring.testing import START, FakeClock


class World:
    """An app whose time stands still, and what its handlers noted."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.app = Mainspring("sqlite://:memory:", clock=self.clock)
        self.noted: list[tuple[str, timedelta]] = []

    def note(self, what: str) -> None:
        self.noted.append((what, datetime.fromtimestamp(self.clock.now() / 1000, UTC) - START))


@pytest.fixture
async def world() -> World:
    return World()


async def test_schedules_jobs_and_retries_come_in_the_order_of_their_times(world: World) -> None:
    app = world.app

    @app.cron("0 3 * * *", max_retries=1, retry_delay="30m")
    async def nightly() -> None:
        world.note("nightly")
        if len(world.noted) == 1:
            raise ValueError("once")

    @app.task
    async def later() -> None:
        world.note("later")

    async with app, app.worker():
        await later.options(delay="3h 10m").enqueue()
        await world.clock.advance("2d")
    hours = [(what, passed / timedelta(hours=1)) for what, passed in world.noted]
    assert hours == [("nightly", 3), ("later", 3 + 1 / 6), ("nightly", 3.5), ("nightly", 27)]
    assert world.clock.now() == round((START + timedelta(days=2)).timestamp() * 1000)


async def test_a_month_of_a_daily_schedule_is_thirty_runs(world: World) -> None:
    @world.app.cron("@daily")
    def daily() -> None:
        world.note("daily")

    async with world.app, world.app.worker():
        await world.clock.advance("30d")
        assert [passed.days for _, passed in world.noted] == list(range(1, 31))
        assert len(await world.app.schedules.executions("daily")) == 30


async def test_two_workers_run_each_of_them_once(world: World) -> None:
    @world.app.every("1h")
    async def hourly() -> None:
        world.note("hourly")

    async with world.app, world.app.worker(), world.app.worker():
        await world.clock.advance("5h")
    assert [passed / timedelta(hours=1) for _, passed in world.noted] == [1, 2, 3, 4, 5]


async def test_what_a_job_enqueues_runs_in_the_same_moment(world: World) -> None:
    app = world.app

    @app.task
    async def second() -> None:
        world.note("second")

    @app.task
    async def first() -> None:
        world.note("first")
        await second.enqueue()

    async with app, app.worker():
        await first.options(delay="1m").enqueue()
        await world.clock.advance("1h")
    assert world.noted == [("first", timedelta(minutes=1)), ("second", timedelta(minutes=1))]


async def test_a_handler_that_waits_for_the_test_is_not_waited_for(world: World) -> None:
    go = asyncio.Event()

    @world.app.task
    async def patient() -> str:
        await go.wait()
        return "done"

    async with world.app, world.app.worker():
        job = await patient.enqueue()
        await world.clock.advance("3h")
        assert await job.status() == "running"
        go.set()
        assert await job.result(timeout=60) == "done"
        assert len((await job.get()).runs) == 1  # its lease was kept


async def test_a_result_that_the_held_clock_keeps_back_is_not_waited_for_for_ever(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mainspring.app.HELD", 0.02)

    @world.app.task
    async def later() -> str:
        return "done"

    async with world.app, world.app.worker():
        job = await later.options(delay="1h").enqueue()
        with pytest.raises(ResultTimeout, match=r"'scheduled' after 0.02 s of real time, .* `await clock.advance"):
            await job.result()
        await world.clock.advance("1h")
        assert await job.result() == "done"


async def test_a_store_that_takes_long_is_waited_for(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Longer than a handler would be: the machine is slow."""
    monkeypatch.setattr("mainspring.worker.quiet.PATIENCE", 0.001)

    @world.app.task
    async def work() -> None:
        world.note("work")

    async with world.app, world.app.worker():
        store = (await world.app.connect()).store
        for call in ("claim", "scan"):
            monkeypatch.setattr(store, call, late(getattr(store, call)))
        await world.app.schedules.create("s", work, every="1m")
        await work.options(delay="30s").enqueue()
        await world.clock.advance("1m")
    assert world.noted == [("work", timedelta(seconds=30)), ("work", timedelta(minutes=1))]


def late(call: Any) -> Any:
    """The same, a twentieth of a second later."""

    async def called(*args: Any, **kwargs: Any) -> Any:
        later = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_later(0.05, later.set_result, None)
        await later
        return await call(*args, **kwargs)

    return called


async def test_jobs_that_wait_for_a_place_run_in_the_same_moment(world: World) -> None:
    @world.app.task
    async def work(n: int) -> None:
        await turns(10)
        world.note(str(n))

    async with world.app, world.app.worker(concurrency=1):
        await world.app.enqueue_many([work.job(n) for n in range(5)])
        await world.clock.advance("1s")
        assert world.noted == [(str(n), timedelta(0)) for n in range(5)]


async def turns(number: int) -> None:
    for _ in range(number):
        await asyncio.sleep(0)


async def test_who_waits_for_a_worker_whose_places_are_taken_sleeps(world: World) -> None:
    go = asyncio.Event()

    @world.app.task
    async def patient() -> None:
        await go.wait()

    async with world.app, world.app.worker(concurrency=1) as worker:
        jobs = await world.app.enqueue_many([patient.job() for _ in range(2)])
        draining = asyncio.create_task(worker.drain(timeout="10s"))
        await turns(1_000)
        nudged, notify = 0, worker.desk.notify

        def counted() -> None:
            nonlocal nudged
            nudged += 1
            notify()

        worker.desk.notify = counted  # type: ignore[method-assign]
        await turns(1_000)
        assert nudged < 5, "it does not ask again and again"
        assert (draining.done(), await jobs[0].status()) == (False, "running")
        go.set()
        assert (await draining).completed == 2


async def test_without_a_worker_the_time_just_moves(world: World) -> None:
    @world.app.task
    async def never() -> None:
        world.note("never")

    async with world.app:
        job = await never.options(delay="1m").enqueue()
        await world.clock.advance("1h")
        assert await job.status() == "pending"
    assert world.noted == []
