"""Lists of schedules: filtered, sorted, and a page of them at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from mainspring.admin.schedule_view import ScheduleInfo, info_of, next_tick
from mainspring.client import Client
from mainspring.core.job import Job
from mainspring.core.naming import check_count
from mainspring.core.records import SCHEDULE, Record
from mainspring.core.schedule import Schedule, decode_schedule
from mainspring.core.schedule_status import STATUSES, by_entry, looked_up, newest, status
from mainspring.errors import DefinitionError
from mainspring.stores.base import BATCH_ROWS
from mainspring.triggers.clock import rows_of

SORTS: dict[str, Callable[[Schedule, int], Any]] = {
    "name": lambda schedule, last: schedule.name,
    "next_run": lambda schedule, last: ((tick := next_tick(schedule)) is None, tick or 0, schedule.name),
    "last_run": lambda schedule, last: (last, schedule.name),
    "created_at": lambda schedule, last: (schedule.created_at, schedule.name),
    "updated_at": lambda schedule, last: (schedule.updated_at, schedule.name),
}
Rows = dict[str, Job | None]


@dataclass(frozen=True, slots=True)
class SchedulePage:
    """Some schedules, to iterate over, and how many match in all."""

    schedules: tuple[ScheduleInfo, ...]
    total: int

    def __iter__(self) -> Iterator[ScheduleInfo]:
        return iter(self.schedules)

    def __len__(self) -> int:
        return len(self.schedules)


async def list_schedules(
    client: Client,
    statuses: str | Sequence[str] | None,
    task: str | None,
    search: str | None,
    sort: str,
    descending: bool,
    offset: int,
    limit: int,
) -> SchedulePage:
    """See `Schedules.list`."""
    wanted = _statuses(statuses)
    if sort not in SORTS:
        raise DefinitionError(f"unknown sort: {sort!r}. Expected one of: {', '.join(SORTS)}.")
    if search is not None and not isinstance(search, str):
        raise DefinitionError(f"bad search: {search!r}. Expected a text.")
    check_count(limit, "limit", 1, BATCH_ROWS)
    check_count(offset, "offset", 0)
    found = [one for one in await read_all(client) if _matches(one, task, search)]
    rows: Rows = {}
    if wanted or sort == "last_run":
        rows = await _rows(client, found)
    if wanted:
        found = [one for one in found if status(one, by_entry(one, rows)) in wanted]
    found.sort(key=lambda one: SORTS[sort](one, _last_run(one, rows)), reverse=descending)
    page = found[offset : offset + limit]
    rows = rows or await _rows(client, page)
    now = client.clock.now()
    return SchedulePage(tuple(info_of(one, by_entry(one, rows), now) for one in page), len(found))


async def read_all(client: Client) -> list[Schedule]:
    """Every schedule, by name, but for those that cannot be read; the clock tells of these."""
    found: list[Schedule] = []
    after: str | None = None
    while True:
        records = await client.store.scan(SCHEDULE, after=after)
        found += [schedule for record in records if (schedule := _decode(record)) is not None]
        if len(records) < BATCH_ROWS:
            return found
        after = records[-1].name


def _decode(record: Record) -> Schedule | None:
    try:
        return decode_schedule(record.value)
    except DefinitionError:
        return None


def _statuses(statuses: str | Sequence[str] | None) -> frozenset[str]:
    given = [] if statuses is None else [statuses] if isinstance(statuses, str) else list(statuses)
    for one in given:
        if one not in STATUSES:
            raise DefinitionError(f"unknown status: {one!r}. Expected: {', '.join(STATUSES)}.")
    return frozenset(given)


def _matches(schedule: Schedule, task: str | None, search: str | None) -> bool:
    if task is not None and schedule.task != task:
        return False
    text = f"{schedule.name}\n{schedule.task}\n{schedule.description}".casefold()
    return search is None or search.casefold() in text


async def _rows(client: Client, schedules: Sequence[Schedule]) -> Rows:
    ids = [schedule.job_id(entry) for schedule in schedules for entry in looked_up(schedule)]
    return await rows_of(client.store, ids)


def _last_run(schedule: Schedule, rows: Rows) -> int:
    last = newest(schedule, by_entry(schedule, rows))
    return 0 if last is None else last[1].started_at or last[1].scheduled_at
