"""Ten thousand jobs in twenty round trips, and a transaction of your own that holds both a row and a job.

Run it: python examples/bulk.py
"""

import asyncio
import sqlite3
import tempfile
import time
from pathlib import Path

from mainspring import Mainspring

folder = tempfile.TemporaryDirectory()
file = Path(folder.name) / "shop.db"
app = Mainspring(f"sqlite:///{file}")


@app.task
async def resize(picture: int) -> None: ...


@app.task
async def confirm(order: int) -> str:
    return f"order {order} is confirmed"


async def main() -> None:
    async with app:
        begun = time.perf_counter()
        await app.enqueue_many([resize.job(n) for n in range(10_000)])
        print(f"10,000 jobs stored in {time.perf_counter() - begun:.1f} s")

        connection = sqlite3.connect(file)
        connection.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY)")
        connection.execute("INSERT INTO orders VALUES (1)")
        job = await confirm.options(within=connection, priority=100).enqueue(1)
        connection.commit()  # the order and its job exist from here on, both or neither
        connection.close()
        async with app.worker():
            print(await job.result(timeout=10))
    folder.cleanup()


asyncio.run(main())
