"""A lock holds across all workers. Its fence grows from holder to holder."""

import pytest

from mainspring import Context, LockHeld, Mainspring

app = Mainspring("sqlite://:memory:")


@app.task
async def book(ctx: Context, amount: int) -> int:
    async with ctx.lock("ledger", wait="5s") as lock:
        return lock.fence


async def test_one_holder_at_a_time() -> None:
    async with app, app.worker():
        jobs = await app.enqueue_many([book.job(amount) for amount in (1, 2, 3)])
        fences = [await job.result(timeout=10) for job in jobs]
        assert len(set(fences)) == 3

        async with app.locks.lock("ledger"):
            with pytest.raises(LockHeld):
                await app.locks.lock("ledger").acquire()
