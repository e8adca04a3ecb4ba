"""A timeout bounds one run. What takes longer is ended, and counts as a failure."""

import asyncio

import pytest

from mainspring import JobFailed, Mainspring

app = Mainspring("sqlite://:memory:")


@app.task(timeout="20ms", retries=0)
async def ask(service: str) -> str:
    await asyncio.Event().wait()  # it never answers
    return "an answer"


async def test_a_run_that_takes_too_long_is_ended() -> None:
    async with app, app.worker():
        job = await ask.enqueue("oracle")
        with pytest.raises(JobFailed):
            await job.result(timeout=10)
        [run] = (await job.get()).runs
        assert run.outcome == "timed_out"
