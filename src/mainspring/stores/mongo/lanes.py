"""Caps: who claims of a capped task, or from a capped queue, writes its lane document first, in one transaction.

Two such transactions at once conflict on that document, and one begins anew; so what is counted inside is what counts.
A standalone server has no transactions: there the lane document is a lock with an end, which holds as long as nobody
stalls for `HELD` between counting and taking.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from pymongo import UpdateOne
from pymongo.errors import PyMongoError
from pymongo.read_concern import ReadConcern

from mainspring.errors import StoreUnavailable
from mainspring.stores.mongo.failures import CONFLICT, TRANSIENT, code_of
from mainspring.stores.mongo.link import Document, Link
from mainspring.stores.mongo.look import Live, Want, live_in, live_of, lives
from mainspring.stores.mongo.schema import CLAIM
from mainspring.stores.mongo.take import carrying, taken, update

TRIES = 6
SURE = 2
"""Conflicts on a row, each in a transaction of its own, after which somebody's open transaction is known to hold it."""
HELD = 5_000
"""ms for which a lane on a standalone server is somebody's."""
SERVER_TIME = 5.0
QUEUE = "queue:"
TASK = "task:"


class _RowConflict(Exception):
    """Not the lane but one of the rows is written by somebody else's transaction."""


class Lanes:
    """Taking under caps."""

    def __init__(self, link: Link, held: Callable[[str], None]) -> None:
        """`held` is told which rows somebody else's open transaction holds."""
        self._link = link
        self._held = held
        self._made: set[str] = set()

    async def take(self, want: Want, rows: Sequence[Document]) -> list[Document]:
        """Take of `rows`, in order, what the caps allow; answers the rows as they are now. Nothing, where others were
        faster all the time."""
        names = sorted({f"{TASK}{row['task']}" for row in rows if want.tasks[row["task"]] is not None})
        if want.cap is not None:
            names.append(f"{QUEUE}{want.queue}")
        await self._make(names)
        try:
            return await self._take_patiently(want, rows, names)
        except _RowConflict:
            if len(rows) > 1:
                return await self._take_apart(want, rows, names)
        self._held(rows[0]["_id"])
        return []

    async def _take_apart(self, want: Want, rows: Sequence[Document], names: Sequence[str]) -> list[Document]:
        """Take each row by itself: one that somebody holds would undo the taking of all others."""
        mine: list[Document] = []
        for row in rows:
            try:
                mine += await self._take_patiently(want, [row], names)
            except _RowConflict:
                self._held(row["_id"])
        return mine

    async def _take_patiently(self, want: Want, rows: Sequence[Document], names: Sequence[str]) -> list[Document]:
        conflicts = 0
        for attempt in range(TRIES):
            try:
                async with self._alone(names, want.token) as session:
                    return await self._take(want, rows, session)
            except _RowConflict:  # one that is written after it was looked at is passed over the next time
                conflicts += 1
                if conflicts == SURE:
                    raise
                continue
            except StoreUnavailable as error:
                cause = error.__cause__
                if not isinstance(cause, PyMongoError) or not cause.has_error_label(TRANSIENT):
                    raise
            await asyncio.sleep(random.uniform(0, 0.004 * 2**attempt))
            with self._link.calls():  # whoever was faster may have left nothing: then nobody else is to be hindered
                if not allow(want, rows, await self._live(want, rows, None)):
                    return []
        return []

    async def _make(self, names: Sequence[str]) -> None:
        """See that the documents exist: a transaction must not have to insert them."""
        new = [name for name in names if name not in self._made]
        if not new:
            return
        with self._link.calls():
            await self._link["lanes"].bulk_write(
                [UpdateOne({"_id": name}, {"$setOnInsert": {"turn": 0}}, upsert=True) for name in new], ordered=False
            )
        self._made.update(new)

    async def _take(self, want: Want, rows: Sequence[Document], session: Any) -> list[Document]:
        allowed = allow(want, rows, await self._live(want, rows, session))
        if not allowed:
            if session is not None:  # else it would wait for a majority to have seen its turn
                await session.abort_transaction()
            return []
        try:
            done = await update(self._link["jobs"], want, allowed, session)
        except PyMongoError as error:
            if code_of(error) == CONFLICT:
                raise _RowConflict from error
            raise
        if done == len(allowed):
            return [taken(want, row) for row in allowed]
        return await carrying(self._link["jobs"], want, allowed, session)

    async def _live(self, want: Want, chosen: Sequence[Document], session: Any) -> dict[str, Live]:
        capped = {row["task"] for row in chosen if want.tasks[row["task"]] is not None}
        counts = [live_of(capped, want.now)] if capped else []
        if want.cap is not None:
            counts.append(live_in(want.queue, want.now))
        rows: list[Document] = []
        for stages in counts:  # a transaction takes one call at a time, and no $unionWith
            cursor = await self._link["jobs"].aggregate(stages, hint=CLAIM, session=session)
            rows += await cursor.to_list()
        return lives(rows)

    # -- alone -------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _alone(self, names: Sequence[str], token: str) -> AsyncGenerator[Any, None]:
        if self._link.kind == "standalone":
            async with self._locked(names, token):
                with self._link.calls(SERVER_TIME):
                    yield None
            return
        lanes = self._link["lanes"]
        with self._link.calls():
            async with (
                self._link.client.start_session(causal_consistency=False) as session,
                await session.start_transaction(read_concern=ReadConcern("snapshot")),
            ):
                await lanes.update_many({"_id": {"$in": list(names)}}, {"$inc": {"turn": 1}}, session=session)
                yield session

    @asynccontextmanager
    async def _locked(self, names: Sequence[str], token: str) -> AsyncGenerator[None, None]:
        """Hold the lanes by turns, in one order for everybody."""
        held: list[str] = []
        try:
            for name in names:
                await self._lock(name, token)
                held.append(name)
            yield
        finally:
            with self._link.calls():
                await self._link["lanes"].update_many(
                    {"_id": {"$in": held}, "holder": token}, {"$unset": {"holder": 1, "until": 1}}
                )

    async def _lock(self, name: str, token: str) -> None:
        free: Document = {"$or": [{"$eq": [{"$type": "$until"}, "missing"]}, {"$lte": ["$until", "$$NOW"]}]}
        until = {"$add": ["$$NOW", HELD]}
        async with asyncio.timeout(self._link.settings.timeout):
            while True:
                with self._link.calls():
                    done = await self._link["lanes"].update_one(
                        {"_id": name, "$expr": free}, [{"$set": {"holder": {"$literal": token}, "until": until}}]
                    )
                if done.modified_count:
                    return
                await asyncio.sleep(random.uniform(0.001, 0.01))


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
