"""Higher priorities run first, from 0 to 100; within a priority, what was enqueued first."""

from mainspring import Mainspring

app = Mainspring("sqlite://:memory:")
order: list[str] = []


@app.task(priority=50)
async def mail(to: str) -> None:
    order.append(to)


async def test_urgent_jobs_overtake() -> None:
    async with app:
        jobs = [
            await mail.enqueue("first"),
            await mail.enqueue("second"),
            await mail.options(priority=10).enqueue("newsletter"),
            await mail.options(priority=90).enqueue("password reset"),
        ]
        async with app.worker(concurrency=1):
            for job in jobs:
                await job.result(timeout=10)
    assert order == ["password reset", "first", "second", "newsletter"]
