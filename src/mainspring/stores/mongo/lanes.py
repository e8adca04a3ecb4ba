"""Caps: who wants jobs of a capped task, or from a capped queue, first takes a number in its lane document.

In the order of their numbers claimers count what runs, and leave room for all who came before and may not be done. So
no two fill the same room, nobody waits for anybody, and nothing is undone. A number ends by itself soon: a claimer that
dies holds up its lane no longer, and the taking itself tests, on the server's clock, that its number still stands; so
one that stalls takes nothing. A transaction that writes the lane document would do as well, but for two at once, of
which one has to begin anew, and for a worker that dies inside: its transaction would close the lane for a minute.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple

from pymongo import ReturnDocument, UpdateOne

from mainspring.errors import StoreError
from mainspring.stores.mongo.link import Document, Link
from mainspring.stores.mongo.look import Live, Want, live_in, live_of, lives
from mainspring.stores.mongo.rows import date
from mainspring.stores.mongo.schema import CLAIM

STANDS = 2_000
"""ms for which a number stands. From taking it to having taken the jobs are three round trips."""
TAKES = 500
"""ms that one update of the taking may last at most: it looks at the clock when it begins."""
LAST_WORDS = 1.0
"""Seconds for which a store that is closed waits for what is under way."""
QUEUE = "queue:"
TASK = "task:"

Take = Callable[[Sequence[Document], Any], Awaitable[list[Document]]]
"""Takes rows, if the server's clock is before the given time; answers those that were taken."""


class Number(NamedTuple):
    """A place in the order of those who claim from a lane."""

    lane: str
    ahead: int
    """How many jobs those before it may be about to take."""
    until: Any
    """When it is too late to begin the taking."""


class Lanes:
    """Taking under caps."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._made: set[str] = set()
        self._returning: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """Wait for the numbers that are on their way back: one that stays stands in everybody's way for a while."""
        if self._returning:
            await asyncio.wait(self._returning, timeout=LAST_WORDS)

    async def take(self, want: Want, rows: Sequence[Document], take: Take) -> list[Document]:
        """Take of `rows`, in order, what the caps allow; answers the rows as they are now."""
        wanted = Counter(f"{TASK}{row['task']}" for row in rows if want.tasks[row["task"]] is not None)
        if want.cap is not None:
            wanted[f"{QUEUE}{want.queue}"] = len(rows)
        await self._make(wanted)
        if self._returning:  # our own last number must not stand in our way
            await asyncio.wait(self._returning)
        who = secrets.token_hex(6)
        over = True
        try:
            with self._link.calls():
                numbers = await asyncio.gather(*(self._number(lane, who, jobs) for lane, jobs in wanted.items()))
                live = _with_those_ahead(want, await self._live(want, rows), numbers)
            allowed = allow(want, rows, live)
            over = not allowed
            mine = await take(allowed, min(number.until for number in numbers)) if allowed else []
            over = True
            return mine
        finally:
            if over:  # else nobody knows whether the taking goes on: the number stands until it ends by itself
                self._return(wanted, who)

    def _return(self, lanes: Counter[str], who: str) -> None:
        returning = asyncio.create_task(self._give_back(lanes, who), name="mainspring-lane")
        self._returning.add(returning)
        returning.add_done_callback(self._returning.discard)

    async def _make(self, names: Counter[str]) -> None:
        """See that the documents exist."""
        new = names.keys() - self._made
        if not new:
            return
        with self._link.calls():
            await self._link["lanes"].bulk_write(
                [UpdateOne({"_id": name}, {"$setOnInsert": {"numbers": []}}, upsert=True) for name in sorted(new)],
                ordered=False,
            )
        self._made |= new

    async def _number(self, lane: str, who: str, jobs: int) -> Number:
        standing = {"$filter": {"input": {"$ifNull": ["$numbers", []]}, "cond": {"$gt": ["$$this.until", "$$NOW"]}}}
        ours = {"who": who, "jobs": jobs, "until": {"$add": ["$$NOW", STANDS]}}
        found = await self._link["lanes"].find_one_and_update(
            {"_id": lane},
            [{"$set": {"numbers": {"$concatArrays": [standing, [ours]]}}}],
            upsert=True,
            return_document=ReturnDocument.AFTER,
        )
        *before, mine = (found or {})["numbers"]
        return Number(lane, sum(number["jobs"] for number in before), date(int(mine["until"]) - TAKES))

    async def _live(self, want: Want, rows: Sequence[Document]) -> dict[str, Live]:
        capped = {row["task"] for row in rows if want.tasks[row["task"]] is not None}
        counts = [live_of(capped, want.now)] if capped else []
        if want.cap is not None:
            counts.append(live_in(want.queue, want.now))

        async def count(stages: list[Document]) -> list[Document]:
            cursor = await self._link["jobs"].aggregate(stages, hint=CLAIM)
            return await cursor.to_list()

        return lives([row for found in await asyncio.gather(*map(count, counts)) for row in found])

    async def _give_back(self, lanes: Counter[str], who: str) -> None:
        try:
            with self._link.calls(STANDS / 1_000):
                await self._link["lanes"].update_many(
                    {"_id": {"$in": sorted(lanes)}}, {"$pull": {"numbers": {"who": who}}}
                )
        except StoreError:
            pass  # it ends by itself


def _with_those_ahead(want: Want, live: Mapping[str, Live], numbers: Sequence[Number]) -> dict[str, Live]:
    """What runs, and what those before us may be about to run."""
    found = dict(live)
    for lane, ahead, _ in numbers:
        name = lane.removeprefix(TASK) if lane.startswith(TASK) else ""
        jobs, end = found.get(name, Live(0, want.until))
        found[name] = Live(jobs + ahead, end)
    return found


def allow(want: Want, rows: Sequence[Document], live: Mapping[str, Live]) -> list[Document]:
    """The rows, in order, that the caps leave room for."""
    left: dict[str, int] = {
        task: cap - (live[task].jobs if task in live else 0) for task, cap in want.tasks.items() if cap is not None
    }
    room = len(rows) if want.cap is None else want.cap - (live[""].jobs if "" in live else 0)
    allowed: list[Document] = []
    for row in rows:
        if len(allowed) >= room:
            break
        if left.get(row["task"], 1) > 0:
            if row["task"] in left:
                left[row["task"]] -= 1
            allowed.append(row)
    return allowed
