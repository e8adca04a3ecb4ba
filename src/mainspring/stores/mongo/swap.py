"""Changing many rows, each to something of its own, in one round trip, each only if it is still as it was.

One `update_many` whose pipeline looks up what a row is to become in a table that travels with it: 140 us a row, where a
bulk of single updates takes 260 (each of its statements is written down for the driver's retries). Who needs to know
which rows were changed leaves a stamp of its own in them; a number that says "all" needs no second look.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, NamedTuple

from mainspring.errors import StoreUnavailable
from mainspring.stores.mongo.failures import blocked
from mainspring.stores.mongo.link import Collection, Document, Link

PATIENCE = 2.0
"""Seconds that a batch may wait for a row which somebody else's open transaction has written; then each row waits for
itself, so that one such row holds up no other."""
SIDE_BY_SIDE = 20


class Swap(NamedTuple):
    id: str
    match: Document
    """What the row has to have, besides its id: values by expression names, such as `{"$version": 3}`."""
    row: Document
    """What it becomes."""


def change(swaps: Sequence[Swap], base: Sequence[Any]) -> list[Document]:
    """The pipeline that makes each row what its swap says, on top of `base`: expressions of the row that it was."""
    names = list(swaps[0].match)
    ids = [swap.id for swap in swaps]
    table = [{"m": list(swap.match.values()), "row": swap.row} for swap in swaps]
    entry = {"$arrayElemAt": [{"$literal": table}, {"$indexOfArray": [{"$literal": ids}, "$_id"]}]}
    changed = {"$mergeObjects": [*base, "$$swap.row"]}
    fits = {"$eq": [[{"$ifNull": [name, None]} for name in names], "$$swap.m"]}
    return [{"$replaceWith": {"$let": {"vars": {"swap": entry}, "in": {"$cond": [fits, changed, "$$ROOT"]}}}}]


async def apply(
    collection: Collection, swaps: Sequence[Swap], base: Sequence[Any], among: Document, session: Any = None
) -> int:
    """Make the swaps that fit, each id once, `among` the rows that have these fields; answers how many there were."""
    rows = {"_id": {"$in": [swap.id for swap in swaps]}, **among}
    done = await collection.update_many(rows, change(swaps, base), hint="_id_", session=session)
    return done.modified_count


async def apply_apart(link: Link, name: str, swaps: Sequence[Swap], base: Sequence[Any], among: Document) -> int:
    """The same, outside of any transaction: a row that somebody else's transaction holds keeps back none but itself.

    Answers -1 where it does not know how many there were. Raises `StoreUnavailable`: some may have been made.
    """
    patience = min(PATIENCE, link.settings.timeout / 4)
    try:
        with link.calls(patience if len(swaps) > 1 else None):
            return await apply(link[name], swaps, base, among)
    except StoreUnavailable as error:
        if len(swaps) == 1 or not is_blocked(error):
            raise
    slots = asyncio.Semaphore(SIDE_BY_SIDE)

    async def one(swap: Swap) -> None:
        async with slots:
            with link.calls(patience):
                await apply(link[name], [swap], base, among)

    failed = [e for e in await asyncio.gather(*map(one, swaps), return_exceptions=True) if isinstance(e, BaseException)]
    if failed:
        raise failed[0]
    return -1


def is_blocked(error: StoreUnavailable) -> bool:
    """Whether it was somebody else's transaction that was waited for, or the server's own slowness."""
    return error.__cause__ is not None and blocked(error.__cause__)
