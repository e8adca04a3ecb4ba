"""One connection with many calls in flight: order, failures, time."""

from __future__ import annotations

import asyncio
import socket
import threading

import pytest

from mainspring.stores.redis.failures import Broken, Refusal
from mainspring.stores.redis.line import HIGH_WATER, Line, answers
from tests.servers.redis import RedisServer
from tests.servers.shared import Shared
from tests.stores.redis.wire import PROMPT, SHORT, blocked, line_to

pytestmark = pytest.mark.slow  # seconds in all, and others show the essentials quickly


async def test_replies_come_to_those_who_asked(redis_server: Shared) -> None:
    async def ask(line: Line, who: int) -> None:
        for number in range(20):
            assert await line.send("ECHO", f"{who}:{number}") == f"{who}:{number}".encode()

    async with line_to(redis_server.url) as line:
        await asyncio.gather(*(ask(line, who) for who in range(100)))


async def test_who_is_there(redis_server: Shared) -> None:
    async with line_to(redis_server.url + "?client_name=test-line") as line:
        assert line.server.kind in ("redis", "valkey")
        assert line.server.version >= (6, 2)
        assert line.server.flags == (str(line.server) >= "redis 7")
        assert line.server.role == "master"
        assert line.id == await line.send("CLIENT", "ID")
        assert await line.send("CLIENT", "GETNAME") == b"test-line"


async def test_commands_of_one_batch_are_not_parted(redis_server: Shared) -> None:
    async with line_to(redis_server.url) as line:

        async def twice() -> bool:
            first, second = await answers(line.send_many([("INCR", "parted")] * 2))
            return bool(second == first + 1)

        await line.send("DEL", "parted")
        assert all(await asyncio.gather(*(twice() for _ in range(200))))
        assert await line.send("GETDEL", "parted") == b"400"


async def test_a_refusal_goes_to_its_call_alone(redis_server: Shared) -> None:
    async with line_to(redis_server.url) as line:
        before, wrong, after = await answers(line.send_many([("ECHO", "1"), ("GET",), ("ECHO", "2")]))
        assert (before, after) == (b"1", b"2")
        assert isinstance(wrong, Refusal)
        assert wrong.code == "ERR"
        with pytest.raises(Refusal, match="wrong number of arguments"):
            await line.send("GET")


async def test_all_kinds_of_arguments_and_replies(redis_server: Shared) -> None:
    async with line_to(redis_server.url) as line:
        script = "return {ARGV[1], ARGV[2], ARGV[3], false, 7, {}, {err = 'OOPS x'}}"
        reply = await line.send("EVAL", script, 0, b"\x00\xff", "é", 12)
        assert reply[:-1] == [b"\x00\xff", "é".encode(), b"12", None, 7, []]
        assert isinstance(reply[-1], Refusal)


async def test_a_caller_that_gives_up_takes_nobody_elses_reply(redis_server: Shared) -> None:
    async with line_to(redis_server.url) as line:
        first, second, third = (line.send("ECHO", str(number)) for number in range(3))
        second.cancel()
        assert [await first, await third] == [b"0", b"2"]
        waiting = asyncio.create_task(answers(line.send_many([("GET",), ("ECHO", "x")])))
        await asyncio.sleep(0)
        waiting.cancel()
        assert await line.send("ECHO", "4") == b"4"
        assert line.usable


async def test_a_connection_that_is_cut_fails_all_that_is_in_flight_and_stays_broken(redis_server: Shared) -> None:
    async with line_to(redis_server.url) as line:
        blocking = line.send("BLPOP", "nobody-pushes-here", 60)
        behind = line.send("PING")
        await blocked(redis_server, line)
        redis_server.command("CLIENT", "KILL", "ID", line.id)
        for error in await answers([blocking, behind]):
            assert isinstance(error, Broken)
            assert error.unanswered
        assert not line.usable
        with pytest.raises(Broken) as caught:
            line.send("PING")
        assert not caught.value.unanswered
        with pytest.raises(Broken):
            await line.ready()


async def test_a_server_that_is_silent_breaks_the_line() -> None:
    with RedisServer.started() as server:
        async with line_to(server.url + SHORT) as line, asyncio.timeout(PROMPT):
            server.freeze()
            replies = await answers([line.send("PING"), line.send("PING")])
            server.thaw()
        assert all(isinstance(each, Broken) and "no answer within 300ms" in str(each) for each in replies)


async def test_a_call_that_nobody_waits_for_is_watched_too() -> None:
    with RedisServer.started() as server:
        async with line_to(server.url + SHORT) as line, asyncio.timeout(PROMPT):
            server.freeze()
            line.send("PING").cancel()
            while line.usable:
                await asyncio.sleep(0)
            server.thaw()


async def test_a_loop_that_was_stuck_reads_what_has_come_before_it_judges(redis_server: Shared) -> None:
    async with line_to(redis_server.url + "?timeout=100ms") as line:
        replies = line.send_many([("ECHO", b"x" * 500_000)] * 4)
        threading.Event().wait(0.3)  # as a handler does that computes
        assert [len(reply) for reply in await answers(replies)] == [500_000] * 4


async def test_a_line_at_rest_is_not_broken(redis_server: Shared) -> None:
    async with line_to(redis_server.url + "?timeout=50ms") as line, line_to(redis_server.url) as other:
        await line.send("PING")
        await other.block(("BLPOP", "nobody-pushes-here", 0.2), 0.2)
        assert await line.send("PING") == b"PONG"


async def test_a_blocking_read_is_not_cut_by_the_timeout_of_calls(redis_server: Shared) -> None:
    async with line_to(redis_server.url + "?timeout=100ms") as line, asyncio.timeout(PROMPT):
        assert await line.block(("BLPOP", "nobody-pushes-here", 0.5), 0.5) is None
        assert line.usable


async def test_a_blocking_read_has_a_deadline_of_its_own() -> None:
    with RedisServer.started() as server:
        async with line_to(server.url + "?timeout=100ms") as line, asyncio.timeout(PROMPT):
            started = asyncio.get_running_loop().time()
            server.freeze()
            with pytest.raises(Broken, match="no answer within 400ms"):
                await line.block(("BLPOP", "nobody-pushes-here", 0.3), 0.3)
            assert asyncio.get_running_loop().time() - started >= 0.4
            server.thaw()


async def test_more_than_the_server_takes_waits_here() -> None:
    with RedisServer.started() as server:
        async with line_to(server.url) as line, asyncio.timeout(PROMPT):
            server.freeze()
            futures = []
            while not line.full:
                futures.append(line.send("ECHO", b"x" * HIGH_WATER))
                await asyncio.sleep(0)
            ready = asyncio.create_task(line.ready())
            await asyncio.sleep(0)
            assert not ready.done()
            server.thaw()
            await ready
            assert all(len(reply) == HIGH_WATER for reply in await answers(futures))
            assert not line.full


async def test_who_waits_for_room_learns_of_the_end() -> None:
    with RedisServer.started() as server:
        async with line_to(server.url + SHORT) as line, asyncio.timeout(PROMPT):
            server.freeze()
            futures = []
            while not line.full:
                futures.append(line.send("ECHO", b"x" * HIGH_WATER))
                await asyncio.sleep(0)
            with pytest.raises(Broken) as caught:
                await line.ready()
            assert not caught.value.unanswered
            await answers(futures)
            server.thaw()


async def test_a_retired_line_answers_what_is_in_flight_first(redis_server: Shared) -> None:
    async with line_to(redis_server.url) as line:
        last = line.send("ECHO", "last")
        line.retire()
        assert line.usable
        assert await last == b"last"
        assert not line.usable


async def test_a_server_that_does_not_speak_the_protocol_breaks_the_line() -> None:
    async def chatter(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(chatter, "127.0.0.1")
    port = server.sockets[0].getsockname()[1]
    async with server, asyncio.timeout(PROMPT):
        with pytest.raises(Broken):
            async with line_to(f"redis://127.0.0.1:{port}"):
                pass


async def test_a_host_that_never_answers_costs_the_timeout_of_the_attempt() -> None:
    silent = asyncio.Event()

    async def silence(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()
        silent.set()

    server = await asyncio.start_server(silence, "127.0.0.1")
    port = server.sockets[0].getsockname()[1]
    async with server, asyncio.timeout(PROMPT):
        with pytest.raises(Broken, match="no connection within 100ms"):
            async with line_to(f"redis://127.0.0.1:{port}?connect_timeout=100ms"):
                pass
        await silent.wait()


async def test_keep_alive_is_on(redis_server: Shared) -> None:
    async with line_to(redis_server.url) as line:
        assert line._transport is not None
        sock = line._transport.get_extra_info("socket")
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 15
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
