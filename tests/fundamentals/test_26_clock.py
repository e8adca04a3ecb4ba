"""Your own tests: a store in memory, a clock that you move, and no waiting."""

from datetime import UTC, datetime

from mainspring import Mainspring, Snooze
from mainspring.testing import FakeClock


def build(clock: FakeClock | None = None) -> tuple[Mainspring, list[str]]:
    """The app under test. In production it is built with a file or a server instead."""
    app, sent = Mainspring("sqlite://:memory:", clock=clock), list[str]()

    @app.task(name="trial-ends")
    async def trial_ends(customer: str, paid: bool = False) -> None:
        if not sent:
            sent.append(f"remind {customer}")
            raise Snooze("3d")
        sent.append(f"close {customer}")

    return app, sent


async def test_a_customer_is_reminded_before_the_end() -> None:
    clock = FakeClock(datetime(2030, 3, 1, tzinfo=UTC))
    app, sent = build(clock)
    async with app, app.worker():
        job = await app.enqueue("trial-ends", {"customer": "ada"}, delay="27d")

        await clock.advance("26d")
        assert sent == []
        await clock.advance("1d")
        assert sent == ["remind ada"]
        await clock.advance("3d")
        assert sent == ["remind ada", "close ada"]
        assert await job.status() == "completed"
