"""The kit: the user's own app, as it stands in his module, on a store of the test and by its clock; and back again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from mainspring import DefinitionError, JobFailed, Mainspring, MainspringError, Retry, Snooze, Task
from mainspring.testing import Drained, FakeClock, NotDrained, kit


class Shop:
    """A program as a user writes it: an app on a file, tasks that were made with it."""

    def __init__(self, folder: Path) -> None:
        self.app = app = Mainspring(f"sqlite:///{folder}/shop.db")
        self.done: list[str] = []
        self.failing = 0

        @app.task
        async def pack(order: str) -> str:
            self.done.append(f"pack {order}")
            return f"box of {order}"

        @app.task(retry=Retry(max_attempts=3, initial_delay=60, jitter=0))
        async def charge(order: str) -> None:
            if self.failing:
                self.failing -= 1
                raise ValueError(f"no money for {order}")
            self.done.append(f"charge {order}")
            await pack.enqueue(order)

        @app.cron("0 3 * * *")
        async def nightly() -> None:
            self.done.append("nightly")

        self.pack: Task[[str], str] = pack
        self.charge: Task[[str], None] = charge


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


async def test_the_tasks_go_to_the_store_of_the_kit_and_back(shop: Shop, tmp_path: Path) -> None:
    app, clock, url = shop.app, shop.app.clock, shop.app.url
    async with kit(app) as k:
        assert app.url == "sqlite://:memory:"
        assert app.clock.now() == k.clock.now()
        job = await shop.pack.enqueue("tea")
        assert [one.id for one in await k.all_enqueued()] == [job.id]
        assert await app.jobs.count() == 1
    assert (app.clock, app.url) == (clock, url)
    assert not (tmp_path / "shop.db").exists()
    async with app:
        assert await app.jobs.count() == 0
        assert await shop.pack.enqueue("own")
    async with kit(app):
        assert await app.jobs.count() == 0  # each kit has a store of its own
    async with app:
        assert await app.jobs.count() == 1


async def test_it_goes_back_after_an_error(shop: Shop) -> None:
    url = shop.app.url
    with pytest.raises(ZeroDivisionError):
        async with kit(shop.app):
            raise ZeroDivisionError
    assert shop.app.url == url


async def test_an_app_is_in_one_kit_at_a_time(shop: Shop) -> None:
    async with kit(shop.app):
        with pytest.raises(MainspringError, match="in a test kit already"):
            async with kit(shop.app):
                pass
        assert shop.app.url == "sqlite://:memory:"


async def test_a_client_that_was_open_before_is_open_after(shop: Shop) -> None:
    async with shop.app:
        job = await shop.pack.enqueue("tea")
        async with kit(shop.app) as k:
            await k.refute_enqueued()
        assert await job.status() == "pending"


async def test_what_is_no_app_is_refused() -> None:
    with pytest.raises(MainspringError, match="Expected an app"):
        kit("app")  # type: ignore[arg-type]


async def test_what_is_no_clock_and_no_store_is_refused(shop: Shop) -> None:
    bad: Any
    for bad in (5, 0, "now"):
        with pytest.raises(DefinitionError, match=f"bad clock of a kit: {bad!r}. Expected a FakeClock"):
            kit(shop.app, clock=bad)
    bad = 5
    with pytest.raises(DefinitionError, match="bad store of a kit: 5"):
        kit(shop.app, store=bad)


# -- drain -------------------------------------------------------------------------------------------------------------


async def test_drain_runs_what_is_due_and_what_that_enqueues(shop: Shop) -> None:
    async with kit(shop.app) as k:
        await shop.charge.enqueue("tea")
        await shop.pack.options(delay="1h").enqueue("later")
        assert await k.drain() == Drained(completed=2)
        assert shop.done == ["charge tea", "pack tea"]
        assert await k.drain() == Drained()
        assert k.workers_here() == []


async def test_drain_with_scheduled_moves_the_clock_to_delays_and_retries(shop: Shop) -> None:
    shop.failing = 2
    async with kit(shop.app) as k:
        began = k.clock.utcnow()
        await shop.charge.enqueue("tea")
        await shop.pack.options(delay="1h").enqueue("later")
        drained = await k.drain(with_scheduled=True)
        assert drained == Drained(completed=3, retrying=2)
        assert [str(error) for error in drained.errors] == ["no money for tea"] * 2
        assert (k.clock.utcnow() - began).total_seconds() == 3600
    assert shop.done == ["charge tea", "pack tea", "pack later"]


async def test_drain_tells_what_became_of_the_runs(shop: Shop) -> None:
    shop.failing = 3
    async with kit(shop.app) as k:
        job = await shop.charge.enqueue("tea")
        assert await k.drain() == Drained(retrying=1)
        assert await k.advance("1h") == Drained(retrying=1, dead=1)
        assert await job.status() == "dead"


async def test_drain_can_raise_what_the_handler_raised(shop: Shop) -> None:
    shop.failing = 2
    async with kit(shop.app, raise_errors=True) as k:
        await shop.charge.enqueue("tea")
        await shop.charge.enqueue("coffee")
        with pytest.raises(ValueError, match="no money for tea") as caught:
            await k.drain()
        assert caught.value.__notes__ == ["1 more of the drained runs failed: ValueError: no money for coffee"]
        assert await k.drain(with_scheduled=True, raise_errors=False) == Drained(completed=4)


async def test_drain_takes_one_queue(shop: Shop) -> None:
    async with kit(shop.app) as k:
        await shop.pack.options(queue="fast").enqueue("fast")
        await shop.pack.enqueue("slow")
        assert await k.drain(queue="fast") == Drained(completed=1)
        assert shop.done == ["pack fast"]
        assert await k.drain() == Drained(completed=1)


async def test_drain_finds_the_queues_that_no_task_names(shop: Shop) -> None:
    app = shop.app

    @app.task
    async def spread() -> None:
        await shop.pack.options(queue="far").enqueue("far")

    async with kit(app) as k:
        await spread.options(queue="near").enqueue()
        assert await k.drain() == Drained(completed=2)
        async with app.worker():
            await spread.enqueue()
            assert await k.drain() == Drained(completed=2)


async def test_drain_uses_the_workers_that_run(shop: Shop) -> None:
    async with kit(shop.app) as k, shop.app.worker() as worker, shop.app.worker() as other:
        for n in range(30):
            await shop.charge.enqueue(str(n))
        await k.drain()
        assert len(shop.done) == 60
        assert worker.processed + other.processed == 60  # none was run by a third
        assert k.workers_here() == [worker, other]


async def test_a_job_that_enqueues_itself_does_not_drain(shop: Shop) -> None:
    @shop.app.task
    async def again() -> None:
        await again.enqueue()

    async with kit(shop.app) as k:
        await again.enqueue()
        with pytest.raises(NotDrained, match=r"not drained after 50 runs: again 5\d times\. Expected an end"):
            await k.drain(limit=50)


async def test_a_job_that_puts_itself_off_does_not_drain_with_scheduled(shop: Shop) -> None:
    @shop.app.task
    async def never() -> None:
        raise Snooze("1h")

    async with kit(shop.app) as k:
        await never.enqueue()
        assert await k.drain() == Drained(snoozed=1)
        with pytest.raises(NotDrained, match=r"not drained after 10 runs: never 1\d times"):
            await k.drain(with_scheduled=True, limit=10)


async def test_a_handler_that_does_not_end_does_not_drain(shop: Shop) -> None:
    @shop.app.task
    async def stuck() -> None:
        await asyncio.Event().wait()

    async with kit(shop.app) as k:
        job = await stuck.enqueue()
        with pytest.raises(NotDrained, match=rf"within 50ms: still running: stuck \({job.id}, attempt 1\)"):
            await k.drain(timeout=0.05)


async def test_a_worker_drains_on_the_real_clock(shop: Shop) -> None:
    async with shop.app, shop.app.worker() as worker:
        await shop.charge.enqueue("tea")
        await worker.drain()
        assert shop.done == ["charge tea", "pack tea"]
        assert await worker.drain() == Drained()


async def test_a_worker_that_does_not_run_drains_nothing(shop: Shop) -> None:
    with pytest.raises(MainspringError, match="was not started"):
        await shop.app.worker().drain()


async def test_a_worker_that_is_paused_drains_at_once(shop: Shop) -> None:
    async with kit(shop.app) as k, shop.app.worker() as worker:
        worker.pause()
        await shop.pack.enqueue("tea")
        assert await k.drain() == Drained()


# -- the clock ---------------------------------------------------------------------------------------------------------


async def test_advance_runs_schedules_without_a_worker(shop: Shop) -> None:
    async with kit(shop.app) as k:
        assert await k.advance("30d") == Drained(completed=30)
    assert shop.done == ["nightly"] * 30


async def test_a_slip_is_told_before_a_worker_starts() -> None:
    begun: list[str] = []

    @asynccontextmanager
    async def lifespan(app: Mainspring) -> AsyncIterator[None]:
        begun.append("lifespan")
        yield

    app = Mainspring("sqlite://:memory:", lifespan=lifespan)

    @app.task
    async def work() -> None: ...

    async with kit(app) as k:
        bad: Any
        for bad in (-1, "soon"):
            with pytest.raises(DefinitionError, match=f"bad advance: {bad!r}"):
                await k.advance(bad)
            with pytest.raises(DefinitionError, match=f"bad timeout: {bad!r}"):
                await k.drain(timeout=bad)
            with pytest.raises(DefinitionError, match=f"bad limit: {bad!r}"):
                await k.drain(limit=bad)
        assert begun == []
        await k.drain()
        assert begun == ["lifespan"]


async def test_the_clock_of_a_kit_may_be_given(shop: Shop) -> None:
    clock = FakeClock()
    async with kit(shop.app, clock=clock) as k:
        assert k.clock is clock


# -- the end -----------------------------------------------------------------------------------------------------------


async def test_workers_that_are_left_are_stopped(shop: Shop) -> None:
    begun = asyncio.Event()

    @shop.app.task
    async def stuck() -> None:
        begun.set()
        await asyncio.Event().wait()

    async with kit(shop.app):
        worker = shop.app.worker()
        await worker.start()
        await stuck.enqueue()
        await begun.wait()
    assert worker.stats().status == "stopped"


async def test_a_kit_that_checks_reports_failures_at_its_end(shop: Shop) -> None:
    shop.failing = 1

    async def program() -> None:
        async with kit(shop.app, check=True) as k:
            await shop.charge.enqueue("tea")
            await k.drain()

    with pytest.raises(AssertionError, match=r"1 did(.|\n)*ValueError: no money for tea"):
        await program()
    await program()


async def test_the_error_of_the_test_comes_before_the_check(shop: Shop) -> None:
    shop.failing = 1

    async def program() -> None:
        async with kit(shop.app, check=True) as k:
            await shop.charge.enqueue("tea")
            await k.drain()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await program()


# -- synchronous tests -------------------------------------------------------------------------------------------------


def test_a_synchronous_test(shop: Shop) -> None:
    with kit(shop.app) as k:
        job = shop.app.sync(shop.charge.enqueue, "tea")
        assert k.sync.assert_enqueued(shop.charge, order="tea").id == job.id
        with pytest.raises(AssertionError, match="expected no job"):
            k.sync.refute_enqueued(shop.charge)
        assert k.sync.drain() == Drained(completed=2)
        assert k.sync.advance("1d") == Drained(completed=1)
        k.sync.assert_no_failures()
    assert shop.done == ["charge tea", "pack tea", "nightly"]


def test_a_synchronous_test_with_event_loops_of_its_own(shop: Shop) -> None:
    async def enqueue() -> None:
        await shop.charge.enqueue("tea")
        await shop.app.worker().start()  # and left behind

    with kit(shop.app) as k:
        asyncio.run(enqueue())
        assert len(k.sync.all_enqueued()) == 1  # the store is the kit's, not the loop's
        assert k.sync.drain().completed == 2


def test_a_loop_that_does_not_turn_is_closed_too(shop: Shop) -> None:
    async def leave() -> None:
        await shop.charge.enqueue("tea")
        await shop.app.worker().start()

    with asyncio.Runner() as runner:
        with kit(shop.app) as k:
            runner.run(leave())
            [attached] = k.clock.attached
        assert attached.worker.stats().status == "stopped"


async def test_a_synchronous_kit_is_refused_in_a_loop(shop: Shop) -> None:
    with pytest.raises(MainspringError, match="async with kit"), kit(shop.app):
        pass


# -- inline ------------------------------------------------------------------------------------------------------------


async def test_inline_runs_the_job_in_the_call(shop: Shop) -> None:
    async with kit(shop.app, inline=True) as k:
        job = await shop.charge.enqueue("tea")
        assert shop.done == ["charge tea", "pack tea"]
        row = await job.get()
        assert (row.state, row.claims, len(row.runs)) == ("completed", 1, 1)  # the way of every job
        assert await (await shop.app.enqueue(shop.pack, "coffee")).result() == "box of coffee"
        assert await (await shop.app.enqueue("pack", {"order": "milk"})).result() == "box of milk"
        assert await k.all_enqueued() == []


async def test_inline_a_failure_is_a_failed_job(shop: Shop) -> None:
    shop.failing = 3
    async with kit(shop.app, inline=True) as k:
        job = await shop.charge.enqueue("tea")
        assert await job.status() == "retrying"
        await k.advance("1h")
        with pytest.raises(JobFailed, match="no money for tea"):
            await job.result()


async def test_inline_a_failure_can_be_raised(shop: Shop) -> None:
    shop.failing = 1
    async with kit(shop.app, inline=True, raise_errors=True):
        with pytest.raises(ValueError, match="no money for tea"):
            await shop.charge.enqueue("tea")
        assert await shop.charge.enqueue("coffee")


async def test_inline_many_and_later_and_other_queues(shop: Shop) -> None:
    async with kit(shop.app, inline=True) as k:
        jobs = await shop.app.enqueue_many([shop.pack.job("a"), shop.pack.options(queue="b").job("b")])
        assert [await job.status() for job in jobs] == ["completed"] * 2
        later = await shop.pack.options(delay="1h").enqueue("c")
        assert await later.status() == "scheduled"
        await k.advance("1h")
        assert await later.status() == "completed"


async def test_inline_what_cannot_run_waits(shop: Shop) -> None:
    async with kit(shop.app, inline=True) as k:
        await shop.app.queues.pause("default")
        job = await shop.pack.enqueue("tea")
        assert await job.status() == "pending"
        await shop.app.queues.resume("default")
        await k.drain()
        assert await job.status() == "completed"


async def test_inline_handlers_in_threads_and_tasks_made_late(shop: Shop) -> None:
    async with kit(shop.app, inline=True):
        await shop.pack.enqueue("tea")

        @shop.app.task
        def late(n: int) -> int:
            shop.app.sync(shop.pack.enqueue, "from a thread")
            return n + 1

        assert await (await late.enqueue(1)).result() == 2
    assert shop.done == ["pack tea", "pack from a thread"]


def test_inline_for_synchronous_callers(shop: Shop) -> None:
    with kit(shop.app, inline=True):
        job = shop.app.sync(shop.pack.enqueue, "tea")
        assert shop.done == ["pack tea"]
        assert shop.app.sync(job.result) == "box of tea"


async def test_inline_a_job_that_asks_for_itself_does_not_wait_for_itself(shop: Shop) -> None:
    runs: list[int] = []

    @shop.app.task(debounce="1s")
    async def settle_down() -> None:
        runs.append(1)
        if len(runs) == 1:
            await settle_down.enqueue()

    async with kit(shop.app, inline=True) as k:
        await settle_down.enqueue()
        await k.advance("1s")
        assert len(runs) == 1
        assert (await k.assert_enqueued(settle_down, at="1s")).status == "scheduled"
        await k.advance("1s")
        assert len(runs) == 2


async def test_inline_what_never_ends_is_told(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mainspring.testing.inline.TIMEOUT", 0.05)

    @shop.app.task
    async def stuck() -> None:
        await asyncio.Event().wait()

    async with kit(shop.app, inline=True):
        with pytest.raises(NotDrained, match=r"inline: job \w\S+ of task 'stuck' has not ended within 0\.05 s"):
            await stuck.enqueue()


async def test_inline_can_be_turned_on_and_off(shop: Shop) -> None:
    async with kit(shop.app) as k:
        await shop.pack.enqueue("a")
        k.inline = True
        await shop.pack.enqueue("b")
        k.inline = False
        assert "pack b" in shop.done
