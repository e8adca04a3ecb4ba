"""Whether schedules do what they are there for: fired in time, readable, and not failing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from mainspring.admin.doctor.finding import Finding, listed, note, ok, warning
from mainspring.client import Client
from mainspring.core.duration import humanize
from mainspring.core.records import SCHEDULE, Record
from mainspring.core.schedule import Schedule, decode_schedule
from mainspring.core.schedule_status import by_entry, looked_up, status
from mainspring.errors import DefinitionError
from mainspring.stores.base import BATCH_ROWS
from mainspring.triggers.clock import rows_of

LATE = 60_000
"""ms after its time by which a schedule has been fired, or nobody fires."""


async def examine(client: Client) -> AsyncIterator[Finding]:
    """Findings about schedules; none where there are none."""
    after: str | None = None
    found: list[Schedule] = []
    broken: list[str] = []
    late: list[Record] = []
    while records := await client.store.scan(SCHEDULE, after=after):
        for record in records:
            try:
                found.append(decode_schedule(record.value))
            except DefinitionError:
                broken.append(record.name)
            if record.due_at is not None and record.due_at < client.clock.now() - LATE:
                late.append(record)
        after = records[-1].name
        if len(records) < BATCH_ROWS:
            break
    if found:
        yield ok("schedules", f"{len(found):,}")
    for finding in (_late(late, client.clock.now()), _broken(broken), _failed(await _failing(client, found))):
        if finding is not None:
            yield finding


def _late(late: Sequence[Record], now: int) -> Finding | None:
    if not late:
        return None
    longest = humanize(now - min(record.due_at or now for record in late))
    found = f"due for up to {longest} and not fired: {listed([record.name for record in late])}"
    return warning("late schedules", found, "fired at their time", "start a worker of this store, any will do")


def _broken(names: Sequence[str]) -> Finding | None:
    if not names:
        return None
    advice = "upgrade Mainspring, or delete them: mainspring schedules delete NAME"
    return warning("unreadable schedules", f"cannot be read: {listed(names)}", "schedules of this version", advice)


def _failed(names: Sequence[str]) -> Finding | None:
    if not names:
        return None
    advice = "mainspring schedules executions NAME tells why"
    return note("schedules failing", f"the last run failed for good: {listed(names)}", "", advice)


async def _failing(client: Client, schedules: Sequence[Schedule]) -> list[str]:
    ids = [schedule.job_id(entry) for schedule in schedules for entry in looked_up(schedule)]
    rows = await rows_of(client.store, ids)
    return [schedule.name for schedule in schedules if status(schedule, by_entry(schedule, rows)) == "failed"]
