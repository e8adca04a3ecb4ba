"""Schedules are made at run time as well, paused, run by hand, and looked at."""

from mainspring import Mainspring
from mainspring.testing import FakeClock

clock = FakeClock()
app = Mainspring("sqlite://:memory:", clock=clock)


@app.task
async def export(format: str) -> str:
    return f"exported as {format}"


async def test_the_life_of_a_schedule() -> None:
    async with app, app.worker():
        info = await app.schedules.create("nightly-export", export, {"format": "csv"}, cron="0 3 * * *")
        assert info.when == "every day at 03:00, UTC"

        await clock.advance("2d")
        await app.schedules.pause("nightly-export", reason="the disk is full")
        await clock.advance("1d")  # nothing runs
        await app.schedules.resume("nightly-export")

        job = await app.schedules.run("nightly-export", {"format": "pdf"})  # once, now
        assert await job.result(timeout=10) == "exported as pdf"

        runs = await app.schedules.executions("nightly-export")
        assert [run.result for run in runs] == ["exported as pdf", "exported as csv", "exported as csv"]
