"""A schedule in the code asks for jobs by the clock. Any worker fires it, each time once."""

from mainspring import Context, Mainspring
from mainspring.testing import FakeClock

clock = FakeClock()  # 1 January 2030, a Tuesday
app = Mainspring("sqlite://:memory:", clock=clock)
written: list[str] = []


@app.cron("0 9 * * 1-5", timezone="America/New_York")
async def morning_report(ctx: Context) -> None:
    written.append(f"{ctx.scheduled_at:%a %H:%M}")


@app.every("1d")
async def tidy() -> None: ...


async def test_a_week_of_reports() -> None:
    async with app, app.worker():
        await clock.advance("7d")
        assert written == ["Tue 14:00", "Wed 14:00", "Thu 14:00", "Fri 14:00", "Mon 14:00"]  # in UTC
        tidied = await app.schedules.get("tidy")
        assert tidied is not None
        assert tidied.runs == 7
