"""A handler reports progress and writes a log; both are kept with the job, and can be followed while it runs."""

from mainspring import Context, Mainspring

app = Mainspring("sqlite://:memory:")


@app.task
async def convert(ctx: Context, pages: int) -> int:
    for page in range(1, pages + 1):
        ctx.progress(100 * page / pages, {"page": page})
    ctx.log(f"converted {pages} pages")
    return pages


async def test_a_job_is_followed_from_outside() -> None:
    async with app, app.worker():
        job = await convert.enqueue(4)
        events = [event async for event in job.events()]  # until the job has ended
        assert events[-1].status == "completed"

        progress = [event.data for event in events if event.kind == "progress"]
        assert (progress[-1]["percent"], progress[-1]["data"]) == (100, {"page": 4})
        assert [line.text for line in await app.jobs.logs(job.id)] == ["converted 4 pages"]
