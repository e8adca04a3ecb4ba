"""A connection that heals: what is retried, what is not, and what is said when the time is over."""

from __future__ import annotations

import asyncio
import re

import pytest

from mainspring.errors import StoreError, StoreUnavailable
from mainspring.stores.redis.link import Link
from mainspring.stores.redis.scripts import Script
from mainspring.stores.redis.settings import parse
from tests.servers.process import free_port
from tests.servers.proxy import Proxy
from tests.servers.redis import RedisServer
from tests.servers.shared import Shared
from tests.servers.waiting import until
from tests.stores.redis.wire import PROMPT, SHORT, clients, link_to

pytestmark = pytest.mark.slow  # seconds in all, and others show the essentials quickly

ECHO = Script("echo", "return {KEYS[1], ARGV[1]}")


async def test_scripts_are_loaded_where_the_server_lacks_them(redis_server: Shared) -> None:
    script = Script("fresh", f"-- {free_port()} {id(redis_server)}\nreturn {{KEYS[1], ARGV[1]}}")
    async with link_to(redis_server.url + "?namespace=shop") as link:
        for number in range(2):
            assert await link.call(script, number) == [b"{shop}", str(number).encode()]


async def test_a_script_that_was_flushed_is_loaded_again() -> None:
    with RedisServer.started() as server:
        async with link_to(server.url) as link:
            await link.call(ECHO, 1)
            server.command("SCRIPT", "FLUSH")
            assert await asyncio.gather(*(link.call(ECHO, n) for n in range(50))) == [
                [b"{mainspring}", str(n).encode()] for n in range(50)
            ]


async def test_a_script_that_does_not_compile_says_so(redis_server: Shared) -> None:
    async with link_to(redis_server.url) as link:
        with pytest.raises(StoreError, match="compil"):
            await link.call(Script("bad", "this is no Lua"))


async def test_several_commands_answer_in_order(redis_server: Shared) -> None:
    async with link_to(redis_server.url) as link:
        assert await link.commands([("ECHO", n) for n in range(5)]) == [str(n).encode() for n in range(5)]
        assert await link.commands([]) == []
        with pytest.raises(StoreError, match="wrong number of arguments"):
            await link.commands([("SET", "{mainspring}:order", 1), ("GET",), ("INCR", "{mainspring}:order")])
        assert await link.command("GETDEL", "{mainspring}:order") == b"2", "the others took effect"


async def test_many_large_batches_at_once() -> None:
    with RedisServer.started() as server:
        async with link_to(server.url) as link:
            batches = [[("ECHO", bytes([65 + n]) * 200_000)] * 10 for n in range(10)]
            for batch, replies in zip(batches, await asyncio.gather(*map(link.commands, batches)), strict=True):
                assert replies == [args[1] for args in batch]


# -- the server goes away -----------------------------------------------------------------------------------------


async def test_a_server_that_was_killed_and_started_again_is_found_again() -> None:
    with RedisServer.started() as server:
        async with link_to(server.url) as link, asyncio.timeout(PROMPT):
            await link.call(ECHO, 1)
            server.kill()
            waiting = [asyncio.create_task(link.call(ECHO, n)) for n in range(20)]
            await asyncio.sleep(0)
            server.start()
            replies = await asyncio.gather(*waiting, return_exceptions=True)
            assert await link.call(ECHO, 2) == [b"{mainspring}", b"2"]
        # The kill may meet the first of them on its way.
        assert all(isinstance(reply, list | StoreUnavailable) for reply in replies)


async def test_a_server_that_is_down_is_unavailable_at_the_deadline() -> None:
    with RedisServer.started() as server:
        async with link_to(server.url + SHORT) as link, asyncio.timeout(PROMPT):
            server.kill()
            await asyncio.gather(link.command("PING"), return_exceptions=True)
            began = asyncio.get_running_loop().time()
            with pytest.raises(StoreUnavailable) as caught:
                await link.command("PING")
            waited = asyncio.get_running_loop().time() - began
            assert re.search(r"not to be had within 300ms .*Nothing took effect", str(caught.value))
            assert waited > 0.25


async def test_a_connection_that_was_cut_while_idle_is_replaced_unseen(redis_server: Shared) -> None:
    async with link_to(redis_server.url) as link, asyncio.timeout(PROMPT):
        for _ in range(3):
            mine = await link.command("CLIENT", "ID")
            redis_server.command("CLIENT", "KILL", "ID", mine)
            while link._line is not None and link._line.usable:
                await asyncio.sleep(0)
            assert await link.command("PING") == b"PONG"


async def test_a_call_that_was_sent_and_not_answered_is_not_repeated() -> None:
    with RedisServer.started() as server, Proxy(server.port) as proxy:
        async with link_to(proxy.url + SHORT) as link, asyncio.timeout(PROMPT):
            await link.command("SET", "count", 0)
            server.freeze()
            with pytest.raises(StoreUnavailable, match="It is not known whether the call took effect"):
                await link.command("INCR", "count")
            server.thaw()
            assert await link.command("GET", "count") == b"1"


async def test_calls_in_flight_fail_when_connections_are_cut_and_the_next_ones_go_on() -> None:
    with RedisServer.started() as server, Proxy(server.port) as proxy:
        async with link_to(proxy.url) as link, asyncio.timeout(PROMPT):
            proxy.stall()
            waiting = [asyncio.create_task(link.command("PING")) for _ in range(10)]
            await asyncio.sleep(0)
            proxy.cut()
            proxy.resume()
            replies = await asyncio.gather(*waiting, return_exceptions=True)
            assert all(isinstance(reply, StoreUnavailable) for reply in replies)
            assert await link.command("PING") == b"PONG"


async def test_a_black_hole_is_left_after_the_deadline() -> None:
    with RedisServer.started() as server, Proxy(server.port) as proxy:
        async with link_to(proxy.url + SHORT) as link, asyncio.timeout(PROMPT):
            proxy.black_hole()
            with pytest.raises(StoreUnavailable, match="not known"):
                await link.command("PING")
            with pytest.raises(StoreUnavailable, match="Nothing took effect"):
                await link.command("PING")
            proxy.resume()
            assert await link.command("PING") == b"PONG"


async def test_a_half_open_connection_is_left_after_the_deadline() -> None:
    with RedisServer.started() as server, Proxy(server.port) as proxy:
        async with link_to(proxy.url + SHORT) as link, asyncio.timeout(PROMPT):
            proxy.half_open()
            with pytest.raises(StoreUnavailable, match="not known"):
                await link.command("PING")
            assert await link.command("PING") == b"PONG"


async def test_many_who_wait_share_few_attempts_to_connect() -> None:
    attempts = 0

    async def slam(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal attempts
        attempts += 1
        writer.close()

    server = await asyncio.start_server(slam, "127.0.0.1")
    link = Link(parse(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}?timeout=500ms"))
    link._open = True
    async with server, asyncio.timeout(PROMPT):
        replies = await asyncio.gather(*(link.command("PING") for _ in range(100)), return_exceptions=True)
        await link.close()
    assert all(isinstance(reply, StoreUnavailable) for reply in replies)
    # 10 ms, doubled each time and at least halved by chance: 500 ms have room for at most seven.
    assert 2 <= attempts <= 8


# -- life ---------------------------------------------------------------------------------------------------------


async def test_a_link_that_is_not_open_says_so(redis_server: Shared) -> None:
    link = Link(parse(redis_server.url))
    with pytest.raises(StoreUnavailable, match="not open"):
        await link.command("PING")
    with pytest.raises(StoreUnavailable, match="not open"):
        _ = link.server
    await link.open()
    await link.open()
    assert link.server.version >= (6, 2)
    await link.close()
    await link.close()
    for call in (link.command("PING"), link.commands([("PING",)]), link.call(ECHO, 1)):
        with pytest.raises(StoreUnavailable, match="not open"):
            await call
    with pytest.raises(StoreUnavailable, match="not open"):
        async with link.blocking():
            pass


async def test_closing_ends_those_who_wait() -> None:
    with RedisServer.started() as server:
        async with link_to(server.url) as link, asyncio.timeout(PROMPT):
            server.freeze()
            in_flight = asyncio.create_task(link.command("PING"))
            await asyncio.sleep(0)
            await link.close()
            with pytest.raises(StoreUnavailable):
                await in_flight
            server.kill()
            again = Link(parse(server.url))
            opening = asyncio.create_task(again.open())
            assert not (await asyncio.wait([opening], timeout=0.05))[0]
            await again.close()
            with pytest.raises(StoreUnavailable):
                await opening


async def test_nothing_stays_connected() -> None:
    with RedisServer.started() as server:
        async with link_to(server.url + "?client_name=leaver") as link, link.blocking(), link.blocking():
            assert clients(server).count("name=leaver") == 3
        until(lambda: "name=leaver" not in clients(server), "the connections to be gone")


async def test_opening_can_be_cancelled() -> None:
    link = Link(parse(f"redis://127.0.0.1:{free_port()}"))
    opening = asyncio.create_task(link.open())
    assert not (await asyncio.wait([opening], timeout=0.05))[0]
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
