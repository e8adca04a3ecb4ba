"""A job that has not begun in time may be worth nothing any more."""

import pytest

from mainspring import JobCancelled, Mainspring
from mainspring.testing import FakeClock

clock = FakeClock()
app = Mainspring("sqlite://:memory:", clock=clock)


@app.task(expires="5m")
async def send_code(to: str) -> str:
    return f"sent to {to}"


async def test_a_code_that_is_too_old_is_not_sent() -> None:
    async with app:
        job = await send_code.enqueue("ada")
        await clock.advance("10m")  # no worker was there
        async with app.worker():
            with pytest.raises(JobCancelled, match="expired"):
                await job.result(timeout=10)
