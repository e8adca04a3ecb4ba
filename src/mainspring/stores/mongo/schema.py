"""Collections, indexes, and of which schema they are. Made by whoever comes first; all of it bears repeating."""

from __future__ import annotations

import secrets
from typing import Any

from pymongo import ASCENDING, DESCENDING, IndexModel
from pymongo.errors import CollectionInvalid, OperationFailure

from mainspring.errors import StoreError, StoreReadOnly, StoreUnusable
from mainspring.stores.mongo.failures import NAMESPACE_EXISTS, NAMESPACE_NOT_FOUND, code_of
from mainspring.stores.mongo.link import Link

SCHEMA = 1
"""Of the documents and indexes; a database with a newer one is left alone."""

UP, DOWN = ASCENDING, DESCENDING
CLAIMABLE: dict[str, Any] = {"rank": {"$exists": True}}

CLAIM = "claim"
NEXT = "next"
LANE = "lane"
EXPIRY = "expiry"
BY_NAME = "by_name"
BY_DUE = "by_due"

# Each hot query names the one index that serves it, and a test reads the plans. `claim` has the contract's order: what
# runs (rank 101, due when its lease lapses) before what waits, by priority, each lane by due time and id. `lane` is for
# people, and serves pages and counts: an index for each would cost a fifth of all that the server does for a job.
INDEXES: dict[str, list[IndexModel]] = {
    "jobs": [
        IndexModel(
            [("queue", UP), ("task", UP), ("rank", DOWN), ("due_at", UP), ("_id", UP)],
            name=CLAIM,
            partialFilterExpression=CLAIMABLE,
        ),
        IndexModel([("queue", UP), ("task", UP), ("due_at", UP)], name=NEXT, partialFilterExpression=CLAIMABLE),
        IndexModel(
            [("queue", UP), ("task", UP), ("state", UP), ("seq", DOWN), ("origin", UP), ("keyed", UP)], name=LANE
        ),
        IndexModel([("expires_at", UP)], name=EXPIRY, partialFilterExpression={"expires_at": {"$exists": True}}),
    ],
    "records": [
        IndexModel([("kind", UP), ("name", UP)], name=BY_NAME),
        IndexModel([("kind", UP), ("due_at", UP), ("name", UP)], name=BY_DUE),
        IndexModel([("expires_at", UP)], name=EXPIRY, partialFilterExpression={"expires_at": {"$exists": True}}),
    ],
    "logs": [IndexModel([("life", UP), ("seq", UP)], name="by_life", unique=True)],
}
CAPPED = {"signals": 256 * 1024, "events": 4 * 1024 * 1024}
"""Bytes. Who begins to listen reads all signals that are there: some 2,000 at most, a few milliseconds."""


ATTEMPTS = 3
"""To make a collection that somebody is dropping."""


async def prepare(link: Link) -> object:
    """Make what is missing; answers what tells this database from others.

    Raises `StoreUnusable` for a newer schema, or a collection that is not ours.
    """
    with link.calls():
        found = await link["meta"].find_one({"_id": "schema"})
    is_new = found is None
    if is_new:
        await _make(link)
        with link.calls():
            new = {"version": SCHEMA, "identity": secrets.token_hex(12)}
            await link["meta"].update_one({"_id": "schema"}, {"$setOnInsert": new}, upsert=True)
            found = await link["meta"].find_one({"_id": "schema"})
    version = (found or {}).get("version")
    if not isinstance(version, int):
        raise StoreUnusable(
            f"{link.settings.shown}: the collection {link.settings.prefix}meta is not ours. "
            "Expected a prefix or a database of our own; choose another with ?prefix=."
        )
    if version > SCHEMA:
        raise StoreUnusable(
            f"{link.settings.shown}: its collections have schema {version}; this version knows up to {SCHEMA}. "
            "Install a newer Mainspring, or choose another prefix with ?prefix=."
        )
    if not is_new:
        await _mend(link)
    await _check_shards(link)
    return (found or {}).get("identity")


async def identity(link: Link) -> object:
    """The same, as it is now: whoever missed the collection may have made it again."""
    with link.calls():
        found = await link["meta"].find_one({"_id": "schema"})
    return await prepare(link) if found is None else found.get("identity")


async def _make(link: Link) -> None:
    for name, size in CAPPED.items():
        await _make_capped(link, name, size)
    for name, indexes in INDEXES.items():
        with link.calls(max(link.settings.timeout, 60.0)):
            await link[name].create_indexes(indexes)


async def _mend(link: Link) -> None:
    """Make again what somebody has dropped. Who may not make anything need not: as a rule nothing is missing."""
    try:
        await _make(link)
    except StoreReadOnly:
        pass


async def _make_capped(link: Link, name: str, size: int) -> None:
    for left in reversed(range(ATTEMPTS)):
        try:
            with link.calls():
                await _create_capped(link, name, size)
            return
        except StoreError as error:  # dropped between two looks at it
            if code_of(error.__cause__) != NAMESPACE_NOT_FOUND or not left:
                raise


async def _create_capped(link: Link, name: str, size: int) -> None:
    try:
        await link.database.create_collection(link.settings.prefix + name, capped=True, size=size, check_exists=False)
    except (CollectionInvalid, OperationFailure) as error:
        if not isinstance(error, CollectionInvalid) and code_of(error) != NAMESPACE_EXISTS:
            raise
        await _cap(link, name, size)
        return
    # A tailable cursor on an empty collection is dead at once.
    await link[name].insert_one({"about": "begins here"})


async def _cap(link: Link, name: str, size: int) -> None:
    """Where somebody dropped it while processes ran, the next hint has made a plain collection: nobody could listen to
    that, and it would grow for ever."""
    if not (await link[name].options()).get("capped"):
        await link.database.command({"convertToCapped": link[name].name, "size": size})


async def _check_shards(link: Link) -> None:
    """A sharded `jobs` keeps ids unique if `_id` alone is its key: else two shards may hold the same id."""
    if link.kind != "sharded":
        return
    try:
        with link.calls():
            found = await link.client["config"]["collections"].find_one(
                {"_id": f"{link.settings.database}.{link.settings.prefix}jobs"}
            )
    except StoreReadOnly:  # the user may not look
        return
    key = list((found or {}).get("key", {"_id": 1}))
    if key != ["_id"]:
        raise StoreUnusable(
            f"{link.settings.shown}: {link.settings.prefix}jobs is sharded by {', '.join(key)}. "
            "Expected _id, hashed or not, for nothing else keeps a key unique; reshard it."
        )
