"""The clock of the primary, and the offset that the database keeps beside it."""

from __future__ import annotations

from mainspring.stores.mongo.link import Link
from mainspring.stores.mongo.rows import date
from mainspring.stores.server_clock import Reading


class PrimaryTime:
    """For `ServerClock.now`."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def read(self) -> Reading:
        with self._link.calls():
            cursor = await self._link["meta"].aggregate(
                [{"$match": {"_id": "schema"}}, {"$project": {"now": "$$NOW", "offset": 1, "moved": 1}}]
            )
            [row] = await cursor.to_list()
        return Reading(int(row["now"]), row.get("offset", 0), int(row.get("moved", 0)))

    async def move(self, offset: int, new: int, at: int) -> bool:
        still = {"offset": offset} if offset else {"$or": [{"offset": 0}, {"offset": {"$exists": False}}]}
        with self._link.calls():
            done = await self._link["meta"].update_one(
                {"_id": "schema", **still}, {"$set": {"offset": new, "moved": date(at)}}
            )
        return done.modified_count > 0
