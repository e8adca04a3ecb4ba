"""What there is to claim: one aggregate per look, along the index that has the contract's order.

Read in this order, in one round trip: first the candidates, then the gates, then how many jobs of capped tasks run. So
a gate that was closed before a job was added is seen by whoever sees the job. Looks only; `claim` takes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from mainspring.core.records import FOLLOWER, GATE, queue_gate, task_gate
from mainspring.stores.mongo.link import Collection as Collection_
from mainspring.stores.mongo.link import Document, Link
from mainspring.stores.mongo.rows import RUNNING_RANK, date
from mainspring.stores.mongo.schema import BY_NAME, CLAIM, NEXT

AT_ONCE = 150
"""Tasks in one query. The server merges up to 200 sorted scans, and would sort all that waits where there are more."""
WITHOUT = {"result": 0, "stamp": 0}
"""Fields that a claim does not answer."""


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

    @property
    def capped(self) -> list[str]:
        return [task for task, cap in self.tasks.items() if cap is not None]


class Live(NamedTuple):
    """Leases that hold now, of a task in all queues or of a queue."""

    jobs: int
    end: int
    """When the first of them ends."""


class Scene(NamedTuple):
    rows: list[Document]
    """Candidates, in order."""
    closed: dict[str, int | None]
    """Gates that are closed now, and until when."""
    live: dict[str, Live]
    """By task; by "" for the queue."""
    followed_until: int | None

    def open_tasks(self, want: Want) -> dict[str, int | None]:
        """The named tasks whose gate is open, with how many of each may be taken (None: any number)."""
        if queue_gate(want.queue) in self.closed:
            return {}
        return {
            task: None if cap is None else max(0, cap - self._running(task))
            for task, cap in want.tasks.items()
            if task_gate(task) not in self.closed
        }

    def room(self, want: Want) -> int | None:
        """How many jobs the queue's cap leaves."""
        return None if want.cap is None else max(0, want.cap - self._running(""))

    def _running(self, name: str) -> int:
        live = self.live.get(name)
        return 0 if live is None else live.jobs


async def look(link: Link, want: Want, tasks: Collection[str], limit: int, without: Sequence[str] = ()) -> Scene:
    """The first `limit` candidates of `tasks`, but the rows `without`, and what stands in their way."""
    parts = _parts(sorted(tasks))
    with link.calls():
        if len(parts) <= 1:
            stages = _candidates(want, parts[0] if parts else [], limit, without)
            stages.append(
                {"$unionWith": {"coll": f"{link.settings.prefix}records", "pipeline": _surroundings(link, want)}}
            )
            found = await _rows(link["jobs"], stages, CLAIM)
        else:
            answers = await asyncio.gather(
                *(_rows(link["jobs"], _candidates(want, p, limit, without), CLAIM) for p in parts)
            )
            found = sorted((row for rows in answers for row in rows), key=_order)
            found += await _rows(link["records"], _surroundings(link, want), BY_NAME)
    rows = [row for row in found if "rank" in row]
    return _scene(want, rows[:limit], [row for row in found if "rank" not in row])


def _parts(tasks: list[str]) -> list[list[str]]:
    return [tasks[n : n + AT_ONCE] for n in range(0, len(tasks), AT_ONCE)]


def _order(row: Document) -> tuple[int, int, str]:
    return -row["rank"], int(row["due_at"]), row["_id"]


async def _rows(collection: Collection_, stages: list[Document], hint: str) -> list[Document]:
    cursor = await collection.aggregate(stages, hint=hint)
    return await cursor.to_list()


def _candidates(want: Want, tasks: list[str], limit: int, without: Sequence[str]) -> list[Document]:
    due: Document = {"rank": {"$exists": True}, "due_at": {"$lte": date(want.now)}}
    if without:
        due["_id"] = {"$nin": list(without)}
    return [
        {"$match": {"queue": want.queue, "task": {"$in": tasks}, **due}},
        {"$sort": {"rank": -1, "due_at": 1, "_id": 1}},
        {"$limit": max(1, limit)},
        {"$project": WITHOUT},
    ]


def _surroundings(link: Link, want: Want) -> list[Document]:
    """Of the records: gates, followers; and along with them the live leases that caps count."""
    jobs = f"{link.settings.prefix}jobs"
    stages: list[Document] = [
        {"$match": {"kind": {"$in": [GATE, FOLLOWER]}}},
        {"$project": {"kind": 1, "name": 1, "expires_at": 1}},
    ]
    if want.capped:
        stages.append({"$unionWith": {"coll": jobs, "pipeline": live_of(want.capped, want.now)}})
    if want.cap is not None:
        stages.append({"$unionWith": {"coll": jobs, "pipeline": live_in(want.queue, want.now)}})
    return stages


def live_of(tasks: Collection[str], now: int) -> list[Document]:
    """Per task: its live leases in all queues."""
    # The index begins with the queue: a few seeks per queue and task that has any work.
    match = {"queue": {"$gte": ""}, "task": {"$in": list(tasks)}, "rank": RUNNING_RANK, "due_at": {"$gt": date(now)}}
    return [{"$match": match}, {"$group": {"_id": "$task", "live": {"$sum": 1}, "end": {"$min": "$due_at"}}}]


def live_in(queue: str, now: int) -> list[Document]:
    """The live leases of a queue."""
    match = {"queue": queue, "task": {"$gte": ""}, "rank": RUNNING_RANK, "due_at": {"$gt": date(now)}}
    return [{"$match": match}, {"$group": {"_id": "", "live": {"$sum": 1}, "end": {"$min": "$due_at"}}}]


def lives(rows: Iterable[Document]) -> dict[str, Live]:
    """What `live_of` and `live_in` have answered."""
    return {row["_id"]: Live(row["live"], int(row["end"])) for row in rows if "live" in row}


def _scene(want: Want, rows: list[Document], around: list[Document]) -> Scene:
    closed: dict[str, int | None] = {}
    followed: int | None = None
    for record in around:
        if record.get("kind") not in (GATE, FOLLOWER):
            continue
        end = _time(record.get("expires_at"))
        if record["kind"] == FOLLOWER:
            followed = end
        elif end is None or end > want.now:
            closed[record["name"]] = end
    return Scene(rows, closed, lives(around), followed)


def _time(stored: Any) -> int | None:
    return None if stored is None else int(stored)


async def next_due(link: Link, want: Want, tasks: Collection[str]) -> int | None:
    """The first time to come at which one of `tasks` has a job due or a lease ending in this queue."""
    with link.calls():
        found = await asyncio.gather(*(_next(link, want, part) for part in _parts(sorted(tasks))))
    return min((due for due in found if due is not None), default=None)


async def _next(link: Link, want: Want, tasks: list[str]) -> int | None:
    row = await link["jobs"].find_one(
        {"queue": want.queue, "task": {"$in": tasks}, "rank": {"$exists": True}, "due_at": {"$gt": date(want.now)}},
        {"due_at": 1, "_id": 0},
        sort=[("due_at", 1)],
        hint=NEXT,
    )
    return None if row is None else int(row["due_at"])
