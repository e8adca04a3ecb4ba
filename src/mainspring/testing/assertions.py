"""What is enqueued, as a test asks for it, and what to tell where it is not as expected.

Everything is read from the store. Nothing is changed.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from mainspring.admin.view import job_view
from mainspring.core.codec import decode_value
from mainspring.core.duration import humanize
from mainspring.core.job import Job, State
from mainspring.core.naming import check_count
from mainspring.core.task import Task
from mainspring.errors import DefinitionError, InputError
from mainspring.stores.base import BATCH_ROWS, Query
from mainspring.testing.wanted import ANY, Wanted, wanted

if TYPE_CHECKING:
    from mainspring.app import Mainspring

SHOWN = 20
TEXT = 200
"""Characters of an input that a message shows."""
LIVE = ("scheduled", "pending", "retrying", "running", "paused")
FAILED = ("failed", "dead", "retrying")


@dataclass(frozen=True, slots=True, kw_only=True)
class Enqueued:
    """A job, as a test looks at it."""

    id: str
    task: str
    queue: str
    status: str
    priority: int
    input: dict[str, Any]
    """The arguments as the handler gets them; as JSON values where the task is not known here."""
    due: datetime
    """When it is to run next; of one that runs or has ended, the time that was asked for."""
    key: str | None
    origin: str
    meta: dict[str, str]
    job: Job
    """The row as it is stored."""


class Jobs:
    """The jobs of an app, for assertions."""

    def __init__(self, app: Mainspring) -> None:
        self._app = app

    async def all(self) -> list[Enqueued]:
        """Every job there is, oldest first."""
        client = await self._app.connect()
        query = Query(oldest_first=True, limit=BATCH_ROWS)
        found: list[Enqueued] = []
        while True:
            page = await client.store.find(query)
            rows = await client.store.get([job.id for job in page.jobs])
            found += [self._view(row, client.clock.now()) for row in rows if row is not None]
            if page.cursor is None:
                return found
            query = query.evolve(after=page.cursor)

    async def matching(self, task: Task[Any, Any] | str | None, conditions: Mapping[str, Any]) -> list[Enqueued]:
        want = wanted(self._app, task, conditions)
        return [job for job in await self.all() if _shown(job, want) and not want.misses(job)]

    async def assert_some(
        self, task: Task[Any, Any] | str | None, conditions: Mapping[str, Any], count: int | None
    ) -> Enqueued:
        __tracebackhide__ = True
        if count is not None:
            check_count(count, "count", 0)
        want = wanted(self._app, task, conditions)
        everything = await self.all()
        found = [job for job in everything if _shown(job, want) and not want.misses(job)]
        if count is None and found:
            return found[0]
        if count is None or len(found) != count:
            raise AssertionError(_missing(want, everything, found, count, self._app.clock.now()))
        return found[0] if found else _nothing()

    async def assert_none(self, task: Task[Any, Any] | str | None, conditions: Mapping[str, Any]) -> None:
        __tracebackhide__ = True
        want = wanted(self._app, task, conditions)
        everything = await self.all()
        found = [job for job in everything if _shown(job, want) and not want.misses(job)]
        if found:
            now = self._app.clock.now()
            raise AssertionError(f"expected no {want}, and there is:\n{_lines(found, now)}")

    async def assert_no_failures(self, ignoring: Collection[Task[Any, Any] | str]) -> None:
        __tracebackhide__ = True
        several = isinstance(ignoring, (tuple, list, set, frozenset))
        if not several or not all(isinstance(one, (Task, str)) for one in ignoring):
            raise DefinitionError(f"bad ignoring: {ignoring!r}. Expected a list of tasks and of texts of errors.")
        names = {one.name if isinstance(one, Task) else one for one in ignoring}
        bad = [job for job in await self.all() if job.status in FAILED and not _ignored(job, names)]
        if bad:
            lines = "\n".join(f"  {_line(job, self._app.clock.now())}\n    {_why(job)}" for job in bad[:SHOWN])
            raise AssertionError(f"expected no job to fail, and {len(bad)} did:\n{lines}")

    def _view(self, row: Job, now: int) -> Enqueued:
        waits = row.state is State.WAITING
        return Enqueued(
            id=row.id,
            task=row.task,
            queue=row.queue,
            status=job_view(row, now)["status"],
            priority=row.priority,
            input=self._input(row),
            due=datetime.fromtimestamp((row.due_at if waits else row.scheduled_at) / 1000, UTC),
            key=row.key,
            origin=row.origin,
            meta=row.meta,
            job=row,
        )

    def _input(self, row: Job) -> dict[str, Any]:
        task, text = self._app.tasks.get(row.task), row.input or "{}"
        try:
            return dict(decode_value(text)) if task is None else task.arguments(text)
        except InputError:  # it was stored before the task looked as it does now
            return dict(decode_value(text))


def _nothing() -> Enqueued:
    raise AssertionError("count=0: there is none to answer. Expected refute_enqueued(...) for that.")


def _shown(job: Enqueued, want: Wanted) -> bool:
    """Whether its status is asked for."""
    return want.status == ANY or (job.status in LIVE if want.status is None else job.status == want.status)


def _ignored(job: Enqueued, names: set[str]) -> bool:
    """By its task, or by a text of what is shown of it."""
    return job.task in names or any(name in _why(job) for name in names)


# -- messages ----------------------------------------------------------------------------------------------------------


def _missing(
    want: Wanted, everything: Sequence[Enqueued], found: Sequence[Enqueued], count: int | None, now: int
) -> str:
    enqueued = [job for job in everything if _shown(job, want)]
    if count is not None:
        head = f"expected {count} times a {want}, and there are {len(found)}."
    else:
        head = f"expected a {want}, and there is none."
    parts = [head]
    others = [job for job in enqueued if job not in found]
    if not found and others:
        nearest = min(others, key=lambda job: (job.task != want.task, len(want.misses(job))))
        parts.append(f"The nearest, {_line(nearest, now)}:")
        parts += [f"  {miss}" for miss in want.misses(nearest)]
    if not found:
        parts += _elsewhere(want, everything, enqueued)
    parts.append(f"Enqueued are:\n{_lines(enqueued, now)}" if enqueued else "Nothing is enqueued.")
    return "\n".join(parts)


def _elsewhere(want: Wanted, everything: Sequence[Enqueued], enqueued: Sequence[Enqueued]) -> list[str]:
    """One that would do, if it had another status."""
    for job in everything:
        if job not in enqueued and not want.misses(job):
            return [f"One like that is {job.status} ({job.id}): status={job.status!r} would find it."]
    return []


def _lines(jobs: Sequence[Enqueued], now: int) -> str:
    more = [f"  ... and {len(jobs) - SHOWN:,} more"] if len(jobs) > SHOWN else []
    return "\n".join([f"  {_line(job, now)}" for job in jobs[:SHOWN]] + more)


def _line(job: Enqueued, now: int) -> str:
    text = job.job.input or "{}"
    text = text if len(text) <= TEXT else text[:TEXT] + "..."
    away = round(job.due.timestamp() * 1000) - now
    due = f", in {humanize(away)}" if job.status in ("scheduled", "retrying") and away > 0 else ""
    return f"{job.task} {text} ({job.status}{due}, queue {job.queue!r}, priority {job.priority}, {job.id})"


def _why(job: Enqueued) -> str:
    error = job.job.error
    return str(error) if error is not None else job.job.reason or "no reason was given"
