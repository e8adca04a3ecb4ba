"""The app before a deploy. Run as a program it starts its workers, as `driver` does."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

from mainspring import Context, Mainspring, Retry, Task
from mainspring.process.supervisor import Supervisor


class Old(NamedTuple):
    """The tasks, for callers of this version."""

    app: Mainspring
    welcome: Task[[str], str]
    invoice: Task[[int], str]
    legacy: Task[[int], str]
    resize: Task[[int], str]
    flaky: Task[[int], str]


def define(app: Mainspring) -> Old:
    """The tasks and the schedule of this version."""
    pulse = app.task(name="pulse")(beat)
    app.every("1s", name="pulse", history=200, catch_up="all", overlap="allow")(pulse)
    return Old(
        app,
        welcome=app.task(name="welcome")(welcome),
        invoice=app.task(name="invoice")(invoice),
        legacy=app.task(name="legacy")(legacy),
        resize=app.task(name="resize", queue="images")(resize),
        flaky=app.task(name="flaky", retry=Retry(2, "fixed", initial_delay=0.05, jitter=0))(flaky),
    )


async def welcome(ctx: Context, to: str) -> str:
    return await work(ctx, "old")


async def invoice(ctx: Context, number: int) -> str:
    return await work(ctx, "old")


async def legacy(ctx: Context, n: int) -> str:
    return await work(ctx, "old")


def resize(ctx: Context, n: int) -> str:
    trace("start", ctx)
    trace("end", ctx)
    return "old"


async def flaky(ctx: Context, n: int) -> str:
    if ctx.attempt == 1:
        raise OSError("not at once")
    return await work(ctx, "old")


async def beat(ctx: Context) -> str:
    return await work(ctx, "old")


# -- for both versions ---------------------------------------------------------------------------------------------


async def work(ctx: Context, version: str, seconds: float = 0.05) -> str:
    """Some time's work; answers the version of the code that did it."""
    trace("start", ctx)
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    loop.call_later(seconds, done.set_result, None)
    await done
    trace("end", ctx)
    return version


def trace(what: str, ctx: Context) -> None:
    """One line, in one write: appends of this size do not mix."""
    line = f"{what} {ctx.job_id} {ctx.fence} {os.getpid()} {time.monotonic()}\n"
    file = os.open(Path(os.environ["MAINSPRING_CHAOS_TRACE"]), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, line.encode())
    os.close(file)


def serve(app: Mainspring, target: str) -> int:
    """Start the workers of the app that is called `target`."""
    processes: int = int(sys.argv[1])
    settings: dict[str, Any] = json.loads(sys.argv[2])
    logging.basicConfig(level="INFO", format="%(asctime)s %(process)d %(message)s", stream=sys.stderr)
    return asyncio.run(Supervisor(app, target, processes, settings).run())


def url() -> str:
    return os.environ.get("MAINSPRING_CHAOS_URL", "sqlite://:memory:")


app = define(Mainspring(url())).app

if __name__ == "__main__":
    sys.exit(serve(app, "tests.chaos.deploy_old:app"))
