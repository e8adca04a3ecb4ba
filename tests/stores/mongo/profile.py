"""What a database really did for a call: its profiler tells how much of which collection it has read, and how.

Better than `explain`: these are the store's own commands, as they were sent, with the plans that were used, also inside
of `$unionWith`, `$lookup` and transactions.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from pymongo.database import Database

IGNORED = ("system.profile", "signals", "events")
"""Read as they grow, in the background."""


@dataclass(frozen=True)
class Operation:
    """One command of a store."""

    what: str
    keys: int
    docs: int
    sorted: bool
    """Whether anything was sorted in memory; merging sorted scans is no such thing."""
    plan: str

    @property
    def scans(self) -> bool:
        return "COLLSCAN" in self.plan


class Watched:
    """The operations of a block."""

    def __init__(self) -> None:
        self.operations: list[Operation] = []

    @property
    def keys(self) -> int:
        return sum(operation.keys for operation in self.operations)

    @property
    def docs(self) -> int:
        return sum(operation.docs for operation in self.operations)

    def __str__(self) -> str:
        return "\n".join(
            f"{each.what}: {each.keys} keys, {each.docs} documents, sorted: {each.sorted}; {each.plan[:120]}"
            for each in self.operations
        )


@asynccontextmanager
async def watching(database: Database[dict[str, Any]]) -> AsyncIterator[Watched]:
    """What is done in this database within the block, by anybody, is there at its end."""
    database.command("profile", 0)
    database.drop_collection("system.profile")
    database.create_collection("system.profile", capped=True, size=64 << 20)
    database.command("profile", 2)
    watched = Watched()
    try:
        yield watched
    finally:
        database.command("profile", 0)
        watched.operations = list(_operations(database))


def _operations(database: Database[dict[str, Any]]) -> Iterator[Operation]:
    for row in database["system.profile"].find({"op": {"$ne": "insert"}}):
        collection = row["ns"].partition(".")[2]
        if collection.endswith(IGNORED) or "keysExamined" not in row:
            continue
        yield Operation(
            f"{row['op']} {collection} {next(iter(row.get('command', {})), '')}",
            row["keysExamined"],
            row.get("docsExamined", 0),
            bool(row.get("hasSortStage")),
            row.get("planSummary", ""),
        )
