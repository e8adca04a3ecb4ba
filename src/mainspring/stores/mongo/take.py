"""How rows are taken: the filter, the change, and the row that follows from them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mainspring.core.job import State
from mainspring.stores.mongo.link import Collection, Document
from mainspring.stores.mongo.look import WITHOUT, Want
from mainspring.stores.mongo.rows import RUNNING_RANK, date


async def update(jobs: Collection, want: Want, rows: Sequence[Document], before: Any = None) -> int:
    """Take what is still as it was seen; answers how many. From the time `before` on, on the server's clock, none."""
    lives: dict[int, list[int]] = {}
    for row in rows:
        lives.setdefault(row["version"], []).append(row["seq"])
    seen: Document = {
        "_id": {"$in": [row["_id"] for row in rows]},
        "$or": [{"version": version, "seq": {"$in": seqs}} for version, seqs in lives.items()],
    }
    if before is not None:
        seen["$expr"] = {"$lt": ["$$NOW", before]}
    done = await jobs.update_many(seen, [{"$set": _claimed(want)}], hint="_id_")
    return done.modified_count


def _claimed(want: Want) -> Document:
    # All of a stage is computed from the row as it was; what is missing there is then missing here.
    return {
        "state": State.RUNNING.value,
        "rank": RUNNING_RANK,
        "due_at": date(want.until),
        "token": {"$literal": want.token},
        "last_worker": "$worker",
        "last_started_at": "$started_at",
        "worker": {"$literal": want.worker},
        "started_at": date(want.now),
        "claims": {"$add": ["$claims", 1]},
        "version": {"$add": ["$version", 1]},
    }


def taken(want: Want, row: Document) -> Document:
    """The row after `update` has taken it."""
    after = row | {
        "state": State.RUNNING.value,
        "due_at": want.until,
        "token": want.token,
        "worker": want.worker,
        "started_at": want.now,
        "claims": row["claims"] + 1,
        "version": row["version"] + 1,
    }
    for now, before in (("worker", "last_worker"), ("started_at", "last_started_at")):
        after.pop(before, None)
        if now in row:
            after[before] = row[now]
    return after


async def carrying(jobs: Collection, want: Want, rows: Sequence[Document]) -> list[Document]:
    """Which of the rows carry the token, in order."""
    mine = {"_id": {"$in": [row["_id"] for row in rows]}, "token": want.token}
    found = await jobs.find(mine, WITHOUT).to_list()
    by_id = {row["_id"]: row for row in found}
    return [by_id[row["_id"]] for row in rows if row["_id"] in by_id]
