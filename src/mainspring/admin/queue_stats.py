"""What lies in the queues, gathered in a few bounded reads."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from mainspring.client import Client
from mainspring.core import states
from mainspring.core.job import Job, State
from mainspring.core.records import GATE, TASK, WORKER, Record, closed, queue_gate, task_gate
from mainspring.stores.base import BATCH_ROWS, Count, Query

SPLIT_LIMIT = 2_000
"""Waiting jobs of a queue that are read to tell scheduled, pending and retrying apart; a dashboard asks each second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueStats:
    """A queue at one moment. Times in ms on the store's clock, ages in ms."""

    queue: str
    waiting: int = 0
    scheduled: int | None = None
    """None with `pending` and `retrying`: more than 2,000 jobs wait, and they are not told apart."""
    pending: int | None = None
    retrying: int | None = None
    running: int = 0
    paused: int = 0
    """Jobs that are paused one by one."""
    completed: int = 0
    failed: int = 0
    dead: int = 0
    cancelled: int = 0
    oldest_due: int | None = None
    """For how long the job that is due for longest has been due."""
    is_paused: bool = False
    pause_reason: str = ""
    paused_at: int | None = None
    throttled: dict[str, int | None] = field(default_factory=dict)
    """Tasks of this queue that are held back, until when; None: until resumed."""
    workers: int = 0
    """Live workers that serve it."""
    no_handler: tuple[str, ...] = ()
    """Tasks with jobs waiting here that no live worker of this queue runs."""


async def queue_names(client: Client) -> set[str]:
    """All queues that there are."""
    names = {count.queue for count in await client.store.count(Query())}
    names |= {task.queue for task in client.tasks.values()}
    names |= {str(record.value["queue"]) for record in await _all(client, TASK) if record.value.get("queue")}
    names |= {str(queue) for worker in await workers(client) for queue in worker.value.get("queues", ())}
    prefix = queue_gate("")
    gates = await _gates(client)
    return names | {name.removeprefix(prefix) for name in gates if name.startswith(prefix)}


async def workers(client: Client) -> list[Record]:
    """The records of all workers that are alive."""
    now = client.clock.now()
    return [record for record in await _all(client, WORKER) if record.expires_at is None or record.expires_at > now]


async def gather_stats(client: Client, queues: Iterable[str]) -> list[QueueStats]:
    """The stats of these queues, by name."""
    names = sorted(queues)
    of_queue: dict[str, list[Count]] = defaultdict(list)
    query = Query(queue=names[0]) if len(names) == 1 else Query()
    for count in await client.store.count(query):
        of_queue[count.queue].append(count)
    gates, alive = await _gates(client), await workers(client)
    return [await _stats(client, name, of_queue[name], gates, alive) for name in names]


async def _stats(
    client: Client, queue: str, counts: list[Count], gates: dict[str, Record], alive: list[Record]
) -> QueueStats:
    per_state = {state: sum(count.jobs for count in counts if count.state is state) for state in State}
    split, oldest = await _split(client, queue, per_state[State.WAITING])
    gate = gates.get(queue_gate(queue))
    serving = [worker for worker in alive if queue in worker.value.get("queues", ())]
    waiting = {count.task for count in counts if count.jobs and count.state is State.WAITING}
    handled = {task for worker in serving for task in worker.value.get("tasks", ())}
    held = {
        task: gates[task_gate(task)].expires_at for task in _tasks(client, queue, counts) if task_gate(task) in gates
    }
    return QueueStats(
        queue=queue,
        **{state.value: per_state[state] for state in State},
        **split,
        oldest_due=oldest,
        is_paused=gate is not None,
        pause_reason="" if gate is None else str(gate.value.get("reason", "")),
        paused_at=None if gate is None else gate.written_at,
        throttled=held,
        workers=len(serving),
        no_handler=tuple(sorted(waiting - handled)),
    )


def _tasks(client: Client, queue: str, counts: list[Count]) -> list[str]:
    known = {task.name for task in client.tasks.values() if task.queue == queue}
    return sorted(known | {count.task for count in counts})


async def _split(client: Client, queue: str, waiting: int) -> tuple[dict[str, int], int | None]:
    """How many jobs are scheduled, pending and retrying, and for how long the first of them has been due."""
    if waiting > SPLIT_LIMIT:
        return {}, None
    split = {"scheduled": 0, "pending": 0, "retrying": 0}
    oldest: int | None = None
    now = client.clock.now()
    for job in await _waiting(client, queue) if waiting else ():
        split[states.status(job, now)] += 1
        if job.due_at <= now:
            oldest = max(oldest or 0, now - job.due_at)
    return split, oldest


async def _waiting(client: Client, queue: str) -> list[Job]:
    query = Query(queue=queue, states=(State.WAITING,), limit=BATCH_ROWS)
    found: list[Job] = []
    while len(found) <= SPLIT_LIMIT:
        page = await client.store.find(query)
        found += page.jobs
        if page.cursor is None:
            break
        query = query.evolve(after=page.cursor)
    return found


async def _gates(client: Client) -> dict[str, Record]:
    """The gates that are closed now, by name."""
    now = client.clock.now()
    return {gate.name: gate for gate in await _all(client, GATE) if closed(gate, now)}


async def _all(client: Client, kind: str) -> list[Record]:
    records: list[Record] = []
    while True:
        page = await client.store.scan(kind, after=records[-1].name if records else None)
        records += page
        if len(page) < BATCH_ROWS:
            return records
