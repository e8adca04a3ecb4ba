"""What waits is cancelled at once. What runs is asked to end: a coroutine sees `CancelledError`, and may tidy up."""

import asyncio

import pytest

from mainspring import JobCancelled, Mainspring

app = Mainspring("sqlite://:memory:")
begun = asyncio.Event()
tidied = asyncio.Event()


@app.task
async def stream(channel: str) -> None:
    begun.set()
    try:
        await asyncio.Event().wait()  # for ever
    finally:
        tidied.set()


async def test_what_waits_is_cancelled_at_once() -> None:
    async with app:
        job = await stream.enqueue("news")
        assert await job.cancel("not today")
        assert await job.status() == "cancelled"


async def test_what_runs_is_asked_to_end() -> None:
    async with app, app.worker():
        job = await stream.enqueue("sport")
        await begun.wait()
        await job.cancel("the match is over")
        with pytest.raises(JobCancelled, match="the match is over"):
            await job.result(timeout=10)
        assert tidied.is_set()
