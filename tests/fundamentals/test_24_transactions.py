"""Where your data lies in the same database, a job exists exactly when your transaction commits."""

import sqlite3
from pathlib import Path

import pytest

from mainspring import Mainspring


async def test_both_or_neither(tmp_path: Path) -> None:
    app = Mainspring(f"sqlite:///{tmp_path}/shop.db")

    @app.task
    async def confirm(order: int) -> str:
        return f"order {order} is confirmed"

    async def place_order(session: sqlite3.Connection) -> str:
        session.execute("CREATE TABLE IF NOT EXISTS orders (id INTEGER)")
        session.execute("INSERT INTO orders VALUES (7)")
        job = await confirm.options(session=session).enqueue(7)
        return job.id

    async def place_and_fail(session: sqlite3.Connection) -> None:
        await place_order(session)
        raise ValueError("the card was refused")

    async with app:
        with pytest.raises(ValueError, match="refused"):
            await app.with_transaction(place_and_fail)
        assert await app.jobs.count() == 0  # neither the order nor the job

        id = await app.with_transaction(place_order)
        async with app.worker():
            assert await app.job(id, confirm).result(timeout=10) == "order 7 is confirmed"
