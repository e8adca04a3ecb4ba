"""The app after the deploy: a task renamed, one with an argument more, one removed, one in another queue, another retry
policy, another schedule. Run as a program it starts its workers, as `driver` does."""

from __future__ import annotations

import sys
from typing import NamedTuple

from mainspring import Context, Mainspring, Request, Retry, Task
from tests.chaos.deploy_old import serve, trace, url, work


class New(NamedTuple):
    """The tasks, for callers of this version."""

    app: Mainspring
    greet: Task[[str], str]
    invoice: Task[..., str]
    resize: Task[[int], str]
    flaky: Task[[int], str]

    def with_note(self, number: int) -> Request[str]:
        """A call that the old version does not understand."""
        return self.invoice.job(number, note="by post")


def define(app: Mainspring) -> New:
    """The tasks and the schedule of this version."""
    pulse = app.task(name="pulse")(beat)
    app.every("2s", name="pulse", history=200, catch_up="all", overlap="allow")(pulse)
    return New(
        app,
        greet=app.task(name="greet", aliases=["welcome"])(greet),
        invoice=app.task(name="invoice")(invoice),
        resize=app.task(name="resize", queue="media")(resize),
        flaky=app.task(name="flaky", retry=Retry(5, "linear", initial_delay=0.02, jitter=0))(flaky),
    )


async def greet(ctx: Context, to: str) -> str:
    return await work(ctx, "new")


async def invoice(ctx: Context, number: int, note: str = "") -> str:
    return await work(ctx, "new")


def resize(ctx: Context, n: int) -> str:
    trace("start", ctx)
    trace("end", ctx)
    return "new"


async def flaky(ctx: Context, n: int) -> str:
    if ctx.attempt == 1:
        raise OSError("not at once")
    return await work(ctx, "new")


async def beat(ctx: Context) -> str:
    return await work(ctx, "new")


app = define(Mainspring(url())).app

if __name__ == "__main__":
    sys.exit(serve(app, "tests.chaos.deploy_new:app"))
