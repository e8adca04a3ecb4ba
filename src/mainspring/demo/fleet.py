"""The worker processes of the demo: `mainspring worker`, as anybody would start it, and the murder of one of them."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from mainspring import Mainspring

PROCESSES = 2
CONCURRENCY = 8
STOP_WITHIN = 20.0
_STARTED = re.compile(r"child\.started worker=(\S+) pid=(\d+)")


class Kill(NamedTuple):
    """Which worker was killed, when, and with which jobs in its hands."""

    worker: str
    pid: int
    at: int
    held: frozenset[str]


class Fleet:
    """`async with`: two workers and their supervisor, which end with the block whatever happens in it."""

    def __init__(self, app: Mainspring, log: Path) -> None:
        self._app = app
        self._log = log
        self._supervisor: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Fleet:
        words = ["worker", "mainspring.demo:app", "--processes", PROCESSES, "--concurrency", CONCURRENCY]
        with self._log.open("wb") as log:
            self._supervisor = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "mainspring.cli",
                *map(str, words),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # A Ctrl-C is for the demo, which then stops the supervisor in good order.
                start_new_session=True,
            )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def stop(self) -> int:
        """End the processes, the hard way if need be; answers the supervisor's exit code. Twice is once."""
        supervisor = self._supervisor
        assert supervisor is not None
        if supervisor.returncode is None:
            supervisor.terminate()
            try:
                await asyncio.wait_for(supervisor.wait(), STOP_WITHIN)
            except TimeoutError:
                # Its children end by themselves: the pipe that it holds to each of them has gone.
                supervisor.kill()
        return await supervisor.wait()

    @property
    def alive(self) -> bool:
        return self._supervisor is not None and self._supervisor.returncode is None

    def pids(self) -> dict[str, int]:
        """The process id of each worker that was ever started, as the supervisor has told."""
        return {worker: int(pid) for worker, pid in _STARTED.findall(self._log.read_text(errors="replace"))}

    async def kill_one(self) -> Kill:
        """SIGKILL the worker that holds most jobs at this moment."""
        while True:
            held = Counter(job.worker for job in await self._app.jobs.list(status="running", limit=500))
            for worker, _ in held.most_common():
                killed = await self._kill(worker)
                if killed is not None:
                    return killed
            await asyncio.sleep(0.02)

    async def _kill(self, worker: str) -> Kill | None:
        pid = self.pids().get(worker)
        if pid is None:
            return None
        # It stands still while we look, so what it holds now is what dies with it.
        os.kill(pid, signal.SIGSTOP)
        while not _stands_still(pid):  # noqa: ASYNC110  # no event of ours comes from another process
            await asyncio.sleep(0.001)
        held = frozenset(job.id for job in await self._app.jobs.list(status="running", worker=worker, limit=500))
        if not held:
            os.kill(pid, signal.SIGCONT)
            return None
        at = self._app.clock.now()  # before: on a busy machine its jobs run again before this process goes on
        os.kill(pid, signal.SIGKILL)
        return Kill(worker, pid, at, held)


def _stands_still(pid: int) -> bool:
    """Whether all its threads have stopped: on a busy machine a signal is on its way for milliseconds."""
    threads = Path(f"/proc/{pid}/task")
    try:
        states = [stat.read_text().rpartition(")")[2].split()[0] for stat in threads.glob("*/stat")]
    except OSError:
        return False  # a thread that ended just now
    return all(state in "Tt" for state in states)
