"""A hundred edits of one page become one run, with the newest arguments. Other pages have runs of their own.

Run it: python examples/debounce.py
"""

import asyncio

from mainspring import Debounce, Mainspring

app = Mainspring("sqlite://:memory:")


@app.task(debounce=Debounce("150ms", key=lambda page: page, max_wait="2s"))
async def reindex(page: str, version: int) -> str:
    return f"{page} at version {version}"


async def main() -> None:
    async with app, app.worker():
        edits = [await reindex.enqueue("home", version=n) for n in range(1, 101)]
        other = await reindex.enqueue("about", version=7)
        print(len(edits), "calls,", len({job.id for job in edits}), "job")
        print(await edits[-1].result(timeout=10))
        print(await other.result(timeout=10))
        runs = (await edits[-1].get()).runs
        print("runs of the first page:", len(runs))


asyncio.run(main())
