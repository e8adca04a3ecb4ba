"""The handle: a stored job as its caller holds it. It reaches the store through its `Caller`, from any event loop."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any, Generic, Protocol, TypeVar

import msgspec

from mainspring.core.duration import Duration
from mainspring.core.job import Frozen, Job
from mainspring.core.request import Request

R = TypeVar("R")
Result = TypeVar("Result", covariant=True)


class JobEvent(Frozen, frozen=True, kw_only=True):
    """Something that happened to a job, as `handle.events()` tells it."""

    kind: str
    """state, progress or log"""
    status: str
    """The status of the job then: pending, running, completed ..."""
    at: int
    """ms since the epoch, on the store's clock."""
    data: dict[str, Any] = msgspec.field(default_factory=dict)
    """progress: percent, data. log: level, text, claim. state: attempt, error or reason where there is one."""


class Caller(Protocol):
    """Who brings requests to a store, and news of jobs back."""

    async def enqueue_request(self, request: Request[R]) -> JobHandle[R]: ...

    async def get(self, id: str) -> Job: ...

    async def status(self, id: str) -> str: ...

    async def cancel(self, id: str, reason: str = "cancelled") -> bool: ...

    async def ended(self, id: str, timeout: Duration | None = None) -> Job: ...

    def events(self, id: str) -> AsyncIterator[JobEvent]: ...


class JobHandle(Generic[Result]):
    """A stored job. `created`: whether this call made it; False where another holds its key."""

    __slots__ = ("_caller", "_decode", "created", "id", "task")

    def __init__(
        self, caller: Caller, id: str, task: str, decode: Callable[[str | None], Result], *, created: bool = False
    ) -> None:
        self._caller = caller
        self._decode = decode
        self.id: str = id
        self.task: str = task
        self.created: bool = created

    async def result(self, timeout: Duration | None = None) -> Result:
        """What the newest run of this job returned; waits until it has ended. None where it was skipped.

        `timeout`: at most so long. None: however long it takes, but 30 s where a test holds the clock.

        Raises `JobFailed`, `JobCancelled`, `ResultTimeout`, `JobNotFound` (its retention is over).
        """
        job = await self._caller.ended(self.id, timeout)
        return self._decode(job.result if job.has_result else None)

    async def status(self) -> str:
        """scheduled, pending, retrying, running, paused, completed, failed, dead or cancelled. Raises `JobNotFound`."""
        return await self._caller.status(self.id)

    async def cancel(self, reason: str = "cancelled") -> bool:
        """Cancel it; a running one is asked to end. False: it had ended already, or is gone."""
        return await self._caller.cancel(self.id, reason)

    async def get(self) -> Job:
        """The row as it is stored now. Raises `JobNotFound`."""
        return await self._caller.get(self.id)

    def events(self) -> AsyncIterator[JobEvent]:
        """Follow it until it has ended: states, progress and log lines. States that pass quickly may be left out."""
        return self._caller.events(self.id)

    def __repr__(self) -> str:
        return f"JobHandle({self.task!r}, id={self.id!r})"
