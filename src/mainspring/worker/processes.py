"""Processes for cpu handlers: one per slot, each with one job at a time, so that killing one touches no other.

A child is kept for the next job, until it has had its share (`cpu_max_jobs`, `cpu_max_memory`). One that dies in the
middle of a run is the end of that run alone. All children of a worker are forks of one nursery.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from mainspring.errors import DefinitionError, MainspringError
from mainspring.events import emit
from mainspring.stores.base import LogLine
from mainspring.worker.hold import captures
from mainspring.worker.nursery import Child, Nursery
from mainspring.worker.raised import NoProcess, ProcessDied, exception_of
from mainspring.worker.whereabouts import whereabouts
from mainspring.worker.wire import HEADER, Order, Raised, Report, Returned, decode_answer, frame, length_of

if TYPE_CHECKING:
    from mainspring.worker.hold import Hold
    from mainspring.worker.worker import Worker

SIGNALS = {-6: "SIGABRT", -7: "SIGBUS", -8: "SIGFPE", -9: "SIGKILL", -11: "SIGSEGV", -15: "SIGTERM"}


class Processes:
    """The children of one worker. On its event loop."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._nursery: Nursery | None = None
        self._starting: asyncio.Task[Nursery] | None = None
        self._idle: list[Child] = []
        self._busy: dict[Hold, Child] = {}

    async def start(self) -> None:
        """Make ready, where the worker has cpu handlers. Raises `DefinitionError` where they cannot run."""
        if any(task.cpu for task in self._worker.tasks.values()):
            await self._ready()

    async def _ready(self) -> Nursery:
        """The nursery; another one where it has ended. That starts for all: a run that is asked to end while it waits
        for it (its timeout may be shorter than the imports take) is not to end it for the others."""
        if self._nursery is not None and not self._nursery.gone:
            return self._nursery
        if self._starting is None or self._starting.done():
            self._starting = asyncio.get_running_loop().create_task(self._start_anew(), name="mainspring-processes")
        return await asyncio.shield(self._starting)

    async def _start_anew(self) -> Nursery:
        if self._nursery is not None:
            await self._nursery.stop()
        nursery = Nursery(whereabouts(self._worker))
        try:
            await nursery.start()
        except BaseException:
            await nursery.stop()
            raise
        self._nursery = nursery
        return nursery

    async def close(self) -> None:
        """End all children. Twice is once."""
        if self._starting is not None:
            self._starting.cancel()
            await asyncio.gather(self._starting, return_exceptions=True)
        nursery, self._nursery = self._nursery, None
        for child in (*self._idle, *self._busy.values()):
            child.close()
        self._idle.clear()
        if nursery is not None:
            await nursery.stop()

    def abandon(self) -> None:
        """Let the children end by themselves, which they do when nobody speaks to their nursery any more."""
        for child in (*self._idle, *self._busy.values()):
            child.close()
        if self._nursery is not None:
            self._nursery.abandon()

    def kill(self, hold: Hold) -> bool:
        """Kill the process that runs this job; False where none does. `run` raises then, when it has ended."""
        child = self._busy.get(hold)
        if child is None or self._nursery is None:
            return False
        self._nursery.kill(child)
        return True

    async def run(self, hold: Hold) -> Any:
        """Run the handler; answers what it returned, and raises what it raised.

        Raises `ProcessDied` where the process ended in the middle, `NoProcess` where there is none to be had.
        """
        if hold in self._busy:
            raise MainspringError(
                "the handler of a job was called while it ran. Expected middleware to await call_next before it calls "
                "it again, where the handler has a process of its own."
            )
        child = await self._take_untimed(hold)
        if hold.stop is not None:  # meanwhile
            self._give_back(child)
            raise MainspringError("stopped before it began")
        self._busy[hold] = child
        hold.in_thread = True
        try:
            answer = await self._converse(child, hold, self._order(hold))
        except BaseException as error:
            self._discard(child)
            hold.in_thread = isinstance(error, asyncio.CancelledError)  # the loop ends: nobody waits for its end
            raise
        finally:
            del self._busy[hold]
        hold.in_thread = False
        if answer.last or child.killed:  # killed as it answered
            child.close()
        else:
            self._give_back(child)
        if isinstance(answer, Raised):
            raise exception_of(answer)
        return hold.task.decode_result(answer.result)

    def _order(self, hold: Hold) -> Order:
        return Order(
            job=hold.job.evolve(result=None, again=None),
            input=hold.input or "{}",
            worker=self._worker.id,
            now=self._worker.clock.now(),
            capture=captures(hold),
            log_lines=self._worker.settings.log_lines,
        )

    # -- one child -----------------------------------------------------------------------------------------------------

    async def _take_untimed(self, hold: Hold) -> Child:
        """While there is no process for it, its time does not run: that is not its handler's doing."""
        if hold.timer is None:
            return await self._take()
        hold.timer.cancel()
        left = hold.timer.when() - self._worker.loop.time()
        child = await self._take()
        self._worker.executor.arm(hold, left)
        return child

    async def _take(self) -> Child:
        while self._idle:
            child = self._idle.pop()
            if not child.ended.done() and not child.reader.at_eof():
                return child
            child.close()
        try:
            nursery = await self._ready()
        except DefinitionError as error:  # they were found as the worker began: their files have changed since
            raise NoProcess(f"no process for a cpu handler: {error}") from error
        return await nursery.fork()

    def _give_back(self, child: Child) -> None:
        self._idle.append(child)

    def _discard(self, child: Child) -> None:
        if self._nursery is not None:
            self._nursery.kill(child)
        child.close()

    async def _converse(self, child: Child, hold: Hold, order: Order) -> Returned | Raised:
        begun = False
        try:
            child.writer.write(frame(order))
            while True:
                length = length_of(await child.reader.readexactly(HEADER.size))
                answer = decode_answer(await child.reader.readexactly(length))
                if not isinstance(answer, Report):
                    return answer
                if begun:
                    self._take_in(hold, answer)
                begun = True
        except (asyncio.IncompleteReadError, OSError, ValueError) as error:
            assert self._nursery is not None
            self._nursery.kill(child)
            status = await child.ended  # while it lives, its job is not to be anybody else's
            if not begun and hold.stop is None:  # it has died since its last job
                raise NoProcess(f"no process for a cpu handler: it {_told(status)}") from error
            emit("handler.died", logging.WARNING, job_id=hold.job.id, task=hold.job.task, status=status)
            raise ProcessDied(_told(status)) from error

    def _take_in(self, hold: Hold, report: Report) -> None:
        """What the handler says, as if it had been said here."""
        job = hold.job
        hold.lines.extend(LogLine(job.id, job.claims, at, level, text) for text, level, at in report.lines)
        if report.progress is not None:
            with self._worker.desk.lock:
                hold.progress = report.progress
        self._worker.heartbeat.nudge()


def _told(status: int | None) -> str:
    if status is None:
        return "was lost together with its parent"
    if status < 0:
        return f"was ended by {SIGNALS.get(status, f'signal {-status}')}"
    return f"ended in the middle of its run, with exit code {status}"
