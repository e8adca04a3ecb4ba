"""Every error that Mainspring raises, in one tree.

A message says what happened with which value, what was expected, and what to do next. The class carries
the data of its message as attributes, so that a program need not parse text.

    MainspringError
    ├── DefinitionError             a task, an option or a setting is wrong (raised where it is written)
    │   └── UnknownOption
    ├── UnknownTask                 no task of that name is known here or in the store
    ├── InputError                  the arguments of a job do not fit its task
    │   └── PayloadTooLarge         an input or a result is over the limit
    ├── OutputError                 a handler returned what its task does not promise
    ├── JobNotFound
    ├── ScheduleNotFound
    ├── ScheduleExists              the name is taken
    ├── IllegalTransition           the job or schedule is in a state in which this cannot be done
    ├── LeaseLost                   a run has lost its job: another worker may have it
    ├── ResultError                 the job ended without a result
    │   ├── JobFailed               failed or dead
    │   └── JobCancelled
    ├── ResultTimeout               the job has not ended yet
    ├── NotDrained                  a worker was to do all there is, and it does not end
    ├── LockError
    │   ├── LockHeld                somebody else holds the lock
    │   └── LockLost                it expired or was taken over
    ├── Contended                   a row changed under us too many times in a row
    └── StoreError
        ├── StoreUnavailable        try again later: it is down, locked or too slow
        ├── StoreFull               no space left
        ├── StoreReadOnly
        └── StoreUnusable           a foreign or damaged database, or a schema from the future

`Snooze`, `Cancel`, `DeadLetter` and `Retry.after(...)` are not errors: handlers raise them to steer their
job (`mainspring.core.outcome`).
"""

from __future__ import annotations

import difflib


class MainspringError(Exception):
    """Something went wrong in Mainspring."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (type(self).__doc__ or "").split("\n")[0])


class DefinitionError(MainspringError):
    """A task, an option or a setting is not valid."""


class UnknownOption(DefinitionError):
    """An option has a name that is not known here."""


class UnknownTask(MainspringError):
    """No task of that name is known."""

    def __init__(self, name: str, known: list[str] | None = None) -> None:
        self.name = name
        self.known: list[str] = sorted(set(known or []))
        names = ", ".join(self.known) or "none"
        near = difflib.get_close_matches(name, self.known, n=1)
        hint = f"Did you mean {near[0]!r}? " if near else ""
        super().__init__(
            f"unknown task: {name!r}. {hint}Known tasks: {names}. "
            "Import the module that defines it, or start a worker that knows it once."
        )


class InputError(MainspringError):
    """The arguments of a job do not fit its task."""


class PayloadTooLarge(InputError):
    """An input or a result is larger than the limit."""

    def __init__(self, what: str, size: int, limit: int) -> None:
        self.size = size
        self.limit = limit
        super().__init__(
            f"{what} too large: {size:,} bytes of JSON, expected at most {limit:,}. "
            "Store the data elsewhere and pass a reference to it."
        )


class OutputError(MainspringError):
    """A handler returned a value that its task does not promise."""


class JobNotFound(MainspringError):
    """No job has this id."""

    def __init__(self, id: str) -> None:
        self.id = id
        super().__init__(f"no job has the id {id!r}: it never existed, or its retention is over.")


class ScheduleNotFound(MainspringError):
    """No schedule has this name."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(f"no schedule is named {name!r}. `mainspring schedules list` shows those that there are.")


class ScheduleExists(MainspringError):
    """A schedule of this name exists already."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(f"a schedule named {name!r} exists already. Update it, delete it, or choose another name.")


class IllegalTransition(MainspringError):
    """The job, or the schedule, is in a state in which this cannot be done."""

    def __init__(self, action: str, id: str, state: str, allowed: str, what: str = "job") -> None:
        self.action = action
        self.id = id
        self.state = state
        super().__init__(f"cannot {action} {what} {id}: it is {state}. Expected: {allowed}.")


class LeaseLost(MainspringError):
    """A run has lost its job: its lease has ended, and another worker may have it."""

    def __init__(self, id: str) -> None:
        self.id = id
        super().__init__(
            f"job {id} is no longer this run's: its lease has ended, and another worker may have it. "
            "Let this pass, so that a transaction that is open is rolled back."
        )


class ResultError(MainspringError):
    """The job ended without a result."""

    def __init__(self, id: str, state: str, reason: str, traceback: str = "") -> None:
        self.id = id
        self.state = state
        self.reason = reason
        self.traceback = traceback
        super().__init__(f"job {id} is {state}: {reason}" + (f"\n\n{traceback}" if traceback else ""))


class JobFailed(ResultError):
    """The job failed, or is in the dead-letter queue."""

    type: str = ""
    """Of the exception of its last run."""
    message: str = ""


class JobCancelled(ResultError):
    """The job was cancelled, or expired before it could start."""


class ResultTimeout(MainspringError, TimeoutError):
    """The job has not ended in time; it is still going."""


class NotDrained(MainspringError):
    """A worker was to do all there is to do, and it does not come to an end."""


class LockError(MainspringError):
    """A lock could not be taken or kept."""


class LockHeld(LockError):
    """Somebody else holds the lock."""


class LockLost(LockError):
    """The lock expired, or somebody took it over."""


class Contended(MainspringError):
    """A row changed under this call too many times in a row. Try again."""


class StoreError(MainspringError):
    """The store could not do what was asked."""


class StoreUnavailable(StoreError):
    """The store did not answer in time. It is not known whether the call took effect; try again later."""


class StoreFull(StoreError):
    """The store has no space left. Free some; nothing was written."""


class StoreReadOnly(StoreError):
    """The store cannot be written. Check the permissions of the file and of its folder."""


class StoreUnusable(StoreError):
    """The database is damaged, belongs to something else, or has a newer schema than this version knows."""
