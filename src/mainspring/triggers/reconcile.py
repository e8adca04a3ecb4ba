"""Schedules that the code declares: made once, changed when the code changes, retired when no code names them.

The record remembers a digest of what the code said. So an operator's change stays until the code says something new,
and a restart changes nothing. Retired is not deleted: a schedule whose code comes back goes on with its history.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from mainspring.core.clock import Clock
from mainspring.core.job import Frozen
from mainspring.core.records import SCHEDULE, WORKER, Record
from mainspring.core.schedule import Schedule, decode_schedule, encode_schedule
from mainspring.core.schedule_acts import going_on, new_schedule, redeclared
from mainspring.core.schedule_options import definition_of
from mainspring.core.ticks import KEPT, due_at
from mainspring.errors import Contended, DefinitionError
from mainspring.events import emit
from mainspring.stores.base import BATCH_ROWS, Store

ATTEMPTS = 50


class Declared(Frozen, frozen=True, kw_only=True):
    """A schedule as the code declares it."""

    name: str
    task: str
    input: str
    options: dict[str, Any]

    @property
    def definition(self) -> str:
        return definition_of(self.name, self.task, self.input, self.options)


class Reconciler:
    """Brings what is stored in line with what is declared."""

    def __init__(self, store: Store, clock: Clock, declared: Mapping[str, Declared]) -> None:
        self._store = store
        self._clock = clock
        self._declared = declared

    async def run(self) -> None:
        """Once at the start of a worker, after its record says what it declares."""
        for one in self._declared.values():
            await self._declare(one)
        after: str | None = None
        while records := await self._store.scan(SCHEDULE, after=after):
            await retire_orphans(self._store, self._clock, records, self._declared)
            after = records[-1].name
            if len(records) < BATCH_ROWS:
                return

    async def _declare(self, declared: Declared) -> None:
        for _ in range(ATTEMPTS):
            now = self._clock.now()
            record = await self._store.read(SCHEDULE, declared.name)
            made = _wanted(declared, record, now)
            if made is None:
                return
            old = record or Record(kind=SCHEDULE, name=declared.name)
            value = encode_schedule(made, old.value)
            new = old.evolve(written_at=now, due_at=due_at(made, now), expires_at=None, value=value)
            [won] = await self._store.write([new])
            if won is not None:
                emit("schedule.declared", schedule=made.name, new=record is None)
                return
        raise Contended(f"schedule {declared.name!r} was written by others {ATTEMPTS} times in a row. Try again.")


def _wanted(declared: Declared, record: Record | None, now: int) -> Schedule | None:
    """What is to be stored of a declared schedule; None: what is there."""
    stored = None if record is None else _decode(record)
    if stored is not None and stored.definition == declared.definition:
        if not stored.retired:
            return None
        return going_on(stored.evolve(retired=False, updated_at=now), now)
    fresh = new_schedule(declared.name, declared.task, declared.input, declared.options, now)
    fresh = fresh.evolve(definition=declared.definition)
    return (
        fresh if stored is None else redeclared(stored, fresh, now, isinstance(declared.options.get("start"), datetime))
    )


def _decode(record: Record) -> Schedule | None:
    try:
        return decode_schedule(record.value)
    except DefinitionError:
        return None  # the code is the truth: written anew


async def retire_orphans(store: Store, clock: Clock, records: Sequence[Record], declared: Collection[str]) -> set[str]:
    """Retire those of `records` that code once declared, and none that runs now does: neither this process's, which
    is `declared`, nor that of any worker alive. Answers their names."""
    strangers = [
        r for r in records if r.value.get("definition") and not r.value.get("retired") and r.name not in declared
    ]
    if not strangers:
        return set()
    alive = await _declared_by_workers(store, clock)
    orphans = [record for record in strangers if record.name not in alive]
    now = clock.now()
    gone = {"written_at": now, "due_at": None, "expires_at": now + KEPT}
    retired = [record.evolve(**gone, value=record.value | {"retired": True}) for record in orphans]
    for record in (await store.write(retired)) if retired else ():
        if record is not None:
            emit("schedule.retired", logging.WARNING, schedule=record.name)
    return {record.name for record in orphans}


async def _declared_by_workers(store: Store, clock: Clock) -> set[str]:
    now = clock.now()
    workers: Iterable[Record] = await store.scan(WORKER)
    alive = [worker for worker in workers if worker.expires_at is None or worker.expires_at > now]
    return {name for worker in alive for name in worker.value.get("schedules", ())}
