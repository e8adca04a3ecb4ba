"""The arguments are checked when a job is enqueued, where the mistake is, and not later in a worker."""

from datetime import date

import pytest

from mainspring import InputError, Mainspring

app = Mainspring("sqlite://:memory:")


@app.task
async def book(room: str, day: date, guests: int = 1) -> str:
    return f"{room} on {day:%A} for {guests}"


async def test_arguments_have_the_types_of_the_signature() -> None:
    async with app, app.worker():
        job = await book.enqueue("garden", date(2030, 1, 1), guests=2)
        assert await job.result(timeout=10) == "garden on Tuesday for 2"


async def test_wrong_arguments_are_refused_and_nothing_is_stored() -> None:
    async with app:
        with pytest.raises(InputError, match="guests"):
            await book.enqueue("garden", date(2030, 1, 1), guests="many")  # type: ignore[arg-type]
        with pytest.raises(InputError, match="day"):
            await book.enqueue("garden")  # type: ignore[call-arg]
        assert await app.jobs.count(task="book", status="pending") == 0
