"""Records as documents: the name in two fields, times as dates, the value as it is."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from pymongo import UpdateOne

from mainspring.core.records import Record
from mainspring.stores.mongo.link import Collection, Document, Link
from mainspring.stores.mongo.payload import map_of, native_map
from mainspring.stores.mongo.rows import date
from mainspring.stores.mongo.schema import BY_DUE, BY_NAME
from mainspring.stores.mongo.swap import Swap, apply

IDENTITY: list[Document] = [{"_id": "$_id", "kind": "$kind", "name": "$name"}]


def record_id(kind: str, name: str) -> str:
    return f"{kind}/{name}"


def _document(record: Record, version: int, stamp: str) -> Document:
    row: Document = {"version": version, "written_at": date(record.written_at)}
    if record.due_at is not None:
        row["due_at"] = date(record.due_at)
    if record.expires_at is not None:
        row["expires_at"] = date(record.expires_at)
    return row | {"value": native_map(record.value), "stamp": stamp}


def read_record(row: Mapping[str, Any]) -> Record:
    due, expires = row.get("due_at"), row.get("expires_at")
    return Record(
        kind=row["kind"], name=row["name"], version=row["version"], written_at=int(row["written_at"]),
        due_at=None if due is None else int(due), expires_at=None if expires is None else int(expires),
        value=map_of(row["value"]),
    )  # fmt: skip


def _next(record: Record) -> int:
    """The first version is the time of birth, each later one adds one."""
    return record.version + 1 if record.version else record.written_at


async def write(records: Collection, batch: Sequence[Record], session: Any = None) -> list[Record | None]:
    """Write each record whose stored version is its own; answers the new ones. For use inside of `calls`."""
    answers: list[Record | None] = [None] * len(batch)
    left = list(range(len(batch)))
    while left:  # a name comes once, as a rule
        wave: dict[str, int] = {}
        for n in left:
            wave.setdefault(record_id(batch[n].kind, batch[n].name), n)
        left = [n for n in left if n not in set(wave.values())]
        won = await _wave(records, {id: batch[n] for id, n in wave.items()}, session)
        for id in won:
            answers[wave[id]] = batch[wave[id]].evolve(version=_next(batch[wave[id]]))
    return answers


async def _wave(records: Collection, batch: Mapping[str, Record], session: Any) -> set[str]:
    """The ids of those that were written."""
    call = secrets.token_hex(8)
    born = {id: record for id, record in batch.items() if record.version == 0}
    changed = {id: record for id, record in batch.items() if record.version}
    won: set[str] = set()
    if born:
        won |= await _insert(records, born, call, session)
    if changed:
        won |= await _swap(records, changed, call, session)
    return won


async def _insert(records: Collection, born: Mapping[str, Record], call: str, session: Any) -> set[str]:
    upserts = [
        UpdateOne(
            {"_id": id},
            {"$setOnInsert": {"kind": record.kind, "name": record.name} | _document(record, _next(record), call)},
            upsert=True,
        )
        for id, record in born.items()
    ]
    done = await records.bulk_write(upserts, ordered=False, session=session)
    return {list(born)[n] for n in done.upserted_ids or ()}


async def _swap(records: Collection, changed: Mapping[str, Record], call: str, session: Any) -> set[str]:
    swaps = [
        Swap(id, {"$version": record.version}, _document(record, _next(record), call)) for id, record in changed.items()
    ]
    if await apply(records, swaps, IDENTITY, {}, session) == len(swaps):
        return set(changed)
    ours = {"_id": {"$in": list(changed)}, "stamp": call}
    return {row["_id"] for row in await records.find(ours, {"_id": 1}, session=session).to_list()}


async def scan(link: Link, kind: str, due: int | None, after: str | None, limit: int) -> list[Record]:
    """Records of a kind by name, or those that are due by due time and name."""
    chosen: Document = {"kind": kind}
    if after is not None:
        chosen["name"] = {"$gt": after}
    if due is not None:
        chosen["due_at"] = {"$lte": date(due)}
    order, hint = (["name"], BY_NAME) if due is None else (["due_at", "name"], BY_DUE)
    with link.calls():
        found = link["records"].find(
            chosen, limit=limit, sort=[("kind", 1), *((field, 1) for field in order)], hint=hint
        )
        return [read_record(row) for row in await found.to_list()]


async def erase(link: Link, record: Record) -> bool:
    """Erase the record if its version is still the stored one."""
    with link.calls():
        done = await link["records"].delete_one({"_id": record_id(record.kind, record.name), "version": record.version})
    return done.deleted_count > 0
