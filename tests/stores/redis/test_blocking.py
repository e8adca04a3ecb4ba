"""Connections of one's own for reads that block."""

from __future__ import annotations

import asyncio

import pytest

from mainspring.errors import StoreError, StoreUnavailable
from mainspring.stores.redis.link import SPARE, Link
from tests.servers.process import free_port
from tests.servers.redis import RedisServer
from tests.servers.shared import Shared
from tests.stores.redis.wire import PROMPT, blocked, clients, link_to


async def wait(link: Link) -> None:
    async with link.blocking() as line:
        await line.block(("BLPOP", "nobody-pushes-here", 60), 60)


async def all_blocked(server: Shared) -> None:
    """Until one connection waits in a blocking command."""
    while "flags=b" not in clients(server):
        await asyncio.sleep(0)


async def test_spare_connections_are_kept_and_used_again(redis_server: Shared) -> None:
    async with link_to(redis_server.url) as link:
        async with link.blocking() as one, link.blocking() as two, link.blocking() as three:
            assert len({one.id, two.id, three.id}) == 3
        async with link.blocking() as again, link.blocking() as more:
            assert len({again.id, more.id} & {one.id, two.id, three.id}) == SPARE


async def test_a_wait_that_was_cancelled_leaves_no_connection_behind(redis_server: Shared) -> None:
    async with link_to(redis_server.url) as link, asyncio.timeout(PROMPT):
        async with link.blocking() as line:
            waiting = asyncio.create_task(line.block(("BLPOP", "nobody-pushes-here", 60), 60))
            await blocked(redis_server, line)
            waiting.cancel()
        assert not line.usable
        async with link.blocking() as other:
            assert other.id != line.id


async def test_a_wait_that_the_server_ended_leaves_its_connection_in_order(redis_server: Shared) -> None:
    async with link_to(redis_server.url) as link, asyncio.timeout(PROMPT):
        async with link.blocking() as line:
            waiting = asyncio.create_task(line.block(("BLPOP", "nobody-pushes-here", 60), 60))
            await blocked(redis_server, line)
            assert await link.command("CLIENT", "UNBLOCK", line.id) == 1
            assert await waiting is None
        async with link.blocking() as other:
            assert other.id == line.id


async def test_a_wait_ends_with_its_connection() -> None:
    with RedisServer.started() as server:
        async with link_to(server.url) as link, asyncio.timeout(PROMPT):
            waiting = asyncio.create_task(wait(link))
            await all_blocked(server)
            server.kill()
            with pytest.raises(StoreUnavailable):
                await waiting
            server.start()
            async with link.blocking() as line:
                assert await line.block(("BLPOP", "nobody-pushes-here", 0.01), 0.01) is None


async def test_a_wait_on_a_master_that_steps_down_ends() -> None:
    with RedisServer.started() as server:
        async with link_to(server.url) as link, asyncio.timeout(PROMPT):
            waiting = asyncio.create_task(wait(link))
            await all_blocked(server)
            server.command("REPLICAOF", "127.0.0.1", free_port())
            with pytest.raises(StoreError):
                await waiting
            server.command("REPLICAOF", "NO", "ONE")
            assert await link.command("INCR", "count") == 1
