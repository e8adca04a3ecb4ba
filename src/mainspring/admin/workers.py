"""Workers as operators see them: what each of them has told of itself in its record.

A worker writes its record every quarter of a minute, so numbers are as old as `last_seen` says. Its record goes when it
stops, or is buried by its parent; that of one which vanished stays for a minute.
"""

from __future__ import annotations

import builtins
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mainspring.admin.connection import App
from mainspring.admin.queue_stats import workers
from mainspring.core.naming import check_reason
from mainspring.core.records import WORKER, Record
from mainspring.errors import Contended

ATTEMPTS = 50
SILENT = 35_000
"""ms without a word after which a worker is called silent: two of its signs of life are missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerInfo:
    """A worker, as of `last_seen`. Times in ms on the store's clock."""

    id: str
    host: str
    pid: int | None
    status: str
    """starting, running, paused or stopping; silent: nothing was heard of it for 35 s, it is hung, cut off or dead."""
    active: int
    """Handlers that ran."""
    concurrency: int
    """Handlers that may run at once."""
    processed: int
    """Runs that have ended, whatever their outcome."""
    failed: int
    """Of these, the runs that failed."""
    uptime: float
    """Seconds."""
    loop_lag: int
    """ms by which its event loop was late."""
    queues: tuple[str, ...]
    tasks: tuple[str, ...]
    last_seen: int


class Workers:
    """Workers: which live, and what they are doing: `app.workers`."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def list(self) -> builtins.list[WorkerInfo]:
        """All workers that live, or were heard of within the last minute, by id."""
        client = await self._app.connect()
        now = client.clock.now()
        return [_info(record, now) for record in sorted(await workers(client), key=lambda record: record.name)]

    async def get(self, id: str) -> WorkerInfo | None:
        """The worker; None where nothing was heard of it within the last minute."""
        client = await self._app.connect()
        record, now = await client.store.read(WORKER, id), client.clock.now()
        if record is None or (record.expires_at is not None and record.expires_at <= now):
            return None
        return _info(record, now)

    async def pause(self, id: str, reason: str = "") -> bool:
        """Let this worker claim nothing more, until `resume` or its end; what runs goes on. False: there is none.

        It reads that when it writes its record the next time, a quarter of a minute from now at the most. One that is
        started in its place is not paused; `app.queues.pause` is for good.
        """
        return await self._ask(id, "pause", reason)

    async def resume(self, id: str, reason: str = "") -> bool:
        """Let it claim again, within a quarter of a minute. False: there is none."""
        return await self._ask(id, "resume", reason)

    async def _ask(self, id: str, what: str, reason: str) -> bool:
        client = await self._app.connect()
        async with self._app.audit.act(f"workers.{what}", id, reason=check_reason(reason)) as act:
            for _ in range(ATTEMPTS):
                record, now = await client.store.read(WORKER, id), client.clock.now()
                if record is None or (record.expires_at is not None and record.expires_at <= now):
                    return False
                asked = record.evolve(value={**record.value, "asked": what})
                if (await client.store.write([asked]))[0] is not None:
                    act.changed = 1
                    return True
            raise Contended(f"worker {id} wrote its record {ATTEMPTS} times in a row. Try again.")


def _info(record: Record, now: int) -> WorkerInfo:
    told: Mapping[str, Any] = record.value
    host, pid = told.get("host"), told.get("pid")
    silent = now - record.written_at > SILENT
    numbers = {name: told.get(name, 0) for name in ("active", "concurrency", "processed", "failed", "loop_lag")}
    return WorkerInfo(
        id=record.name,
        host=host if isinstance(host, str) else record.name.partition(":")[0],
        pid=pid if isinstance(pid, int) else None,
        status="silent" if silent else str(told.get("status", "running")),
        uptime=float(told.get("uptime", 0)),
        queues=tuple(told.get("queues", ())),
        tasks=tuple(told.get("tasks", ())),
        last_seen=record.written_at,
        **numbers,
    )
