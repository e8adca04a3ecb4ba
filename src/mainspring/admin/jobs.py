"""Jobs as operators handle them: look, count, retry, cancel, pause, delete; one by its id, or all that filters name."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from dataclasses import replace
from typing import Unpack, overload

from mainspring.admin.bulk import Progress, Transition, change_all
from mainspring.admin.connection import App
from mainspring.admin.history import life_of
from mainspring.admin.selection import (
    MEANT,
    STATUSES,
    JobFilters,
    JobPage,
    by_name,
    chosen,
    how_many,
    one_page,
    pages,
)
from mainspring.client import Client
from mainspring.core import states
from mainspring.core.ids import new_id
from mainspring.core.job import Job, State
from mainspring.core.naming import check_count, is_text
from mainspring.core.policy import Policy
from mainspring.errors import DefinitionError, JobNotFound
from mainspring.stores.base import BATCH_ROWS, LogLine


class Jobs:
    """Jobs, one by its id or all that filters name: `app.jobs`.

    Acts take an id, or filters (`JobFilters`; one at least), and then answer how many jobs changed.

    An act on a job that is running, or that others change meanwhile, loses nothing: each is a swap of its row.
    """

    def __init__(self, app: App) -> None:
        self._app = app

    # -- looking ---------------------------------------------------------------------------------------------------

    async def get(self, id: str) -> Job | None:
        """The job with its input, result and runs; None where there is none."""
        check_id(id)
        client = await self._app.connect()
        return (await client.store.get([id]))[0]

    async def list(
        self,
        *,
        limit: int = 100,
        cursor: str | None = None,
        oldest_first: bool = False,
        **filters: Unpack[JobFilters],
    ) -> JobPage:
        """A page of up to `limit` (500 at most) jobs without input and result, newest first; filters: `JobFilters`.

        `page.cursor` is the `cursor` of the next page; None: this was the last.
        """
        check_count(limit, "limit", 1, BATCH_ROWS)
        if cursor is not None and not isinstance(cursor, str):
            raise _bad_cursor(cursor)
        client = await self._app.connect()
        selection = await chosen(client, filters)
        query = selection.query.evolve(limit=limit, after=cursor, oldest_first=oldest_first)
        try:
            return await one_page(client.store, replace(selection, query=query), client.clock.now())
        except DefinitionError as error:
            if cursor is None:
                raise
            raise _bad_cursor(cursor) from error

    async def count(self, **filters: Unpack[JobFilters]) -> int:
        """How many jobs there are. Cheap by task, queue and origin, and by status but for scheduled, pending and
        retrying: to tell these apart, every waiting job is read, and for the other filters every job that they may
        mean."""
        client = await self._app.connect()
        return await how_many(client.store, await chosen(client, filters), client.clock.now())

    async def counts(self, **filters: Unpack[JobFilters]) -> dict[str, int]:
        """How many jobs there are of each status; every status is in it. What it costs: `count`."""
        client = await self._app.connect()
        counts: dict[str, int] = dict.fromkeys(STATUSES, 0)
        wanted = await chosen(client, filters)
        by_row = wanted
        if replace(wanted, statuses=frozenset()).counted:
            for count in await client.store.count(wanted.query):
                if count.state.value in counts and wanted.counts(count):
                    counts[count.state.value] += count.jobs
            if wanted.query.states and State.WAITING not in wanted.query.states:
                return counts
            by_row = replace(wanted, query=wanted.query.evolve(states=(State.WAITING,)))
        async for jobs in pages(client.store, by_row, client.clock.now()):
            for job in jobs:
                counts[states.status(job, client.clock.now())] += 1
        return counts

    async def totals(self, **filters: Unpack[JobFilters]) -> dict[str, int]:
        """How many jobs there are of each stored state: waiting (scheduled, pending or retrying), running, paused,
        completed, failed, dead, cancelled. By task, queue and origin it reads no job, however many there are; for
        looking often. By `error` it reads them all. Raises `DefinitionError` for filters that need a look at each job,
        and `status`."""
        client = await self._app.connect()
        selection = await chosen(client, filters)
        if filters.get("status") is not None or not replace(selection, error=None).counted:
            raise DefinitionError(
                f"totals by {', '.join(filters)}. Expected task, queue, origin, worker, error or created_...: it reads "
                "no job, and tells all statuses. For others: count, counts."
            )
        totals: dict[str, int] = {state.value: 0 for state in State}
        if selection.error is not None:
            async for jobs in pages(client.store, selection, client.clock.now()):
                for job in jobs:
                    totals[job.state.value] += 1
            return totals
        for count in await client.store.count(selection.query):
            totals[count.state.value] += count.jobs if selection.counts(count) else 0
        return totals

    async def status(self, job: Job) -> str:
        """What `job`, as it was read, is now: scheduled, pending, retrying, running, paused, completed, failed, dead
        or cancelled."""
        return states.status(job, (await self._app.connect()).clock.now())

    async def logs(self, id: str, after: int = 0, limit: int = BATCH_ROWS) -> builtins.list[LogLine]:
        """Up to `limit` log lines whose `seq` is greater than `after`, oldest first. Raises `JobNotFound`."""
        check_id(id)
        client = await self._app.connect()
        lines = await client.store.tail(id, after, limit)
        if not lines and (await client.store.get([id]))[0] is None:
            raise JobNotFound(id)
        return lines

    async def history(self, id: str) -> builtins.list[LogLine]:
        """The life of a job in words, oldest first: when it was added, begun, retried and ended, with what its handler
        logged (its last lines). Raises `JobNotFound`."""
        check_id(id)
        client = await self._app.connect()
        [job] = await client.store.get([id])
        if job is None:
            raise JobNotFound(id)
        retry = (await client.policy(job.task)).retry_of(job.retry)
        return life_of(job, retry.attempts, await client.store.tail(id, 0, BATCH_ROWS))

    # -- acts ------------------------------------------------------------------------------------------------------
    # By filters they take `on_progress`, too: called after each page with how many jobs have been changed so far, of
    # how many that were looked at. What it raises ends the act.

    @overload
    async def retry(self, id: str) -> Job: ...
    @overload
    async def retry(self, *, on_progress: Progress | None = None, **filters: Unpack[JobFilters]) -> int: ...
    async def retry(
        self, id: str | None = None, *, on_progress: Progress | None = None, **filters: Unpack[JobFilters]
    ) -> Job | int:
        """Run again as soon as possible, with own input and new attempts; what runs, runs once more right after.

        By filters: failed and dead jobs, unless `status` says otherwise; paused ones are left alone, and so is what
        fails or dies after it began. By id: raises `JobNotFound`, and `IllegalTransition` for a paused job.
        """
        if id is None:
            return await self._all("jobs.retry", _rerun, filters, on_progress)
        return await self._row("jobs.retry", id, _rerun, filters)

    @overload
    async def cancel(self, id: str, reason: str = "cancelled") -> bool: ...
    @overload
    async def cancel(
        self, *, reason: str = "cancelled", on_progress: Progress | None = None, **filters: Unpack[JobFilters]
    ) -> int: ...
    async def cancel(
        self,
        id: str | None = None,
        reason: str = "cancelled",
        *,
        on_progress: Progress | None = None,
        **filters: Unpack[JobFilters],
    ) -> bool | int:
        """What waits or is paused ends now; what runs is asked to, and ends when its handler has.

        By filters: all that has not ended, unless `status` says otherwise. By id: False: it had ended already; raises
        `JobNotFound`.
        """

        def cancelled(job: Job, now: int, policy: Policy) -> Job | None:
            return states.cancel(job, now, policy, reason)

        told = "" if reason == "cancelled" else reason
        if id is None:
            return await self._all("jobs.cancel", cancelled, filters, on_progress, told)
        return await self._one("jobs.cancel", id, cancelled, filters, told) is not None

    @overload
    async def delete(self, id: str) -> bool: ...
    @overload
    async def delete(self, *, on_progress: Progress | None = None, **filters: Unpack[JobFilters]) -> int: ...
    async def delete(
        self, id: str | None = None, *, on_progress: Progress | None = None, **filters: Unpack[JobFilters]
    ) -> bool | int:
        """Erase it, with its logs; what runs is cancelled, and erased when its handler has ended.

        By filters: only what has ended, unless `status` says otherwise. By id: False: there is none.
        """
        if id is None:
            return await self._all("jobs.delete", _erased, filters, on_progress)
        try:
            return await self._one("jobs.delete", id, _erased, filters) is not None
        except JobNotFound:
            return False

    @overload
    async def pause(self, id: str) -> Job: ...
    @overload
    async def pause(self, *, on_progress: Progress | None = None, **filters: Unpack[JobFilters]) -> int: ...
    async def pause(
        self, id: str | None = None, *, on_progress: Progress | None = None, **filters: Unpack[JobFilters]
    ) -> Job | int:
        """Hold what waits until it is resumed. By id: raises `JobNotFound`, `IllegalTransition` unless it waits."""
        if id is None:
            return await self._all("jobs.pause", _paused, filters, on_progress)
        return await self._row("jobs.pause", id, _paused, filters)

    @overload
    async def resume(self, id: str) -> Job: ...
    @overload
    async def resume(self, *, on_progress: Progress | None = None, **filters: Unpack[JobFilters]) -> int: ...
    async def resume(
        self, id: str | None = None, *, on_progress: Progress | None = None, **filters: Unpack[JobFilters]
    ) -> Job | int:
        """Let what is paused wait again, due when it was. By id: raises `JobNotFound`, `IllegalTransition` unless it
        is paused."""
        if id is None:
            return await self._all("jobs.resume", _resumed, filters, on_progress)
        return await self._row("jobs.resume", id, _resumed, filters)

    # -- one and many ----------------------------------------------------------------------------------------------

    async def _all(
        self,
        action: str,
        transition: Transition,
        filters: JobFilters,
        on_progress: Progress | None,
        reason: str = "",
    ) -> int:
        if all(value is None for value in filters.values()):
            raise DefinitionError(
                'neither an id nor a filter. Expected one, such as task="..." or queue="..."; for all jobs of some '
                'statuses say so: status=["failed", "dead"].'
            )
        client = await self._app.connect()
        selection = await chosen(client, filters, MEANT[action.removeprefix("jobs.")])
        async with self._app.audit.act(action, filters=by_name(filters), reason=reason) as act:
            return await change_all(client, selection, transition, act, on_progress)

    async def _one(
        self, action: str, id: str, transition: Transition, filters: JobFilters, reason: str = ""
    ) -> Job | None:
        if filters:
            raise DefinitionError(f"both an id and filters: {id!r} and {', '.join(filters)}. Expected one of them.")
        check_id(id)
        client = await self._app.connect()
        async with self._app.audit.act(action, id, reason=reason) as act:
            row = await client.change(id, await _with_policy(client, id, transition))
            act.changed = int(row is not None)
            return row

    async def _row(self, action: str, id: str, transition: Transition, filters: JobFilters) -> Job:
        row = await self._one(action, id, transition, filters)
        if row is None:  # no transition that comes here answers None for a job that exists
            raise JobNotFound(id)
        return row


def check_id(id: object) -> None:
    """Raises `DefinitionError` for what can be no job's id."""
    if not isinstance(id, str) or not is_text(id):
        raise DefinitionError(f"bad id of a job: {id!r}. Expected text, as handles and lists have it.")


def _bad_cursor(cursor: object) -> DefinitionError:
    return DefinitionError(
        f"bad cursor: {cursor!r}. Expected the cursor of an earlier page of the same list, or None for the first page."
    )


async def _with_policy(client: Client, id: str, transition: Transition) -> Callable[[Job], Job | None]:
    policy = await client.policy((await client.get(id)).task)
    return lambda job: transition(job, client.clock.now(), policy)


def _rerun(job: Job, now: int, policy: Policy) -> Job | None:
    return states.rerun(job, now, new_id())


def _erased(job: Job, now: int, policy: Policy) -> Job | None:
    return states.cancel(job, now, policy, "deleted", erase=True)


def _paused(job: Job, now: int, policy: Policy) -> Job | None:
    return states.pause(job)


def _resumed(job: Job, now: int, policy: Policy) -> Job | None:
    return states.resume(job)
