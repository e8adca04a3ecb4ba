"""The executor: one job from claim to settle, a pipeline of small steps.

    begin -> arguments -> handler -> outcome -> settle

A run that is asked to stop (timeout, cancel, shutdown, lost) is over for the store when its handler has ended, and not
before: until then its lease is kept, so that it never runs beside its retry.
"""

from __future__ import annotations

import asyncio
import logging
import random
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from mainspring.core import states
from mainspring.core.codec import decode_value, encode_json
from mainspring.core.job import Error, Job, State
from mainspring.core.misfit import put_back
from mainspring.core.outcome import (
    Cancel,
    Cancelled,
    Dead,
    DeadLetter,
    Failure,
    Outcome,
    RetryAfter,
    Skip,
    Skipped,
    Snooze,
    Snoozed,
    Success,
)
from mainspring.core.ticks import SUPERSEDED
from mainspring.errors import InputError, MainspringError, OutputError, PayloadTooLarge
from mainspring.events import emit
from mainspring.worker.calling import Calls
from mainspring.worker.completion import Completions
from mainspring.worker.context import Context
from mainspring.worker.describe import TEXT_LIMIT, describe
from mainspring.worker.hold import Hold, Stop, captures, of_schedule
from mainspring.worker.output import Capture
from mainspring.worker.raised import Died, NoProcess, ProcessDied, Told
from mainspring.worker.text import storable

if TYPE_CHECKING:
    from mainspring.worker.worker import Worker

PUT_OFF = 1.0
"""Seconds before a job for which there is no process is given back."""
ASK_AGAIN = 1.0
"""Seconds between two cancellations of a coroutine that swallowed the first."""
_AS_IT_IS = nullcontext()


class Executor:
    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self.completions = Completions(worker)
        self._calls = Calls(worker)

    def start(self, hold: Hold) -> None:
        """Run the job of `hold`, from here to its settle."""
        hold.run = self._worker.loop.create_task(self._run(hold))

    async def open(self) -> None:
        """Make ready. Raises `DefinitionError` for cpu handlers that no other process could find."""
        await self._calls.processes.start()

    def abandon(self) -> None:
        """The event loop ends: nobody can be waited for."""
        self._calls.processes.abandon()

    async def close(self) -> None:
        await self._calls.close()

    # -- the pipeline ----------------------------------------------------------------------------------------------

    async def _run(self, hold: Hold) -> None:
        try:
            if await self._begin(hold):
                outcome = await self._handle(hold)
                self._worker.desk.end(hold)
                if hold.completion is None or not await self.completions.ended(hold, hold.completion, outcome):
                    self._settle(hold, outcome)
                else:
                    await self._worker.settler.flush(hold)
                    self._worker.desk.drop(hold)
            else:
                self._worker.desk.drop(hold)
        except Exception as error:
            self._lost(hold, error)
        finally:
            if hold.task.cpu:
                self._worker.pump.nudge()  # a process is free; the end of other handlers is seen by the desk alone

    async def _begin(self, hold: Hold) -> bool:
        """Whether the handler is to run: not where an earlier run has completed the job in a transaction of its own.
        What `states.begin` has to say is saved first; it is rarely anything."""
        if hold.job.claims > 1 and await self.completions.ended_before(hold):
            return False
        stands = not _never_ran(hold.job) or await self._worker.ticker.stands(hold.job)
        job, now, policy = hold.job, self._worker.clock.now(), hold.task.policy

        def begun(job: Job) -> Job:  # of whichever row it is by then: it may be renewed meanwhile
            return states.begin(job if stands else job.evolve(cancelling=SUPERSEDED), now, policy)

        if begun(job) is job:
            return True
        row = await self._worker.settler.write(hold, begun)
        if row is None:
            return False
        self._worker.telling.vanished(job, row)
        if row.state is not State.RUNNING:
            self._worker.left(row)
            return False
        hold.job = row if row.input is not None else row.evolve(input=job.input)
        return True

    async def _handle(self, hold: Hold) -> Outcome | Died | None:
        """Run the handler; what it did, as an outcome. None: give the job back."""
        if hold.stop is not None:
            return self._stopped(hold)
        try:
            return await self._call(hold)
        except asyncio.CancelledError as error:
            if hold.stop is None and self._worker.cut_off:
                hold.stop = "lost" if hold.in_thread else "shutdown"  # a thread goes on
            return self._stopped(hold) if hold.stop is not None else self._failed(hold, error)
        except NoProcess as error:
            return await self._put_off(hold, error)
        except ProcessDied as error:
            return self._stopped(hold) if hold.stop is not None else Died(error=error.error)
        except Exception as error:
            return self._stopped(hold) if hold.stop is not None else self._raised(hold, error)
        except BaseException as error:  # a SystemExit in a handler is its failure, not the end of the worker
            return self._failed(hold, error)
        finally:
            if hold.timer is not None:
                hold.timer.cancel()

    async def _call(self, hold: Hold) -> Outcome:
        task, job = hold.task, hold.job
        try:
            arguments = task.arguments(job.input or "{}")
        except InputError as error:  # its own arguments; one that the handler raises is as any other error
            return self._misfit(hold, error) or self._unfit(hold, error)
        hold.input = job.input if task.cpu else None
        hold.job = job.evolve(input=None)  # a held job is saved without its input
        context = Context(hold, self._worker)
        if task.context_parameter is not None:
            arguments[task.context_parameter] = context
        timeout = task.timeout if job.timeout is None else job.timeout
        if timeout is not None:
            hold.timeout = f"timed out after {timeout / 1000:g} s"
            self.arm(hold, timeout / 1000)
        hold.started = True
        self._worker.telling.started(hold.job)
        with self._output(hold, context):
            value = await self._calls.call(hold, context, arguments)
        _forget_cancellation()
        return self._returned(hold, value)

    def _output(self, hold: Hold, context: Context) -> AbstractContextManager[None]:
        if captures(hold):
            return Capture(context.log, self._worker.settings.log_lines)
        return _AS_IT_IS

    def _returned(self, hold: Hold, value: Any) -> Outcome:
        if hold.stop is not None:
            stopped = self._stopped(hold)
            if stopped is not None:
                return stopped
        if value is None and hold.settled:
            return Success()  # its result is stored
        try:
            result = hold.task.encode_result(value)
        except (OutputError, PayloadTooLarge) as error:
            return self._unfit(hold, error)
        if result is not None and of_schedule(hold.job) and (why := unsuccessful(result)) is not None:
            return self._unsuccessful(hold, why)
        return Success(result=result)

    def _unsuccessful(self, hold: Hold, why: str) -> Outcome:
        """`retry_on` knows exceptions, and there is none: this failure is tried again as long as attempts are left."""
        said = Error(type="Unsuccessful", message=storable(why, TEXT_LIMIT))
        return self._failed(hold, MainspringError(said.message)).evolve(error=said, retryable=True)

    def _misfit(self, hold: Hold, error: InputError) -> Outcome | None:
        """Put back what another version of the task can run. None: it is bad input for all."""
        if not hold.task.is_misfit(hold.job.input or "{}"):
            return None
        outcome = put_back(hold.job, storable(error, TEXT_LIMIT), self._worker.clock.now())
        if outcome is not None:
            emit("run.misfit", logging.WARNING, job_id=hold.job.id, task=hold.job.task, error=str(error))
        return outcome

    def _unfit(self, hold: Hold, error: Exception) -> Outcome:
        """The input or the result is not what the task promises: to run it again would change nothing."""
        return self._failed(hold, error).evolve(retryable=False)

    async def _put_off(self, hold: Hold, error: NoProcess) -> Outcome | None:
        """The system has no process for us: that is no failure of the job, and other workers may have one."""
        if hold.timer is not None:
            hold.timer.cancel()  # it has not begun
        emit("run.put_off", logging.ERROR, job_id=hold.job.id, task=hold.job.task, error=str(error))
        try:
            await asyncio.sleep(PUT_OFF)
        except asyncio.CancelledError:
            pass  # it is asked to end, or the event loop does
        return self._stopped(hold)

    def _settle(self, hold: Hold, outcome: Outcome | Died | None) -> None:
        if hold.stop == "lost":
            self._lost(hold, hold.reason)
            return
        now, policy, jitter = self._worker.clock.now(), hold.task.policy, random.random()

        def transition(job: Job) -> Job:
            if outcome is None:
                return states.release(job, now, now, policy, ran=True)
            if isinstance(outcome, Died):
                return states.vanish(job, outcome.error, now, policy)
            return states.settle(job, outcome, now, policy, jitter)

        def done(answer: Job | Exception | None) -> None:
            if isinstance(answer, Job) and answer.state is State.RUNNING:  # due at once, for anybody
                self._worker.pump.nudge()
                self._worker.desk.drop(hold)
            elif isinstance(answer, Job):
                self._worker.settled(answer)
                self._worker.desk.drop(hold)
            else:
                self._lost(hold, answer or "another worker has it")

        result = outcome.result if isinstance(outcome, Success) else None
        self._worker.settler.hand_in(hold, transition, done, len(result or ""))

    def _lost(self, hold: Hold, why: Exception | str) -> None:
        """The run is over, and the store does not know: whoever claims the job when its lease ends counts it."""
        error = why if isinstance(why, Exception) else None
        level = logging.WARNING if error is None else logging.ERROR
        self._worker.telling.lost(hold.job, why)
        emit("run.lost", level, exc_info=error, job_id=hold.job.id, task=hold.job.task, reason=why)
        self._worker.desk.drop(hold)

    # -- outcomes --------------------------------------------------------------------------------------------------

    def _raised(self, hold: Hold, error: Exception) -> Outcome:
        match error:
            case Snooze():
                return Snoozed(until=error.due(self._worker.clock.now()), note=storable(error.reason, TEXT_LIMIT))
            case Skip():
                return Skipped(note=storable(error.reason, TEXT_LIMIT))
            case Cancel():
                return Cancelled(reason=storable(error.reason, TEXT_LIMIT))
            case DeadLetter():
                return Dead(reason=storable(error.reason, TEXT_LIMIT))
            case RetryAfter():
                asked = Error(type="Retry", message=storable(error.reason, TEXT_LIMIT))
                now = self._worker.clock.now()
                return self._failed(hold, error).evolve(error=asked, retryable=True, retry_in=error.due(now) - now)
            case Told():
                self._tell(hold, error)
                return Failure(error=error.error, retryable=error.retryable, dead_letter=error.dead_letter)
            case _:
                return self._failed(hold, error)

    def _failed(self, hold: Hold, error: BaseException) -> Failure:
        self._tell(hold, error)
        try:
            retryable, dead_letter = hold.task.judge(error, hold.job.attempt)
        except Exception as broken:  # a predicate of the user's: retry, and say so
            emit("predicate.failed", logging.ERROR, exc_info=broken, task=hold.job.task)
            retryable, dead_letter = True, True
        return Failure(error=describe(error), retryable=retryable, dead_letter=dead_letter)

    def _tell(self, hold: Hold, error: BaseException) -> None:
        for tally in self._worker.tallies:
            tally.raised(hold.job, error)

    def _stopped(self, hold: Hold) -> Outcome | None:
        _forget_cancellation()
        if hold.stop == "timeout":
            error = TimeoutError(hold.reason)
            return self._failed(hold, error).evolve(timed_out=True)
        if hold.stop == "cancel":
            return Cancelled(reason=hold.reason)
        return None

    # -- stopping --------------------------------------------------------------------------------------------------

    def arm(self, hold: Hold, seconds: float) -> None:
        """Let it time out in so many seconds from now."""
        hold.timer = self._worker.loop.call_later(seconds, self.stop, hold, "timeout", hold.timeout)

    def stop(self, hold: Hold, why: Stop, reason: str = "") -> None:
        """Ask a run to end. The first reason counts, but for `lost`, after which nothing may be written."""
        if hold.handler_done or (hold.stop is not None and why != "lost"):
            return
        first = hold.stop is None
        hold.stop, hold.reason = why, reason
        if not first:
            return
        self._ask(hold)
        self._worker.loop.call_later(self._worker.settings.grace_ms / 1000, self._overstayed, hold)

    def _ask(self, hold: Hold) -> None:
        """Cancel a coroutine, kill a process; a thread sees `ctx.cancelled`."""
        if hold.task.cpu and self._calls.processes.kill(hold):
            return
        if hold.started and not hold.handler_done and not hold.in_thread and hold.run is not None:
            hold.run.cancel()

    def _overstayed(self, hold: Hold) -> None:
        if hold.handler_done or not hold.started:
            return
        if not hold.stuck:
            hold.stuck = True
            self._worker.stuck(hold)
        self._ask(hold)
        self._worker.loop.call_later(ASK_AGAIN, self._overstayed, hold)


def unsuccessful(result: str) -> str | None:
    """Why a run is a failure that says of itself `{success: false, error}`, in the JSON of its result. Else None."""
    if not result.startswith("{") or '"success"' not in result:
        return None
    value = decode_value(result)
    if value.get("success") is not False:
        return None
    why = value.get("error") or value.get("message") or "the handler reported success: false"
    return why if isinstance(why, str) else encode_json(why)


def _never_ran(job: Job) -> bool:
    """Whether no run of it is known to have come to an end of its own."""
    return all(run.outcome in ("interrupted", "released") for run in job.runs)


def _forget_cancellation() -> None:
    """The cancellation was for the handler; the settle that follows is not to be hit by it."""
    run = asyncio.current_task()
    while run is not None and run.uncancel() > 0:
        pass
