"""The dead-letter queue: jobs that failed for good, kept with reason, runs and input until somebody decides."""

from __future__ import annotations

from typing import TypedDict, Unpack, cast

from mainspring.admin.bulk import change_all
from mainspring.admin.connection import App
from mainspring.admin.jobs import Jobs
from mainspring.admin.selection import JobFilters, JobPage, select
from mainspring.core import states
from mainspring.core.duration import Duration, milliseconds
from mainspring.core.job import Job, State
from mainspring.core.policy import Policy
from mainspring.errors import IllegalTransition, JobNotFound


class DeadFilters(TypedDict, total=False):
    """Which dead letters; as `JobFilters`, whose status is given here."""

    task: str | None
    queue: str | None
    worker: str | None
    origin: str | None
    error: str | None


class DeadLetters:
    """`app.dead_letters`. An entry is a `Job` in state dead: `reason`, `error`, `attempts`, `finished_at`, `runs`."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._jobs = Jobs(app)

    async def list(self, *, limit: int = 100, cursor: str | None = None, **filters: Unpack[DeadFilters]) -> JobPage:
        """A page of up to `limit` (500 at most) entries without input, newest first; see `app.jobs.list`."""
        return await self._jobs.list(limit=limit, cursor=cursor, **_dead(filters))

    async def get(self, id: str) -> Job | None:
        """The entry with its input; None where there is none, or the job is not dead."""
        job = await self._jobs.get(id)
        return job if job is not None and job.state is State.DEAD else None

    async def count(self, **filters: Unpack[DeadFilters]) -> int:
        """How many entries there are."""
        return await self._jobs.count(**_dead(filters))

    async def retry(self, id: str) -> Job:
        """Run it again as soon as possible, under the same id, with its input and new attempts; its history stays.

        Raises `JobNotFound`, and `IllegalTransition` for a job that is not dead.
        """
        client = await self._app.connect()
        row = await client.change(id, lambda job: _rerun(job, client.clock.now()))
        if row is None:  # a rerun always changes something
            raise JobNotFound(id)
        return row

    async def retry_all(self, **filters: Unpack[DeadFilters]) -> int:
        """Run all entries again, or all that filters name; answers how many."""
        selection = select(_dead(filters))
        return await change_all(await self._app.connect(), selection, lambda job, now, policy: _rerun(job, now))

    async def purge(self, older_than: Duration | None = None, **filters: Unpack[DeadFilters]) -> int:
        """Erase all entries, or those that died longer than `older_than` ago; answers how many. It cannot be undone."""
        least = 0 if older_than is None else milliseconds(older_than, "older_than")

        def purged(job: Job, now: int, policy: Policy) -> Job | None:
            if now - (job.finished_at or 0) < least:
                return None
            return states.cancel(job, now, policy, erase=True)

        return await change_all(await self._app.connect(), select(_dead(filters)), purged)


def _dead(filters: DeadFilters) -> JobFilters:
    return cast("JobFilters", {**filters, "status": "dead"})


def _rerun(job: Job, now: int) -> Job:
    if job.state is not State.DEAD:
        raise IllegalTransition("retry from the dead letters", job.id, states.status(job, now), "dead")
    return states.rerun(job, now, job.ask)
