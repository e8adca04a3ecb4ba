"""A job that has used up its attempts is a dead letter: kept with its input, its error and its runs, to be retried."""

import pytest

from mainspring import JobFailed, Mainspring

app = Mainspring("sqlite://:memory:")
down = {"crm"}


@app.task(retries=0)
async def sync(system: str) -> str:
    if system in down:
        raise ConnectionError(f"{system} is down")
    return f"{system} is in sync"


async def test_a_dead_letter_is_found_and_retried() -> None:
    async with app, app.worker():
        job = await sync.enqueue("crm")
        with pytest.raises(JobFailed):
            await job.result(timeout=10)

        [dead] = await app.dead_letters.list(task="sync")
        assert dead.id == job.id
        assert dead.reason == "exhausted"
        assert str(dead.error) == "ConnectionError: crm is down"

        down.clear()  # somebody mends it …
        await app.dead_letters.retry(dead.id)  # … and the same job gets new attempts
        assert await job.result(timeout=10) == "crm is in sync"
        assert await app.dead_letters.count() == 0
