"""Aborts a worker process before or after its k-th store call, for every k of a scenario, and recovers each time.

Run as a program (`python -m tests.chaos.crash_points FOLDER FIRST STEP [URL]`), for it forks: one child per crash
point, one to recover. On the server at URL each crash point has a namespace of its own; without one, a file.
Prints a line per crash point, and exits with 1 where a check fails.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import sys
import traceback
from collections.abc import Callable, Coroutine
from functools import partial, wraps
from pathlib import Path
from typing import Any

from mainspring import Context, Mainspring, Retry
from mainspring.core.job import State
from mainspring.errors import MainspringError
from mainspring.process.supervisor import lapse_leases
from mainspring.stores import open_store
from mainspring.stores.base import Query

CALLS = ("add", "claim", "renew", "save", "get", "find", "read", "write", "scan", "append", "publish", "wake")
CRASHED = 42
WORKER = "crash:1"
KEYS = ("plain", "flaky", "keyed", "debounced", "chain")


def url_of(folder: Path) -> str:
    if len(sys.argv) <= 4:
        return f"sqlite:///{folder / 'jobs.db'}"
    return f"{sys.argv[4]}?namespace={folder.name}"


def make_app(folder: Path) -> Mainspring:
    app = Mainspring(url_of(folder))

    def ran(ctx: Context, name: str) -> None:
        with (folder / "ran").open("a") as file:
            file.write(f"{name} {ctx.fence} {ctx.attempt}\n")

    @app.task(max_interruptions=3)
    async def plain(ctx: Context) -> str:
        ran(ctx, "plain")
        await ctx.progress(50)
        await ctx.log("half")
        return "plain"

    @app.task(retry=Retry(max_attempts=3, initial_delay=0.001))
    async def flaky(ctx: Context) -> str:
        ran(ctx, "flaky")
        if ctx.attempt == 1:
            raise ValueError("first")
        return "flaky"

    @app.task(idempotency_key=lambda: "one")
    async def keyed(ctx: Context) -> str:
        ran(ctx, "keyed")
        return "keyed"

    @app.task(debounce=0.01)
    async def debounced(ctx: Context, x: int) -> int:
        ran(ctx, "debounced")
        return x

    @app.task(idempotency_key=lambda: "two")
    async def chain(ctx: Context) -> str:
        ran(ctx, "chain")
        await keyed.enqueue()
        return "chain"

    return app


async def scenario(app: Mainspring) -> None:
    """Ask for everything (again: each ask has a key of its own), then work until all has ended."""
    await app.tasks["plain"].options(idempotency_key="p").enqueue()
    await app.tasks["flaky"].options(idempotency_key="f").enqueue()
    await app.tasks["keyed"].enqueue()
    for x in range(3):
        await app.tasks["debounced"].enqueue(x)
    await app.tasks["chain"].enqueue()
    async with app.worker(id=WORKER, concurrency=2, lease=1, beat=0.25, poll=0.05):
        client = await app.connect()
        while not await ended(client.store):
            await client.store.wait(["default"], 0.05)
    await app.close()


async def ended(store: Any) -> bool:
    counts = await store.count(Query())
    live = sum(row.jobs for row in counts if not State(row.state).terminal)
    return bool(live == 0)


def crash_at(store: type, k: int, when: str) -> None:
    """Make the k-th store call of this process its last."""
    calls = itertools.count(1)

    def crashing(method: Callable[..., Coroutine[Any, Any, Any]]) -> Callable[..., Coroutine[Any, Any, Any]]:
        @wraps(method)
        async def call(self: Any, *args: Any, **kwargs: Any) -> Any:
            number = next(calls)
            if number == k and when == "before":
                os._exit(CRASHED)
            answer = await method(self, *args, **kwargs)
            if number == k:
                os._exit(CRASHED)
            return answer

        return call

    for name in CALLS:
        setattr(store, name, crashing(getattr(store, name)))


def forked(main: Callable[[], None]) -> int:
    pid = os.fork()
    if pid == 0:
        try:
            main()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def recover(folder: Path) -> None:
    async def main() -> None:
        app = make_app(folder)
        client = await app.connect()
        await lapse_leases(client.store, WORKER, client.clock.now())
        async with asyncio.timeout(60):
            await scenario(app)
        await check(folder)

    asyncio.run(main())


async def check(folder: Path) -> None:
    store = open_store(url_of(folder))
    await store.open()
    page = await store.find(Query(limit=500))
    ran = [line.split()[0] for line in (folder / "ran").read_text().splitlines()]
    jobs = {job.task: job for job in page.jobs}
    assert sorted(jobs) == sorted(KEYS), sorted(jobs)
    assert len(page.jobs) == len(KEYS), page.jobs
    for task, job in jobs.items():
        assert job.state is State.COMPLETED, (task, job)
        assert job.settled == job.claims, job
        succeeded = [run for run in job.runs if run.outcome == "succeeded"]
        assert len(succeeded) >= 1, job.runs
        assert ran.count(task) >= len([r for r in job.runs if r.outcome in ("succeeded", "failed")]), (task, ran)
    [row] = await store.get([jobs["debounced"].id])
    assert row is not None
    assert row.result == "2", row
    await store.close()


def main() -> int:
    root = Path(sys.argv[1])
    for when in ("before", "after"):
        for k in range(int(sys.argv[2]), 400, int(sys.argv[3])):
            folder = root / f"{when}{k}"
            folder.mkdir(parents=True)

            def crash(k: int = k, when: str = when, folder: Path = folder) -> None:
                crash_at(type(open_store(url_of(folder))), k, when)
                asyncio.run(scenario(make_app(folder)))

            code = forked(crash)
            if code not in (0, CRASHED):
                print(f"{when} {k}: the scenario failed with {code}")
                return 1
            if forked(partial(recover, folder)) != 0:
                print(f"{when} {k}: not recovered, see {folder}")
                return 1
            print(f"{when} {k}: {'recovered' if code else 'ran through'}", flush=True)
            if code == 0:
                break
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except MainspringError as error:
        sys.exit(f"crash points: {error}")
