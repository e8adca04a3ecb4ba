"""The contract of `stores/base.py` over dicts: slow, obvious, and what the state machine compares a store with.

It takes part in the suite itself: a test that fails here is a test at fault, one that fails on a store alone has found
something. It may not know how any store does it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any

from mainspring.core.job import Job, State
from mainspring.core.records import GATE, Record, closed, queue_gate, task_gate
from mainspring.errors import DefinitionError, StoreUnavailable
from mainspring.stores.base import BATCH_ROWS, Beat, Claim, Count, Event, Fact, LogLine, Page, Query, Store

KEPT_BY_SAVE = ("token", "claims", "worker", "started_at", "last_worker", "last_started_at")


@dataclass
class Data:
    """What the clones of a model share."""

    rows: dict[str, Job] = field(default_factory=dict)
    """In the order of insertion."""
    records: dict[tuple[str, str], Record] = field(default_factory=dict)
    logs: dict[str, list[LogLine]] = field(default_factory=dict)
    seqs: dict[str, int] = field(default_factory=dict)
    woken: dict[str, int] = field(default_factory=dict)
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    followers: list[asyncio.Queue[list[Event]]] = field(default_factory=list)


def bare(job: Job) -> Job:
    """A row without its payload."""
    return job.evolve(input=None, result=None)


class ModelStore(Store):
    """A store in dicts."""

    url = "model:"

    def __init__(self, time: Callable[[], int], data: Data | None = None) -> None:
        self._time = time
        self.data = data or Data()
        self._seen: dict[str, int] = {}
        self._open = False

    async def open(self) -> None:
        self._open = True

    async def close(self) -> None:
        self._open = False

    def clone(self) -> Store:
        return ModelStore(self._time, self.data)

    async def time(self) -> int:
        self._check()
        return self._time()

    def _check(self, within: Any = None) -> None:
        if not self._open:
            raise StoreUnavailable("the store is closed")
        if within is not None:
            raise DefinitionError(f"bad within: {within!r}. The model has no transactions.")

    # -- jobs

    async def add(self, jobs: Sequence[Job], within: Any = None) -> list[Job]:
        self._check(within)
        rows = self.data.rows
        for job in jobs:
            if job.id not in rows:
                rows[job.id] = job.evolve(version=1)
                await self.wake(job.queue)
        return [bare(rows[job.id]) for job in jobs]

    def claimable(self, queue: str, tasks: Mapping[str, int | None], now: int, cap: int | None = None) -> list[Job]:
        """Every row that a claim could take, caps aside, in the order of the contract."""
        if self._shut(queue_gate(queue), now):
            return []
        due = [
            row for row in self.data.rows.values()
            if row.queue == queue and row.task in tasks and row.due_at <= now
            and row.state in (State.WAITING, State.RUNNING) and not self._shut(task_gate(row.task), now)
        ]  # fmt: skip
        first: dict[tuple[int, str], int] = {}
        for row in due:
            lane = (row.priority, row.task)
            first[lane] = min(first.get(lane, row.due_at), row.due_at)
        return sorted(
            due,
            key=lambda r: (
                r.state is State.WAITING, -r.priority, first[r.priority, r.task], r.task, r.due_at, r.id,
            ),
        )  # fmt: skip

    def _shut(self, name: str, now: int) -> bool:
        gate = self.data.records.get((GATE, name))
        return gate is not None and closed(gate, now)

    def alive(self, now: int) -> list[Job]:
        """The rows under a lease that has not ended."""
        return [r for r in self.data.rows.values() if r.state is State.RUNNING and r.due_at > now]

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
        self._check()
        self._seen[queue] = self.data.woken.get(queue, 0)
        alive, cut, taken = self.alive(now), False, list[Job]()
        for row in self.claimable(queue, tasks, now):
            most = tasks[row.task]
            if most is not None and sum(r.task == row.task for r in alive) >= most:
                continue
            if cap is not None and sum(r.queue == queue for r in alive) >= cap:
                continue
            if len(taken) == limit:
                cut = True
                break
            alive.append(row)
            taken.append(self.take(row, worker, token, now, until))
        return Claim([row.evolve(result=None) for row in taken], now if cut else self._next_due(queue, tasks, now, cap))

    def take(self, row: Job, worker: str, token: str, now: int, until: int) -> Job:
        """Mark a row as claimed."""
        self.data.rows[row.id] = taken = row.evolve(
            state=State.RUNNING, due_at=until, token=token, worker=worker, started_at=now, claims=row.claims + 1,
            version=row.version + 1, last_worker=row.worker, last_started_at=row.started_at,
        )  # fmt: skip
        return taken

    def _next_due(self, queue: str, tasks: Mapping[str, int | None], now: int, cap: int | None) -> int | None:
        here = [r for r in self.data.rows.values() if r.state in (State.WAITING, State.RUNNING) and r.due_at > now]
        times = [r.due_at for r in here if r.queue == queue and (r.task in tasks or cap is not None)]
        times += [r.due_at for r in here if r.task in tasks and r.state is State.RUNNING and tasks[r.task] is not None]
        gates = [self.data.records.get((GATE, name)) for name in (queue_gate(queue), *map(task_gate, tasks))]
        times += [g.expires_at for g in gates if g is not None and g.expires_at is not None and g.expires_at > now]
        return min(times, default=None)

    async def renew(self, beats: Sequence[Beat], until: int) -> list[Job]:
        self._check()
        renewed = []
        for beat in beats:
            row = self.data.rows.get(beat.id)
            if row is None or row.state is not State.RUNNING or row.token != beat.token:
                continue
            progress = row.progress if beat.progress is None else beat.progress
            row = row.evolve(due_at=max(row.due_at, until), version=row.version + 1, progress=progress)
            self.data.rows[row.id] = row
            renewed.append(bare(row))
        return renewed

    async def save(self, jobs: Sequence[Job], within: Any = None) -> list[Job | None]:
        self._check(within)
        return [self._save(job) for job in jobs]

    def _save(self, job: Job) -> Job | None:
        row = self.data.rows.get(job.id)
        if row is None or (row.version, row.token) != (job.version, job.token):
            return None
        kept: dict[str, Any] = {name: getattr(row, name) for name in KEPT_BY_SAVE}
        kept["input"] = row.input if job.input is None else job.input
        kept["result"] = row.result if job.result is None else job.result
        new = job.evolve(version=job.version + 1, **kept)
        if new.state.terminal and new.expires_at == 0:
            self._drop(job.id)
        else:
            self.data.rows[job.id] = new
        return new.evolve(input=job.input, result=job.result)

    def _drop(self, id: str) -> None:
        del self.data.rows[id]
        self.data.logs.pop(id, None)

    async def get(self, ids: Sequence[str]) -> list[Job | None]:
        self._check()
        return [self.data.rows.get(id) for id in ids]

    async def find(self, query: Query) -> Page:
        self._check()
        found = [(place, row) for place, row in enumerate(self.data.rows.values(), 1) if matches(row, query)]
        if not query.oldest_first:
            found.reverse()
        if query.after is not None:
            at = int(query.after)
            found = [(place, row) for place, row in found if (place > at if query.oldest_first else place < at)]
        page = found[: query.limit]
        return Page([bare(row) for _, row in page], str(page[-1][0]) if len(found) > len(page) else None)

    async def count(self, query: Query) -> list[Count]:
        self._check()
        counts: dict[tuple[str, str, State], int] = {}
        for row in self.data.rows.values():
            if matches(row, query):
                key = (row.queue, row.task, row.state)
                counts[key] = counts.get(key, 0) + 1
        return [Count(*key, jobs) for key, jobs in counts.items()]

    # -- records

    async def read(self, kind: str, name: str) -> Record | None:
        self._check()
        return self.data.records.get((kind, name))

    async def write(self, records: Sequence[Record], within: Any = None) -> list[Record | None]:
        self._check(within)
        return [self._write(record) for record in records]

    def _write(self, record: Record) -> Record | None:
        stored = self.data.records.get((record.kind, record.name))
        if (stored.version if stored else 0) != record.version:
            return None
        new = record.evolve(version=record.version + 1 if stored else record.written_at)
        self.data.records[record.kind, record.name] = new
        return new

    async def scan(
        self, kind: str, due: int | None = None, after: str | None = None, limit: int = BATCH_ROWS
    ) -> list[Record]:
        self._check()
        found = sorted((r for r in self.data.records.values() if r.kind == kind), key=lambda r: r.name)
        if after is not None:
            found = [r for r in found if r.name > after]
        if due is not None:
            timed = [(r.due_at, r.name, r) for r in found if r.due_at is not None and r.due_at <= due]
            found = [r for _, _, r in sorted(timed, key=lambda t: t[:2])]
        return found[:limit]

    async def erase(self, record: Record) -> bool:
        self._check()
        stored = self.data.records.get((record.kind, record.name))
        if stored is None or stored.version != record.version:
            return False
        del self.data.records[record.kind, record.name]
        return True

    # -- logs and upkeep

    async def append(self, lines: Sequence[LogLine], keep: int) -> None:
        self._check()
        for line in lines:
            if line.job_id in self.data.rows:
                seq = self.data.seqs[line.job_id] = self.data.seqs.get(line.job_id, 0) + 1
                log = self.data.logs.setdefault(line.job_id, [])
                log.append(line._replace(seq=seq))
                del log[:-keep]

    async def tail(self, id: str, after: int = 0, limit: int = BATCH_ROWS) -> list[LogLine]:
        self._check()
        return [line for line in self.data.logs.get(id, []) if line.seq > after][:limit]

    async def purge(self, now: int, limit: int) -> int:
        self._check()
        old = [r.id for r in self.data.rows.values() if r.state.terminal and r.expires_at is not None]
        old = [id for id in old if (self.data.rows[id].expires_at or 0) <= now][:limit]
        for id in old:
            self._drop(id)
        records = [k for k, r in self.data.records.items() if r.expires_at is not None and r.expires_at <= now][:limit]
        for key in records:
            del self.data.records[key]
        return len(old) + len(records)

    async def facts(self) -> list[Fact]:
        self._check()
        return [Fact("store", "model")]

    # -- transactions

    def transaction(self) -> AbstractAsyncContextManager[Any]:
        raise DefinitionError("the model has no transactions")

    # -- hints

    async def wake(self, name: str) -> None:
        self._check()
        async with self.data.changed:
            self.data.woken[name] = self.data.woken.get(name, 0) + 1
            self.data.changed.notify_all()

    async def wait(self, names: Sequence[str], timeout: float) -> bool:
        self._check()
        try:
            async with asyncio.timeout(timeout), self.data.changed:
                await self.data.changed.wait_for(lambda: any(self._news(name) for name in names))
        except TimeoutError:
            return False
        for name in names:
            self._seen[name] = self.data.woken.get(name, 0)
        return True

    def _news(self, name: str) -> bool:
        return self.data.woken.get(name, 0) > self._seen.get(name, 0)

    @property
    def followed(self) -> bool:
        return bool(self.data.followers)

    async def publish(self, events: Sequence[Event]) -> None:
        self._check()
        for follower in self.data.followers:
            follower.put_nowait(list(events))

    async def subscribe(self) -> AsyncGenerator[list[Event], None]:
        inbox: asyncio.Queue[list[Event]] = asyncio.Queue()
        self.data.followers.append(inbox)
        try:
            yield []
            while True:
                yield await inbox.get()
        finally:
            self.data.followers.remove(inbox)


def matches(row: Job, query: Query) -> bool:
    """Whether everything that `query` gives holds of `row`."""
    plain = ("queue", "task", "worker", "origin", "keyed")
    if any(getattr(query, name) not in (None, getattr(row, name)) for name in plain):
        return False
    if query.states and row.state not in query.states:
        return False
    if query.created_after is not None and row.created_at < query.created_after:
        return False
    if query.created_before is not None and row.created_at >= query.created_before:
        return False
    return query.error is None or (row.error is not None and query.error.lower() in str(row.error).lower())
