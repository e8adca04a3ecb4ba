"""Schedules that the code declares: made once, changed when the code changes, retired when no code names them.

The record remembers a digest of what the code said. So an operator's change stays until the code says something new,
and a restart changes nothing. Retired is not deleted: a schedule whose code comes back goes on with its history.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
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
        """Once at the start of a worker, after its record says what it declares: then what it says holds."""
        for one in self._declared.values():
            await self._declare(one)
        await self.tend_all()

    async def tend_all(self) -> None:
        """`tend` for every schedule."""
        after: str | None = None
        while records := await self._store.scan(SCHEDULE, after=after):
            await self.tend(records)
            after = records[-1].name
            if len(records) < BATCH_ROWS:
                return

    async def tend(self, records: Sequence[Record]) -> set[str]:
        """Bring those of `records` in line that no worker alive declares as they are: retire what no code names any
        more, and say again what this process's code says. So while old and new code run side by side the one that
        started last is heard, and then the one that is left. Answers their names."""
        coded = [record for record in records if record.value.get("definition") and not record.value.get("retired")]
        doubtful = [record for record in coded if not self._is_ours(record)]
        if not doubtful:
            return set()
        alive = await _declared_by_workers(self._store, self._clock)
        outdated = [
            record.name
            for record in doubtful
            if record.name in self._declared and record.value["definition"] not in alive.get(record.name, ())
        ]
        orphans = [record for record in doubtful if record.name not in self._declared and record.name not in alive]
        for name in outdated:
            await self._declare(self._declared[name])
        await self._retire(orphans)
        return {*outdated, *(record.name for record in orphans)}

    def _is_ours(self, record: Record) -> bool:
        declared = self._declared.get(record.name)
        return declared is not None and declared.definition == record.value["definition"]

    async def _retire(self, orphans: Sequence[Record]) -> None:
        now = self._clock.now()
        gone = {"written_at": now, "due_at": None, "expires_at": now + KEPT}
        retired = [record.evolve(**gone, value=record.value | {"retired": True}) for record in orphans]
        for record in (await self._store.write(retired)) if retired else ():
            if record is not None:
                emit("schedule.retired", logging.WARNING, schedule=record.name)

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


async def _declared_by_workers(store: Store, clock: Clock) -> dict[str, set[str]]:
    """What the workers alive declare: the definitions of each name, of old and of new code."""
    now = clock.now()
    workers: Iterable[Record] = await store.scan(WORKER)
    found: dict[str, set[str]] = {}
    for worker in workers:
        if worker.expires_at is None or worker.expires_at > now:
            for name, definition in worker.value.get("schedules", {}).items():
                found.setdefault(name, set()).add(definition)
    return found
