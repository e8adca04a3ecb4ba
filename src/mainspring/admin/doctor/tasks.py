"""Whether the code here and the workers agree: tasks of another version, queues and schedules that nobody serves."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

from mainspring.admin.doctor.finding import Finding, listed, note, warning
from mainspring.admin.queue_stats import workers
from mainspring.client import Client
from mainspring.core.records import SCHEDULE, TASK, Record
from mainspring.stores.base import BATCH_ROWS

AHEAD = 2_000
"""ms that a worker's last sign of life may lie in the future of the store's clock."""


async def examine(client: Client) -> AsyncIterator[Finding]:
    """Findings about tasks; hardly any where the app is the URL of a store, for then no task is known."""
    stored = {record.name: record.value for record in await client.store.scan(TASK)}
    alive = await workers(client)
    for finding in (*_versions(client, stored), *_retention(client), *_queues(client, alive)):
        yield finding
    ahead = _clocks(alive, await client.store.time())
    if ahead is not None:
        yield ahead
    if alive and (names := await _schedules(client, alive)):
        found = f"no living worker runs the tasks of {listed(names)}"
        advice = "deploy the code, let a worker serve the task, or delete them: mainspring schedules delete NAME"
        yield warning("schedules without handler", found, "a worker for each task", advice)


def _versions(client: Client, stored: dict[str, dict[str, Any]]) -> Iterator[Finding]:
    differing = []
    for name, task in client.tasks.items():
        own, theirs = task.snapshot(), stored.get(name)
        if theirs is not None and (parts := [part for part in own if own[part] != theirs.get(part)]):
            differing.append(f"{name} ({', '.join(parts)})")
    if differing:
        found = f"the code here and that of the worker that started last differ: {listed(sorted(differing))}"
        yield note("tasks", found, "one version", "restart the workers if this is the newer code, deploy it if not")


def _retention(client: Client) -> Iterator[Finding]:
    names = sorted(name for name, task in client.tasks.items() if task.policy.retention == 0)
    if names:
        found = f"of {listed(names)} nothing is kept: job.result() finds a result only while it waits for it"
        yield note(
            "retention", found, "1d", "set retention to as long as somebody may ask for the result or the history"
        )


def _queues(client: Client, alive: Sequence[Record]) -> Iterator[Finding]:
    served = {queue for worker in alive for queue in worker.value.get("queues", ())}
    unserved = sorted({task.queue for task in client.tasks.values()} - served)
    if alive and unserved:
        found = f"no living worker serves {listed(unserved)}"
        yield note(
            "queues", found, "a worker for each queue", "see --queues of the workers, or start one that serves them"
        )


def _clocks(alive: Sequence[Record], now: int) -> Finding | None:
    ahead = [f"{worker.name} {worker.written_at - now:,} ms" for worker in alive if worker.written_at > now + AHEAD]
    if not ahead:
        return None
    advice = "restart them: a worker keeps to the store's clock from its start on"
    return warning("worker clocks", f"before the store's: {listed(ahead)}", "the store's time", advice)


async def _schedules(client: Client, alive: Sequence[Record]) -> list[str]:
    run = {task for worker in alive for task in worker.value.get("tasks", ())}
    names: list[str] = []
    after: str | None = None
    while records := await client.store.scan(SCHEDULE, after=after):
        names += [
            record.name for record in records if record.due_at is not None and record.value.get("task") not in run
        ]
        after = records[-1].name
        if len(records) < BATCH_ROWS:
            break
    return names
