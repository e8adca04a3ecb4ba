"""What a MongoDB deployment says of itself, for those who ask whether it is fit for jobs. Nothing is judged here.

What the server refuses is a fact without value.
"""

from __future__ import annotations

from time import perf_counter
from typing import Any

from pymongo.errors import PyMongoError

from mainspring.stores.base import Fact
from mainspring.stores.mongo.link import Document, Link
from mainspring.stores.mongo.schema import INDEXES

PINGS = 20


async def gather(link: Link) -> list[Fact]:
    """All facts. Raises `StoreUnavailable` where nobody answers."""
    with link.calls():
        hello: Document = await link.client.admin.command("hello")
        meta = await link["meta"].find_one({"_id": "schema"}) or {}
    concern = link["jobs"].write_concern.document
    return [
        Fact("store", "mongodb"),
        Fact("server", link.version),
        Fact("mode", link.kind),
        Fact("database", link.settings.database),
        Fact("prefix", link.settings.prefix),
        Fact("schema", meta.get("version", 0)),
        Fact("clock-offset", meta.get("offset", 0)),
        Fact("write-concern", str(concern.get("w", "the server's default"))),
        Fact("journal", str(concern.get("j", "as the write concern says"))),
        Fact("retry-writes", int(link.settings.retry_writes and link.kind != "standalone")),
        _of(hello, "replica-set", "setName", "not a replica set"),
        Fact("members", len(hello.get("hosts", ())) or 1),
        *await _members(link),
        *await _storage(link),
        *await _oplog(link),
        await _indexes(link),
        *await _latency(link),
    ]


def _of(found: Document, name: str, field: str, why: str) -> Fact:
    return Fact(name, found[field]) if field in found else Fact(name, None, why)


async def _ask(link: Link, command: Document, database: str = "admin") -> tuple[Document, str]:
    try:
        with link.deadline():
            answer: Document = await link.client[database].command(command)
            return answer, ""
    except PyMongoError as error:
        return {}, f"the server refused {next(iter(command))}: {str(error)[:200]}"


async def _members(link: Link) -> list[Fact]:
    if link.kind != "replica set":
        return []
    status, why = await _ask(link, {"replSetGetStatus": 1})
    members: list[Document] = status.get("members", [])
    healthy = sum(1 for member in members if member.get("health") == 1 and member.get("state") in (1, 2, 7))
    newest = max((member["optimeDate"] for member in members if "optimeDate" in member), default=None)
    behind = [
        (newest - member["optimeDate"]).total_seconds()
        for member in members
        if newest is not None and "optimeDate" in member and member.get("state") == 2
    ]
    config, hidden = await _ask(link, {"replSetGetConfig": 1})
    found: Document = config.get("config", {})
    journaled = found.get("writeConcernMajorityJournalDefault", True)
    election = int(found.get("settings", {}).get("electionTimeoutMillis", 10_000))
    return [
        Fact("election-timeout-ms", None if hidden else election, hidden),
        Fact("majority-journal", None if hidden else int(journaled), hidden),
        Fact("healthy-members", None if why else healthy, why),
        Fact("furthest-behind-seconds", max(behind, default=0.0) if not why else None, why),
    ]


async def _storage(link: Link) -> list[Fact]:
    stats, why = await _ask(link, {"dbStats": 1}, link.settings.database)
    return [
        Fact("disk-free", _left(stats), why or ("" if _left(stats) is not None else "dbStats does not tell it")),
        Fact("data-size", None if why else int(stats.get("dataSize", 0)), why),
        Fact("index-size", None if why else int(stats.get("indexSize", 0)), why),
    ]


def _left(stats: Document) -> int | None:
    if "fsTotalSize" not in stats or "fsUsedSize" not in stats:
        return None
    return int(stats["fsTotalSize"] - stats["fsUsedSize"])


async def _oplog(link: Link) -> list[Fact]:
    """How long ago the oldest entry is that a member could still catch up from; and how full it is: one that is not
    will reach back further."""
    if link.kind != "replica set":
        return []
    try:
        with link.deadline():
            oplog = link.client["local"]["oplog.rs"]
            first = await oplog.find_one({}, {"ts": 1}, sort=[("$natural", 1)])
            last = await oplog.find_one({}, {"ts": 1}, sort=[("$natural", -1)])
    except PyMongoError as error:
        return [Fact("oplog-hours", None, f"the oplog cannot be read: {str(error)[:200]}")]
    if first is None or last is None:
        return [Fact("oplog-hours", None, "the oplog is empty")]
    stats, why = await _ask(link, {"collStats": "oplog.rs"}, "local")
    used = None if why else round(stats["size"] / stats["maxSize"], 3)
    return [
        Fact("oplog-hours", round((last["ts"].time - first["ts"].time) / 3_600, 2)),
        Fact("oplog-used", used, why),
    ]


async def _indexes(link: Link) -> Fact:
    """The names of the indexes that are missing."""
    missing: list[str] = []
    try:
        with link.deadline():
            for name, wanted in INDEXES.items():
                there: dict[str, Any] = dict(await link[name].index_information())
                missing += [
                    f"{name}.{model.document['name']}" for model in wanted if model.document["name"] not in there
                ]
    except PyMongoError as error:
        return Fact("missing-indexes", None, f"the indexes cannot be listed: {str(error)[:200]}")
    return Fact("missing-indexes", ", ".join(missing) or "none")


async def _latency(link: Link) -> list[Fact]:
    """Of a command, and of a write that waits as ours do, one after the other, ms."""
    took: list[float] = []
    wrote: list[float] = []
    with link.calls():
        for _ in range(PINGS):
            begun = perf_counter()
            await link.client.admin.command("ping")
            took.append((perf_counter() - begun) * 1_000)
        for _ in range(PINGS // 4):
            begun = perf_counter()
            await link["meta"].update_one({"_id": "probe"}, {"$inc": {"probes": 1}}, upsert=True)
            wrote.append((perf_counter() - begun) * 1_000)
    return [
        Fact("ping-ms", round(sorted(took)[PINGS // 2], 3)),
        Fact("ping-worst-ms", round(max(took), 3)),
        Fact("write-ms", round(sorted(wrote)[len(wrote) // 2], 3)),
    ]
