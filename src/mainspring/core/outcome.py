"""How a run can end, and the exceptions with which a handler says so.

A handler returns (success), raises any exception (failure), or steers its job with one of `Snooze`, `Cancel`,
`DeadLetter` and `Retry.after(...)` (`core.policy`). The executor turns all of them into one of the outcomes below;
`core.states.settle` turns a job and an outcome into the job that follows.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from mainspring.core.duration import Duration, instant, milliseconds
from mainspring.core.job import Error, Frozen
from mainspring.errors import DefinitionError


class Success(Frozen, frozen=True, kw_only=True):
    """The handler returned. `result` is JSON text, None for nothing to keep."""

    result: str | None = None


class Failure(Frozen, frozen=True, kw_only=True):
    """The handler raised. What follows is up to the retry policy; `retry_in` (ms) overrides its delay."""

    error: Error
    retryable: bool = True
    """What `retry_on` said of the error."""
    dead_letter: bool = True
    """What `dead_letter` said of it: False ends in `failed` instead of `dead`."""
    timed_out: bool = False
    retry_in: int | None = None


class Snoozed(Frozen, frozen=True, kw_only=True):
    """Not now: run it again at `until` (ms). Not a failure, costs no attempt."""

    until: int
    note: str = ""
    misfit_since: int | None = None
    """Put back for a worker whose version of the task its input fits: since when. It has not begun."""


class Skipped(Frozen, frozen=True, kw_only=True):
    """There was nothing to do: the watched document is gone or no longer matches. Ends as completed."""

    note: str = ""


class Cancelled(Frozen, frozen=True, kw_only=True):
    """It was cancelled, by its handler or from outside."""

    reason: str = ""


class Dead(Frozen, frozen=True, kw_only=True):
    """Straight to the dead-letter queue, whatever attempts are left."""

    reason: str = ""
    error: Error | None = None


Outcome = Success | Failure | Snoozed | Skipped | Cancelled | Dead


class Steer(Exception):
    """Base of what handlers raise to steer their job. Not an error."""


class _End:
    """The end of a duration that begins when it is asked for, or a time; one that is over means at once."""

    def __init__(self, value: Duration | datetime, what: str) -> None:
        self._until = instant(value, what) if isinstance(value, datetime) else None
        self._delay = 0 if isinstance(value, datetime) else milliseconds(value, what)

    def at(self, now: int) -> int:
        return now + self._delay if self._until is None else max(self._until, now)


class Snooze(Steer):
    """Put the job back and run it again later. It costs no attempt.

    `Snooze("30s")`, `Snooze(timedelta(hours=1))`, or an aware datetime: `Snooze(at)`, `Snooze(until=at)`; one that is
    over means at once. Raises `DefinitionError` for a bad one, or both. Semantics: Oban's snooze, mongodash's
    deferCurrent.
    """

    def __init__(
        self, delay: Duration | datetime | None = None, reason: str = "", *, until: datetime | None = None
    ) -> None:
        super().__init__(reason or "snoozed")
        if delay is not None and until is not None:
            raise DefinitionError(f"both a delay and until: {delay!r} and {until!r}. Expected one of them.")
        self._end = _End(until if until is not None else delay if delay is not None else timedelta(0), "Snooze delay")
        self.reason = reason

    def due(self, now: int) -> int:
        """When to run it again, in ms."""
        return self._end.at(now)


class Cancel(Steer):
    """End the job as cancelled. It is neither retried nor dead-lettered."""

    def __init__(self, reason: str = "cancelled by its handler") -> None:
        super().__init__(reason)
        self.reason = reason


class DeadLetter(Steer):
    """Give up now: the job goes to the dead-letter queue, whatever attempts are left."""

    def __init__(self, reason: str = "dead-lettered by its handler") -> None:
        super().__init__(reason)
        self.reason = reason


class RetryAfter(Steer):
    """Fail this attempt and try again after `delay`, or at an aware datetime. Made by `Retry.after`; it costs an
    attempt as any failure does."""

    def __init__(self, delay: Duration | datetime, reason: str = "") -> None:
        super().__init__(reason or "asked for a retry")
        self._end = _End(delay, "Retry.after delay")
        self.reason = reason

    def due(self, now: int) -> int:
        """When to try again, in ms."""
        return self._end.at(now)


class Skip(Steer):
    """There is nothing to do. The job ends as completed, its run as skipped."""

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason or "skipped")
        self.reason = reason
