"""The demo from beginning to end."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape

from mainspring.demo.display import ENDED, Display

if TYPE_CHECKING:
    from mainspring import Mainspring
    from mainspring.demo.checks import Check
    from mainspring.demo.fleet import Fleet, Kill
    from mainspring.demo.plan import Plan

LONGEST = 55.0
"""Seconds after which the demo gives up; it takes about ten."""
LOOK = 0.2
KILL_AT = 0.3
"""Share of the jobs that have ended when the worker is killed."""


class WorkersEnded(Exception):
    """There is nobody left to do the work."""


def main() -> int:
    """Run the demo; 0 where every check holds, 1 where one does not, 130 where it was interrupted."""
    console = Console(highlight=False, soft_wrap=True)
    folder = Path(tempfile.mkdtemp(prefix="mainspring-demo-"))
    url = f"sqlite:///{folder / 'jobs.db'}"
    os.environ["MAINSPRING_DEMO_STORE"] = url
    begun = time.monotonic()
    try:
        checks = asyncio.run(_run(console, folder))
    except (KeyboardInterrupt, asyncio.CancelledError):
        console.print("interrupted; the workers have been stopped")
        return 130
    except (TimeoutError, WorkersEnded) as error:
        what = "the workers have ended" if isinstance(error, WorkersEnded) else f"not done after {LONGEST:.0f} s"
        console.print(f"[red]{what}.[/] What they said is in {folder / 'workers.log'}")
        return 1
    _summary(console, checks, time.monotonic() - begun)
    _what_next(console, url, folder)
    return 0 if all(check.holds for check in checks) else 1


async def _run(console: Console, folder: Path) -> list[Check]:
    # A plain `kill` ends the demo as Ctrl-C does: with its workers.
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    from mainspring.demo.checks import check, read_books
    from mainspring.demo.plan import Plan
    from mainspring.demo.tasks import app

    plan = Plan()
    async with asyncio.timeout(LONGEST), app:
        kill = await _play(app, plan, console, folder)
        console.print("\nChecking: all results once more, in this process ...")
        books = await read_books(app, plan, kill)
        return list(check(books))


async def _play(app: Mainspring, plan: Plan, console: Console, folder: Path) -> Kill:
    from mainspring.demo.fleet import CONCURRENCY, PROCESSES, Fleet
    from mainspring.demo.plan import ask_for_work

    console.print("[bold]Mainspring demo[/]: the files of this Python's standard library, hashed, counted and read.\n")
    with Display(console) as display:
        begun = time.monotonic()
        await ask_for_work(app, plan)
        display.tell(f"{len(plan.work):,} jobs stored in {time.monotonic() - begun:.2f} s, in {folder / 'jobs.db'}")
        async with Fleet(app, folder / "workers.log") as fleet:
            display.tell(f"{PROCESSES} worker processes started, {CONCURRENCY} jobs at once in each")
            asking = asyncio.create_task(_ask_for_more(plan, display))
            try:
                kill = await _watch(app, plan, fleet, display)
                await asking
                await _until_ended(app, plan, fleet, display, 1.0)
            finally:
                asking.cancel()
                await asyncio.gather(asking, return_exceptions=True)
            display.tell(f"all have ended; the workers stopped with exit code {await fleet.stop()}")
    return kill


async def _ask_for_more(plan: Plan, display: Display) -> None:
    from mainspring.demo.plan import CALLS, DELAY, ask_for_more

    await ask_for_more(plan)
    display.tell(f"asked meanwhile: one job in {DELAY:g} s, one that must fail, and {CALLS} calls in a burst")


async def _watch(app: Mainspring, plan: Plan, fleet: Fleet, display: Display) -> Kill:
    """Until the kill, and the kill."""
    await _until_ended(app, plan, fleet, display, KILL_AT)
    kill = await fleet.kill_one()
    display.tell(f"[bold red]kill -9 {kill.pid}[/]: one of the two workers, with {len(kill.held)} jobs in its hands")
    return kill


async def _until_ended(app: Mainspring, plan: Plan, fleet: Fleet, display: Display, share: float) -> None:
    """Look on until that share of the jobs has ended."""
    while True:
        counts = await app.jobs.counts()
        ended, total = sum(counts[status] for status in ENDED), len(plan.ids)
        display.show(total, counts)
        if ended >= share * total:
            return
        if not fleet.alive:
            raise WorkersEnded
        await asyncio.sleep(LOOK)


def _summary(console: Console, checks: list[Check], seconds: float) -> None:
    console.print()
    width = max(len(check.name) for check in checks)
    for check in checks:
        mark = "[green]ok  [/]" if check.holds else "[bold red]FAIL[/]"
        console.print(f"  {mark} {check.name.ljust(width)}  {escape(check.found)}")
    failed = sum(not check.holds for check in checks)
    verdict = f"[bold red]{failed} checks failed[/]" if failed else "[bold green]Nothing was lost.[/]"
    console.print(f"\n{verdict} {seconds:.1f} s in all.\n")


def _what_next(console: Console, url: str, folder: Path) -> None:
    command = _command()
    console.print("The store is kept. Look at it, and delete it when you have seen enough:")
    for words in ("jobs list --status dead", "jobs list --limit 10", "queues list"):
        console.print(f"  {command} {words} --app {url}")
    console.print(f"  rm -r {folder}")
    console.print("Then read docs/quickstart.md.")


def _command() -> str:
    """What calls `mainspring` here: the script beside this Python, as short as it can be said."""
    script = Path(sys.executable).with_name("mainspring")
    if not script.exists():
        return f"{sys.executable} -m mainspring.cli"
    if shutil.which("mainspring") == str(script):
        return "mainspring"
    return str(script.relative_to(Path.cwd())) if script.is_relative_to(Path.cwd()) else str(script)
