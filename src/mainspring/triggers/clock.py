"""Firing: what is due is read, its jobs are added, and then the schedules are written, by swap.

Any number of workers may do it at once: the id of a tick's job follows from its schedule and its time, so that a second
one adds nothing, and whoever loses the swap has nothing left to do. A death between add and write leaves the tick due,
and the next one adds the same ids again. What a schedule does is decided in `core.ticks`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence

from mainspring.client import ROW_BYTES, Client
from mainspring.core.job import LIVE, Job
from mainspring.core.records import SCHEDULE, Record
from mainspring.core.schedule import ORIGIN, Schedule, decode_schedule, encode_schedule
from mainspring.core.schedule_acts import expires_at
from mainspring.core.ticks import SUPERSEDED, Placing, Plan, job_of, open_entries, plan, superseded
from mainspring.errors import Contended, DefinitionError, JobNotFound
from mainspring.events import emit
from mainspring.stores.base import BATCH_BYTES, BATCH_ROWS, Store

BROKEN = 60_000
"""ms after which a schedule that cannot be read is looked at again, so that it does not hold up the others."""
AT_ONCE = 50
"""Schedules that are planned without letting others have the event loop: 5 ms; one that catches up may take 35."""
PASSES = 3
"""What is missed is written down first, and made up for then; so there are rarely more than two."""
LOOKED_UP = 100
"""Rows that are read at once with their payload."""


class Firing:
    """Fires schedules through one client."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._store: Store = client.store

    async def fire(self, records: Sequence[Record]) -> int:
        """Do what these schedules do now; answers how many jobs were added by whomever. Raises `StoreError`: then it
        is to be called again, and nothing is doubled."""
        added = 0
        for _ in range(PASSES):
            jobs, records = await self._pass(records)
            added += jobs
            if not records:
                break
        return added

    async def _pass(self, records: Sequence[Record]) -> tuple[int, list[Record]]:
        """Answers how many jobs were added, and the schedules that have more to do."""
        now = self._client.clock.now()
        schedules = {record.name: found for record in records if (found := _decode(record)) is not None}
        rows = await self._open_rows(schedules.values(), now)
        plans = await self._plans(schedules, rows, now)
        jobs = await self._jobs(plans, now)
        mine: list[Job] = []
        for batch in _batches(jobs):
            rows_added = await self._store.add(batch)
            mine += [row for job, row in zip(batch, rows_added, strict=True) if row.ask == job.ask]
        left, lost = await self._advance(records, plans, now)
        await self._take_back([job for job in mine if job.origin in lost])
        return len(jobs), left

    async def _take_back(self, jobs: Sequence[Job]) -> None:
        """Cancel those of these ticks, added here just now, whose schedules are past them: another had fired them and
        they had been forgotten, or had left them out."""
        for job in jobs:
            record = await self._store.read(SCHEDULE, job.meta["schedule"])
            if superseded(None if record is None else _decode(record), job):
                await self._client.cancel(job.id, SUPERSEDED)

    async def _plans(
        self, schedules: Mapping[str, Schedule], rows: Mapping[str, Job | None], now: int
    ) -> dict[str, Plan | None]:
        plans: dict[str, Plan | None] = {}
        for name, schedule in schedules.items():
            plans[name] = _plan(schedule, rows, now)
            if len(plans) % AT_ONCE == 0:
                await asyncio.sleep(0)
        return plans

    async def _open_rows(self, schedules: Iterable[Schedule], now: int) -> dict[str, Job | None]:
        """The jobs that the plans must know, by id."""
        ids = [schedule.job_id(entry) for schedule in schedules for entry in open_entries(schedule, now)]
        return await rows_of(self._store, ids)

    async def _jobs(self, plans: Mapping[str, Plan | None], now: int) -> list[Job]:
        jobs: list[Job] = []
        placings: dict[str, Placing] = {}
        """By their tasks: of one that nobody knows the client remembers nothing, and would ask for every schedule."""
        for made in plans.values():
            if made is None or not made.ticks:
                continue
            task = made.schedule.task
            if task not in placings:
                placings[task] = await placing_of(self._client, task)
            jobs += [job_of(made.schedule, str(tick), tick, now, placings[task]) for tick in made.ticks]
        return jobs

    async def _advance(
        self, records: Sequence[Record], plans: Mapping[str, Plan | None], now: int
    ) -> tuple[list[Record], set[str]]:
        """Answers the schedules that have more to do, and the origins of the jobs of those that others have written."""
        written = await self._store.write([_advanced(record, plans.get(record.name), now) for record in records])
        rows = [row for row in written if row is not None]
        won = {row.name: made for row in rows if (made := plans.get(row.name)) is not None}
        _tell(won, records)
        await forget(self._client, [made.schedule.job_id(entry) for made in won.values() for entry in made.dropped])
        lost = {ORIGIN + record.name for record, row in zip(records, written, strict=True) if row is None}
        return [row for row in rows if row.due_at is not None and row.due_at <= now], lost


async def placing_of(client: Client, task: str) -> Placing:
    """Where the jobs of a task go, as it says itself or as workers have told of it."""
    known = client.tasks.get(task)
    if known is not None:
        return Placing(known.queue, known.priority, known.expires)
    told = await client.snapshots.read(task)
    # A task that nobody knows: its job waits for a worker that does.
    return Placing() if told is None else Placing(told["queue"], told["priority"], told.get("expires"))


async def rows_of(store: Store, ids: Sequence[str]) -> dict[str, Job | None]:
    """The jobs with these ids, by id."""
    rows: dict[str, Job | None] = {}
    for first in range(0, len(ids), LOOKED_UP):
        some = ids[first : first + LOOKED_UP]
        rows |= dict(zip(some, await store.get(some), strict=True))
    return rows


async def forget(client: Client, ids: Sequence[str]) -> None:
    """Erase these jobs: what has ended now, what goes on when it ends."""
    rows = [row for row in (await rows_of(client.store, ids)).values() if row is not None]
    ended = [row for row in rows if row.state not in LIVE]
    for first in range(0, len(ended), LOOKED_UP):
        some = ended[first : first + LOOKED_UP]
        await client.store.save([row.evolve(expires_at=0, input=None, result=None) for row in some])
    for row in rows:
        if row.state in LIVE and row.kept != 0:
            await _forget_at_its_end(client, row.id)


async def _forget_at_its_end(client: Client, id: str) -> None:
    try:
        await client.change(id, lambda row: row.evolve(kept=0) if row.state in LIVE else row.evolve(expires_at=0))
    except (JobNotFound, Contended) as error:
        emit("schedule.kept", logging.DEBUG, job_id=id, error=str(error))


def _decode(record: Record) -> Schedule | None:
    try:
        return decode_schedule(record.value)
    except DefinitionError as error:
        emit("schedule.broken", logging.ERROR, schedule=record.name, error=str(error))
        return None


def _plan(schedule: Schedule, rows: Mapping[str, Job | None], now: int) -> Plan | None:
    mine = {entry: rows.get(schedule.job_id(entry)) for entry in open_entries(schedule, now)}
    try:
        return plan(schedule, mine, now)
    except Exception as error:  # of one schedule: the others have their time all the same
        emit("schedule.broken", logging.ERROR, exc_info=error, schedule=schedule.name)
        return None


def _advanced(record: Record, made: Plan | None, now: int) -> Record:
    if made is None:
        return record.evolve(written_at=now, due_at=now + BROKEN)
    value = encode_schedule(made.schedule, record.value)
    return record.evolve(written_at=now, due_at=made.due_at, expires_at=expires_at(made.schedule, now), value=value)


def _tell(won: Mapping[str, Plan], records: Sequence[Record]) -> None:
    before = {record.name: record.value for record in records}
    for name, made in won.items():
        schedule, old = made.schedule, before[name]
        if made.ticks:
            emit("schedule.fired", schedule=schedule.name, task=schedule.task, jobs=len(made.ticks))
        missed, skipped = (getattr(schedule, name) - old.get(name, 0) for name in ("missed", "skipped"))
        if missed > 0:
            emit("schedule.missed", logging.WARNING, schedule=schedule.name, runs=missed)
        if skipped > 0:
            emit("schedule.skipped", schedule=schedule.name, runs=skipped)


def _batches(jobs: Sequence[Job]) -> list[list[Job]]:
    """Cut into what a store takes in one round trip."""
    batches: list[list[Job]] = []
    size = BATCH_BYTES
    for job in jobs:
        weight = ROW_BYTES + len(job.input or "")
        if not batches or size + weight > BATCH_BYTES or len(batches[-1]) == BATCH_ROWS:
            batches.append([])
            size = 0
        batches[-1].append(job)
        size += weight
    return batches
