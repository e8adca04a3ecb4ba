"""Background tasks that run when you call them, when the clock says so, and when your data changes."""

from mainspring.app import Mainspring
from mainspring.core.app_event import EVENTS, AppEvent
from mainspring.core.dependencies import Depends, Injected
from mainspring.core.handle import JobEvent, JobHandle
from mainspring.core.job import Job, State
from mainspring.core.outcome import Cancel, DeadLetter, Skip, Snooze
from mainspring.core.policy import Debounce, Retry
from mainspring.core.request import Request
from mainspring.core.task import Task
from mainspring.errors import (
    Contended,
    DefinitionError,
    IllegalTransition,
    InputError,
    JobCancelled,
    JobFailed,
    JobNotFound,
    LockError,
    LockHeld,
    LockLost,
    MainspringError,
    OutputError,
    PayloadTooLarge,
    ResultError,
    ResultTimeout,
    ScheduleExists,
    ScheduleNotFound,
    StoreError,
    StoreFull,
    StoreReadOnly,
    StoreUnavailable,
    StoreUnusable,
    UnknownOption,
    UnknownTask,
)
from mainspring.worker.context import Context

__version__ = "0.1.0"

__all__ = [
    "EVENTS",
    "AppEvent",
    "Cancel",
    "Contended",
    "Context",
    "DeadLetter",
    "Debounce",
    "DefinitionError",
    "Depends",
    "IllegalTransition",
    "Injected",
    "InputError",
    "Job",
    "JobCancelled",
    "JobEvent",
    "JobFailed",
    "JobHandle",
    "JobNotFound",
    "LockError",
    "LockHeld",
    "LockLost",
    "Mainspring",
    "MainspringError",
    "OutputError",
    "PayloadTooLarge",
    "Request",
    "ResultError",
    "ResultTimeout",
    "Retry",
    "ScheduleExists",
    "ScheduleNotFound",
    "Skip",
    "Snooze",
    "State",
    "StoreError",
    "StoreFull",
    "StoreReadOnly",
    "StoreUnavailable",
    "StoreUnusable",
    "Task",
    "UnknownOption",
    "UnknownTask",
    "__version__",
]
