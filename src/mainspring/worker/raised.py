"""What a cpu handler raised, on its way from its process to its worker: said there, and raised again here.

The exceptions that steer a job arrive as they were. Any other one arrives as `Told`: its text, and what the task's own
policy said of it, which was asked in the process where the exception itself was.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from mainspring.core.job import Error, Frozen
from mainspring.core.outcome import Cancel, DeadLetter, RetryAfter, Skip, Snooze
from mainspring.core.task import Task
from mainspring.errors import MainspringError
from mainspring.worker.describe import TEXT_LIMIT, describe
from mainspring.worker.text import storable
from mainspring.worker.wire import Raised

STEERS: dict[type[BaseException], str] = {
    Snooze: "snooze",
    Skip: "skip",
    Cancel: "cancel",
    DeadLetter: "dead letter",
    RetryAfter: "retry",
}


class Told(MainspringError):
    """An exception of another process. `error` is its record; the rest is what its task's policy said of it."""

    def __init__(self, raised: Raised) -> None:
        super().__init__(f"{raised.error.type}: {raised.error.message}")
        self.error = raised.error
        self.retryable = raised.retryable
        self.dead_letter = raised.dead_letter


class ProcessDied(MainspringError):
    """The process of a cpu handler ended in the middle of its run. `error` says how."""

    def __init__(self, how: str) -> None:
        super().__init__(f"the process of the handler {how}")
        self.error = Error(type="ProcessDied", message=str(self))


class Died(Frozen, frozen=True, kw_only=True):
    """The outcome of such a run: nobody knows what it did."""

    error: Error


class NoProcess(MainspringError):
    """The system has no process for a cpu handler now."""


def raised(error: BaseException, task: Task[Any, Any], attempt: int, now: int, *, unfit: bool = False) -> Raised:
    """What is to be said of `error`. `unfit`: it is the result that does not fit, and no second run would mend it."""
    kind = next((kind for steer, kind in STEERS.items() if isinstance(error, steer)), "")
    if kind:
        due = error.due(now) if isinstance(error, Snooze | RetryAfter) else 0
        reason = storable(getattr(error, "reason", ""), TEXT_LIMIT)  # anything may be in it, of any size
        return Raised(kind=kind, error=describe(error), reason=reason, due=due)
    try:
        retryable, dead_letter = task.judge(error, attempt)
    except Exception as broken:  # a predicate of the user's: retry, and say so
        broken.__context__ = error
        return Raised(kind="error", error=describe(broken))
    return Raised(kind="error", error=describe(error), retryable=retryable and not unfit, dead_letter=dead_letter)


def exception_of(raised: Raised) -> Exception:
    """The exception, to be raised in the worker."""
    at = datetime.fromtimestamp(raised.due / 1000, UTC)
    match raised.kind:
        case "snooze":
            return Snooze(at, raised.reason)
        case "skip":
            return Skip(raised.reason)
        case "cancel":
            return Cancel(raised.reason)
        case "dead letter":
            return DeadLetter(raised.reason)
        case "retry":
            return RetryAfter(at, raised.reason)
        case _:
            return Told(raised)
