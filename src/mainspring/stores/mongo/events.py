"""Events: written into a capped collection while anybody follows, and read as it grows.

A follower says every few seconds that it is there, in a record that every claim reads along with the gates; when the
last one is gone, nobody writes any more.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from time import monotonic

import msgspec
from bson import ObjectId

from mainspring.core.records import FOLLOWER
from mainspring.errors import StoreError
from mainspring.stores.base import Event
from mainspring.stores.mongo.link import Document, Link
from mainspring.stores.mongo.payload import map_of, native_map
from mainspring.stores.mongo.rows import date
from mainspring.stores.mongo.tail import OPENED, tail

ENTRY = 50
"""Events in one document at most."""
PRESENCE = 45_000
"""ms after which a follower that said nothing is gone."""
AGAIN = 15.0
"""Seconds after which it says so again."""
BEFORE = 10_000
"""ms by which the clocks of two processes may differ for one to hear the other."""
SURE_FOR = 1.0
"""Seconds for which a store that publishes takes its knowledge for fresh."""
NAME = "followers"
ID = f"{FOLLOWER}/{NAME}"


class Followers:
    """Whether anybody follows, as far as one store knows."""

    def __init__(self, link: Link, time: Callable[[], Awaitable[int]]) -> None:
        self._link = link
        self._time = time
        self._until = 0
        self._now = 0
        self._looked = float("-inf")

    @property
    def there(self) -> bool:
        return self._until > self._now

    def learn(self, until: int | None, now: int) -> None:
        """What a look at the record has shown at `now`."""
        self._until, self._now, self._looked = until or 0, now, monotonic()

    async def publish(self, events: Sequence[Event]) -> None:
        """Tell the followers, where there are any."""
        if monotonic() - self._looked > SURE_FOR and not self.there:
            with self._link.calls():
                found = await self._link["records"].find_one({"_id": ID})
            self.learn(None if found is None else int(found["expires_at"]), await self._time())
        if not self.there:
            return
        documents = [_document(events[first : first + ENTRY]) for first in range(0, len(events), ENTRY)]
        with self._link.calls():
            await self._link["events"].insert_many(documents, ordered=True)

    async def follow(self) -> AsyncGenerator[list[Event], None]:
        """The events published from now on, in batches; an empty one now and then."""
        await self._be_present()
        saying = asyncio.create_task(self._stay_present(), name="mainspring-presence")
        marker: ObjectId | None = None
        try:
            async for document in tail(self._link, "events", {"at": {"$gte": date(self._now - BEFORE)}}):
                if document is OPENED:
                    marker = await self._mark()
                elif document is None:
                    yield []
                elif marker is not None:  # what was published before this follower began
                    if document["_id"] == marker:
                        marker = None
                        yield []
                elif "events" in document:
                    yield _events(document)
        finally:
            saying.cancel()
            await asyncio.gather(saying, return_exceptions=True)

    async def _mark(self) -> ObjectId:
        """Write where this follower begins; what comes before it is old."""
        marker = ObjectId()
        with self._link.calls():
            await self._link["events"].insert_one(
                {"_id": marker, "at": date(await self._time()), "about": "a follower"}
            )
        return marker

    async def _be_present(self) -> None:
        now = await self._time()
        self.learn(now + PRESENCE, now)
        with self._link.calls():
            await self._link["records"].update_one(
                {"_id": ID},
                {
                    "$max": {"expires_at": date(now + PRESENCE)},
                    "$setOnInsert": {"kind": FOLLOWER, "name": NAME, "version": now, "value": {}},
                    "$set": {"written_at": date(now)},
                },
                upsert=True,
            )

    async def _stay_present(self) -> None:
        while True:
            await asyncio.sleep(AGAIN)
            try:
                await self._be_present()
            except StoreError:
                pass  # said again soon


def _document(events: Sequence[Event]) -> Document:
    rows = [msgspec.to_builtins(event) for event in events]
    for row in rows:
        if row.get("data"):
            row["data"] = native_map(row["data"])
    return {"at": date(max(event.at for event in events)), "events": rows}


def _events(document: Document) -> list[Event]:
    rows = document["events"]
    for row in rows:
        if "data" in row:
            row["data"] = map_of(row["data"])
    return msgspec.convert(rows, list[Event])
