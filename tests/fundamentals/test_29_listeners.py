"""Listeners are told what happens in this process. They change nothing, and no run waits for them."""

import pytest

from mainspring import AppEvent, JobFailed, Mainspring

app = Mainspring("sqlite://:memory:")
alarms: list[str] = []


@app.on("job.dead")
async def call_for_help(event: AppEvent) -> None:
    alarms.append(f"{event.task}: {event.reason}, {event.error}")


@app.task(retries=0)
async def backup(disk: str) -> None:
    raise OSError(f"{disk} is full")


async def test_a_dead_letter_rings_the_bell() -> None:
    async with app, app.worker():
        job = await backup.enqueue("sda")
        with pytest.raises(JobFailed):
            await job.result(timeout=10)
    assert alarms == ["backup: exhausted, OSError: sda is full"]
