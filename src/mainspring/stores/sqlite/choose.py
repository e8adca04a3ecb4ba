"""Which jobs a claim takes: a loose index scan over lanes and priorities.

Rows are never walked. The index of what waits is (queue, priority, task, due_at, id), so each lane of a priority is
found by one seek behind the lane before, and its first due job by one more. What a claim costs depends on the number of
(priority, task) pairs that are there, not on jobs: 100,000 future jobs of a higher priority are one lane, and so are
20,000 jobs of a task that is not named, gated or full. Chooses only; `claim` takes.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from mainspring.core.records import GATE, queue_gate, task_gate
from mainspring.stores.sqlite.hints import GATES
from mainspring.stores.sqlite.transaction import ask, json_list

# -- the statements ----------------------------------------------------------------------------------------------
# INDEXED BY: the plan is part of the contract, whatever statistics the file may carry; a test reads the plans.

# All that decides whether there is anything to look for, in one step: the mark for waiters, closed gates, the tasks
# that run in this queue (first lease end; first lease end to come), and the highest priority that waits.
SCENE = f"""
    WITH RECURSIVE held (task) AS (
        SELECT min(task) FROM mainspring_jobs INDEXED BY mainspring_running WHERE state = 'running'
        UNION ALL
        SELECT (SELECT min(task) FROM mainspring_jobs INDEXED BY mainspring_running
                WHERE state = 'running' AND task > held.task)
        FROM held WHERE held.task IS NOT NULL
    )
    SELECT json_array(
        (SELECT coalesce(sum(n), 0) FROM mainspring_hints WHERE name IN (:queue, :gates)),
        (SELECT json_group_array(json_array(name, expires_at)) FROM mainspring_records
         WHERE kind = '{GATE}' AND (expires_at IS NULL OR expires_at > :now)),
        (SELECT json_group_array(json_array(
            task,
            (SELECT min(due_at) FROM mainspring_jobs INDEXED BY mainspring_running
             WHERE state = 'running' AND task = held.task AND queue = :queue),
            (SELECT min(due_at) FROM mainspring_jobs INDEXED BY mainspring_running
             WHERE state = 'running' AND task = held.task AND queue = :queue AND due_at > :now)
         )) FROM held WHERE task IS NOT NULL),
        (SELECT max(priority) FROM mainspring_jobs INDEXED BY mainspring_waiting
         WHERE state = 'waiting' AND queue = :queue)
    )"""

# The lanes of one priority (task, first job by due time and id, first due time to come), and the next lower priority.
_LANE = """FROM mainspring_jobs INDEXED BY mainspring_waiting
            WHERE state = 'waiting' AND queue = :queue AND priority = :priority"""
LANES = f"""
    WITH RECURSIVE lane (task) AS (
        SELECT min(task) {_LANE}
        UNION ALL
        SELECT (SELECT min(task) {_LANE} AND task > lane.task) FROM lane WHERE lane.task IS NOT NULL
    )
    SELECT json_array(
        (SELECT json_group_array(json_array(
            task,
            (SELECT due_at {_LANE} AND task = lane.task ORDER BY due_at, id LIMIT 1),
            (SELECT id {_LANE} AND task = lane.task ORDER BY due_at, id LIMIT 1),
            (SELECT min(due_at) {_LANE} AND task = lane.task AND due_at > :now)
         )) FROM lane WHERE task IS NOT NULL),
        (SELECT max(priority) FROM mainspring_jobs INDEXED BY mainspring_waiting
         WHERE state = 'waiting' AND queue = :queue AND priority < :priority)
    )"""

# The due jobs of a lane, in order.
DUE = f"""
    SELECT json_group_array(seq) FROM (
        SELECT seq {_LANE} AND task = :task AND due_at <= :now ORDER BY due_at, id LIMIT :limit
    )"""

# The lapsed leases of a task in a queue, as (due_at, seq).
LAPSED = """
    SELECT json_group_array(json_array(due_at, seq)) FROM (
        SELECT due_at, seq FROM mainspring_jobs INDEXED BY mainspring_running
        WHERE state = 'running' AND queue = :queue AND task = :task AND due_at <= :now ORDER BY due_at LIMIT :limit
    )"""

# How many jobs of each task hold a live lease, in all queues, and when the first of them ends.
LIVE = """
    SELECT json_group_array(json_array(
        value,
        (SELECT count(*) FROM mainspring_jobs INDEXED BY mainspring_running
         WHERE state = 'running' AND task = value AND due_at > :now),
        (SELECT min(due_at) FROM mainspring_jobs INDEXED BY mainspring_running
         WHERE state = 'running' AND task = value AND due_at > :now)
    )) FROM json_each(:tasks)"""

# The same for a queue: over the tasks that run in it.
LIVE_IN_QUEUE = """
    SELECT json_array(count(*), min(due_at))
    FROM json_each(:tasks) CROSS JOIN mainspring_jobs INDEXED BY mainspring_running
    WHERE state = 'running' AND task = value AND queue = :queue AND due_at > :now"""


# -- choosing ----------------------------------------------------------------------------------------------------


class Want(NamedTuple):
    """What `Store.claim` was asked for."""

    queue: str
    tasks: Mapping[str, int | None]
    worker: str
    token: str
    now: int
    until: int
    limit: int
    cap: int | None


class Choice(NamedTuple):
    lapsed: list[int]
    waiting: list[int]
    """The numbers of the rows, in order."""
    next_due: int | None
    mark: int
    """The number of the queue's hint in this snapshot."""
    full: bool
    """Whether a cap kept something back."""


class _Lane(NamedTuple):
    task: str
    first: int
    first_id: str
    to_come: int | None


class _Held(NamedTuple):
    task: str
    first: int | None
    to_come: int | None


def choose(connection: sqlite3.Connection, want: Want) -> Choice:
    """What there is to take now, and when to look again."""
    mark, gates, held, top = ask(connection, SCENE, queue=want.queue, gates=GATES, now=want.now)
    closed: dict[str, int | None] = dict(gates)
    gate = queue_gate(want.queue)
    if gate in closed:
        return Choice([], [], closed[gate], mark, False)
    chooser = _Chooser(connection, want, closed)
    held = [_Held(*lane) for lane in held]
    if want.cap is not None:
        chooser.limit_to_queue(want.cap, held)
    chooser.choose_lapsed(held)
    chooser.choose_waiting(top)
    return Choice(chooser.lapsed, chooser.waiting, chooser.next_due(), mark, chooser.full)


class _Chooser:
    """One choice in the making."""

    def __init__(self, connection: sqlite3.Connection, want: Want, closed: Mapping[str, int | None]) -> None:
        self.lapsed: list[int] = []
        self.waiting: list[int] = []
        self.full = False
        self._connection = connection
        self._want = want
        self._closed = closed
        self._room = want.limit
        self._queue_bound = False
        self._left: dict[str, int] = {}
        """How many more of a capped task may be taken."""
        self._ends: dict[str, int | None] = {}
        """The first lease end of a capped task: when it may have room."""
        self._times: list[int] = []
        """When there may be something to take that was not there now."""

    def limit_to_queue(self, cap: int, held: Iterable[_Held]) -> None:
        """Take no more than the queue's cap leaves."""
        tasks = json_list([lane.task for lane in held if lane.first is not None])
        live, end = ask(self._connection, LIVE_IN_QUEUE, queue=self._want.queue, now=self._want.now, tasks=tasks)
        if cap - live >= self._room:
            return
        self._room, self._queue_bound = max(0, cap - live), True
        if end is not None:
            self._times.append(end)

    def choose_lapsed(self, held: Iterable[_Held]) -> None:
        """Leases that ended: they have waited already, so they come first."""
        now = self._want.now
        lapsed = []
        for lane in held:
            if lane.task not in self._want.tasks:
                continue
            self._look_again(lane.task, lane.to_come)
            if lane.first is not None and lane.first <= now and self._open(lane.task, lane.first):
                lapsed.append(lane.task)
        self._learn(lapsed)
        found: list[tuple[int, int, str]] = []
        for task in lapsed:
            most = self._most(task)
            if most:
                rows = ask(self._connection, LAPSED, queue=self._want.queue, task=task, now=now, limit=most)
                found.extend((due_at, seq, task) for due_at, seq in rows)
        for _, seq, task in sorted(found)[: self._room]:
            self.lapsed.append(seq)
            self._took(task, 1)

    def choose_waiting(self, priority: int | None) -> None:
        """Due jobs, from `priority` downwards until there is no more room."""
        while priority is not None and self._room > 0:
            lanes, priority = self._choose_of(priority)
            for lane in lanes:
                self._look_again(lane.task, lane.to_come)

    def _choose_of(self, priority: int) -> tuple[list[_Lane], int | None]:
        """Take from the lanes of one priority; answer those that are named, and the next lower priority."""
        want = self._want
        found, lower = ask(self._connection, LANES, queue=want.queue, priority=priority, now=want.now)
        lanes = [_Lane(*lane) for lane in found if lane[0] in want.tasks]
        due = [lane for lane in lanes if lane.first <= want.now and self._open(lane.task, lane.first)]
        due.sort(key=lambda lane: (lane.first, lane.first_id))
        self._learn([lane.task for lane in due])
        for lane in due:
            most = self._most(lane.task)
            if most:
                seqs = ask(
                    self._connection, DUE, queue=want.queue, priority=priority, task=lane.task, now=want.now, limit=most
                )
                self.waiting.extend(seqs)
                self._took(lane.task, len(seqs))
        return lanes, lower

    def next_due(self) -> int | None:
        """When to look again."""
        want = self._want
        if self._room <= 0 and not self._queue_bound:
            return want.now
        if self.lapsed or self.waiting:
            self._times.append(want.until)
        return min(self._times, default=None)

    # -- gates and caps ------------------------------------------------------------------------------------------

    def _open(self, task: str, first: int) -> bool:
        """Whether the task's gate lets through what is due since `first`; where not, remember when it will."""
        gate = task_gate(task)
        if gate not in self._closed:
            return True
        self._look_again(task, first)
        return False

    def _look_again(self, task: str, at: int | None) -> None:
        if at is None or (self._queue_bound and self._room <= 0):
            return
        gate = task_gate(task)
        if gate not in self._closed:
            self._times.append(at)
        elif (end := self._closed[gate]) is not None:
            self._times.append(max(at, end))

    def _learn(self, tasks: Iterable[str]) -> None:
        """Find out what the caps of `tasks` leave."""
        unknown = [task for task in tasks if self._want.tasks[task] is not None and task not in self._left]
        if unknown:
            for task, live, end in ask(self._connection, LIVE, now=self._want.now, tasks=json_list(unknown)):
                self._left[task] = max(0, (self._want.tasks[task] or 0) - live)
                self._ends[task] = end

    def _most(self, task: str) -> int:
        """How many of the task may still be taken."""
        left = self._left.get(task)
        if left == 0:
            self._filled(task)
        return self._room if left is None else min(self._room, left)

    def _took(self, task: str, taken: int) -> None:
        self._room -= taken
        if task in self._left:
            self._left[task] -= taken
            if self._left[task] <= 0:
                self._filled(task)

    def _filled(self, task: str) -> None:
        """The cap of the task is reached: there may be room again when the first of its leases ends."""
        self.full = True
        end = self._ends.get(task)
        if end is not None:
            self._times.append(end)
