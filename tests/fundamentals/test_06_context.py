"""A first parameter annotated with `Context` is the run under way. Callers do not pass it."""

from mainspring import Context, Mainspring

app = Mainspring("sqlite://:memory:")


@app.task(queue="reports")
async def report(ctx: Context, month: int) -> str:
    assert ctx.job_id
    assert ctx.started_at >= ctx.scheduled_at
    return f"{ctx.task} {month} in {ctx.queue}, attempt {ctx.attempt}, asked by {ctx.meta['asked_by']}"


async def test_a_handler_sees_its_job() -> None:
    async with app, app.worker():
        job = await report.options(meta={"asked_by": "ada"}).enqueue(month=7)
        assert await job.result(timeout=10) == "report 7 in reports, attempt 1, asked by ada"
