"""The dead-letter queue: jobs that failed for good, kept with reason, runs and input until somebody decides."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, TypedDict, Unpack, cast

from mainspring.admin.bulk import Progress, Transition, change_all
from mainspring.admin.connection import App
from mainspring.admin.jobs import Jobs, check_id
from mainspring.admin.selection import JobFilters, JobPage, by_name, chosen
from mainspring.core import states
from mainspring.core.duration import Duration, humanize, milliseconds
from mainspring.core.job import Job, State
from mainspring.core.policy import Policy
from mainspring.core.task import Task
from mainspring.errors import IllegalTransition, JobNotFound


class DeadFilters(TypedDict, total=False):
    """Which dead letters; as `JobFilters`, whose status is given here. `ended_after`: died since then."""

    task: str | Task[..., Any] | Sequence[str | Task[..., Any]] | None
    queue: str | Sequence[str] | None
    ids: Sequence[str] | None
    key: str | None
    worker: str | None
    origin: str | None
    error: str | None
    created_after: datetime | None
    created_before: datetime | None
    ended_after: datetime | None
    ended_before: datetime | None


class DeadLetters:
    """Jobs that failed for good, until somebody decides: `app.dead_letters`.

    An entry is a `Job` in state dead: `reason`, `error`, `attempts`, `finished_at`, `runs`.
    """

    def __init__(self, app: App) -> None:
        self._app = app
        self._jobs = Jobs(app)

    async def list(
        self,
        *,
        limit: int = 100,
        cursor: str | None = None,
        oldest_first: bool = False,
        **filters: Unpack[DeadFilters],
    ) -> JobPage:
        """A page of up to `limit` (500 at most) entries without input, newest first; see `app.jobs.list`."""
        return await self._jobs.list(limit=limit, cursor=cursor, oldest_first=oldest_first, **_dead(filters))

    async def get(self, id: str) -> Job | None:
        """The entry with its input; None where there is none, or the job is not dead."""
        job = await self._jobs.get(id)
        return job if job is not None and job.state is State.DEAD else None

    async def count(self, **filters: Unpack[DeadFilters]) -> int:
        """How many entries there are. Cheap by task, queue and origin."""
        return await self._jobs.count(**_dead(filters))

    async def retry(self, id: str) -> Job:
        """Run it again as soon as possible, under the same id, with its input and new attempts; its history stays.

        Raises `JobNotFound`, and `IllegalTransition` for a job that is not dead.
        """
        check_id(id)
        client = await self._app.connect()
        async with self._app.audit.act("dead_letters.retry", id) as act:
            row = await client.change(id, lambda job: _rerun(job, client.clock.now()))
            if row is None:  # a rerun always changes something
                raise JobNotFound(id)
            act.changed = 1
            return row

    async def retry_all(self, *, on_progress: Progress | None = None, **filters: Unpack[DeadFilters]) -> int:
        """Run all entries again, or all that filters name; answers how many. What dies after it began is left alone.

        `on_progress`: called after each page with how many have been retried, of how many that were looked at.
        """

        def rerun(job: Job, now: int, policy: Policy) -> Job | None:
            return _rerun(job, now)

        return await self._all("dead_letters.retry_all", rerun, filters, {}, on_progress)

    async def purge(
        self,
        older_than: Duration | None = None,
        *,
        on_progress: Progress | None = None,
        **filters: Unpack[DeadFilters],
    ) -> int:
        """Erase all entries, or those that died longer than `older_than` ago; answers how many. It cannot be undone."""
        least = 0 if older_than is None else milliseconds(older_than, "older_than")

        def purged(job: Job, now: int, policy: Policy) -> Job | None:
            if now - (job.finished_at or 0) < least:
                return None
            return states.cancel(job, now, policy, erase=True)

        age = {} if older_than is None else {"older_than": humanize(least)}
        return await self._all("dead_letters.purge", purged, filters, age, on_progress)

    async def _all(
        self,
        action: str,
        transition: Transition,
        filters: DeadFilters,
        more: dict[str, str],
        on_progress: Progress | None,
    ) -> int:
        client = await self._app.connect()
        selection = await chosen(client, _dead(filters))
        async with self._app.audit.act(action, filters={**by_name(filters), **more}) as act:
            return await change_all(client, selection, transition, act, on_progress)


def _dead(filters: DeadFilters) -> JobFilters:
    return cast("JobFilters", {**filters, "status": "dead"})


def _rerun(job: Job, now: int) -> Job:
    if job.state is not State.DEAD:
        raise IllegalTransition("retry from the dead letters", job.id, states.status(job, now), "dead")
    return states.rerun(job, now, job.ask)
