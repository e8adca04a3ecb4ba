"""Debounce joins a burst of calls into one run, with the newest arguments."""

from mainspring import Debounce, Mainspring
from mainspring.testing import FakeClock

clock = FakeClock()
app = Mainspring("sqlite://:memory:", clock=clock)
indexed: list[tuple[str, int]] = []


@app.task(debounce=Debounce("5s", key=lambda page: page, max_wait="1m"))
async def reindex(page: str, version: int) -> None:
    indexed.append((page, version))


async def test_a_burst_is_one_run() -> None:
    async with app, app.worker():
        for version in range(1, 4):
            await reindex.enqueue("home", version=version)
            await clock.advance("3s")  # less than the window: the run is put off again
        assert indexed == []

        await clock.advance("5s")
        assert indexed == [("home", 3)]
