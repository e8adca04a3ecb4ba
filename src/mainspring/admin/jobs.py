"""Jobs as operators handle them: look, count, retry, cancel, pause, delete; one by its id, or all that filters name."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from typing import Unpack, overload

from mainspring.admin.bulk import Transition, change_all
from mainspring.admin.connection import App
from mainspring.admin.history import life_of
from mainspring.admin.selection import ENDED, STATUSES, WAITING, JobFilters, JobPage, Selection, one_page, pages, select
from mainspring.client import Client
from mainspring.core import states
from mainspring.core.ids import new_id
from mainspring.core.job import Job, State
from mainspring.core.naming import check_count
from mainspring.core.policy import Policy
from mainspring.errors import DefinitionError, JobNotFound
from mainspring.stores.base import BATCH_ROWS, LogLine


class Jobs:
    """`app.jobs`. Acts take an id, or filters (`JobFilters`; one at least), and then answer how many jobs changed.

    An act on a job that is running, or that others change meanwhile, loses nothing: each is a swap of its row.
    """

    def __init__(self, app: App) -> None:
        self._app = app

    # -- looking ---------------------------------------------------------------------------------------------------

    async def get(self, id: str) -> Job | None:
        """The job with its input, result and runs; None where there is none."""
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
        selection = select(filters)
        check_count(limit, "limit", 1, BATCH_ROWS)
        query = selection.query.evolve(limit=limit, after=cursor, oldest_first=oldest_first)
        client = await self._app.connect()
        return await one_page(client.store, Selection(query, selection.statuses), client.clock.now())

    async def count(self, **filters: Unpack[JobFilters]) -> int:
        """How many jobs there are. Cheap by task, queue and origin, and by status but for scheduled, pending and
        retrying: to tell these apart, every waiting job is read."""
        selection = select(filters)
        client = await self._app.connect()
        if not selection.statuses:
            return sum(count.jobs for count in await client.store.count(selection.query))
        return sum([len(jobs) async for jobs in pages(client.store, selection, client.clock.now())])

    async def counts(self, **filters: Unpack[JobFilters]) -> dict[str, int]:
        """How many jobs there are of each status; every status is in it. What it costs: `count`."""
        client = await self._app.connect()
        counts: dict[str, int] = dict.fromkeys(STATUSES, 0)
        wanted = select(filters)
        for count in await client.store.count(wanted.query):
            if count.state.value in counts:
                counts[count.state.value] += count.jobs
        waiting = [status for status in WAITING if not wanted.statuses or status in wanted.statuses]
        if not wanted.query.states or "waiting" in wanted.query.states:
            split = select({**filters, "status": waiting})
            async for jobs in pages(client.store, split, client.clock.now()):
                for job in jobs:
                    counts[states.status(job, client.clock.now())] += 1
        return counts

    async def totals(self, **filters: Unpack[JobFilters]) -> dict[str, int]:
        """How many jobs there are of each stored state: waiting (scheduled, pending or retrying), running, paused,
        completed, failed, dead, cancelled. By task, queue and origin it reads no job, however many there are; for
        looking often. Raises `DefinitionError` for `status`."""
        if filters.get("status") is not None:
            raise DefinitionError("a status in totals. Expected none: it tells them apart; count(status=...) for one.")
        client = await self._app.connect()
        totals = {state.value: 0 for state in State}
        for count in await client.store.count(select(filters).query):
            totals[count.state.value] += count.jobs
        return totals

    async def status(self, job: Job) -> str:
        """What `job`, as it was read, is now: scheduled, pending, retrying, running, paused, completed, failed, dead
        or cancelled."""
        return states.status(job, (await self._app.connect()).clock.now())

    async def logs(self, id: str, after: int = 0, limit: int = BATCH_ROWS) -> builtins.list[LogLine]:
        """Up to `limit` log lines whose `seq` is greater than `after`, oldest first. Raises `JobNotFound`."""
        client = await self._app.connect()
        lines = await client.store.tail(id, after, limit)
        if not lines and (await client.store.get([id]))[0] is None:
            raise JobNotFound(id)
        return lines

    async def history(self, id: str) -> builtins.list[LogLine]:
        """The life of a job in words, oldest first: when it was added, begun, retried and ended, with what its handler
        logged (its last lines). Raises `JobNotFound`."""
        client = await self._app.connect()
        [job] = await client.store.get([id])
        if job is None:
            raise JobNotFound(id)
        retry = (await client.policy(job.task)).retry_of(job.retry)
        lines = life_of(job, retry.attempts) + await client.store.tail(id, 0, BATCH_ROWS)
        return sorted(lines, key=lambda line: line.at)

    # -- acts ------------------------------------------------------------------------------------------------------

    @overload
    async def retry(self, id: str) -> Job: ...
    @overload
    async def retry(self, **filters: Unpack[JobFilters]) -> int: ...
    async def retry(self, id: str | None = None, **filters: Unpack[JobFilters]) -> Job | int:
        """Run again as soon as possible, with own input and new attempts; what runs, runs once more right after.

        By filters: failed and dead jobs, unless `status` says otherwise; paused ones are left alone.
        By id: raises `JobNotFound`, and `IllegalTransition` for a paused job.
        """
        if id is None:
            return await self._all(_rerun, ("failed", "dead"), filters)
        return await self._row(id, _rerun, filters)

    @overload
    async def cancel(self, id: str, reason: str = "cancelled") -> bool: ...
    @overload
    async def cancel(self, *, reason: str = "cancelled", **filters: Unpack[JobFilters]) -> int: ...
    async def cancel(
        self, id: str | None = None, reason: str = "cancelled", **filters: Unpack[JobFilters]
    ) -> bool | int:
        """What waits or is paused ends now; what runs is asked to, and ends when its handler has.

        By filters: all that has not ended, unless `status` says otherwise. By id: False: it had ended already; raises
        `JobNotFound`.
        """

        def cancelled(job: Job, now: int, policy: Policy) -> Job | None:
            return states.cancel(job, now, policy, reason)

        if id is None:
            return await self._all(cancelled, (*WAITING, "running", "paused"), filters)
        return await self._one(id, cancelled, filters) is not None

    @overload
    async def delete(self, id: str) -> bool: ...
    @overload
    async def delete(self, **filters: Unpack[JobFilters]) -> int: ...
    async def delete(self, id: str | None = None, **filters: Unpack[JobFilters]) -> bool | int:
        """Erase it, with its logs; what runs is cancelled, and erased when its handler has ended.

        By filters: only what has ended, unless `status` says otherwise. By id: False: there is none.
        """
        if id is None:
            return await self._all(_erased, ENDED, filters)
        try:
            return await self._one(id, _erased, filters) is not None
        except JobNotFound:
            return False

    @overload
    async def pause(self, id: str) -> Job: ...
    @overload
    async def pause(self, **filters: Unpack[JobFilters]) -> int: ...
    async def pause(self, id: str | None = None, **filters: Unpack[JobFilters]) -> Job | int:
        """Hold what waits until it is resumed. By id: raises `JobNotFound`, `IllegalTransition` unless it waits."""
        if id is None:
            return await self._all(lambda job, now, policy: states.pause(job), WAITING, filters)
        return await self._row(id, lambda job, now, policy: states.pause(job), filters)

    @overload
    async def resume(self, id: str) -> Job: ...
    @overload
    async def resume(self, **filters: Unpack[JobFilters]) -> int: ...
    async def resume(self, id: str | None = None, **filters: Unpack[JobFilters]) -> Job | int:
        """Let what is paused wait again, due when it was. By id: raises `JobNotFound`, `IllegalTransition` unless it
        is paused."""
        if id is None:
            return await self._all(lambda job, now, policy: states.resume(job), ("paused",), filters)
        return await self._row(id, lambda job, now, policy: states.resume(job), filters)

    # -- one and many ----------------------------------------------------------------------------------------------

    async def _all(self, transition: Transition, otherwise: tuple[str, ...], filters: JobFilters) -> int:
        if all(value is None for value in filters.values()):
            raise DefinitionError(
                'neither an id nor a filter. Expected one, such as task="..." or queue="..."; for all jobs of some '
                'statuses say so: status=["failed", "dead"].'
            )
        selection = select(filters, otherwise)
        return await change_all(await self._app.connect(), selection, transition)

    async def _one(self, id: str, transition: Transition, filters: JobFilters) -> Job | None:
        if filters:
            raise DefinitionError(f"both an id and filters: {id!r} and {', '.join(filters)}. Expected one of them.")
        client = await self._app.connect()
        return await client.change(id, await _with_policy(client, id, transition))

    async def _row(self, id: str, transition: Transition, filters: JobFilters) -> Job:
        row = await self._one(id, transition, filters)
        if row is None:  # no transition that comes here answers None for a job that exists
            raise JobNotFound(id)
        return row


async def _with_policy(client: Client, id: str, transition: Transition) -> Callable[[Job], Job | None]:
    policy = await client.policy((await client.get(id)).task)
    return lambda job: transition(job, client.clock.now(), policy)


def _rerun(job: Job, now: int, policy: Policy) -> Job | None:
    return states.rerun(job, now, new_id())


def _erased(job: Job, now: int, policy: Policy) -> Job | None:
    return states.cancel(job, now, policy, "deleted", erase=True)
