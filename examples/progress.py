"""A job tells how far it is, writes a log, and is followed from outside; a second one is cancelled half way.

Run it: python examples/progress.py
"""

import asyncio

from mainspring import Context, JobCancelled, Mainspring

app = Mainspring("sqlite://:memory:")


@app.task
async def convert(ctx: Context, pages: int) -> int:
    for page in range(1, pages + 1):
        await asyncio.sleep(0.1)
        ctx.progress(100 * page / pages, {"page": page})
    ctx.log(f"converted {pages} pages")
    return pages


async def main() -> None:
    async with app, app.worker():
        job = await convert.enqueue(5)
        async for event in job.events():
            print(f"  {event.kind:<8} {event.status:<9} {event.data}")
        print("result:", await job.result())

        long = await convert.enqueue(1_000)
        async for event in long.events():
            if event.kind == "progress":
                await long.cancel("seen enough")
        try:
            await long.result()
        except JobCancelled as error:
            print("cancelled:", error.reason)


asyncio.run(main())
