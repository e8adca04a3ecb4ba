"""The life of a job in words."""

from __future__ import annotations

import pytest

from mainspring import Context, JobNotFound, Mainspring, Retry
from mainspring.admin.history import life_of
from mainspring.core.job import Error, Run, State
from mainspring.stores.base import LogLine
from tests.factory import make_job


async def test_a_job_tells_its_life() -> None:
    app = Mainspring("sqlite://:memory:")

    @app.task(retry=Retry(max_attempts=3, backoff="fixed", initial_delay=0.001, jitter=0))
    async def work(ctx: Context) -> None:
        await ctx.log(f"attempt {ctx.attempt}")
        if ctx.attempt == 1:
            raise ValueError("busy")

    async with app.worker() as worker:
        job = await work.enqueue()
        assert (await app.jobs.history(job.id))[0].text == "Added to the queue"
        await job.result(timeout=60)
        told = [line.text for line in await app.jobs.history(job.id)]
        begun = f"Job execution started on {worker.id}"
    own = [text for text in told if text.startswith("attempt")]
    assert own == ["attempt 1", "attempt 2"]
    assert [text for text in told if text not in own] == [
        "Added to the queue",
        begun,
        "Failed: ValueError: busy; retrying 2 more times",
        begun,
        "Job completed successfully",
    ]
    with pytest.raises(JobNotFound):
        await app.jobs.history("none")
    await app.close()


async def test_a_cancelled_job_says_why() -> None:
    app = Mainspring("sqlite://:memory:")

    @app.task
    async def work() -> None: ...

    job = await work.enqueue()
    await job.cancel("not needed")
    told = [line.text for line in await app.jobs.history(job.id)]
    assert told == ["Added to the queue", "Ended as cancelled: not needed"]
    await app.close()


def a_run(claim: int, outcome: str, started_at: int, ended_at: int, error: Error | None = None) -> Run:
    return Run(
        claim=claim,
        attempt=1,
        outcome=outcome,
        started_at=started_at,
        ended_at=ended_at,
        worker=f"w{claim}",
        error=error,
    )


def test_runs_are_told_one_after_the_other() -> None:
    """The worker that takes over notes the end of a vanished run, a moment after it has begun its own."""
    runs = (a_run(1, "interrupted", 10, 33), a_run(2, "succeeded", 30, 40))
    job = make_job("a", state=State.COMPLETED, created_at=5, runs=runs, claims=2)
    logged = [LogLine("a", 1, 10, "info", "one"), LogLine("a", 2, 40, "info", "two")]
    assert [(line.claim, line.text) for line in life_of(job, None, logged)] == [
        (0, "Added to the queue"),
        (1, "Job execution started on w1"),
        (1, "one"),
        (1, "Interrupted: its worker vanished"),
        (2, "Job execution started on w2"),
        (2, "two"),
        (2, "Job completed successfully"),
    ]


def test_a_run_that_lost_its_process_says_so_of_the_process() -> None:
    died = Error(type="ProcessDied", message="the process of the handler was ended by SIGSEGV")
    job = make_job("a", created_at=5, runs=(a_run(1, "interrupted", 10, 20, died),), claims=1)
    told = [line.text for line in life_of(job, None)]
    assert told[-1] == "Interrupted: ProcessDied: the process of the handler was ended by SIGSEGV"
