"""A job may be meant for later: after a delay, or at a time."""

from datetime import UTC, datetime

from mainspring import Context, Mainspring
from mainspring.testing import FakeClock

clock = FakeClock()  # 1 January 2030, 00:00 UTC
app = Mainspring("sqlite://:memory:", clock=clock)


@app.task
async def remind(ctx: Context, text: str) -> str:
    return f"{text} at {ctx.started_at:%H:%M}"


async def test_after_a_delay_and_at_a_time() -> None:
    async with app, app.worker():
        soon = await remind.options(delay="90m").enqueue("tea")
        noon = await remind.options(at=datetime(2030, 1, 1, 12, tzinfo=UTC)).enqueue("lunch")
        assert await noon.status() == "scheduled"

        await clock.advance("1d")
        assert await soon.result(timeout=10) == "tea at 01:30"
        assert await noon.result(timeout=10) == "lunch at 12:00"
