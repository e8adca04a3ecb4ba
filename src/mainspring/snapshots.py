"""Task snapshots: what a process without a task's code must know to enqueue it by name.

Workers publish them when they start. They hold no rules: a task that makes a key of its arguments can be enqueued
without its code only where the call gives the key.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mainspring.core.clock import Clock
from mainspring.core.codec import encode_value
from mainspring.core.policy import DAY, Policy
from mainspring.core.records import TASK, Record
from mainspring.core.request import CallOptions, Request
from mainspring.core.task import Task
from mainspring.errors import DefinitionError, InputError, UnknownTask
from mainspring.stores.base import BATCH_ROWS, Store

FRESH = 30_000
"""ms for which a snapshot is believed."""
ROUNDS = 10
FORMER = 3
"""Queues of before that are remembered of a task. Each costs a worker one more claim in a round."""


class Snapshots:
    """Reads and writes the snapshots of one store."""

    def __init__(self, store: Store, clock: Clock, tasks: Mapping[str, Task[Any, Any]]) -> None:
        self._store = store
        self._clock = clock
        self._tasks = tasks
        self._cache: dict[str, tuple[int, dict[str, Any]]] = {}

    async def request(self, name: str, input: Mapping[str, Any], options: CallOptions) -> Request[Any]:
        """A call of a task that only workers know. Raises `UnknownTask`, `InputError`, `DefinitionError`."""
        snapshot = await self.read(name)
        if snapshot is None:
            raise UnknownTask(name, await self.names())
        text = _check_input(name, input, snapshot)
        request: Request[Any] = Request(
            task=name,
            queue=snapshot["queue"],
            input=text,
            priority=snapshot["priority"],
            expires=snapshot.get("expires"),
        )
        request = request.with_options(options)
        if snapshot.get("rule") is not None and request.rule is None:
            raise DefinitionError(
                f"task {name!r} makes a key of its arguments, which only its code can do. Import the module that "
                "defines it, or give the key: idempotency_key=... or unique_key=..."
            )
        return request

    async def encode_input(self, name: str, input: Mapping[str, Any]) -> str:
        """The input of a task that only workers know, as JSON text. Raises `UnknownTask`, `InputError`."""
        snapshot = await self.read(name)
        if snapshot is None:
            raise UnknownTask(name, await self.names())
        return _check_input(name, input, snapshot)

    async def policy(self, name: str) -> Policy:
        """The policy of a task as far as others must know it; the default where nobody has told."""
        snapshot = await self.read(name) or {}
        return Policy(retention=snapshot.get("retention", DAY))

    async def publish(self, tasks: Sequence[Task[Any, Any]]) -> set[str]:
        """Write the snapshots that differ from what is stored. Answers the queues that these tasks, under all of their
        names, were in before: old code may go on to enqueue there, and delayed jobs may lie there for long."""
        own = {task.name: task for task in tasks}
        names = dict.fromkeys(name for task in tasks for name in (task.name, *task.aliases))
        stored: dict[str, Record] = {}
        for _ in range(ROUNDS):
            stored = {name: record for name in names if (record := await self._store.read(TASK, name)) is not None}
            wanted = {name: _remembering(task.snapshot(), stored.get(name)) for name, task in own.items()}
            now = self._clock.now()
            changed = [
                stored.get(name, Record(kind=TASK, name=name)).evolve(written_at=now, value=value)
                for name, value in wanted.items()
                if name not in stored or stored[name].value != value
            ]
            if not changed:
                break
            for first in range(0, len(changed), BATCH_ROWS):
                await self._store.write(changed[first : first + BATCH_ROWS])
        return {queue for record in stored.values() for queue in _queues(record)}

    async def read(self, name: str) -> dict[str, Any] | None:
        """What workers told of a task; None where nobody has. Believed for half a minute."""
        at, snapshot = self._cache.get(name, (0, {}))
        now = self._clock.monotonic()
        if snapshot and now - at < FRESH:
            return snapshot
        record = await self._store.read(TASK, name)
        if record is None:
            return None
        self._cache[name] = (now, record.value)
        return record.value

    async def names(self) -> list[str]:
        """All tasks, known here or told of by a worker."""
        return sorted({*self._tasks, *(record.name for record in await self._store.scan(TASK))})


def _queues(record: Record) -> list[str]:
    """The queue of a stored snapshot, and those before it, the newest first."""
    return [queue for queue in (record.value.get("queue"), *record.value.get("former", ())) if queue is not None]


def _remembering(snapshot: dict[str, Any], stored: Record | None) -> dict[str, Any]:
    """The snapshot with the queues that its task was in before."""
    former = [] if stored is None else [queue for queue in _queues(stored) if queue != snapshot["queue"]]
    return {**snapshot, "former": former[:FORMER]} if former else snapshot


def _check_input(name: str, input: Mapping[str, Any], snapshot: dict[str, Any]) -> str:
    """The input as JSON text, if its names fit. The worker validates the values."""
    if not isinstance(input, Mapping):
        raise InputError(f"bad input of task {name!r}: {input!r}. Expected an object, arguments by name.")
    parameters: dict[str, bool] = snapshot["parameters"]
    missing = [parameter for parameter, required in parameters.items() if required and parameter not in input]
    unknown = [] if snapshot.get("open") else [given for given in input if given not in parameters]
    problems = [f"{parameter}: is missing" for parameter in missing] + [f"{given}: is not known" for given in unknown]
    if problems:
        raise InputError(
            f"bad input of task {name!r}: {'; '.join(problems)}. "
            f"Expected ({', '.join(parameters)}); nothing was stored."
        )
    return encode_value(dict(input), f"input of task {name!r}")
