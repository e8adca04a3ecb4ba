"""A worker inside a program that has a life of its own (a web server, a desktop program), and its orderly end.

Run it: python examples/embedded_worker.py
"""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from mainspring import Context, Mainspring

folder = tempfile.TemporaryDirectory()
app = Mainspring(f"sqlite:///{Path(folder.name) / 'jobs.db'}")


@app.task(queue="mail", max_concurrency=2)
async def send(ctx: Context, to: str) -> str:
    async with ctx.lock(f"mailbox-{to}", wait="5s"):
        return f"sent to {to} by attempt {ctx.attempt}"


@asynccontextmanager
async def lifespan() -> AsyncIterator[None]:
    """What a web framework calls around its life: FastAPI and Starlette take such a function as `lifespan=`."""
    async with app, app.worker(concurrency=10) as worker:
        yield
        print(f"{worker.stats().processed} jobs done; the worker ends when its handlers have")


async def main() -> None:
    async with lifespan():
        jobs = await app.enqueue_many([send.job(to) for to in ("ada", "grace", "ada")])
        for job in jobs:
            print(await job.result(timeout=10))
    folder.cleanup()


asyncio.run(main())
