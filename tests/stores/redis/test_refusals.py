"""What a server refuses: some of it passes and is waited for, the rest is told in words."""

from __future__ import annotations

import asyncio

import pytest

from mainspring.errors import StoreError, StoreFull, StoreReadOnly, StoreUnavailable, StoreUnusable
from mainspring.stores.redis.scripts import Script
from tests.servers.fixtures import EVERY_KIND
from tests.servers.process import free_port
from tests.servers.redis import RedisServer
from tests.servers.shared import Shared
from tests.servers.waiting import until
from tests.stores.redis.wire import PROMPT, SHORT, link_to, refused

SPIN = "while true do end"


def loading(delay: str) -> RedisServer:
    """A server that reads 2,000 keys when it starts, and takes `delay` microseconds for each."""
    server = RedisServer.started(key_load_delay=delay, loading_process_events_interval_bytes="1024")
    server.command("EVAL", "for n = 1, 2000 do redis.call('SET', n, string.rep('x', 100)) end", 0)
    server.command("SAVE")
    server.kill()
    server.launch()
    return server


async def test_a_server_that_still_loads_is_waited_for() -> None:
    with loading("200") as server:
        async with link_to(server.url) as link, asyncio.timeout(PROMPT):
            assert await link.command("GET", "7") == b"x" * 100


async def test_a_server_that_loads_for_longer_than_the_deadline_is_unavailable() -> None:
    with loading("2000") as server:
        until(lambda: "Ready to accept" in server.log() or "Loading RDB" in server.log(), "the loading to begin")
        async with link_to(server.url + "?timeout=1s") as link, asyncio.timeout(PROMPT):
            with pytest.raises(StoreUnavailable, match="it is still reading its data"):
                await link.command("GET", "7")


async def test_a_server_that_is_busy_with_a_script_is_waited_for() -> None:
    with RedisServer.started(lua_time_limit="10") as server:
        async with link_to(server.url) as link, link_to(server.url) as other, asyncio.timeout(PROMPT):
            spinning = asyncio.create_task(other.command("EVAL", SPIN, 0))
            while not server.running or "BUSY" not in str(await asyncio.to_thread(said, server)):
                await asyncio.sleep(0)
            waiting = asyncio.create_task(link.command("INCR", "count"))
            assert not (await asyncio.wait([waiting], timeout=0.1))[0]
            server.command("SCRIPT", "KILL")
            assert await waiting == 1
            with pytest.raises(StoreError, match="killed"):
                await spinning


def said(server: RedisServer) -> object:
    try:
        return server.command("GET", "count")
    except Exception as error:
        return error


async def test_too_few_replicas_are_waited_for() -> None:
    with RedisServer.started(min_replicas_to_write="1") as server:
        async with link_to(server.url) as link, asyncio.timeout(PROMPT):
            waiting = asyncio.create_task(link.commands([("GET", "count"), ("INCR", "count"), ("INCR", "count")]))
            assert not (await asyncio.wait([waiting], timeout=0.1))[0]
            server.command("CONFIG", "SET", "min-replicas-to-write", "0")
            assert await waiting == [None, 1, 2]


@pytest.mark.parametrize("kind", EVERY_KIND)
async def test_a_master_that_becomes_a_replica_is_waited_for(kind: str) -> None:
    count = Script("count", "return redis.call('INCR', KEYS[1] .. ':count')")
    with RedisServer.started(kind) as server:
        async with link_to(server.url) as link, asyncio.timeout(PROMPT):
            assert await link.call(count) == 1
            server.command("REPLICAOF", "127.0.0.1", free_port())
            waiting = asyncio.create_task(link.call(count))
            assert not (await asyncio.wait([waiting], timeout=0.1))[0]
            server.command("REPLICAOF", "NO", "ONE")
            assert await waiting == 2


async def test_a_replica_cannot_be_written() -> None:
    with RedisServer.started(replicaof=f"127.0.0.1 {free_port()}") as server:
        await refused(server.url + SHORT, StoreReadOnly, "is a replica")


@pytest.mark.parametrize("kind", EVERY_KIND)
async def test_a_full_server(kind: str) -> None:
    with RedisServer.started(kind, maxmemory="1", maxmemory_policy="noeviction") as server:
        async with link_to(server.url) as link:
            with pytest.raises(StoreFull, match="memory is full"):
                await link.command("SET", "a", 1)
            with pytest.raises(StoreFull, match="memory is full"):
                await link.call(Script("write", "return redis.call('SET', KEYS[1], 1)"))


async def test_a_script_may_ask_to_run_when_memory_is_full() -> None:
    freeing = Script("free", "-- flags: allow-oom\nreturn redis.call('SET', KEYS[1], 1)")
    for kind in ("redis7", "valkey8"):
        with RedisServer.started(kind, maxmemory="1", maxmemory_policy="noeviction") as server:
            async with link_to(server.url) as link:
                assert await link.call(freeing) == b"OK"


async def test_a_foreign_key(redis_server: Shared) -> None:
    script = Script("list", "return redis.call('LPUSH', KEYS[1] .. ':foreign', 1)")
    async with link_to(redis_server.url + "?namespace=foreign") as link:
        await link.command("SET", "{foreign}:foreign", 1)
        with pytest.raises(StoreUnusable, match="holds something that is not ours"):
            await link.command("LPUSH", "{foreign}:foreign", 1)
        with pytest.raises(StoreUnusable, match="holds something that is not ours"):
            await link.call(script)
        await link.command("DEL", "{foreign}:foreign")


async def test_unknown_commands(redis_server: Shared) -> None:
    async with link_to(redis_server.url) as link:
        with pytest.raises(StoreUnusable, match="lacks a command"):
            await link.command("NOSUCHCOMMAND")
