"""The proxy spoils connections as it says."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter

import pytest
import redis
from redis.exceptions import ConnectionError, TimeoutError

from tests.servers.proxy import Proxy
from tests.servers.redis import RedisServer, client
from tests.servers.waiting import until

ROUNDS = 50


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with RedisServer.started() as server:
        yield server


@pytest.fixture
def proxy(server: RedisServer) -> Iterator[Proxy]:
    with Proxy(server.port) as proxy:
        yield proxy


@pytest.fixture
def connection(proxy: Proxy) -> Iterator[redis.Redis]:
    with client(proxy.url, socket_timeout=0.15, decode_responses=True) as connection:
        connection.ping()
        yield connection


def clients(server: RedisServer) -> int:
    """How many connections the server has, besides the one that asks."""
    return int(server.info("clients")["connected_clients"]) - 1


def test_it_forwards_much_in_order(connection: redis.Redis) -> None:
    large = "x" * 1_000_000
    with connection.pipeline(transaction=False) as pipeline:
        for number in range(1_000):
            pipeline.echo(str(number))
        pipeline.set("large", large)
        pipeline.get("large")
        *numbers, _, back = pipeline.execute()
    assert numbers == [str(number) for number in range(1_000)]
    assert back == large


def test_it_adds_the_latency_and_no_more(server: RedisServer) -> None:
    with Proxy(server.port, latency=0.005) as slow, client(slow.url) as connection:
        connection.ping()
        times = sorted(timed(connection) for _ in range(ROUNDS))
        assert times[0] >= 0.010
        assert times[0] < 0.015


def timed(connection: redis.Redis) -> float:
    start = perf_counter()
    connection.ping()
    return perf_counter() - start


def test_latency_does_not_limit_what_is_under_way(server: RedisServer) -> None:
    with Proxy(server.port, latency=0.02) as slow, client(slow.url) as connection:
        start = perf_counter()
        with connection.pipeline(transaction=False) as pipeline:
            for number in range(500):
                pipeline.echo(str(number))
            pipeline.execute()
        assert perf_counter() - start < 500 * 0.02, "they did not wait for one another"


def test_cut_resets_connections_and_new_ones_work(proxy: Proxy) -> None:
    with bare(proxy) as one, bare(proxy) as other:
        proxy.cut()
        for each in (one, other):
            with pytest.raises(ConnectionResetError):
                each.recv(1)
    with bare(proxy):
        assert proxy.accepted == 3


@contextmanager
def bare(proxy: Proxy) -> Iterator[socket.socket]:
    """A connection that has been answered once; a client would hide its end by a new one."""
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=5) as connection:
        connection.sendall(b"PING\r\n")
        assert connection.recv(7) == b"+PONG\r\n"
        yield connection


def test_refuse_lets_nobody_in_until_resume(proxy: Proxy, connection: redis.Redis) -> None:
    proxy.refuse()
    assert connection.ping(), "those that there are go on"
    proxy.cut()
    with pytest.raises(ConnectionError, match="refused"):
        connection.ping()
    proxy.resume()
    assert connection.ping()


def test_a_black_hole_loses_everything_and_says_nothing(
    proxy: Proxy, connection: redis.Redis, server: RedisServer
) -> None:
    server.command("SET", "count", "0")
    before = clients(server)
    proxy.black_hole()
    for _ in range(2):  # on the connection that there is, then on a new one
        with pytest.raises(TimeoutError):
            connection.incr("count")
    assert clients(server) == before, "the server has not heard that the client has left"
    proxy.resume()
    assert connection.incr("count") == 1


def test_what_is_stalled_comes_late(proxy: Proxy, connection: redis.Redis, server: RedisServer) -> None:
    server.command("SET", "late", "0")
    proxy.stall()
    with pytest.raises(TimeoutError):
        connection.incr("late")
    assert server.command("GET", "late") == "0"
    proxy.resume()
    until(lambda: server.command("GET", "late") == "1", "what was held back")


def test_half_open_leaves_only_the_client_believing(proxy: Proxy, connection: redis.Redis, server: RedisServer) -> None:
    before = clients(server)
    proxy.half_open()
    until(lambda: clients(server) == before - 1, "the server to see the end")
    with pytest.raises(TimeoutError):
        connection.ping()
    assert connection.ping(), "a new connection works"


def test_an_end_is_passed_on_both_ways(proxy: Proxy, server: RedisServer) -> None:
    before = clients(server)
    with bare(proxy):
        assert clients(server) == before + 1
    until(lambda: clients(server) == before, "the server to see the end")
    with bare(proxy) as connection:
        connection.sendall(b"QUIT\r\n")
        assert connection.recv(100) == b"+OK\r\n"
        assert connection.recv(100) == b"", "the client sees the end"
    until(lambda: not proxy.open, "the proxy to let go")


def test_it_is_a_program(server: RedisServer) -> None:
    command = [sys.executable, "-m", "tests.servers.proxy", "--to", f"127.0.0.1:{server.port}", "--latency-ms", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        with client(f"redis://127.0.0.1:{port}") as connection:
            assert timed(connection) >= 0.002
        process.terminate()
