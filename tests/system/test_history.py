"""The life of a job in words."""

from __future__ import annotations

import pytest

from mainspring import Context, JobNotFound, Mainspring, Retry


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
        await job.result(timeout=10)
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
