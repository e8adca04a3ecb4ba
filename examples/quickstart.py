"""Define a task, enqueue a job, run it, and read its result. No server: the jobs live in memory.

Run it: python examples/quickstart.py
"""

import asyncio

from mainspring import Mainspring

app = Mainspring("sqlite://:memory:")


@app.task
async def greet(name: str) -> str:
    return f"Hello {name}!"


async def main() -> None:
    async with app, app.worker():
        job = await greet.enqueue("Ada")
        print(await job.result(timeout=10))


asyncio.run(main())
