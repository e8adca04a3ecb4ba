"""A run that raises is tried again, later and later. `FakeClock` lets that time pass at once."""

from mainspring import Context, Mainspring, Retry
from mainspring.testing import FakeClock

clock = FakeClock()
app = Mainspring("sqlite://:memory:", clock=clock)


@app.task(retry=Retry(max_attempts=4, backoff="exponential", initial_delay="10s", jitter=0))
async def fetch(ctx: Context, url: str) -> str:
    if ctx.attempt < 3:
        raise ConnectionError(f"{url} does not answer")
    return f"answered attempt {ctx.attempt}"


async def test_a_failed_run_is_tried_again() -> None:
    async with app, app.worker():
        job = await fetch.enqueue("https://example.org")

        await clock.advance("9s")  # the first attempt has failed; the second comes after 10 s
        assert await job.status() == "retrying"

        await clock.advance("1s")  # the second one fails, too; the third comes 20 s later
        await clock.advance("20s")
        assert await job.result(timeout=10) == "answered attempt 3"
        assert [run.outcome for run in (await job.get()).runs] == ["failed", "failed", "succeeded"]
