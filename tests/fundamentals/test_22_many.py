"""Many jobs in one round trip; jobs that a handler enqueues; jobs by the name of their task."""

from mainspring import Context, Mainspring

app = Mainspring("sqlite://:memory:")


@app.task
async def build_month(month: int) -> int:
    return month


@app.task
async def build_year(ctx: Context) -> list[str]:
    jobs = await app.enqueue_many([build_month.job(month) for month in range(1, 13)])
    return [job.id for job in jobs]


async def test_a_job_that_makes_jobs() -> None:
    async with app, app.worker():
        year = await app.enqueue("build-year")  # by name: the caller need not have the code
        ids = await year.result(timeout=10)
        months = [await app.job(id, build_month).result(timeout=10) for id in ids]
        assert months == list(range(1, 13))
