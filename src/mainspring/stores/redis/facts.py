"""What a Redis server says of itself, for those who ask whether it is fit for jobs. Facts only: nothing is judged.

Most stands in INFO, which even a service that hides CONFIG gives. What the server refuses is a fact without value.
"""

from __future__ import annotations

import re
from time import perf_counter
from typing import Any

from mainspring.errors import StoreError, StoreUnavailable
from mainspring.stores.base import Fact
from mainspring.stores.redis import scripts
from mainspring.stores.redis.line import Argument
from mainspring.stores.redis.link import Link
from mainspring.stores.redis.topology import slot

PINGS = 20
_CONFIG = ("save", "appendfsync", "min-replicas-to-write", "timeout")
_INFO = {
    "maxmemory": "maxmemory",
    "maxmemory-policy": "maxmemory_policy",
    "used-memory": "used_memory",
    "evicted": "evicted_keys",
    "aof": "aof_enabled",
    "last-snapshot": "rdb_last_bgsave_status",
    "last-aof-write": "aof_last_write_status",
    "role": "role",
    "replicas": "connected_slaves",
    "clients": "connected_clients",
    "maxclients": "maxclients",
}


async def gather(link: Link) -> list[Fact]:
    """All facts. Raises `StoreUnavailable` where nobody answers."""
    facts = [
        Fact("store", "redis"),
        Fact("server", str(link.server)),
        Fact("mode", link.settings.kind),
        Fact("namespace", link.settings.namespace),
        Fact("allow-oom", link.server.flags),
        *await _meta(link),
        *await _info(link),
        *[await _setting(link, name) for name in _CONFIG],
        await _scripts(link),
        *await _latency(link),
    ]
    return facts + (await _cluster(link) if link.server.mode == "cluster" else [])


async def _ask(link: Link, *command: Argument) -> tuple[Any, str]:
    """The reply, or why there is none."""
    try:
        return await link.command(*command), ""
    except StoreUnavailable:
        raise
    except StoreError as error:
        return None, _reason(command, error)


def _reason(command: tuple[Argument, ...], error: StoreError) -> str:
    return f"the server refused {' '.join(map(str, command[:2]))}: {error.__cause__ or error}"


async def _meta(link: Link) -> list[Fact]:
    stored, why = await _ask(link, "HMGET", f"{link.namespace}:meta", "schema", "offset")
    schema, offset = stored or (None, None)
    return [
        Fact("schema", None if schema is None else int(schema), why or ("" if schema else "the namespace has none")),
        Fact("clock-offset", None if why else int(offset or 0), why),
    ]


async def _info(link: Link) -> list[Fact]:
    text, why = await _ask(link, "INFO")
    told = dict(re.findall(r"^(\w+):(.*?)\r?$", (text or b"").decode(errors="replace"), re.MULTILINE))
    return [_fact(name, told.get(field), why or f"INFO does not tell {field}") for name, field in _INFO.items()]


async def _setting(link: Link, name: str) -> Fact:
    reply, why = await _ask(link, "CONFIG", "GET", name)
    value = reply[1].decode(errors="replace") if reply else None
    return _fact(name, value, why or f"CONFIG GET does not tell {name}")


def _fact(name: str, value: str | None, why: str) -> Fact:
    if value is None:
        return Fact(name, None, why)
    return Fact(name, int(value) if re.fullmatch(r"-?\d+", value, re.ASCII) else value)


async def _scripts(link: Link) -> Fact:
    """How many scripts the server takes in; that it runs one of them, too."""
    known = [value for value in vars(scripts).values() if isinstance(value, scripts.Script)]
    for script in known:
        text = script.flagged if link.server.flags else script.plain
        _, why = await _ask(link, "SCRIPT", "LOAD", text.source)
        if why:
            return Fact("scripts", None, f"script {script.name}: {why.partition(': ')[2]}")
    try:
        await link.call(scripts.TAIL, "no job", 0, 1)
    except StoreError as error:  # also where they are refused for a while, as during the move of a slot
        return Fact("scripts", None, str(error.__cause__ or error))
    return Fact("scripts", len(known))


async def _latency(link: Link) -> list[Fact]:
    """Of a command, one after the other, ms."""
    took = []
    for _ in range(PINGS):
        begun = perf_counter()
        await link.command("PING")
        took.append((perf_counter() - begun) * 1_000)
    took.sort()
    return [Fact("ping-ms", round(took[PINGS // 2], 3)), Fact("ping-worst-ms", round(took[-1], 3))]


async def _cluster(link: Link) -> list[Fact]:
    ours = slot(link.settings.namespace)
    text, why = await _ask(link, "CLUSTER", "INFO")
    state = re.search(r"cluster_state:(\w+)", (text or b"").decode())
    nodes, unsaid = await _ask(link, "CLUSTER", "NODES")
    lines = [line.split(" ") for line in (nodes or b"").decode().splitlines()]
    here = next((line for line in lines if "myself" in line[2]), None)
    return [
        Fact("slot", ours),
        Fact("cluster-state", state[1] if state else None, why),
        Fact("node", here[1].partition("@")[0] if here else None, unsaid),
        Fact("slot-moves", None if here is None else int(any(f"[{ours}-" in word for word in here[8:])), unsaid),
    ]
