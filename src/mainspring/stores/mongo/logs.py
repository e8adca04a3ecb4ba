"""Logs: one document per line, numbered within the life of a job. A new life of an id begins with an empty log.

Numbers are read and then written; where somebody else was faster, read again. Lines beyond those to keep go in the same
call, and the rest goes with the job.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pymongo.errors import BulkWriteError

from mainspring.errors import StoreUnavailable
from mainspring.stores.base import LogLine
from mainspring.stores.mongo.failures import DUPLICATE
from mainspring.stores.mongo.link import Document, Link
from mainspring.stores.mongo.rows import date

TRIES = 20


async def append(link: Link, lines: Sequence[LogLine], keep: int) -> None:
    """Append to the logs of jobs that exist; the last `keep` lines of each stay."""
    left = list(lines)
    for _ in range(TRIES):
        if not left:
            return
        with link.calls():
            lives = await _lives(link, {line.job_id for line in left})
            left = await _write(link, [line for line in left if line.job_id in lives], lives, keep)
    if left:
        raise StoreUnavailable(f"{link.settings.shown}: others wrote to the log of job {left[0].job_id} all the time.")


async def _lives(link: Link, ids: set[str]) -> dict[str, tuple[int, int]]:
    """Of the jobs that exist: the life of each, and the number of the last line in its log."""
    logs = f"{link.settings.prefix}logs"
    newest = [{"$sort": {"life": 1, "seq": -1}}, {"$limit": 1}, {"$project": {"seq": 1, "_id": 0}}]
    cursor = await link["jobs"].aggregate(
        [
            {"$match": {"_id": {"$in": sorted(ids)}}},
            {"$project": {"seq": 1}},
            {"$lookup": {"from": logs, "localField": "seq", "foreignField": "life", "pipeline": newest, "as": "last"}},
        ],
        hint="_id_",
    )
    return {row["_id"]: (row["seq"], row["last"][0]["seq"] if row["last"] else 0) for row in await cursor.to_list()}


async def _write(
    link: Link, lines: Sequence[LogLine], lives: Mapping[str, tuple[int, int]], keep: int
) -> list[LogLine]:
    """Insert the lines; answers those whose numbers somebody else has taken meanwhile."""
    if not lines:
        return []
    last = {id: seq for id, (_, seq) in lives.items()}
    documents: list[Document] = []
    for line in lines:
        last[line.job_id] += 1
        documents.append(_document(line, lives[line.job_id][0], last[line.job_id]))
    lost: set[int] = set()
    try:
        await link["logs"].insert_many(documents, ordered=False)
    except BulkWriteError as error:
        found = (error.details or {}).get("writeErrors", [])
        if any(one["code"] != DUPLICATE for one in found) or (error.details or {}).get("writeConcernErrors"):
            raise
        lost = {one["index"] for one in found}
    for id, seq in last.items():
        if seq > keep:
            await link["logs"].delete_many({"life": lives[id][0], "seq": {"$lte": seq - keep}})
    return [line for n, line in enumerate(lines) if n in lost]


def _document(line: LogLine, life: int, seq: int) -> Document:
    return {
        "job": line.job_id, "life": life, "seq": seq, "claim": line.claim, "at": date(line.at), "level": line.level,
        "text": line.text,
    }  # fmt: skip


async def tail(link: Link, id: str, after: int, limit: int) -> list[LogLine]:
    """The lines of a job after a number, oldest first."""
    with link.calls():
        job = await link["jobs"].find_one({"_id": id}, {"seq": 1})
        if job is None:
            return []
        found = link["logs"].find(
            {"life": job["seq"], "seq": {"$gt": after}}, sort=[("life", 1), ("seq", 1)], limit=limit
        )
        rows = await found.to_list()
    return [LogLine(id, row["claim"], int(row["at"]), row["level"], row["text"], seq=row["seq"]) for row in rows]


async def forget(link: Link, lives: Sequence[int]) -> None:
    """Remove the logs of lives that are over. For use inside of `calls`."""
    if lives:
        await link["logs"].delete_many({"life": {"$in": list(lives)}})
