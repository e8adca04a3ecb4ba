"""The three stories of scheduled tasks: a daily clean-up with retries, a report at once, and an operator's hands."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from mainspring import Context, Mainspring, Retry
from mainspring.admin.schedule_view import ScheduleInfo
from mainspring.errors import IllegalTransition, JobFailed
from mainspring.testing import START, FakeClock

HOUR, DAY, MINUTE = timedelta(hours=1), timedelta(days=1), timedelta(minutes=1)
DAILY: dict[str, Any] = {
    "schedule": "0 3 * * *",
    "recurring": True,
    "max_retries": 3,
    "retry_delay": timedelta(minutes=5),
}


@pytest.fixture
async def app(clock: FakeClock) -> AsyncIterator[Mainspring]:
    app = Mainspring("sqlite://:memory:", clock=clock)
    yield app
    await app.close()


async def info(app: Mainspring, name: str) -> ScheduleInfo:
    found = await app.schedules.get(name)
    assert found is not None
    return found


# -- a daily clean-up with retries -------------------------------------------------------------------------------------


async def test_a_daily_clean_up_with_the_task_that_comes_with_it(app: Mainspring, clock: FakeClock) -> None:
    app.use_builtins(only=["cleanup-logs"])
    made = await app.schedules.create(
        "daily-cleanup", "cleanup-logs", {"older_than": 30, "dry_run": False},
        description="Remove old logs and temporary files daily", **DAILY,
    )  # fmt: skip
    assert (made.status, made.next_run, made.max_retries) == ("active", START + HOUR * 3, 3)
    async with app.worker():
        await clock.advance("2d")
    found = await info(app, "daily-cleanup")
    assert (found.status, found.runs, found.next_run) == ("active", 2, START + DAY * 2 + HOUR * 3)
    assert found.last_execution is not None
    assert (found.last_execution.status, found.last_execution.error) == ("completed", None)
    assert found.last_run == START + DAY + HOUR * 3
    assert [one.status for one in await app.schedules.executions("daily-cleanup")] == ["completed"] * 2


async def test_its_retries(app: Mainspring, clock: FakeClock) -> None:
    """It fails on the first night until its retries are used up, and on the second night twice."""
    nights: dict[int, int] = {0: 4, 1: 2, 2: 0}

    @app.task(name="cleanup-logs", retry=Retry(max_attempts=1))
    def cleanup_logs(ctx: Context, older_than: int, dry_run: bool) -> dict[str, Any]:
        night = (ctx.scheduled_at - START).days
        print(f"night {night}, attempt {ctx.attempt}: older than {older_than} days")
        if ctx.attempt <= nights[night]:
            return {"success": False, "error": "disk is busy"}
        return {"success": True, "message": "cleaned", "dry_run": dry_run}

    name = "daily-cleanup"
    await app.schedules.create(name, cleanup_logs, {"older_than": 30, "dry_run": False}, **DAILY)
    seen: list[tuple[str, int]] = []
    async with app.worker():
        await clock.advance("3h")
        for _ in range(4):
            found = await info(app, name)
            seen.append((found.status, found.retry_count))
            await clock.advance("5m")
        assert seen == [("retry-scheduled", 1), ("retry-scheduled", 2), ("retry-scheduled", 3), ("failed", 3)]
        found = await info(app, name)
        assert (found.last_retry, found.next_run) == (START + HOUR * 3 + MINUTE * 10, START + DAY + HOUR * 3)
        await clock.advance("1d")
        found = await info(app, name)
        assert (found.status, found.retry_count, found.last_retry) == ("active", 0, None)
        await clock.advance("1d")
    executions = await app.schedules.executions(name)
    assert [(one.attempt, one.status, one.error) for one in executions] == [
        (1, "completed", None),
        (3, "completed", None),
        *((attempt, "failed", "Unsuccessful: disk is busy") for attempt in (2, 1)),
        *((attempt, "failed", "Unsuccessful: disk is busy") for attempt in (4, 3, 2, 1)),
    ]
    assert executions[0].result == {"success": True, "message": "cleaned", "dry_run": False}
    assert executions[1].output == "night 1, attempt 3: older than 30 days"
    assert executions[-1].started_at == START + HOUR * 3
    assert executions[-2].started_at == START + HOUR * 3 + MINUTE * 5


# -- a report at once --------------------------------------------------------------------------------------------------


async def test_a_report_at_once(app: Mainspring, clock: FakeClock) -> None:
    @app.task(name="generate-report")
    async def generate_report(report_type: str, month: int, year: int, format: str) -> str:
        return f"{report_type}-{year}-{month:02}.{format}"

    async with app.worker():
        made = await app.schedules.create(
            "generate-monthly-report", "generate-report",
            {"report_type": "sales", "month": 7, "year": 2023, "format": "pdf"},
            description="Generate monthly sales report", schedule="now", recurring=False,
        )  # fmt: skip
        assert (made.status, made.next_run) == ("active", START)
        await clock.advance("0s")
        found = await info(app, "generate-monthly-report")
        assert (found.status, found.next_run, found.last_run) == ("completed", None, START)
        assert found.last_execution is not None
        assert found.last_execution.result == "sales-2023-07.pdf"
        await clock.advance("3d")
        assert (await info(app, "generate-monthly-report")).runs == 1
    assert [one.name for one in await app.schedules.list(status="completed")] == ["generate-monthly-report"]


# -- an operator's hands -----------------------------------------------------------------------------------------------


async def test_pause_run_and_reset(app: Mainspring, clock: FakeClock) -> None:
    broken = True

    @app.task(name="sync", retry=Retry(max_attempts=1))
    async def sync() -> str:
        if broken:
            raise ConnectionError("no route")
        return "synced"

    await app.schedules.create("task-123", sync, schedule="0 * * * *", max_retries=2, retry_delay="10m")
    async with app.worker():
        await clock.advance("60m")
        found = await info(app, "task-123")
        assert (found.status, found.retry_count) == ("retry-scheduled", 1)

        found = await app.schedules.reset_retries("task-123")
        assert (found.status, found.retry_count, found.last_retry) == ("active", 0, None)
        await clock.advance("30m")
        assert (await info(app, "task-123")).status == "failed"  # three more attempts, with ten minutes between them
        assert len(await app.schedules.executions("task-123")) == 4

        found = await app.schedules.pause("task-123", "the other side is down")
        assert (found.status, found.pause_reason, found.next_run) == ("paused", "the other side is down", None)
        with pytest.raises(IllegalTransition):
            await app.schedules.pause("task-123")
        await clock.advance("5h")
        assert (await info(app, "task-123")).runs == 1

        job = await app.schedules.run("task-123")
        await clock.advance("30m")
        with pytest.raises(JobFailed):
            await job.result(timeout=60)
        broken = False
        job = await app.schedules.run("task-123")
        assert await job.result(timeout=60) == "synced"
        assert (await info(app, "task-123")).status == "paused"

        found = await app.schedules.resume("task-123")
        assert (found.status, found.next_run) == ("active", START + HOUR * 8)
        await clock.advance("1h")
        found = await info(app, "task-123")
        assert (found.status, found.runs, found.missed) == ("active", 2, 0)
        assert await app.schedules.delete("task-123")
