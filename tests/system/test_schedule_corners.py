"""Schedules in rarer moments: changed, paused or looked at while ticks are overdue, wait, or run for long."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from mainspring import Context, Mainspring
from mainspring.admin.schedule_view import ScheduleInfo
from mainspring.testing import START, FakeClock


@pytest.fixture
async def app(clock: FakeClock) -> AsyncIterator[Mainspring]:
    async with Mainspring("sqlite://:memory:", clock=clock) as app:
        yield app


async def info(app: Mainspring) -> ScheduleInfo:
    found = await app.schedules.get("s")
    assert found is not None
    return found


@pytest.fixture
def ran(app: Mainspring) -> list[str]:
    """When the task "note" ran, as the times that its runs were meant for."""
    times: list[str] = []

    @app.task(name="note")
    async def note(ctx: Context) -> None:
        times.append(f"{ctx.scheduled_at:%H:%M}")

    return times


# -- every tick is accounted for -----------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["pause", "update"])
async def test_what_is_overdue_at_a_change_is_counted_as_missed(
    app: Mainspring, clock: FakeClock, ran: list[str], how: str
) -> None:
    await app.schedules.create("s", "note", cron="0 * * * *", catch_up="all")
    async with app.worker():
        await clock.advance("1h 30m")
    await clock.advance("3h")  # nobody works at 02, 03 and 04
    if how == "pause":
        await app.schedules.pause("s")
        await app.schedules.resume("s")
    else:
        await app.schedules.update("s", timezone="Europe/Prague")
    async with app.worker():
        await clock.advance("1h")
    now = await info(app)
    assert (ran, now.runs, now.missed) == (["01:00", "05:00"], 2, 3)
    assert now.last_missed is not None
    assert now.last_missed.first == START + timedelta(hours=2)


async def test_a_schedule_made_asleep_has_missed_nothing(app: Mainspring, clock: FakeClock, ran: list[str]) -> None:
    await app.schedules.create("s", "note", every="1h", start="now", paused=True)
    await clock.advance("5h 30m")
    assert (await app.schedules.resume("s")).missed == 0


async def test_caught_up_runs_one_after_another_are_as_many_as_at_once(
    app: Mainspring, clock: FakeClock, ran: list[str]
) -> None:
    await app.schedules.create("s", "note", every="1m", catch_up="all", catch_up_max=150, overlap="queue")
    await clock.advance("2h 20m")
    async with app.worker():
        await clock.advance(30)
    assert (len(ran), ran[0], ran[-1]) == (140, "00:01", "02:20")
    assert (await info(app)).skipped == 0


# -- what changes nothing ------------------------------------------------------------------------------------------


async def test_to_say_the_same_times_again_changes_nothing(app: Mainspring, clock: FakeClock, ran: list[str]) -> None:
    await app.schedules.create("s", "note", every="1h")
    async with app.worker():
        for _ in range(6):
            await clock.advance("30m")
            await app.schedules.update("s", every="1h", history=5)
    assert ran == ["01:00", "02:00", "03:00"]


async def test_what_is_declared_to_run_once_runs_once_however_late_the_next_deploy(clock: FakeClock) -> None:
    ran: list[datetime] = []
    store = Mainspring("sqlite://:memory:", clock=clock)
    async with store:
        for _ in range(3):
            app = Mainspring(store.client.store, clock=clock)

            @app.every("1h", start="now", recurring=False)
            async def migrate() -> None:
                ran.append(clock.utcnow())

            async with app.worker():
                await clock.advance("100d")
            await store.client.store.purge(clock.now(), 100)
    assert ran == [START]


# -- overlap -------------------------------------------------------------------------------------------------------


async def test_a_long_run_is_known_however_many_are_asked_for_beside_it(app: Mainspring, clock: FakeClock) -> None:
    go_on, running, most = asyncio.Event(), 0, 0

    @app.task
    async def work(ctx: Context) -> None:
        nonlocal running, most
        if ctx.scheduled_at.minute:
            return  # asked for by hand
        running += 1
        most = max(most, running)
        await go_on.wait()
        running -= 1

    await app.schedules.create("s", work, cron="0 * * * *", overlap="skip")
    async with app.worker(concurrency=50):
        await clock.advance("1h 30m")
        for _ in range(25):
            await app.schedules.run("s")
        await clock.advance("1h")
        go_on.set()
    assert (most, (await info(app)).skipped) == (1, 1)


async def test_a_run_that_waits_for_its_jitter_does_not_begin_in_a_pause(
    app: Mainspring, clock: FakeClock, ran: list[str]
) -> None:
    await app.schedules.create("s", "note", cron="0 * * * *", jitter="30m")
    async with app.worker():
        await clock.advance("1h 1s")
        await app.schedules.pause("s", reason="stop!")
        await clock.advance("1h")
        assert ran == []
        await app.schedules.resume("s")
        await clock.advance("1h 30m")
    assert ran == ["03:00"]


async def test_the_end_of_a_run_by_hand_counts_for_a_fixed_delay(app: Mainspring, clock: FakeClock) -> None:
    ran: list[datetime] = []

    @app.task
    async def work() -> None:
        ran.append(clock.utcnow())

    await app.schedules.create("s", work, every="10m", fixed_delay=True)
    async with app.worker():
        await clock.advance("9m")
        await app.schedules.run("s")
        await clock.advance("25m")
    assert [(at - START).total_seconds() / 60 for at in ran] == [9, 19, 29]


# -- what is seen --------------------------------------------------------------------------------------------------


async def test_a_failure_is_seen_until_a_run_has_succeeded(app: Mainspring, clock: FakeClock) -> None:
    @app.task
    async def fails() -> None:
        raise ValueError("boom")

    await app.schedules.create("s", fails, cron="0 * * * *", max_retries=0, jitter="30m")
    async with app.worker():
        await clock.advance("1h 45m")
        failed = await info(app)
        await clock.advance("15m 1s")  # the next one waits for its jitter
        waits = await info(app)
        assert (failed.status, waits.status) == ("failed", "failed")
        assert (waits.last_run, waits.last_execution) == (failed.last_run, failed.last_execution)
        assert (await app.schedules.list(status="failed")).total == 1
        assert (await app.schedules.reset_retries("s")).status == "active"


async def test_a_queue_behind_retries_costs_a_held_clock_little(app: Mainspring, clock: FakeClock) -> None:
    moves: list[int] = []
    clock.listen(lambda: moves.append(clock.now()))

    @app.task
    async def fails() -> None:
        raise ValueError("down")

    await app.schedules.create("s", fails, every="30m", overlap="queue", max_retries=5, retry_delay="1h")
    async with app.worker():
        await clock.advance("1d")
    assert len(moves) < 2_500, "a look each minute at most, and not every ten seconds of a day"
    assert (await info(app)).runs == 5


async def test_who_cancels_a_waiting_retry_lets_the_next_run_begin(app: Mainspring, clock: FakeClock) -> None:
    @app.task
    async def fails() -> None:
        raise ValueError("down")

    await app.schedules.create("s", fails, every="30m", overlap="queue", max_retries=1, retry_delay="1d")
    async with app.worker():
        await clock.advance("61m")  # the run of 0:30 waits for its retry, and the one of 1:00 for its end
        assert (await info(app)).runs == 1
        assert await app.jobs.cancel(task="fails", status="retrying") == 1
        await clock.advance("2m")
    assert (await info(app)).runs == 2


async def test_retries_can_be_taken_back(app: Mainspring, clock: FakeClock, ran: list[str]) -> None:
    await app.schedules.create("s", "note", every="1h", max_retries=3)
    assert (await app.schedules.update("s", max_retries=None)).max_retries is None


def test_days_that_both_fire_are_both_said(app: Mainspring) -> None:
    """Where day and weekday are restricted either of them will do, and all days of the month are a restriction."""
    for cron in ("0 0 1-31 * 1", "0 9 1-31 * mon-fri", "0 0 13 1 0-7", "*/5 9 1-31 * 1"):
        words = app.schedules.describe(cron=cron)
        assert "Monday" not in words or "every day" in words or cron in words, (cron, words)
        assert "January 13" not in words, (cron, words)


def test_a_week_may_end_on_sunday(app: Mainspring) -> None:
    def days(cron: str) -> set[int]:
        start = datetime(2030, 1, 1, tzinfo=UTC)
        return {time.isoweekday() for time in app.schedules.preview(cron=cron, start=start, count=20)}

    assert days("0 0 * * fri-sun") == {5, 6, 7}
    assert days("0 0 * * MON-SUN") == set(range(1, 8))
    assert days("0 0 * * sat-sun") == {6, 7}
    assert days("0 0 * * sun-tue") == {7, 1, 2}
    assert days("0 0 * * 0-sun") == days("0 0 * * sun-sun") == days("0 0 * * 7-sun") == {7}
