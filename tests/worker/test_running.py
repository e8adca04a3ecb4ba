"""Handlers run, and steer their jobs."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime
from typing import Any

import pytest

from mainspring import Cancel, Context, DeadLetter, JobFailed, Mainspring, Retry, Skip, Snooze
from mainspring.core.job import State
from mainspring.errors import JobCancelled

QUICK = Retry(max_attempts=3, backoff="fixed", initial_delay=0.001, jitter=0)


async def test_a_coroutine_and_a_function_answer(app: Mainspring) -> None:
    @app.task
    async def double(x: int) -> int:
        return 2 * x

    @app.task
    def triple(x: int) -> int:
        assert threading.current_thread() is not threading.main_thread()
        return 3 * x

    async with app.worker():
        two, three = await double.enqueue(21), await triple.enqueue(x=14)
        assert await two.result(timeout=60) == 42
        assert await three.result(timeout=60) == 42


async def test_what_a_handler_sees(app: Mainspring) -> None:
    seen: dict[str, Any] = {}

    @app.task(queue="emails")
    async def look(ctx: Context, x: int) -> None:
        seen.update(
            id=ctx.job_id, attempt=ctx.attempt, worker=ctx.worker_id, fence=ctx.fence, task=ctx.task, queue=ctx.queue,
            scheduled=ctx.scheduled_at, started=ctx.started_at, cancelled=ctx.cancelled, meta=ctx.meta,
        )  # fmt: skip

    before = datetime.now(UTC)
    async with app.worker() as worker:
        job = await look.options(meta={"tenant": "a"}).enqueue(1)
        await job.result(timeout=60)
        assert seen["worker"] == worker.id
    assert seen["id"] == job.id
    assert (seen["attempt"], seen["fence"], seen["cancelled"]) == (1, 1, False)
    assert (seen["task"], seen["queue"], seen["meta"]) == ("look", "emails", {"tenant": "a"})
    assert abs((seen["scheduled"] - before).total_seconds()) < 60
    assert seen["started"] >= seen["scheduled"]


async def test_a_failure_is_tried_again_and_its_history_kept(app: Mainspring) -> None:
    @app.task(retry=QUICK)
    async def flaky(ctx: Context) -> str:
        if ctx.attempt < 3:
            raise ValueError(f"attempt {ctx.attempt}")
        return "at last"

    async with app.worker():
        job = await flaky.enqueue()
        assert await job.result(timeout=60) == "at last"
    row = await job.get()
    assert row is not None
    assert [(run.attempt, run.outcome) for run in row.runs] == [(1, "failed"), (2, "failed"), (3, "succeeded")]
    assert row.runs[0].error is not None
    assert row.runs[0].error.message == "attempt 1"
    assert 'raise ValueError(f"attempt' in row.runs[0].error.traceback
    assert "executor.py" not in row.runs[0].error.traceback
    assert row.error is None


async def test_attempts_run_out_into_the_dead_letter_queue(app: Mainspring) -> None:
    @app.task(retry=QUICK)
    async def broken() -> None:
        raise ValueError("always")

    async with app.worker():
        job = await broken.enqueue()
        with pytest.raises(JobFailed, match="ValueError: always"):
            await job.result(timeout=60)
    row = await job.get()
    assert row is not None
    assert (row.state, row.reason, row.attempts) == (State.DEAD, "exhausted", 3)


@pytest.mark.parametrize(
    ("retry_on", "runs"),
    [(KeyError, 1), ((KeyError, ValueError), 3), (lambda error, attempt: attempt < 2, 2)],
)
async def test_retry_on_decides_by_type_or_predicate(app: Mainspring, retry_on: Any, runs: int) -> None:
    policy = Retry(max_attempts=3, backoff="fixed", initial_delay=0.001, retry_on=retry_on)

    @app.task(retry=policy)
    async def broken() -> None:
        raise ValueError("no")

    async with app.worker():
        job = await broken.enqueue()
        with pytest.raises(JobFailed):
            await job.result(timeout=60)
    row = await job.get()
    assert row is not None
    assert len(row.runs) == runs


async def test_dead_letter_may_be_declined(app: Mainspring) -> None:
    @app.task(retries=0, dead_letter=lambda error, attempts: "keep" in str(error))
    async def broken(word: str) -> None:
        raise ValueError(word)

    async with app.worker():
        kept, dropped = await broken.enqueue("keep"), await broken.enqueue("drop")
        for job in (kept, dropped):
            with pytest.raises(JobFailed):
                await job.result(timeout=60)
    assert [await kept.status(), await dropped.status()] == ["dead", "failed"]


async def test_steering_by_exceptions(app: Mainspring) -> None:
    @app.task(retry=QUICK)
    async def steer(ctx: Context, how: str) -> str:
        if how == "cancel":
            raise Cancel("not needed")
        if how == "dead":
            raise DeadLetter("hopeless")
        if how == "skip":
            raise Skip("gone")
        if how == "snooze" and ctx.fence == 1:
            raise Snooze(0.001)
        if how == "after" and ctx.attempt == 1:
            raise Retry.after(0.001, "busy")
        return f"attempt {ctx.attempt}"

    async with app.worker():
        jobs = {how: await steer.enqueue(how) for how in ("cancel", "dead", "skip", "snooze", "after")}
        with pytest.raises(JobCancelled, match="not needed"):
            await jobs["cancel"].result(timeout=60)
        with pytest.raises(JobFailed, match="hopeless"):
            await jobs["dead"].result(timeout=60)
        assert await jobs["skip"].result(timeout=60) is None
        assert await jobs["snooze"].result(timeout=60) == "attempt 1"
        assert await jobs["after"].result(timeout=60) == "attempt 2"
    rows = {how: await job.get() for how, job in jobs.items()}
    outcomes = {how: [run.outcome for run in row.runs] for how, row in rows.items() if row is not None}
    assert outcomes == {
        "cancel": ["cancelled"],
        "dead": ["dead"],
        "skip": ["skipped"],
        "snooze": ["snoozed", "succeeded"],
        "after": ["failed", "succeeded"],
    }


async def test_a_result_of_the_wrong_type_fails_without_a_retry(app: Mainspring) -> None:
    @app.task(retry=QUICK)
    async def wrong() -> int:
        return "no number"  # type: ignore[return-value]

    async with app.worker():
        job = await wrong.enqueue()
        with pytest.raises(JobFailed, match="OutputError"):
            await job.result(timeout=60)
    row = await job.get()
    assert row is not None
    assert (row.state, len(row.runs)) == (State.DEAD, 1)


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), StopIteration(), GeneratorExit()])
@pytest.mark.parametrize("in_thread", [False, True])
async def test_whatever_a_handler_raises_is_its_failure(app: Mainspring, error: BaseException, in_thread: bool) -> None:
    def plain() -> None:
        raise error

    async def coroutine() -> None:
        raise error

    task = app.task(retries=0, name="raises")(plain if in_thread else coroutine)

    @app.task
    async def fine() -> str:
        return "fine"

    async with app.worker():
        job = await task.enqueue()
        with pytest.raises(JobFailed):
            await job.result(timeout=60)
        after = await fine.enqueue()
        assert await after.result(timeout=60) == "fine"


async def test_a_handler_enqueues(app: Mainspring) -> None:
    @app.task
    async def leaf(x: int) -> int:
        return x + 1

    @app.task
    async def root(ctx: Context) -> int:
        first = await ctx.enqueue(leaf, 1)
        second = await leaf.enqueue(await first.result(timeout=60))
        return await second.result(timeout=60)

    @app.task
    def from_thread(ctx: Context) -> int:
        return ctx.sync(ctx.sync(leaf.enqueue, 5).result, 10)

    async with app.worker():
        assert await (await root.enqueue()).result(timeout=60) == 3
        assert await (await from_thread.enqueue()).result(timeout=60) == 6


async def test_progress_and_return_do_not_collide(app: Mainspring) -> None:
    @app.task
    async def report(ctx: Context) -> str:
        for percent in range(0, 101, 5):
            await ctx.progress(percent, {"step": percent})
        return "done"

    async with app.worker() as worker:
        jobs = [await report.enqueue() for _ in range(50)]
        for job in jobs:
            assert await job.result(timeout=60) == "done"
        assert worker.processed == 50
    for job in jobs:
        row = await job.get()
        assert row is not None
        assert row.progress is not None
        assert '"percent":100' in row.progress
        assert [run.outcome for run in row.runs] == ["succeeded"]


async def test_progress_is_seen_while_the_handler_runs(app: Mainspring) -> None:
    go_on = asyncio.Event()

    @app.task
    async def report(ctx: Context) -> None:
        await ctx.progress(40, {"step": "building"})
        await go_on.wait()

    async with app.worker():
        job = await report.enqueue()
        async for event in job.events():
            if event.kind == "progress":
                assert event.data["percent"] == 40
                go_on.set()
        assert await job.status() == "completed"


async def test_an_event_names_the_attempt_that_it_tells_of(app: Mainspring) -> None:
    @app.task(retry=Retry(max_attempts=2, initial_delay="1ms"))
    async def second_time_lucky(ctx: Context) -> None:
        if ctx.attempt == 1:
            raise ConnectionError

    async with app.worker():
        job = await second_time_lucky.enqueue()
        last = [event async for event in job.events() if event.kind == "state"][-1]
    assert (last.status, last.data["attempt"]) == ("completed", 2)


async def test_log_lines_are_there_when_the_result_is(app: Mainspring) -> None:
    @app.task
    async def talk(ctx: Context) -> None:
        for number in range(20):
            await ctx.log(f"line {number}")

    async with app.worker(log_lines=5):
        job = await talk.enqueue()
        await job.result(timeout=60)
        client = await app.connect()
        lines = await client.store.tail(job.id)
    assert [line.text for line in lines] == [f"line {n}" for n in range(15, 20)]
    assert {line.claim for line in lines} == {1}


async def test_a_job_not_started_in_time_is_cancelled(app: Mainspring) -> None:
    ran: list[int] = []

    @app.task
    async def late(x: int) -> None:
        ran.append(x)

    client = await app.connect()
    await late.options(expires=0).enqueue(1)
    start = client.clock.now()
    while client.clock.now() == start:
        await asyncio.sleep(0)
    job = await late.options(expires="1h").enqueue(2)
    async with app.worker():
        await job.result(timeout=60)
    [expired] = (await app.jobs.list(status="cancelled")).jobs
    assert expired.reason == "expired"
    assert ran == [2]


async def test_dead_letter_is_asked_whatever_the_failure(app: Mainspring) -> None:
    asked: list[str] = []

    def never(error: BaseException, attempts: int) -> bool:
        asked.append(type(error).__name__)
        return False

    @app.task(dead_letter=never, retries=0)
    async def after() -> None:
        raise Retry.after("1s")

    @app.task(dead_letter=never, retries=0)
    async def output() -> int:
        return "x"  # type: ignore[return-value]

    @app.task(dead_letter=never, retries=0)
    async def input(n: int) -> None: ...

    bad = (await app.connect()).store
    job = await input.enqueue(1)
    [row] = await bad.get([job.id])
    assert row is not None
    await bad.save([row.evolve(input='{"n": "no number"}')])
    async with app.worker():
        for handle in (job, await after.enqueue(), await output.enqueue()):
            with pytest.raises(JobFailed):
                await handle.result(timeout=60)
            assert await handle.status() == "failed"
    assert asked == ["InputError", "RetryAfter", "OutputError"]


async def test_an_input_error_of_another_task_is_a_failure_like_any_other(app: Mainspring) -> None:
    @app.task
    async def other(n: int) -> None: ...

    @app.task(retry=QUICK)
    async def calls(ctx: Context) -> str:
        if ctx.attempt < 3:
            await other.enqueue("no number")  # type: ignore[arg-type]
        return "third time"

    async with app.worker():
        assert await (await calls.enqueue()).result(timeout=60) == "third time"


async def test_retry_after_a_time(app: Mainspring) -> None:
    @app.task(retry=QUICK)
    async def busy(ctx: Context) -> int:
        if ctx.attempt == 1:
            raise Retry.after(datetime.now(UTC), "the service says when")
        return ctx.attempt

    async with app.worker():
        assert await (await busy.enqueue()).result(timeout=60) == 2
