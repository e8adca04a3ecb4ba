"""Ways in: passwords, databases, Unix sockets, TLS; and what keeps one out."""

from __future__ import annotations

import asyncio

import pytest

from mainspring.errors import StoreReadOnly, StoreUnavailable, StoreUnusable
from mainspring.stores.redis.link import Link
from mainspring.stores.redis.settings import parse
from tests.servers.redis import RedisServer
from tests.stores.redis.wire import PROMPT, SHORT, clients, link_to, refused


async def test_passwords() -> None:
    with RedisServer.started() as server:
        server.command("ACL", "SETUSER", "ann", "on", ">hunter2", "~*", "+@all")
        server.command("ACL", "SETUSER", "bob", "on", ">hunter2", "~*", "-@all")
        server.command("ACL", "SETUSER", "eve", "on", ">hunter2", "~*", "+@all", "-set")
        place = f"127.0.0.1:{server.port}"
        async with link_to(f"redis://ann:hunter2@{place}") as link:
            assert await link.command("ACL", "WHOAMI") == b"ann"
        for url, said in (
            (f"redis://ann:hunter3@{place}", "WRONGPASS"),
            (f"redis://:hunter3@{place}", "WRONGPASS"),
            (f"redis://bob:hunter2@{place}/1", "NOPERM"),
        ):
            if said == "WRONGPASS":
                server.command("CONFIG", "SET", "requirepass", "hunter1")
            assert "hunter" not in await refused(url, StoreUnusable, said)
        await refused(f"redis://{place}", StoreUnusable, "it wants a password")
        async with link_to(f"redis://eve:hunter2@{place}") as link:
            with pytest.raises(StoreReadOnly, match="NOPERM"):
                await link.command("SET", "a", 1)


async def test_a_database_that_there_is_not() -> None:
    with RedisServer.started(databases="2") as server:
        await refused(f"redis://127.0.0.1:{server.port}/2", StoreUnusable, "no such database")


async def test_a_server_without_a_free_connection_is_waited_for() -> None:
    with RedisServer.started(maxclients="2") as server:  # the other is the test's own
        async with link_to(server.url + SHORT) as link, asyncio.timeout(PROMPT):
            with pytest.raises(StoreUnavailable, match=r"max number of clients.*raise its maxclients"):
                async with link.blocking():
                    pass
            late = asyncio.create_task(Link(parse(server.url)).open())
            assert not (await asyncio.wait([late], timeout=0.05))[0]
            late.cancel()
            assert await link.command("PING") == b"PONG"


async def test_a_host_without_a_name() -> None:
    await refused("redis://no.such.host.invalid" + SHORT, StoreUnavailable, r"no\.such\.host\.invalid")


async def test_a_unix_socket_and_a_database() -> None:
    with RedisServer.started() as server:
        async with link_to(server.unix_url + "?db=3") as link:
            await link.command("SET", "a", 1)
            assert "db=3" in clients(server)


async def test_a_unix_socket_that_is_not_there() -> None:
    await refused("unix:///tmp/no-such.sock" + SHORT, StoreUnavailable, r"no-such\.sock")


@pytest.mark.slow
async def test_tls() -> None:
    with RedisServer.started(tls=True) as server:
        assert server.certificates is not None
        authority = f"ssl_ca_certs={server.certificates.authority}"
        async with link_to(f"{server.tls_url}?{authority}") as link:
            assert await link.command("ECHO", b"x" * 3_000_000) == b"x" * 3_000_000
        async with link_to(f"{server.tls_url}?ssl_cert_reqs=none") as link:
            assert await link.command("PING") == b"PONG"
        await refused(server.tls_url, StoreUnusable, "certificate does not hold")
        await refused(f"{server.tls_url}?ssl_ca_certs=/no/such/file", StoreUnusable, "files for TLS")
        await refused(f"redis://127.0.0.1:{server.tls_port}{SHORT}", StoreUnavailable, "rediss://")
        await refused(f"rediss://127.0.0.1:{server.port}{SHORT}", StoreUnavailable, "speaks TLS")
