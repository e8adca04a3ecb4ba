"""`renew`: lengthen the leases that are still owned."""

from __future__ import annotations

from collections.abc import Sequence

from mainspring.core.job import Job, State
from mainspring.errors import StoreUnavailable
from mainspring.stores.base import Beat
from mainspring.stores.mongo.link import Collection, Document, Link
from mainspring.stores.mongo.payload import native
from mainspring.stores.mongo.rows import date, read_job
from mainspring.stores.mongo.swap import Swap, apply_apart, is_blocked

BARE = {"input": 0, "result": 0}


async def renew(link: Link, beats: Sequence[Beat], until: int) -> list[Job]:
    """The rows that are owned under the tokens of `beats`, each lease lengthened to `until` at least. One that a
    caller's open transaction holds is answered as it is: it is owned, and its lease ends when it ends."""
    longer = [
        "$$ROOT",
        {"due_at": {"$max": ["$due_at", date(until)]}, "version": {"$add": ["$version", 1]}},
    ]
    left, sure = list(beats), True
    while left:  # an id comes once, as a rule
        wave = list({beat.id: beat for beat in reversed(left)}.values())
        left = [beat for beat in left if beat not in wave]
        among = {"token": {"$in": sorted({beat.token for beat in wave})}, "state": State.RUNNING.value}
        try:
            await apply_apart(link, "jobs", [_swap(beat) for beat in wave], longer, among)
        except StoreUnavailable as error:
            if not is_blocked(error):
                raise
            sure = False
    return await _owned(link, beats, link["jobs"] if sure else link.sure("jobs"))


def _swap(beat: Beat) -> Swap:
    row: Document = {} if beat.progress is None else {"progress": native(beat.progress)}
    return Swap(beat.id, {"$token": beat.token}, row)


async def _owned(link: Link, beats: Sequence[Beat], jobs: Collection) -> list[Job]:
    held = {(beat.id, beat.token): place for place, beat in reversed(list(enumerate(beats)))}
    ours = {
        "_id": {"$in": [beat.id for beat in beats]},
        "token": {"$in": [beat.token for beat in beats]},
        "state": State.RUNNING.value,
    }
    with link.calls():
        rows = await jobs.find(ours, BARE, hint="_id_").to_list()
    places = [(held[row["_id"], row["token"]], row) for row in rows if (row["_id"], row["token"]) in held]
    return [read_job(row) for _, row in sorted(places, key=lambda found: found[0])]  # in the order of the beats
