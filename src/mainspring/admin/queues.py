"""Queues as operators handle them: what lies in them, and the gates that hold a queue or a task back.

A pause closes a gate without end, a throttle one with an end. Claims read gates in their own atomic step, so nothing
is claimed after `pause` has returned; what runs goes on.
"""

from __future__ import annotations

import builtins
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import overload

from mainspring.admin.connection import App
from mainspring.admin.queue_stats import QueueStats, gather_stats, queue_names, workers
from mainspring.client import Client
from mainspring.core.duration import Duration, until
from mainspring.core.naming import check_name, check_reason
from mainspring.core.records import queue_gate, task_gate
from mainspring.gates import Gates
from mainspring.stores.base import Query


class Queues:
    """Queues: what lies in them, and holding them or tasks back: `app.queues`."""

    def __init__(self, app: App) -> None:
        self._app = app

    # -- looking ---------------------------------------------------------------------------------------------------

    async def list(self) -> builtins.list[str]:
        """The names of all queues: of jobs, of tasks that are known, of live workers, and paused ones."""
        return sorted(await queue_names(await self._app.connect()))

    @overload
    async def stats(self) -> builtins.list[QueueStats]: ...
    @overload
    async def stats(self, queue: str) -> QueueStats: ...
    async def stats(self, queue: str | None = None) -> QueueStats | builtins.list[QueueStats]:
        """What lies in a queue, or in each of them by name, and whether it moves."""
        client = await self._app.connect()
        names = await queue_names(client) if queue is None else {check_name(queue, "queue")}
        stats = await gather_stats(client, names)
        return stats if queue is None else stats[0]

    async def is_paused(self, queue: str) -> bool:
        """Whether nothing is claimed from this queue until somebody resumes it."""
        return await (await self._gates()).read(queue_gate(queue)) is not None

    # -- queues ----------------------------------------------------------------------------------------------------

    async def pause(self, queue: str, reason: str = "") -> None:
        """Let nothing of the queue start any more until `resume`. A queue need not exist yet."""
        await self._close("queues.pause", queue, queue_gate(check_name(queue, "queue")), None, reason)

    async def resume(self, queue: str) -> bool:
        """Let it go on. False: it was not paused."""
        client = await self._app.connect()
        opened = await self._open("queues.resume", queue, queue_gate(check_name(queue, "queue")))
        await _wake(client, [queue])
        return opened

    # -- tasks -----------------------------------------------------------------------------------------------------

    async def throttle(self, task: str, duration: Duration | datetime, reason: str = "") -> None:
        """Let no job of the task start, in any queue, for `duration`, or until then; the newest word counts."""
        client = await self._app.connect()
        end = until(duration, client.clock.now(), "throttle")
        await self._close("queues.throttle", task, task_gate(check_name(task, "task")), end, reason)

    async def unthrottle(self, task: str) -> bool:
        """Let the task's jobs start again. False: it was neither throttled nor paused."""
        return await self._let_go("queues.unthrottle", task)

    async def pause_task(self, task: str, reason: str = "") -> None:
        """Let no job of the task start, in any queue, until `resume_task`."""
        await self._close("queues.pause_task", task, task_gate(check_name(task, "task")), None, reason)

    async def resume_task(self, task: str) -> bool:
        """As `unthrottle`."""
        return await self._let_go("queues.resume_task", task)

    async def _let_go(self, action: str, task: str) -> bool:
        client = await self._app.connect()
        opened = await self._open(action, task, task_gate(check_name(task, "task")))
        counts = await client.store.count(Query(task=task))
        await _wake(client, {count.queue for count in counts})
        return opened

    # -- gates -----------------------------------------------------------------------------------------------------

    async def _close(self, action: str, target: str, gate: str, until: int | None, reason: str) -> None:
        gates = await self._gates()
        async with self._app.audit.act(action, target, reason=check_reason(reason)) as act:
            await gates.close(gate, until, reason)
            act.changed = 1
            if until is not None:
                act.detail["until"] = datetime.fromtimestamp(until / 1000, UTC)

    async def _open(self, action: str, target: str, gate: str) -> bool:
        gates = await self._gates()
        async with self._app.audit.act(action, target) as act:
            opened = await gates.open(gate)
            act.changed = int(opened)
            return opened

    async def _gates(self) -> Gates:
        client = await self._app.connect()
        return Gates(client.store, client.clock)


async def _wake(client: Client, queues: Iterable[str]) -> None:
    """Wake every worker of these queues: a hint wakes one waiter only, and behind a gate there may be work for all."""
    serving = [set(worker.value.get("queues", ())) for worker in await workers(client)]
    for queue in queues:
        for _ in range(max(1, sum(queue in served for served in serving))):
            await client.store.wake(queue)
