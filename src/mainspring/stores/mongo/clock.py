"""The clock of the primary, and the offset that the database keeps beside it."""

from __future__ import annotations

from mainspring.errors import StoreUnusable
from mainspring.stores.mongo.link import Document, Link
from mainspring.stores.mongo.rows import date
from mainspring.stores.mongo.schema import prepare
from mainspring.stores.server_clock import Reading


class PrimaryTime:
    """For `ServerClock.now`."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def read(self) -> Reading:
        rows = await self._rows()
        if not rows:  # somebody has dropped the collection, or the database: whoever misses it makes it again
            await prepare(self._link)
            rows = await self._rows()
        if not rows:
            meta = self._link.settings.prefix + "meta"
            raise StoreUnusable(
                f"{self._link.settings.shown}: the collection {meta} was dropped while in use, and again when it had "
                "been made again. Expected it to stay; see who drops it."
            )
        [row] = rows
        return Reading(int(row["now"]), row.get("offset", 0), int(row.get("moved", 0)))

    async def _rows(self) -> list[Document]:
        with self._link.calls():
            cursor = await self._link["meta"].aggregate(
                [{"$match": {"_id": "schema"}}, {"$project": {"now": "$$NOW", "offset": 1, "moved": 1}}]
            )
            return await cursor.to_list()

    async def move(self, offset: int, new: int, at: int) -> bool:
        still = {"offset": offset} if offset else {"$or": [{"offset": 0}, {"offset": {"$exists": False}}]}
        with self._link.calls():
            done = await self._link["meta"].update_one(
                {"_id": "schema", **still}, {"$set": {"offset": new, "moved": date(at)}}
            )
        return done.modified_count > 0
