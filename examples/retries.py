"""A service that fails twice, one that is never to be asked again, and what their jobs look like afterwards.

Run it: python examples/retries.py
"""

import asyncio
from typing import Any

from mainspring import Context, DeadLetter, JobFailed, JobHandle, Mainspring, Retry

app = Mainspring("sqlite://:memory:")
quickly = Retry(max_attempts=4, backoff="exponential", initial_delay="20ms", jitter=0.1)


@app.task(retry=quickly)
async def flaky(ctx: Context) -> str:
    if ctx.attempt < 3:
        raise ConnectionError(f"no answer to attempt {ctx.attempt}")
    return f"answered attempt {ctx.attempt}"


@app.task(retry=quickly)
async def hopeless(path: str) -> None:
    raise DeadLetter(f"{path} is no image, and never will be")


async def show(job: JobHandle[Any]) -> None:
    row = await job.get()
    for run in row.runs:
        print(f"  attempt {run.attempt} {run.outcome:<9} {run.error or run.note}")


async def main() -> None:
    async with app, app.worker():
        good = await flaky.enqueue()
        print("flaky:", await good.result(timeout=10))
        await show(good)

        bad = await hopeless.enqueue("notes.txt")
        try:
            await bad.result(timeout=10)
        except JobFailed as error:
            print(f"hopeless: {error.state}, because {error.reason}")
        await show(bad)
        print("dead letters:", await app.dead_letters.count())


asyncio.run(main())
