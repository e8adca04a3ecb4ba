"""The Redis store: the contract's verbs, each a script or a command over one shared connection.

One batch is one round trip; concurrent calls share the connection and wait for nobody. What blocks (waiting, following)
has connections of its own. Holds no policy.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

from mainspring.core.job import Job, State
from mainspring.core.records import GATE, Record, queue_gate, task_gate
from mainspring.errors import DefinitionError, StoreUnavailable, StoreUnusable
from mainspring.stores.base import (
    BATCH_BYTES,
    BATCH_ROWS,
    Beat,
    Claim,
    Count,
    Event,
    Fact,
    LogLine,
    Page,
    Query,
    Store,
)
from mainspring.stores.redis import events as event_stream
from mainspring.stores.redis import find as finding
from mainspring.stores.redis import scripts
from mainspring.stores.redis.clock import RedisTime
from mainspring.stores.redis.facts import gather
from mainspring.stores.redis.hints import Hints
from mainspring.stores.redis.link import Link
from mainspring.stores.redis.logs import pack_line, read_line
from mainspring.stores.redis.records import next_version, read_record, write_row
from mainspring.stores.redis.rows import NONE, changed_row, new_row, pack_named, read_job, saved_row
from mainspring.stores.redis.settings import parse
from mainspring.stores.server_clock import ServerClock

SCHEMA = 1
"""Of the keys and rows; a store with a newer one is left alone."""


class RedisStore(Store):
    """A namespace on a Redis or Valkey server, behind sentinels, or in a cluster."""

    def __init__(self, url: str, time: Callable[[], int] | None = None) -> None:
        """`time` is for tests: default, the server's clock. Connects to nothing.

        Raises `DefinitionError` for a bad URL.
        """
        self.url = url
        self._settings = parse(url)
        self._time = time
        self._link = Link(self._settings)
        self._hints = Hints(self._link)
        self._clock = ServerClock()
        self._followed = False
        self._named: tuple[Mapping[str, int | None], str] = ({}, "\n")

    # -- life --------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        await self._link.open()
        key = f"{self._link.namespace}:meta"
        found = await self._link.command("HGET", key, "schema")
        if found is None:  # only then, for a server that is full refuses the write
            _, found = await self._link.commands([("HSETNX", key, "schema", SCHEMA), ("HGET", key, "schema")])
        if int(found) > SCHEMA:
            raise StoreUnusable(
                f"{self._settings.shown}: its namespace has schema {int(found)}; this version knows up to {SCHEMA}. "
                "Install a newer Mainspring, or name another namespace with ?namespace=."
            )

    async def close(self) -> None:
        await self._hints.close()
        await self._link.close()

    def clone(self) -> Store:
        return RedisStore(self.url, self._time)

    async def time(self) -> int:
        if self._time is None:
            return await self._clock.now(RedisTime(self._link))
        self._link.check_open()
        return self._time()

    # -- jobs --------------------------------------------------------------------------------------------------

    async def add(self, jobs: Sequence[Job], within: Any = None) -> list[Job]:
        self._check_within(within)
        if not jobs:
            return []
        args = [value for job in jobs for value in new_row(job)]
        answers = await self._link.write(scripts.ADD, *args)
        inserted: dict[str, Job] = {}
        rows = []
        for job, answer in zip(jobs, answers, strict=True):
            if answer == 1:
                inserted[job.id] = row = job.evolve(version=1, input=None, result=None)
            else:
                row = inserted.get(job.id) or read_job(job.id, answer)
            rows.append(row)
        return rows

    async def claim(
        self,
        queue: str,
        tasks: Mapping[str, int | None],
        worker: str,
        token: str,
        now: int,
        until: int,
        limit: int,
        cap: int | None = None,
    ) -> Claim:
        self._hints.claims(queue, tasks)
        duties = self._hints.duties
        told = duties.names
        next_due, followed, *rows = await self._link.call(
            scripts.CLAIM, queue, worker, token, now, until, limit, NONE if cap is None else cap, BATCH_BYTES,
            self._name(tasks), "\n".join(told),
        )  # fmt: skip
        self._followed = bool(followed)
        duties.claimed(queue, tasks, told, full=len(rows) == 3 * limit, nothing=next_due == NONE)
        ids = [id.decode() for id in rows[::3]]
        inputs = await self._inputs(ids, rows[2::3])
        jobs = list(map(read_job, ids, rows[1::3], inputs))
        return Claim(jobs, None if next_due == NONE else next_due)

    def _name(self, tasks: Mapping[str, int | None]) -> str:
        known, text = self._named
        if known != tasks:
            text = pack_named(tasks.items())
            self._named = (dict(tasks), text)
        return text

    async def _inputs(self, ids: list[str], inputs: list[bytes | None]) -> list[bytes | None]:
        """The inputs of claimed jobs, with those that the claim left out for their size."""
        missing = [n for n, input in enumerate(inputs) if input is None]
        if missing and sum(len(input) for input in inputs if input is not None) >= BATCH_BYTES:
            found = await self._link.commands([("HGET", self._job(ids[n]), "i") for n in missing])
            for n, input in zip(missing, found, strict=True):
                inputs[n] = input
        return inputs

    async def renew(self, beats: Sequence[Beat], until: int) -> list[Job]:
        if not beats:
            return []
        args = [value for beat in beats for value in (beat.id, beat.token, beat.progress or "")]
        rows = await self._link.call(scripts.RENEW, until, *args)
        return [read_job(beats[n].id, row) for n, row in zip(rows[::2], rows[1::2], strict=True)]

    async def save(self, jobs: Sequence[Job], within: Any = None) -> list[Job | None]:
        self._check_within(within)
        if not jobs:
            return []
        args = [value for job in jobs for value in changed_row(job)]
        *answers, followed = await self._link.write(scripts.SAVE, *args)
        self._followed = bool(followed)
        return list(map(saved_row, jobs, answers))

    async def get(self, ids: Sequence[str]) -> list[Job | None]:
        if not ids:
            return []
        rows = await self._link.commands([("HMGET", self._job(id), "j", "i", "r") for id in ids])
        return [None if row[0] is None else read_job(id, *row) for id, row in zip(ids, rows, strict=True)]

    async def find(self, query: Query) -> Page:
        return await finding.find(self._link, query)

    async def count(self, query: Query) -> list[Count]:
        return await finding.count(self._link, query)

    # -- records -----------------------------------------------------------------------------------------------

    async def read(self, kind: str, name: str) -> Record | None:
        packed = await self._link.command("HGET", f"{self._link.namespace}:rec:{kind}", name)
        return None if packed is None else read_record(kind, name, packed)

    async def write(self, records: Sequence[Record], within: Any = None) -> list[Record | None]:
        self._check_within(within)
        if not records:
            return []
        args = [value for record in records for value in write_row(record)]
        answers = await self._link.write(scripts.WRITE, *args)
        written = [next_version(r) if won else None for r, won in zip(records, answers, strict=True)]
        await self._tell_of_gates([record for record in written if record is not None])
        return written

    async def scan(
        self, kind: str, due: int | None = None, after: str | None = None, limit: int = BATCH_ROWS
    ) -> list[Record]:
        rows = await self._link.call(scripts.SCAN, kind, after or "", limit, "" if due is None else due)
        return [read_record(kind, name.decode(), packed) for name, packed in zip(rows[::2], rows[1::2], strict=True)]

    async def erase(self, record: Record) -> bool:
        erased = bool(await self._link.call(scripts.ERASE, record.kind, record.name, record.version))
        if erased:
            await self._tell_of_gates([record])
        return erased

    async def _tell_of_gates(self, records: Sequence[Record]) -> None:
        """A gate that was moved is a reason to look again, for those who serve what is behind it."""
        gates = {record.name for record in records if record.kind == GATE}
        if not gates:
            return
        try:
            held = await finding.counts(self._link)
            lanes = {(h.queue, h.task) for h in held if h.state in (State.WAITING, State.RUNNING)}
            behind = [f"{q}/{t}" for q, t in lanes if not gates.isdisjoint((queue_gate(q), task_gate(t)))]
            await self._hints.wake(*behind)
        except StoreUnavailable:
            pass  # a hint may be lost; the gate was moved, and that is what the caller is to hear

    # -- logs --------------------------------------------------------------------------------------------------

    async def append(self, lines: Sequence[LogLine], keep: int) -> None:
        if lines:
            args = [value for line in lines for value in (line.job_id, pack_line(line))]
            await self._link.call(scripts.APPEND, keep, *args)

    async def tail(self, id: str, after: int = 0, limit: int = BATCH_ROWS) -> list[LogLine]:
        return [read_line(id, packed) for packed in await self._link.call(scripts.TAIL, id, after, limit)]

    # -- upkeep ------------------------------------------------------------------------------------------------

    async def purge(self, now: int, limit: int) -> int:
        return int(await self._link.call(scripts.PURGE, now, limit))

    async def facts(self) -> list[Fact]:
        return await gather(self._link)

    # -- transactions ------------------------------------------------------------------------------------------

    def transaction(self) -> AbstractAsyncContextManager[Any]:
        raise DefinitionError(
            f"{self._settings.shown}: a Redis store has no transactions. Use a store that has them (a SQLite file), or "
            "make the effect idempotent: hand it ctx.job_id or ctx.fence."
        )

    # -- hints -------------------------------------------------------------------------------------------------

    async def wake(self, name: str) -> None:
        await self._hints.wake(name)

    async def wait(self, names: Sequence[str], timeout: float) -> bool:
        return await self._hints.wait(names, timeout)

    @property
    def followed(self) -> bool:
        return self._followed

    async def publish(self, events: Sequence[Event]) -> None:
        if events:
            self._followed = await event_stream.publish(self._link, events)

    async def subscribe(self) -> AsyncGenerator[list[Event], None]:
        self._followed = True
        async for batch in event_stream.follow(self._link):
            yield batch

    # -- keys --------------------------------------------------------------------------------------------------

    def _job(self, id: str) -> str:
        return f"{self._link.namespace}:job:{id}"

    def _check_within(self, within: Any) -> None:
        if within is not None:
            raise DefinitionError(
                f"bad within: {within!r}. A Redis store takes part in nobody's transaction; leave within= out, and "
                "enqueue after your own commit."
            )
