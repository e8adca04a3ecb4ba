"""The app that the kill tests run: handlers that leave a trace of each start and end in a file."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from pathlib import Path

from mainspring import Context, Mainspring, Retry
from mainspring.worker.completion import Completions
from mainspring.worker.hold import Hold

app = Mainspring(os.environ["MAINSPRING_CHAOS_URL"])
TRACE = Path(os.environ["MAINSPRING_CHAOS_TRACE"])


def trace(what: str, ctx: Context) -> None:
    """One line, in one write: appends of this size do not mix."""
    line = f"{what} {ctx.job_id} {ctx.fence} {os.getpid()} {time.monotonic()}\n"
    file = os.open(TRACE, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, line.encode())
    os.close(file)


async def pause(seconds: float) -> None:
    loop = asyncio.get_running_loop()
    future = loop.create_future()
    loop.call_later(seconds, future.set_result, None)
    await future


@app.task(max_interruptions=50)
async def work(ctx: Context, seconds: float) -> int:
    trace("start", ctx)
    await pause(seconds)
    trace("end", ctx)
    return ctx.fence


@app.task
async def gentle(ctx: Context, seconds: float) -> int:
    """As `work`, with the default bound of interruptions."""
    trace("start", ctx)
    await pause(seconds)
    trace("end", ctx)
    return ctx.fence


@app.task(max_interruptions=50)
def in_thread(ctx: Context, seconds: float) -> int:
    trace("start", ctx)
    threading.Event().wait(seconds)
    trace("end", ctx)
    return ctx.fence


@app.task(max_concurrency=3, max_interruptions=50)
async def limited(ctx: Context, seconds: float) -> int:
    trace("start", ctx)
    await pause(seconds)
    trace("end", ctx)
    return ctx.fence


@app.task
async def poison(ctx: Context) -> None:
    trace("start", ctx)
    os.kill(os.getpid(), signal.SIGKILL)


@app.task(timeout=1, retry=Retry(max_attempts=2, initial_delay=0.01))
def stubborn(ctx: Context) -> str:
    trace("start", ctx)
    if ctx.attempt == 1:
        threading.Event().wait(60)
    trace("end", ctx)
    return "second"


@app.task(max_interruptions=3)
async def blocks_for_ever(ctx: Context) -> str:
    trace("start", ctx)
    if ctx.fence == 1:
        threading.Event().wait()
    trace("end", ctx)
    return "elsewhere"


@app.task
async def endless(ctx: Context) -> None:
    trace("start", ctx)
    try:
        await asyncio.Event().wait()
    finally:
        trace("end", ctx)


@app.task
async def blocks(ctx: Context, seconds: float) -> int:
    trace("start", ctx)
    threading.Event().wait(seconds)
    trace("end", ctx)
    return ctx.fence


@app.task(timeout=0.3, retry=Retry(max_attempts=2, initial_delay=0.01))
async def deaf(ctx: Context) -> str:
    """Its first run answers no cancellation, and so would outlive asyncio's own end."""
    trace("start", ctx)
    while ctx.attempt == 1:
        try:
            await pause(0.1)
        except asyncio.CancelledError:
            trace("deaf", ctx)
    trace("end", ctx)
    return "second"


@app.task(max_interruptions=50)
async def sells(ctx: Context, killed: str) -> int:
    """Writes a row and completes in one transaction; its process is killed `before` or `after` the commit, once."""
    trace("start", ctx)
    async with ctx.transaction() as session:
        session.execute("INSERT INTO sales VALUES (?, ?)", (ctx.job_id, ctx.fence))
        await ctx.mark_completed(ctx.fence, session=session)
        if killed == "before":
            kill_once(ctx.job_id)
        elif killed == "after":
            KILLED_AFTER.add(ctx.job_id)
    await pause(0.01)
    trace("end", ctx)
    return -1


KILLED_AFTER: set[str] = set()
settle_what_landed = Completions.landed


async def landed(self: Completions, hold: Hold) -> bool:
    """Called when the transaction has committed."""
    if hold.job.id in KILLED_AFTER:
        kill_once(hold.job.id)
    return await settle_what_landed(self, hold)


Completions.landed = landed  # type: ignore[method-assign]


def kill_once(id: str) -> None:
    mark = TRACE.with_name(f"killed {id}")
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
