"""Pages and counts of jobs for people.

A page goes by insertion, along the index of lanes: those that there are, found by a seek for each, are merged, so that
the dead among a million finished jobs are found at once. Counts read the index and no document: a million takes about
half a second, so they are bounded by the deadline and not by a number.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from operator import itemgetter
from typing import TypeVar

from mainspring.core.job import State
from mainspring.errors import DefinitionError
from mainspring.stores.base import Count, Page, Query
from mainspring.stores.mongo.link import Document, Link
from mainspring.stores.mongo.renew import BARE
from mainspring.stores.mongo.rows import date, read_jobs
from mainspring.stores.mongo.schema import LANE

MERGED = 150
"""Sorted scans that are merged at most in one query: from 200 on the server would sort all that it finds instead."""
SIDE_BY_SIDE = 8
EVERY = [state.value for state in State]

T = TypeVar("T")


async def find(link: Link, query: Query) -> Page:
    """A page of jobs without payload. What cannot be read is left out, and told of in the log."""
    chosen = _filter(query)
    after = None if query.after is None else _cursor(query.after)
    if after is not None:
        chosen["seq"] = {"$gt" if query.oldest_first else "$lt": after}
    chosen.setdefault("state", {"$in": EVERY})
    with link.calls():
        found = await _side_by_side([partial(_first, link, query, chosen | part) for part in await _lanes(link, query)])
    rows = [row for rows in found for row in rows]
    if len(found) > 1:
        rows.sort(key=itemgetter("seq"), reverse=not query.oldest_first)
    shown = rows[: query.limit]
    return Page(read_jobs(shown), str(shown[-1]["seq"]) if len(rows) > len(shown) else None)


async def _first(link: Link, query: Query, chosen: Document) -> list[Document]:
    order = [("seq", 1 if query.oldest_first else -1)]
    # A job that changes its state leaves one scan, and may come to another one that has passed its place.
    jobs = link["jobs"] if len(query.states) == 1 else link.at_one_moment("jobs")
    return await jobs.find(chosen, BARE, sort=order, limit=query.limit + 1, hint=LANE).to_list()


async def _lanes(link: Link, query: Query) -> list[Document]:
    """The queues and tasks that there are, in parts of as many lanes as can be merged."""
    queues = [query.queue] if query.queue is not None else await _distinct(link, "queue", {})
    most = max(1, MERGED // (len(query.states) or len(EVERY)))
    if query.task is not None:
        return [{"queue": {"$in": part}, "task": query.task} for part in _parts(queues, most)]
    tasks = await _side_by_side([partial(_distinct, link, "task", {"queue": queue}) for queue in queues])
    every = sorted({task for some in tasks for task in some})
    if len(queues) * len(every) <= most:
        return [{"queue": {"$in": queues}, "task": {"$in": every}}]
    return [
        {"queue": queue, "task": {"$in": part}}
        for queue, some in zip(queues, tasks, strict=True)
        for part in _parts(some, most)
    ]


def _parts(names: list[str], most: int) -> list[list[str]]:
    return [names[n : n + most] for n in range(0, len(names), most)]


async def _side_by_side(calls: Sequence[Callable[[], Awaitable[T]]]) -> list[T]:
    slots = asyncio.Semaphore(SIDE_BY_SIDE)

    async def one(call: Callable[[], Awaitable[T]]) -> T:
        async with slots:
            return await call()

    return list(await asyncio.gather(*map(one, calls)))


async def _distinct(link: Link, field: str, among: Document) -> list[str]:
    """The values of a field: one seek for each, where an index begins with it."""
    found: list[str] = await link["jobs"].distinct(field, among)
    return found


async def count(link: Link, query: Query) -> list[Count]:
    """How many jobs there are per queue, task and state."""
    chosen = _filter(query)
    chosen.setdefault("state", {"$in": EVERY})
    group = {"_id": {"queue": "$queue", "task": "$task", "state": "$state"}, "jobs": {"$sum": 1}}
    with link.calls():
        cursor = await link.at_one_moment("jobs").aggregate([{"$match": chosen}, {"$group": group}], hint=LANE)
        rows = await cursor.to_list()
    return [Count(r["_id"]["queue"], r["_id"]["task"], State(r["_id"]["state"]), r["jobs"]) for r in rows]


def _filter(query: Query) -> Document:
    chosen: Document = {
        name: value
        for name, value in (
            ("queue", query.queue), ("task", query.task), ("worker", query.worker), ("origin", query.origin),
            ("keyed", query.keyed),
        )
        if value is not None
    }  # fmt: skip
    if query.states:
        chosen["state"] = {"$in": [state.value for state in query.states]}
    created: Document = {}
    if query.created_after is not None:
        created["$gte"] = date(query.created_after)
    if query.created_before is not None:
        created["$lt"] = date(query.created_before)
    if created:
        chosen["created_at"] = created
    if query.error is not None:
        chosen["$expr"] = _holds_error(query.error)
    return chosen


def _holds_error(text: str) -> Document:
    """Whether the last error, as people see it, holds the text in any case of letters."""
    shown = {"$concat": ["$error.type", ": ", "$error.message"]}
    return {"$regexMatch": {"input": {"$ifNull": [shown, ""]}, "regex": re.escape(text), "options": "i"}}


def _cursor(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 19:
        raise DefinitionError(f"bad cursor: {text!r}. Expected the cursor of a page that find() answered.")
    return int(text)
