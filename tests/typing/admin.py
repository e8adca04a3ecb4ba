"""What a type checker must see of the administration. Checked by tests/system/test_typing.py; never run."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, assert_type

from mainspring import Job, JobHandle, Mainspring
from mainspring.admin import Execution, JobPage, QueueStats, ScheduleInfo, SchedulePage, WorkerInfo

app = Mainspring("sqlite://:memory:")
yesterday = datetime.now(UTC)


async def right_jobs() -> None:
    assert_type(await app.jobs.get("id"), Job | None)
    page = await app.jobs.list(task="a", status=["dead", "failed"], error="timeout", created_after=yesterday, limit=10)
    assert_type(page, JobPage)
    assert_type(page.cursor, str | None)
    assert_type(await app.jobs.count(queue=["a", "b"]), int)
    assert_type(await app.jobs.counts(origin="call"), dict[str, int])
    assert_type(await app.jobs.retry("id"), Job)
    assert_type(await app.jobs.retry(status="dead"), int)
    assert_type(await app.jobs.cancel("id", "why"), bool)
    assert_type(await app.jobs.cancel(task="a", reason="why"), int)
    assert_type(await app.jobs.delete("id"), bool)
    assert_type(await app.jobs.delete(key="k"), int)
    assert_type(await app.jobs.pause("id"), Job)
    assert_type(await app.jobs.resume(queue="a"), int)
    for line in await app.jobs.logs("id", after=0):
        assert_type(line.text, str)


async def right_dead_letters_and_queues() -> None:
    assert_type(await app.dead_letters.list(limit=5), JobPage)
    assert_type(await app.dead_letters.retry("id"), Job)
    assert_type(await app.dead_letters.retry_all(task="a"), int)
    assert_type(await app.dead_letters.purge(older_than="7d"), int)
    assert_type(await app.queues.list(), list[str])
    assert_type(await app.queues.stats(), list[QueueStats])
    assert_type(await app.queues.stats("a"), QueueStats)
    assert_type(await app.queues.is_paused("a"), bool)
    assert_type(await app.queues.resume("a"), bool)
    await app.queues.pause("a", "deploy")
    await app.queues.throttle("a", "5m")


async def right_schedules() -> None:
    assert_type(await app.schedules.list(), SchedulePage)
    assert_type(await app.schedules.update("n", cron="@daily"), ScheduleInfo)
    assert_type(await app.schedules.run("n"), JobHandle[Any])
    assert_type(await app.schedules.executions("n", 5), list[Execution])
    assert_type(await app.schedules.delete("n"), bool)
    assert_type(await app.schedules.pause("n"), ScheduleInfo)
    assert_type(app.schedules.describe(every="5m"), str)


async def wrong() -> None:
    await app.jobs.get(5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await app.jobs.list(limit="10")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await app.jobs.list(state="dead")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await app.jobs.list(created_after="yesterday")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await app.jobs.retry(5)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    await app.jobs.retry(statuses="dead")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    await app.jobs.cancel("id", reason=None)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    await app.jobs.delete(has_error="yes")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    await app.jobs.count(status=5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await app.dead_letters.purge(older_than=object())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await app.dead_letters.retry()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await app.queues.stats(5)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    await app.queues.pause()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await app.queues.throttle("a")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await app.schedules.delete()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await app.schedules.run("n", 5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    app.schedules.describe(evry="5m")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    number: int = await app.jobs.retry("id")  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    await app.jobs.logs("id", after=str(number))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def right_workers_and_acts() -> None:
    assert_type(await app.workers.list(), list[WorkerInfo])
    assert_type(await app.workers.get("id"), WorkerInfo | None)
    assert_type(await app.workers.pause("id", "deploy"), bool)
    with app.acting("alice", reason="ticket 12"):
        assert_type(await app.jobs.retry(status="dead", on_progress=progress), int)


def progress(changed: int, looked_at: int) -> None: ...


async def wrong_workers_and_acts() -> None:
    await app.workers.get()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await app.workers.pause("id", 5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    app.acting(5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await app.jobs.retry(status="dead", on_progress="bar")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
