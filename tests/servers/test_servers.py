"""The servers that the tests start: real ones, which come back, freeze, and end when told."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest
from redis.exceptions import ConnectionError, TimeoutError

from tests.servers.binaries import REDIS_KINDS, needs
from tests.servers.redis import RedisServer, client
from tests.servers.shared import Shared, shared
from tests.servers.waiting import until

EVERY_KIND = [pytest.param(kind, marks=needs(kind)) for kind in REDIS_KINDS]
every_kind = pytest.mark.parametrize("kind", EVERY_KIND)


def test_a_shared_server_answers(redis_server: Shared) -> None:
    assert redis_server.command("SET", "test:{a}", "1", "EX", "60")
    assert redis_server.command("GET", "test:{a}") == "1"


@every_kind
def test_a_kind_is_what_its_name_says(kind: str) -> None:
    found = shared(kind).command("INFO", "server")
    assert ("valkey_version" in found) == kind.startswith("valkey")
    version = found.get("valkey_version") or found["redis_version"]
    major, minor = version.split(".")[:2]
    assert REDIS_KINDS[kind].fits((int(major), int(minor)))


@every_kind
def test_a_killed_server_comes_back_on_its_port_without_its_data(kind: str) -> None:
    with RedisServer.started(kind) as server:
        server.command("SET", "a", "1")
        server.kill()
        with pytest.raises(ConnectionError):
            server.command("GET", "a")
        server.start()
        assert server.command("GET", "a") is None


@every_kind
def test_a_server_may_keep_what_it_answered(kind: str) -> None:
    with RedisServer.started(kind, appendonly="yes", appendfsync="always") as server:
        server.command("SET", "a", "1")
        server.kill()
        server.start()
        assert server.command("GET", "a") == "1"
        server.stop()
        assert not server.running


@pytest.mark.parametrize("kind", [pytest.param("redis7", marks=needs("redis7"))])
def test_a_frozen_server_answers_when_it_thaws(kind: str) -> None:
    with RedisServer.started(kind) as server, client(server.url, socket_timeout=0.1) as connection:
        connection.ping()
        server.freeze()
        with pytest.raises(TimeoutError):
            connection.ping()
        server.thaw()
        assert server.command("PING")


@pytest.mark.parametrize("kind", [pytest.param("redis7", marks=needs("redis7"))])
def test_a_server_speaks_tls_and_through_a_socket_file(kind: str) -> None:
    with RedisServer.started(kind, tls=True) as server:
        assert server.certificates is not None
        with client(server.tls_url, ssl_ca_certs=str(server.certificates.authority)) as connection:
            assert connection.ping()
        with client(server.unix_url) as connection:
            assert connection.ping()


@pytest.mark.parametrize("kind", [pytest.param("redis7", marks=needs("redis7"))])
@pytest.mark.slow
def test_a_server_does_not_outlive_a_killed_test_process(kind: str) -> None:
    program = (
        "import sys; from tests.servers.redis import RedisServer as S; s = S.started(sys.argv[1]);"
        "print(s.pid, s.folder, flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", program, kind]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        pid, folder = process.stdout.readline().split()
        process.kill()
    until(lambda: not alive(int(pid)), "the end of the server")
    shutil.rmtree(folder)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
