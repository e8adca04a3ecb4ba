"""`purge`: erase what has expired. Whether it has is tested by the erasing step itself, so a revived job stays."""

from __future__ import annotations

from mainspring.core.job import TERMINAL
from mainspring.stores.mongo.link import Document, Link
from mainspring.stores.mongo.logs import forget
from mainspring.stores.mongo.rows import date
from mainspring.stores.mongo.schema import EXPIRY


async def purge(link: Link, now: int, limit: int) -> int:
    """Erase up to `limit` terminal jobs with their logs, and as many records; answers how many went."""
    expired: Document = {"expires_at": {"$lte": date(now)}}
    ended: Document = expired | {"state": {"$in": sorted(state.value for state in TERMINAL)}}
    with link.calls():
        jobs = link["jobs"].find(ended, {"seq": 1}, sort=[("expires_at", 1)], limit=limit, hint=EXPIRY)
        rows = await jobs.to_list()
        gone = 0
        if rows:
            ids = [row["_id"] for row in rows]
            gone = (await link["jobs"].delete_many({"_id": {"$in": ids}, **ended}, hint="_id_")).deleted_count
            lives = {row["seq"] for row in rows}
            if gone < len(rows):
                left = link["jobs"].find({"_id": {"$in": ids}}, {"seq": 1}, hint="_id_")
                lives -= {row["seq"] for row in await left.to_list()}
            await forget(link, sorted(lives))
        records = link["records"].find(expired, {"_id": 1}, limit=limit, hint=EXPIRY)
        names = [row["_id"] for row in await records.to_list()]
        if names:
            gone += (await link["records"].delete_many({"_id": {"$in": names}, **expired}, hint="_id_")).deleted_count
    return gone
