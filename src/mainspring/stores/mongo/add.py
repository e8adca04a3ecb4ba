"""`add`: insert unless the id exists.

The id is the document's `_id`, which MongoDB keeps unique by itself, on shards too: the collection is sharded by `_id`
or not at all, so all documents of one id would lie on one shard. No other index has to be unique.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from time import monotonic
from typing import Any

from pymongo import UpdateOne
from pymongo.errors import BulkWriteError

from mainspring.core.job import Job
from mainspring.errors import StoreUnavailable
from mainspring.stores.base import PartlyAdded
from mainspring.stores.mongo.failures import DUPLICATE
from mainspring.stores.mongo.link import Collection, Document, Link
from mainspring.stores.mongo.renew import BARE
from mainspring.stores.mongo.rows import new_row, read_job
from mainspring.stores.mongo.swap import PATIENCE, SIDE_BY_SIDE, is_blocked

TRIES = 10


async def add(link: Link, jobs: Sequence[Job]) -> list[Job]:
    """Insert; answers what is stored, in order, without payload. Raises `PartlyAdded` where ids are held."""
    answers: dict[int, Job] = {}
    held: dict[int, StoreUnavailable] = {}
    left = list(range(len(jobs)))
    for _ in range(TRIES):
        taken, failed = await _insert(link, [new_row(jobs[n]) for n in left])
        answers |= {n: _new(jobs[n]) for place, n in enumerate(left) if place not in taken | failed.keys()}
        held |= {left[place]: error for place, error in failed.items()}
        with link.calls():
            holders = await _read(link["jobs"], [jobs[left[place]].id for place in taken])
        left = [left[place] for place in sorted(taken)]
        answers |= {n: holders[jobs[n].id] for n in left if jobs[n].id in holders}
        left = [n for n in left if n not in answers]  # its holder was erased in between
        if held and not left:
            why = next(iter(held.values()))
            if not answers:
                raise why
            raise PartlyAdded(why, [answers.get(n) for n in range(len(jobs))]) from why.__cause__
        if not left:
            return [answers[n] for n in range(len(jobs))]
    raise StoreUnavailable(
        f"{link.settings.shown}: job {jobs[left[0]].id} was added and erased by others all the time."
    )


def _new(job: Job) -> Job:
    return job.evolve(version=1, input=None, result=None)


async def _insert(link: Link, rows: Sequence[Document]) -> tuple[set[int], dict[int, StoreUnavailable]]:
    """Insert the rows; answers the places of those whose id is taken, and of those that somebody holds.

    The insert of an id that somebody else's open transaction has inserted waits for its end, and all after it too.
    """
    timeout = link.settings.timeout
    if len(rows) == 1:
        with link.calls():
            return await _insert_all(link["jobs"], rows), {}
    patience = min(PATIENCE, timeout / 4)
    begun = monotonic()
    try:
        with link.calls(patience):
            return await _insert_all(link["jobs"], rows), {}
    except StoreUnavailable as error:
        if monotonic() - begun < patience / 2:
            raise
        blocked = is_blocked(error)
    with link.calls(timeout - patience):
        if blocked:
            return await _insert_apart(link, rows, patience)
        return await _insert_all(link["jobs"], rows), {}  # no primary yet


async def _insert_apart(
    link: Link, rows: Sequence[Document], patience: float
) -> tuple[set[int], dict[int, StoreUnavailable]]:
    """Insert each row by itself, so that one which somebody holds keeps back no other."""
    slots = asyncio.Semaphore(SIDE_BY_SIDE)
    places: dict[str, list[int]] = {}
    for place, row in enumerate(rows):
        places.setdefault(row["_id"], []).append(place)
    taken: set[int] = set()
    held: dict[int, StoreUnavailable] = {}

    async def insert(same: list[int]) -> None:
        async with slots:
            try:
                with link.calls(patience):
                    there = await _insert_all(link["jobs"], [rows[same[0]]])
                taken.update(same if there else same[1:])
            except StoreUnavailable as error:
                held.update(dict.fromkeys(same, error))

    for failed in await asyncio.gather(*map(insert, places.values()), return_exceptions=True):
        if isinstance(failed, BaseException):
            raise failed
    return taken, held


async def _insert_all(jobs: Collection, rows: Sequence[Document]) -> set[int]:
    """Insert the rows in one round trip; answers the places of those whose id is taken."""
    try:
        await jobs.insert_many(rows, ordered=False)
    except BulkWriteError as error:
        details = error.details or {}
        found = details.get("writeErrors", [])
        if details.get("writeConcernErrors") or any(one["code"] != DUPLICATE for one in found):
            raise
        return {one["index"] for one in found}
    return set()


async def _read(jobs: Collection, ids: Sequence[str], session: Any = None) -> dict[str, Job]:
    if not ids:
        return {}
    rows = await jobs.find({"_id": {"$in": list(ids)}}, BARE, session=session).to_list()
    return {row["_id"]: read_job(row) for row in rows}


async def add_within(link: Link, theirs: Collection, jobs: Sequence[Job], session: Any) -> list[Job]:
    """Insert in a caller's transaction, which an insert of a taken id would end: so nothing is inserted that exists.

    What the transaction can see is asked first, and then what it cannot: a holder that is younger than its snapshot is
    answered as it is outside.
    """
    keyed = [job.id for job in jobs if job.keyed]
    holders = await _read(theirs, keyed, session)
    younger = [id for id in keyed if id not in holders]
    with link.calls():
        holders |= await _read(link["jobs"], younger)
    new = [job for job in jobs if job.id not in holders]
    inserted: dict[str, Job] = {}
    if new:
        upserts = []
        for job in new:
            row = new_row(job)
            upserts.append(UpdateOne({"_id": row.pop("_id")}, {"$setOnInsert": row}, upsert=True))
        done = await theirs.bulk_write(upserts, ordered=True, session=session)
        inserted = {new[n].id: _new(new[n]) for n in done.upserted_ids or ()}
        holders |= await _read(theirs, [job.id for job in new if job.id not in inserted], session)
    return [inserted.get(job.id) or holders[job.id] for job in jobs]
