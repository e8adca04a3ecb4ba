"""Schedules with workers, on a clock that stands still: what runs, what is kept of it, and what people see."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

import pytest

from mainspring import Context, DefinitionError, Mainspring, Retry
from mainspring.core.records import SCHEDULE
from mainspring.stores.base import Query
from mainspring.testing import START, FakeClock
from mainspring.triggers.clock import Firing
from tests.system.schedulers import Held, scheduler
from tests.worker.conftest import wait_until

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


class Shop:
    """Tasks that do as the test says."""

    def __init__(self, app: Mainspring) -> None:
        self.ran: list[datetime] = []
        """The times for which they ran, in order."""
        self.inputs: list[int] = []
        self.fails = 0
        """How many runs are still to fail."""
        self.free = asyncio.Event()
        self.began = 0

        @app.task(retry=Retry(max_attempts=1))
        async def work(ctx: Context, n: int = 0) -> int:
            self.ran.append(ctx.scheduled_at)
            self.inputs.append(n)
            if self.fails:
                self.fails -= 1
                raise ValueError(f"boom {n}")
            return n

        @app.task(retry=Retry(max_attempts=1))
        async def hold() -> str:
            self.began += 1
            await self.free.wait()
            return "held"

        @app.task(retry=Retry(max_attempts=1))
        def talk(ctx: Context, success: bool) -> dict[str, Any]:
            print(f"attempt {ctx.attempt}")
            return {"success": success, "error": "not done"}


@pytest.fixture
async def app(clock: FakeClock) -> AsyncIterator[Mainspring]:
    app = Mainspring("sqlite://:memory:", clock=clock)
    yield app
    await app.close()


@pytest.fixture
def shop(app: Mainspring) -> Shop:
    return Shop(app)


async def status(app: Mainspring, name: str = "s") -> str:
    found = await app.schedules.get(name)
    assert found is not None
    [listed] = await app.schedules.list(status=found.status, search=name)
    assert listed.name == name
    return found.status


# -- what runs, and when -----------------------------------------------------------------------------------------------


async def test_a_month_of_a_daily_schedule(app: Mainspring, clock: FakeClock, shop: Shop) -> None:
    await app.schedules.create("s", "work", {"n": 7}, cron="0 3 * * *")
    async with app.worker():
        await clock.advance("30d")
    assert shop.ran == [START + DAY * n + HOUR * 3 for n in range(30)]
    assert set(shop.inputs) == {7}
    found = await app.schedules.get("s")
    assert found is not None
    assert (found.status, found.runs, found.missed, found.skipped) == ("active", 30, 0, 0)
    assert found.last_run == START + DAY * 29 + HOUR * 3
    assert found.next_run == START + DAY * 30 + HOUR * 3


async def test_schedules_run_in_the_order_of_their_times(app: Mainspring, clock: FakeClock, shop: Shop) -> None:
    for n, timing in enumerate([{"every": "40m"}, {"cron": "*/30 * * * *"}, {"at": START + timedelta(minutes=45)}]):
        await app.schedules.create(f"s{n}", "work", {"n": n}, **timing)  # type: ignore[arg-type]
    async with app.worker():
        await clock.advance("2h")
    assert shop.ran == sorted(shop.ran)
    assert shop.inputs[:5] == [1, 0, 2, 1, 0]


async def test_after_downtime_one_run_makes_up_for_all(app: Mainspring, clock: FakeClock, shop: Shop) -> None:
    await app.schedules.create("s", "work", every="1h")
    await clock.advance("270m")
    async with app.worker():
        await clock.advance("1m")
    assert shop.ran == [START + HOUR * 4]
    found = await app.schedules.get("s")
    assert found is not None
    assert found.last_missed is not None
    missed = found.last_missed
    assert (found.missed, missed.count, missed.first, missed.last) == (3, 3, START + HOUR, START + HOUR * 3)


async def test_a_weekly_schedule_keeps_its_history_over_a_year(app: Mainspring, clock: FakeClock, shop: Shop) -> None:
    await app.schedules.create("s", "work", cron="0 9 * * 1")
    async with app.worker() as worker:
        for _ in range(53):
            await clock.advance("7d")
            await worker.janitor.round()
    assert len(shop.ran) == 53
    executions = await app.schedules.executions("s")
    assert [one.scheduled_at for one in executions] == shop.ran[:2:-1]
    assert {one.status for one in executions} == {"completed"}
    assert len((await (await app.connect()).store.find(Query(limit=500))).jobs) == 50


async def test_jitter_delays_the_run_and_not_its_time(app: Mainspring, clock: FakeClock, shop: Shop) -> None:
    await app.schedules.create("s", "work", every="1h", jitter="30m")
    async with app.worker():
        await clock.advance("10h")
        by_hand = await app.schedules.run("s")
        assert await by_hand.result(timeout=60) == 0
    found = await app.schedules.executions("s")
    delays = {one.started_at - one.scheduled_at for one in found if one.started_at is not None and not one.manual}
    assert len(delays) > 5
    assert timedelta(0) <= min(delays) <= max(delays) <= timedelta(minutes=30)


# -- runs by hand ------------------------------------------------------------------------------------------------------


async def test_run_by_hand(app: Mainspring, clock: FakeClock, shop: Shop) -> None:
    made = await app.schedules.create("s", "work", {"n": 1}, every="1h", paused=True)
    async with app.worker():
        job = await app.schedules.run("s")
        other = await app.schedules.run("s", {"n": 2})
        assert (await job.result(timeout=60), await other.result(timeout=60)) == (1, 2)
        await clock.advance("3h")
    assert shop.inputs == [1, 2]
    found = await app.schedules.get("s")
    assert found is not None
    assert (found.status, found.input, found.runs, found.id) == ("paused", {"n": 1}, 0, made.id)
    assert [(one.manual, one.result, one.job_id) for one in await app.schedules.executions("s")] == [
        (True, 2, other.id),
        (True, 1, job.id),
    ]


@pytest.mark.parametrize(("overlap", "fired"), [("skip", 0), ("queue", 0), ("allow", 1)])
async def test_a_run_by_hand_counts_for_overlap(
    app: Mainspring, clock: FakeClock, shop: Shop, overlap: Any, fired: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mainspring.worker.quiet.PATIENCE", 0.05)  # the clock does not wait for long
    await app.schedules.create("s", "hold", every="1h", overlap=overlap)
    async with app.worker() as worker:
        by_hand = await app.schedules.run("s")
        await wait_until(lambda: shop.began == 1, "the run by hand")
        assert await status(app) == "running"
        await clock.advance("1h")
        assert shop.began == 1 + fired
        shop.free.set()
        assert await by_hand.result(timeout=60) == "held"
        await wait_until(lambda: worker.desk.running == 0, "the end")
        await clock.advance("1s")
        found = await app.schedules.get("s")
        assert found is not None
        assert (found.runs, found.skipped) == {"skip": (0, 1), "queue": (1, 0), "allow": (1, 0)}[overlap]


# -- failures ----------------------------------------------------------------------------------------------------------


async def test_a_run_that_failed_for_good_does_not_end_its_schedule(
    app: Mainspring, clock: FakeClock, shop: Shop
) -> None:
    shop.fails = 3
    await app.schedules.create("s", "work", {"n": 5}, every="1h", max_retries=2, retry_delay="1m")
    async with app.worker():
        await clock.advance("60m")
        found = await app.schedules.get("s")
        assert found is not None
        assert (found.status, found.retry_count, found.last_retry) == ("retry-scheduled", 1, START + HOUR)
        await clock.advance("2m")
        found = await app.schedules.get("s")
        assert found is not None
        assert (await status(app), found.retry_count) == ("failed", 2)
        assert found.last_retry == START + HOUR + timedelta(minutes=1)
        assert found.next_run == START + HOUR * 2
        assert found.last_execution is not None
        last = found.last_execution
        assert (last.status, last.attempt, last.error) == ("failed", 3, "ValueError: boom 5")
        await clock.advance("1h")
        assert await status(app) == "active"
        found = await app.schedules.get("s")
        assert found is not None
        assert (found.retry_count, found.last_retry, found.runs) == (0, None, 2)
    executions = await app.schedules.executions("s")
    assert [(one.attempt, one.status) for one in executions] == [
        (1, "completed"), (3, "failed"), (2, "failed"), (1, "failed"),
    ]  # fmt: skip
    assert len({one.job_id for one in executions}) == 2
    assert [one.attempt for one in await app.schedules.executions("s", limit=2)] == [1, 3]


@pytest.mark.parametrize("dead", [True, False])
async def test_a_run_that_is_let_run_again_is_still_for_its_time(
    app: Mainspring, clock: FakeClock, shop: Shop, dead: bool
) -> None:
    shop.fails = 1
    await app.schedules.create("s", "work", cron="0 3 * * *")
    async with app.worker():
        await clock.advance("2d")
        await (app.dead_letters.retry_all() if dead else app.jobs.retry(task="work", status="dead"))
        await clock.advance("0s")
    night = START + timedelta(hours=3)
    assert shop.ran == [night, night + DAY, night]
    assert [(one.scheduled_at, one.status) for one in await app.schedules.executions("s")] == [
        (night + DAY, "completed"), (night, "completed"), (night, "failed"),
    ]  # fmt: skip


async def test_reset_retries(app: Mainspring, clock: FakeClock, shop: Shop) -> None:
    shop.fails = 4
    await app.schedules.create("s", "work", every="1h", max_retries=1, retry_delay="10m")
    async with app.worker():
        await clock.advance("1h")
        found = await app.schedules.reset_retries("s")
        assert (found.status, found.retry_count, shop.fails) == ("active", 0, 3)
        await clock.advance("10m")
        assert await status(app) == "retry-scheduled"
        await clock.advance("10m")
        assert (await status(app), shop.fails) == ("failed", 1)
        found = await app.schedules.reset_retries("s")
        assert (found.status, found.retry_count, found.last_retry) == ("active", 0, None)
        assert (await app.schedules.reset_retries("s")).status == "active"
        await clock.advance("40m")
        assert await status(app) == "retry-scheduled"


async def test_what_a_run_says_and_returns(app: Mainspring, clock: FakeClock, shop: Shop) -> None:
    await app.schedules.create("s", "talk", {"success": False}, every="1h", max_retries=1, retry_delay="1m")
    async with app.worker():
        await clock.advance("61m")
        assert await status(app) == "failed"
        await app.schedules.run("s", {"success": True})
        await clock.advance("1s")
    good, *bad = await app.schedules.executions("s")
    assert (good.status, good.result, good.output) == ("completed", {"success": True, "error": "not done"}, "attempt 1")
    assert [(one.attempt, one.status, one.error, one.output, one.result) for one in bad] == [
        (2, "failed", "Unsuccessful: not done", "attempt 2", None),
        (1, "failed", "Unsuccessful: not done", "attempt 1", None),
    ]
    assert [one.output for one in await app.schedules.executions("s", output=False)] == ["", "", ""]


async def test_once_and_over(app: Mainspring, clock: FakeClock, shop: Shop) -> None:
    await app.schedules.create("good", "work", at=START + HOUR)
    await app.schedules.create("bad", "work", {"n": 1}, at=START + HOUR * 2)
    await app.schedules.create("single", "work", cron="0 3 * * *", recurring=False)
    async with app.worker():
        await clock.advance("1h")
        assert [await status(app, name) for name in ("good", "bad", "single")] == ["completed", "active", "active"]
        shop.fails = 1
        await clock.advance("4d")
        assert [await status(app, name) for name in ("good", "bad", "single")] == ["completed", "failed", "completed"]
    assert len(shop.ran) == 3
    found = await app.schedules.get("single")
    assert found is not None
    assert found.next_run is None


# -- one that is broken delays no other --------------------------------------------------------------------------------


@pytest.mark.slow
async def test_broken_ones_delay_no_other(app: Mainspring, clock: FakeClock, shop: Shop) -> None:
    store = (await app.connect()).store
    for name in ("a-unread", "b-misnamed", "c-zone", "d-input", "e-task", "f-good"):
        await app.schedules.create(name, "work", {"n": 1}, every="1h")
    broken: dict[str, dict[str, Any]] = {
        "a-unread": {"every": "often"},
        "b-misnamed": {"name": "somebody"},
        "c-zone": {"every": None, "cron": "0 * * * *", "timezone": "Mars/Olympus"},
        "d-input": {"input": '{"n":"many"}'},
        "e-task": {"task": "nobody"},
    }
    for name, value in broken.items():
        record = await store.read(SCHEDULE, name)
        assert record is not None
        await store.write([record.evolve(value=record.value | value)])
    async with app.worker():
        await clock.advance("3h")
        assert await status(app, "f-good") == "active"
        assert await status(app, "d-input") == "failed"
        assert await status(app, "e-task") == "active"
        [waiting] = await app.schedules.executions("e-task")
        assert waiting.status == "pending"
    good = [one.scheduled_at for one in await app.schedules.executions("f-good")]
    assert good == [START + HOUR * 3, START + HOUR * 2, START + HOUR]


# -- late schedulers -----------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("later", ["1h", "2d"])
async def test_one_that_adds_late_runs_nothing_twice(clock: FakeClock, tmp_path: Any, later: str) -> None:
    app = Mainspring(f"sqlite:///{tmp_path / 'jobs.db'}", clock=clock)
    ran: list[datetime] = []

    @app.task(retention=0)
    async def work(ctx: Context) -> None:
        ran.append(ctx.scheduled_at)

    await app.schedules.create("s", work, every="1h", history=2)
    held: list[Held] = []

    def wrap(store: Any) -> Held:
        held.append(Held(store))
        return held[-1]

    async with scheduler(app, clock, wrap) as slow:
        record = await slow.store.read(SCHEDULE, "s")
        assert record is not None
        await clock.advance("1h")
        late = asyncio.create_task(slow.fire([record]))
        await held[0].arrived.wait()
        async with app.worker() as worker:
            await clock.advance(later)
            await worker.janitor.round()
            before = list(ran)
            held[0].go.set()
            await late
            await clock.advance("1s")
            assert ran == before
            assert len(set(ran)) == len(ran)
            assert ran[0] == START + HOUR
            assert len(await app.schedules.executions("s")) == 2
    await app.close()


@pytest.mark.slow
async def test_what_leaves_the_history_while_it_goes_on_is_erased_when_it_ends(clock: FakeClock) -> None:
    app, end = Mainspring("sqlite://:memory:", clock=clock), asyncio.Event()

    @app.task
    async def slow() -> None:
        await end.wait()
        raise ValueError("in vain")

    async with app, app.worker():
        await app.schedules.create("s", slow, every="1m", overlap="allow", history=1, max_retries=0)
        await clock.advance("3m")
        assert await app.jobs.count(status="running") == 3
        end.set()
        await clock.advance("0s")
        assert await app.jobs.counts() == dict.fromkeys(await app.jobs.counts(), 0) | {"dead": 1}
        await app.schedules.delete("s")
        assert await app.jobs.count() == 0


async def test_other_times_leave_nothing_of_the_old_ones(app: Mainspring, clock: FakeClock, shop: Shop) -> None:
    await app.schedules.create("s", "hold", every="1m", overlap="queue")
    client = await app.connect()
    await clock.advance("1m")
    await Firing(client).fire(await client.store.scan(SCHEDULE, due=clock.now()))
    for _ in range(3):
        await clock.advance("1m")
        await Firing(client).fire(await client.store.scan(SCHEDULE, due=clock.now()))
    changed = await app.schedules.update("s", cron="0 12 * * *")
    assert (changed.next_run, changed.skipped) == (START.replace(hour=12), 3)
    with pytest.raises(DefinitionError, match=r"bad at: 2030-01-01 00:01:00.* has had a later time already"):
        await app.schedules.update("s", at=START + timedelta(minutes=1))
