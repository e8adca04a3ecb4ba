"""Cpu handlers, good and bad, of an app at the top level of a module, as a process of their own must find them."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel

from mainspring import Cancel, Context, DeadLetter, Depends, Injected, Mainspring, Retry, Snooze
from mainspring.core.outcome import Skip

app = Mainspring(os.environ.get("CPU_SHOP_URL", "sqlite://:memory:"))
NOW = Retry(3, initial_delay=0, jitter=0)
kept: list[bytes] = []


class Sum(BaseModel):
    total: int
    pid: int


class Broken(Exception):
    pass


class NotYet(Snooze):
    """A way to steer of the shop's own."""


@app.task(cpu=True)
def add_up(numbers: list[int]) -> Sum:
    return Sum(total=sum(numbers), pid=os.getpid())


@app.task(cpu=True)
def nothing() -> None: ...


@app.task(cpu=True)
def echo(value: Any) -> Any:
    return value


@app.task(cpu=True)
def who(ctx: Context) -> dict[str, Any]:
    return {
        "id": ctx.job_id, "task": ctx.task, "attempt": ctx.attempt, "fence": ctx.fence, "worker": ctx.worker_id,
        "cancelled": ctx.cancelled, "meta": ctx.meta, "at": ctx.scheduled_at.isoformat(), "pid": os.getpid(),
    }  # fmt: skip


@app.task(cpu=True)
def talkative(ctx: Context, lines: int) -> int:
    ctx.progress(10, {"step": "begun"})
    for number in range(lines):
        ctx.log(f"line {number}")
        ctx.progress(10 + number % 90)
    ctx.log("careful", "warning")
    ctx.progress(100, "done")
    return lines


@app.task(cpu=True, capture=True)
def prints() -> None:
    print("printed")
    print("on the other", file=sys.stderr)
    logging.getLogger("shop").warning("logged %d", 1)


@app.task(cpu=True, retry=NOW)
def raises(how: str) -> None:
    match how:
        case "cancel":
            raise Cancel("no longer wanted")
        case "dead":
            raise DeadLetter("hopeless")
        case "snooze":
            raise Snooze("1h", "too early")
        case "not yet":
            raise NotYet("1h", "too early")
        case "skip":
            raise Skip("nothing to do")
        case "surrogate":
            raise Cancel("no \ud800")
        case "long":
            raise Cancel("x" * 100_000_000)
        case "no text":
            raise Cancel(object())  # type: ignore[arg-type]
        case "retry":
            raise Retry.after("2h", "later")
        case "exit":
            sys.exit(3)
        case "text":
            raise Broken("\ud800 \x00 broken")
        case _:
            raise Broken(how)


@app.task(cpu=True, retry=Retry(5, initial_delay=0, jitter=0, retry_on=(OSError,)))
def only_some(how: str) -> None:
    raise OSError("again") if how == "again" else ValueError(how)


@app.task(cpu=True, retry=NOW)
def too_much() -> str:
    return "x" * 300_000


@app.task(cpu=True, retry=NOW)
def promises() -> int:
    return "no number"  # type: ignore[return-value]


@app.task(cpu=True, max_interruptions=2)
def dies(how: str) -> None:
    match how:
        case "segfault":
            ctypes.string_at(0)
        case "exit":
            os._exit(7)
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "abort":
            os.abort()


@app.task(cpu=True, max_interruptions=0)
def dies_once(ctx: Context) -> None:
    ctx.log("the last word")
    os._exit(9)


@app.task(cpu=True, retry=NOW)
def loops(folder: str, seconds: float = 60) -> None:
    """Keeps the interpreter busy, and cannot be asked to end."""
    path = Path(folder) / f"{os.getpid()}"
    path.touch()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass
    path.with_suffix(".done").touch()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # the process goes on to the next job


@app.task(cpu=True)
def starts_another(folder: str) -> None:
    """A program that it starts dies with it."""
    program = f"import pathlib, os, time; pathlib.Path({folder!r}, str(os.getpid())).touch(); time.sleep(60)"
    subprocess.run([sys.executable, "-c", program], check=True)


@app.task(cpu=True)
def by_others(numbers: list[int]) -> list[int]:
    """With processes of its own."""
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        return pool.map(abs, numbers)


@app.task(cpu=True)
def leaks(size: int) -> int:
    kept.append(os.urandom(size))
    return os.getpid()


@app.task(cpu=True)
def enqueues(ctx: Context, value: int) -> str:
    job = ctx.sync(echo.enqueue, value)
    with_context = ctx.sync(ctx.enqueue, echo, value + 1)
    return f"{job.id} {with_context.id}"


@app.task(cpu=True, retry=Retry(1))
def transacts(ctx: Context) -> None:
    ctx.transaction()


def connection(ctx: Context) -> Iterator[str]:
    """A dependency, made and cleaned up in the handler's process."""
    trace = Path(ctx.meta["trace"])
    trace.write_text(f"open in {os.getpid()}\n")
    with contextlib.suppress(Broken):
        yield f"connection of {os.getpid()}"
        trace.write_text(trace.read_text() + f"closed in {os.getpid()}\n")


async def suffix() -> str:
    return "!"


@app.task(cpu=True)
def depends(
    word: str,
    *,
    session: Annotated[str, Depends(connection)] = Injected,
    end: Annotated[str, Depends(suffix)] = Injected,
) -> str:
    return f"{word} {session}{end}"


@app.task(cpu=True)
def forks(ctx: Context) -> int:
    """Both return; the one that nobody asked for says more before it does."""
    other = os.fork()
    if not other:
        ctx.log("from the fork")
        return -1
    os.waitpid(other, 0)
    return 1


@app.task(cpu=True)
def pythonpath() -> str | None:
    return os.environ.get("PYTHONPATH")


@app.task
async def waits() -> str:
    return "not blocked"


@app.task
def in_thread() -> int:
    return os.getpid()
