"""What this process holds: one `Hold` per claimed job, and the `Desk` they lie on.

A hold has one writer at a time: the heartbeat's thread while it renews, the settler once the run has ended. The desk's
lock guards the hand-over and nothing else; it is never held over I/O.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from typing import TYPE_CHECKING, Any, Literal

from mainspring.core.job import Job
from mainspring.core.schedule import ORIGIN
from mainspring.stores.base import LogLine

if TYPE_CHECKING:
    from mainspring.core.task import Task
    from mainspring.worker.completion import Completion

Stop = Literal["timeout", "cancel", "shutdown", "lost"]


class Hold:
    """One claimed job and its run in this process."""

    __slots__ = (
        "beating",
        "completion",
        "flushed_at",
        "handler_done",
        "in_thread",
        "input",
        "job",
        "lines",
        "parked",
        "progress",
        "reason",
        "renewed_at",
        "run",
        "sessions",
        "settled",
        "settling",
        "started",
        "stop",
        "stuck",
        "task",
        "timeout",
        "timer",
    )

    def __init__(self, job: Job, task: Task[Any, Any], now: int, log_lines: int = 1_000) -> None:
        self.job = job
        """The row as this process knows it: fresh after each renewal."""
        self.task = task
        self.run: asyncio.Task[None] | None = None
        self.started = False
        self.handler_done = False
        self.in_thread = False
        """It waits for a thread, which nobody can interrupt, or for a process, which is killed."""
        self.input: str | None = None
        """What the process of a cpu handler is given. Others have their arguments by now."""
        self.stop: Stop | None = None
        """Why the run was asked to end, the first reason given."""
        self.reason = ""
        self.stuck = False
        """It was asked to end, and did not within `grace`."""
        self.timer: asyncio.TimerHandle | None = None
        self.timeout = ""
        """What is said where it times out."""
        self.beating = False
        self.settling = False
        self.settled = False
        """It is no longer running in the store, by our own write: nothing more is written, though its handler may go
        on. Becomes True before `settling` ends, so that no renewal comes in between."""
        self.completion: Completion | None = None
        """Where the handler has called `mark_completed`."""
        self.sessions: tuple[Any, ...] = ()
        """The transactions of `ctx.transaction` that are open."""
        self.parked: asyncio.Future[None] | None = None
        """Resolved when the renewal in flight is over: a write waits for it."""
        self.renewed_at = now
        self.flushed_at = 0
        self.progress: str | None = None
        """Reported, and not stored yet."""
        self.lines: deque[LogLine] = deque(maxlen=log_lines)
        """Said, and not stored yet. No more than would be kept: a handler may say more than a store takes in."""

    def take_lines(self) -> list[LogLine]:
        """The lines to store now. A line that is said meanwhile, in another thread, waits for the next time."""
        return [self.lines.popleft() for _ in range(len(self.lines))]

    def put_back(self, lines: list[LogLine]) -> None:
        """Lines that could not be stored come first again, as far as there is room."""
        room = (self.lines.maxlen or 0) - len(self.lines)
        self.lines.extendleft(reversed(lines[-room:] if room > 0 else []))


def of_schedule(job: Job) -> bool:
    """Whether a schedule has asked for it."""
    return job.origin.startswith(ORIGIN)


def captures(hold: Hold) -> bool:
    """Whether what the handler prints and logs becomes lines of the job's log."""
    return hold.task.capture or of_schedule(hold.job)


class Desk:
    """All holds of this process, and its slots. The event loop's, but for what the lock guards."""

    def __init__(self, concurrency: int) -> None:
        self.concurrency = concurrency
        self.lock = threading.Lock()
        self.holds: set[Hold] = set()
        self.running = 0
        """Slots taken: holds whose handler has not ended. A settle on its way keeps its hold, not its slot."""
        self.taken = 0
        """Holds in all, over its life."""
        self._changed = asyncio.Event()

    @property
    def free(self) -> int:
        """How many jobs could start now. Holds that wait for their settle are bounded too, or a slow store would be
        answered with ever more claims."""
        return max(0, min(self.concurrency - self.running, 2 * self.concurrency + 100 - len(self.holds)))

    def take(self, hold: Hold) -> None:
        self.holds.add(hold)
        self.running += 1
        self.taken += 1

    def end(self, hold: Hold) -> None:
        """The handler has ended: its slot is free."""
        if not hold.handler_done:
            hold.handler_done = True
            self.running -= 1
            self._changed.set()

    def drop(self, hold: Hold) -> None:
        """Nothing of this hold is left to do here."""
        self.end(hold)
        self.holds.discard(hold)
        self._changed.set()

    def notify(self) -> None:
        """End the waits for a change."""
        self._changed.set()

    async def changed(self) -> None:
        """Wait for the next slot or hold to become free."""
        self._changed.clear()
        await self._changed.wait()

    async def empty(self, handlers: bool = False) -> None:
        """Wait until nothing is held (`handlers`: until no handler runs)."""
        while self.running if handlers else self.holds:
            await self.changed()
