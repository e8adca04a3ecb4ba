"""The built-in task `webhook`, against a server on this machine."""

from __future__ import annotations

import logging
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from mainspring import InputError, Job, JobFailed, Mainspring
from mainspring.builtins import addresses, fetch
from mainspring.builtins.addresses import refusal
from tests.system.web_server import Reply, Seen, WebServer

pytestmark = pytest.mark.slow  # seconds in all, and others show the essentials quickly


@pytest.fixture
def server() -> Iterator[WebServer]:
    with WebServer().running() as server:
        yield server


@pytest.fixture
async def app() -> AsyncIterator[Mainspring]:
    """It trusts whoever enqueues its webhooks."""
    app = Mainspring("sqlite://:memory:")
    app.use_builtins(allow_private=True)
    yield app
    await app.close()


@pytest.fixture
async def strict() -> AsyncIterator[Mainspring]:
    app = Mainspring("sqlite://:memory:")
    app.use_builtins()
    yield app
    await app.close()


async def call(app: Mainspring, url: str, **input: Any) -> Any:
    async with app.worker():
        job = await app.enqueue("webhook", {"url": url, **input})
        return await job.result(timeout=60)


async def failed(app: Mainspring, url: str, **input: Any) -> Job:
    """The job after its only run, which failed."""
    async with app.worker():
        job = await app.enqueue("webhook", {"url": url, **input}, retries=0)
        with pytest.raises(JobFailed):
            await job.result(timeout=60)
        return await job.get()


# -- what is sent and answered ----------------------------------------------------------------------------------------


async def test_a_call_and_its_answer(app: Mainspring, server: WebServer) -> None:
    server.replies["/hook"] = Reply(headers={"Content-Type": "text/plain", "Set-Cookie": "a=b"}, body=b"thanks")
    answer = await call(app, f"{server.url}/hook?a=1#part")
    assert (answer["status"], answer["body"]) == (200, "thanks")
    assert 0 <= answer["elapsed"] < 60
    assert answer["headers"]["content-type"] == "text/plain"
    assert "set-cookie" not in answer["headers"]
    [seen] = server.seen
    assert (seen.method, seen.path, seen.body) == ("GET", "/hook?a=1", b"")
    assert seen.headers["host"] == f"127.0.0.1:{server.port}"
    assert seen.headers["user-agent"].startswith("mainspring/")


@pytest.mark.parametrize(
    ("input", "body", "kind"),
    [
        ({"body": {"a": [1, "ž"]}}, '{"a":[1,"ž"]}', "application/json"),
        ({"body": [1, None]}, "[1,null]", "application/json"),
        ({"body": 0}, "0", "application/json"),
        ({"body": "as it is"}, "as it is", "text/plain; charset=utf-8"),
        ({"body": ""}, "", "text/plain; charset=utf-8"),
        ({"body": "<a/>", "headers": {"content-type": "text/xml"}}, "<a/>", "text/xml"),
        ({"body": None}, "", None),
    ],
)
async def test_bodies(app: Mainspring, server: WebServer, input: dict[str, Any], body: str, kind: str | None) -> None:
    await call(app, server.url, method="post", **input)
    [seen] = server.seen
    assert (seen.method, seen.body.decode(), seen.headers.get("content-type")) == ("POST", body, kind)


async def test_headers_and_credentials(app: Mainspring, server: WebServer) -> None:
    url = server.url.replace("//", "//ada:p%40ss@")
    await call(app, url, headers={"X-Key": "12", "User-Agent": "me"})
    await call(app, url, headers={"Authorization": "Bearer b"})
    first, second = server.seen
    assert first.headers["authorization"] == "Basic YWRhOnBAc3M="
    assert (first.headers["x-key"], first.headers["user-agent"]) == ("12", "me")
    assert second.headers["authorization"] == "Bearer b"


async def test_proxies_of_the_environment_are_not_used(
    app: Mainspring, server: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert (await call(app, server.url))["status"] == 200


# -- failures ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (500, "exhausted"),
        (503, "exhausted"),
        (429, "exhausted"),
        (425, "exhausted"),
        (408, "exhausted"),
        (400, "not retryable"),
        (404, "not retryable"),
        (410, "not retryable"),
        (304, "not retryable"),
    ],
)
async def test_an_answer_that_is_not_2xx_is_a_failure(
    app: Mainspring, server: WebServer, status: int, reason: str
) -> None:
    server.replies["/x"] = Reply(status, b"" if status == 304 else b"no, because " + b"x" * 1_000)
    job = await failed(app, f"{server.url}/x")
    assert job.reason == reason
    assert job.error is not None
    assert f"answered {status}. Expected 2xx." in job.error.message
    assert ("no, because" in job.error.message) == (status != 304)
    assert len(job.error.message) < 500


async def test_a_failure_is_tried_again(app: Mainspring, server: WebServer) -> None:
    server.replies["/"] = lambda seen: Reply(503 if len(server.seen) < 3 else 204, b"")
    retry = {"max_attempts": 3, "backoff": "fixed", "initial_delay": 0.001, "jitter": 0}
    from mainspring import Retry

    async with app.worker():
        job = await app.enqueue("webhook", {"url": server.url + "/"}, retry=Retry(**retry))  # type: ignore[arg-type]
        assert (await job.result(timeout=60))["status"] == 204
    assert len(server.seen) == 3


async def test_a_server_that_is_not_there(app: Mainspring, server: WebServer) -> None:
    server_that_was = WebServer()
    with server_that_was.running():
        pass
    job = await failed(app, server_that_was.url)
    assert job.reason == "exhausted"
    assert "ConnectError" in str(job.error)


async def test_secrets_are_in_no_message(app: Mainspring, server: WebServer, caplog: pytest.LogCaptureFixture) -> None:
    def echo(seen: Seen) -> Reply:
        token = seen.headers["authorization"].split()[1]
        return Reply(500, f"you said {token} {seen.path} {seen.headers}".encode())

    server.replies["/hook"] = echo
    caplog.set_level(logging.DEBUG)
    url = server.url.replace("//", "//ada-user:pass-word@") + "/hook?token=query-secret"
    job = await failed(app, url, headers={"X-Api-Key": "header-secret", "Authorization": "Bearer bearer-secret"})
    said = f"{job.error} {job.error.traceback if job.error else ''} {caplog.text}"
    assert "answered 500" in said
    assert "x-api-key" in said
    assert not [s for s in ("ada-user", "pass-word", "query-secret", "header-secret", "bearer-secret") if s in said]


async def test_the_whole_call_has_one_timeout(app: Mainspring, server: WebServer) -> None:
    def drip() -> Iterator[bytes]:
        while not server.stopped.wait(0.01):
            yield b"."

    server.replies["/slow"] = Reply(stream=drip)
    job = await failed(app, f"{server.url}/slow?secret", timeout="150ms")
    assert job.error is not None
    assert job.error.message.startswith(f"GET {server.url} did not end within 150ms.")
    assert job.reason == "exhausted"


async def test_a_server_that_never_answers(app: Mainspring, server: WebServer) -> None:
    def silent(seen: Seen) -> Reply:
        server.stopped.wait(10)
        return Reply()

    server.replies["/silent"] = silent
    job = await failed(app, f"{server.url}/silent", timeout=0.1)
    assert "did not end within 100ms" in str(job.error)


async def test_of_a_large_answer_no_more_than_a_megabyte_is_read(app: Mainspring, server: WebServer) -> None:
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        while not server.stopped.is_set():
            sent += 1
            yield b"\xc5\xbe" * 50_000

    server.replies["/large"] = Reply(stream=endless)
    answer = await call(app, f"{server.url}/large")
    assert answer["body"] == "ž" * 10_000
    assert 10 <= sent < 200  # what lies in the buffers of the sockets comes on top


async def test_a_packed_answer_is_not_unpacked(app: Mainspring, server: WebServer) -> None:
    server.replies["/gzip"] = Reply(headers={"Content-Encoding": "gzip"}, body=b"x" * 1_234)
    assert (await call(app, f"{server.url}/gzip"))["body"] == "(1,234 bytes of gzip)"
    assert server.seen[0].headers["accept-encoding"] == "identity"


@pytest.mark.parametrize(("charset", "body"), [("latin-1", b"\xe9"), ("no-such-thing", "é".encode())])
async def test_encodings_of_answers(app: Mainspring, server: WebServer, charset: str, body: bytes) -> None:
    server.replies["/x"] = Reply(headers={"Content-Type": f"text/plain; charset={charset}"}, body=body)
    assert (await call(app, f"{server.url}/x"))["body"] == "é"


# -- redirects --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "method", "becomes"),
    [(301, "POST", "GET"), (302, "POST", "GET"), (303, "PUT", "GET"), (301, "PUT", "PUT"), (307, "POST", "POST"),
     (308, "POST", "POST"), (303, "HEAD", "HEAD")],
)  # fmt: skip
async def test_redirects(app: Mainspring, server: WebServer, status: int, method: str, becomes: str) -> None:
    server.replies["/a"] = Reply(status, headers={"Location": "/b?c=d"})
    await call(app, f"{server.url}/a", method=method, body={"x": 1}, headers={"X-Key": "k"})
    first, second = server.seen
    assert (first.method, second.method, second.path) == (method, becomes, "/b?c=d")
    assert second.headers["x-key"] == "k"
    assert second.body == (b"" if becomes == "GET" else b'{"x":1}')
    assert ("content-type" in second.headers) == (becomes != "GET")


async def test_another_origin_gets_no_secrets(app: Mainspring, server: WebServer) -> None:
    with WebServer().running() as other:
        server.replies["/a"] = Reply(307, headers={"Location": other.url.replace("//", "//eve:eve@") + "/b"})
        headers = {"X-Key": "k", "Authorization": "Bearer b", "Cookie": "c=d", "Accept": "text/plain"}
        await call(app, server.url.replace("//", "//u:p@") + "/a", headers=headers)
        [seen] = other.seen
        assert seen.headers["accept"] == "text/plain"
        assert not seen.headers.keys() & {"x-key", "authorization", "cookie"}


async def test_redirects_are_counted(app: Mainspring, server: WebServer) -> None:
    server.replies["/"] = Reply(302, headers={"Location": "/"})
    job = await failed(app, f"{server.url}/")
    assert "redirected more than 5 times" in str(job.error)
    assert (job.reason, len(server.seen)) == ("not retryable", 6)


async def test_redirects_that_are_not_to_be_followed_are_failures(app: Mainspring, server: WebServer) -> None:
    server.replies["/"] = Reply(302, headers={"Location": "/b"})
    job = await failed(app, f"{server.url}/", follow_redirects=False)
    assert "answered 302" in str(job.error)
    assert len(server.seen) == 1


@pytest.mark.parametrize(
    ("location", "said"),
    [("file:///etc/passwd", "bad webhook url"), ("ftp://example.com", "bad webhook url"), ("http://:x", "failed: ")],
)
async def test_redirects_to_strange_places(app: Mainspring, server: WebServer, location: str, said: str) -> None:
    server.replies["/"] = Reply(302, headers={"Location": location})
    assert said in str((await failed(app, f"{server.url}/")).error)


# -- addresses --------------------------------------------------------------------------------------------------------

PRIVATE = {
    "0.0.0.0": "unspecified", "::": "unspecified", "127.0.0.1": "loopback", "127.9.9.9": "loopback", "::1": "loopback",
    "10.0.0.1": "private", "172.16.0.1": "private", "192.168.1.1": "private", "fd00::1": "private",
    "fd00:ec2::254": "private", "169.254.169.254": "link-local", "fe80::1": "link-local", "fe80::1%1": "link-local",
    "224.0.0.1": "multicast", "239.1.1.1": "multicast", "ff02::1": "multicast", "ff0e::1": "multicast",
    "100.64.0.1": "reserved", "100.100.100.200": "reserved", "192.0.0.192": "reserved", "168.63.129.16": "reserved",
    "192.88.99.1": "reserved", "240.0.0.1": "private", "255.255.255.255": "private", "198.18.0.1": "private",
    "0.1.2.3": "private", "192.0.2.1": "private", "2001:db8::1": "private", "2002:7f00:1::": "reserved",
    "2001:0:7f00:1::": "private", "fec0::1": "reserved", "4000::1": "reserved", "3fff::1": "reserved",
    "::ffff:127.0.0.1": "loopback", "::ffff:10.0.0.1": "private", "::ffff:169.254.169.254": "link-local",
    "64:ff9b::7f00:1": "loopback", "64:ff9b::a9fe:a9fe": "link-local", "64:ff9b:1::a00:1": "reserved",
    "::127.0.0.1": "reserved", "100::1": "private",
}  # fmt: skip
PUBLIC = ["1.1.1.1", "93.184.216.34", "100.128.0.1", "2606:4700::1111", "64:ff9b::101:101", "::ffff:1.1.1.1"]


@pytest.mark.parametrize("address", PRIVATE)
def test_addresses_that_are_not_public(address: str) -> None:
    # Versions of Python disagree on what is private and what is reserved; none of them may say that it is neither.
    why = refusal(address)
    assert why == PRIVATE[address] or {why, PRIVATE[address]} <= {"private", "reserved"}


@pytest.mark.parametrize("address", PUBLIC)
def test_addresses_that_are_public(address: str) -> None:
    assert refusal(address) is None


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "2130706433",
        "0x7f.1",
        "127.1",
        "0",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[64:ff9b::7f00:1]",
    ],
)
async def test_no_form_of_a_private_address_is_called(strict: Mainspring, server: WebServer, host: str) -> None:
    job = await failed(strict, f"http://{host}:{server.port}/")
    assert job.error is not None
    assert job.error.type == "WebhookRefused"
    assert f"GET http://{host}:{server.port} refused: " in job.error.message
    assert "use_builtins(allow_private=True)" in job.error.message
    assert (job.reason, server.seen) == ("not retryable", [])


async def test_a_host_that_does_not_exist(strict: Mainspring, monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing(host: str, port: int) -> list[str]:
        raise OSError("not known")

    monkeypatch.setattr(fetch, "resolve", nothing)
    job = await failed(strict, "http://gone.test/")
    assert "no address of 'gone.test' was found (not known)" in str(job.error)
    assert job.reason == "exhausted"


Names = Callable[..., list[str]]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    """Lets names have addresses; 127.0.0.1 and 127.0.0.2 count as public. Answers what was asked for."""

    def names(**known: Sequence[str]) -> list[str]:
        asked: list[str] = []

        async def resolve(host: str, port: int) -> list[str]:
            asked.append(host)
            name = host.partition(".")[0]
            return list(known[name]) if name in known else await addresses.resolve(host, port)

        monkeypatch.setattr(fetch, "resolve", resolve)
        monkeypatch.setattr(fetch, "refusal", lambda ip: None if ip in ("127.0.0.1", "127.0.0.2") else refusal(ip))
        return asked

    return names


async def test_the_address_that_was_judged_is_connected_to(strict: Mainspring, server: WebServer, names: Names) -> None:
    asked = names(shop=["127.0.0.1"])  # no resolver of this machine knows it: who asked again would fail
    answer = await call(strict, f"http://shop.test:{server.port}/x")
    assert answer["status"] == 200
    assert asked == ["shop.test"]
    assert server.seen[0].headers["host"] == f"shop.test:{server.port}"


async def test_one_private_address_of_several_is_enough(strict: Mainspring, server: WebServer, names: Names) -> None:
    names(shop=["127.0.0.1", "10.0.0.1"])
    job = await failed(strict, f"http://shop.test:{server.port}/x")
    assert "shop.test is at 10.0.0.1, which is private" in str(job.error)
    assert server.seen == []


async def test_the_next_address_is_tried(strict: Mainspring, server: WebServer, names: Names) -> None:
    names(shop=["127.0.0.2", "127.0.0.1"])
    assert (await call(strict, f"http://shop.test:{server.port}/x"))["status"] == 200


@pytest.mark.parametrize("inside", ["http://169.254.169.254/latest/meta-data", "http://[::1]/", "//10.0.0.1/"])
async def test_a_redirect_to_a_private_address_is_refused(
    strict: Mainspring, server: WebServer, names: Names, inside: str
) -> None:
    names(shop=["127.0.0.1"])
    server.replies["/x"] = Reply(302, headers={"Location": inside})
    job = await failed(strict, f"http://shop.test:{server.port}/x")
    assert job.error is not None
    assert job.error.type == "WebhookRefused"
    assert len(server.seen) == 1


async def test_a_redirect_to_the_same_name_is_judged_again(
    strict: Mainspring, server: WebServer, names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    names()
    answers = iter([["127.0.0.1"], ["10.0.0.1"]])

    async def rebinding(host: str, port: int) -> list[str]:
        return next(answers)

    monkeypatch.setattr(fetch, "resolve", rebinding)
    server.replies["/x"] = Reply(302, headers={"Location": "/y"})
    job = await failed(strict, f"http://shop.test:{server.port}/x")
    assert "shop.test is at 10.0.0.1" in str(job.error)
    assert len(server.seen) == 1


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """Of shop.test, its own authority; and its key."""
    key, certificate = tmp_path / "tls.key", tmp_path / "tls.crt"
    subject = ["-subj", "/CN=shop.test", "-addext", "subjectAltName=DNS:shop.test", "-days", "2"]
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command = ["openssl", "req", "-x509", *curve, *subject, "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True, timeout=30)
    return certificate, key


async def test_tls_is_with_the_name_and_not_with_the_address(
    strict: Mainspring, names: Names, certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(*certificate)
    told: list[str | None] = []
    tls.sni_callback = lambda connection, name, context: told.append(name)
    trusting = fetch._load()._replace(context=ssl.create_default_context(cafile=str(certificate[0])))
    monkeypatch.setattr(fetch, "_load", lambda: trusting)
    names(shop=["127.0.0.1"], other=["127.0.0.1"])
    with WebServer(tls).running() as server:
        assert (await call(strict, f"https://shop.test:{server.port}/x"))["status"] == 200
        job = await failed(strict, f"https://other.test:{server.port}/x")
        assert "certificate verify failed" in str(job.error)
    assert told == ["shop.test", "other.test"]
    assert len(server.seen) == 1


# -- parameters -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("input", "said"),
    [
        ({}, "url: is missing"),
        ({"url": 5}, "bad url: it is of type int. Expected http:// or https://"),
        ({"url": "ftp://ada:secret@host/"}, "bad url: its scheme is 'ftp'"),
        ({"url": "example.com"}, "bad url: it has no scheme"),
        ({"url": "http://"}, "bad url: it has no host"),
        ({"url": "http://ada:secret@/x"}, "bad url: it has no host"),
        ({"url": "http://a:secret"}, "bad url: its port is no number from 0 to 65535"),
        ({"url": "http://a:70000"}, "bad url: its port is no number"),
        ({"url": "http://[::1"}, "bad url: it cannot be read"),
        ({"url": "http://a b"}, "bad url: it has spaces"),
        ({"url": "http://a\\@b"}, "bad url: it has spaces, backslashes"),
        ({"url": "http://a/\nX: y"}, "bad url: it has spaces, backslashes or control characters"),
        ({"url": "http://a/" + "x" * 8_000}, "bad url: it has 8,009 characters, more than 8,000"),
        ({"url": "http://a", "method": "STEAL"}, "bad method: 'STEAL'. Expected one of: GET, HEAD"),
        ({"url": "http://a", "method": 5}, "bad method: 5"),
        ({"url": "http://a", "headers": ["secret"]}, "bad headers: of type list"),
        ({"url": "http://a", "headers": {"a b": "secret"}}, "bad header name: 'a b'"),
        ({"url": "http://a", "headers": {"x": "secret\r\nHost: b"}}, "bad value of header 'x'"),
        ({"url": "http://a", "headers": {"x": 5}}, "bad value of header 'x'"),
        ({"url": "http://a", "headers": {"HOST": "b"}}, "bad header: 'HOST' is made from the call itself"),
        ({"url": "http://a", "timeout": 0}, "bad timeout: 0. Expected more than 0, and at most an hour"),
        ({"url": "http://a", "timeout": "2h"}, "bad timeout: '2h'"),
        ({"url": "http://a", "timeout": "soon"}, "bad timeout: 'soon'"),
        ({"url": "http://a", "timeout": True}, "bad timeout: True"),
        ({"url": "http://a", "allow_private": True}, "allow_private: is not known"),
    ],
)
async def test_what_cannot_be_called_is_refused_when_it_is_enqueued(
    strict: Mainspring, input: dict[str, Any], said: str
) -> None:
    with pytest.raises(InputError) as raised:
        await strict.enqueue("webhook", input)
    assert said in str(raised.value)
    assert "secret" not in str(raised.value)
    assert await strict.jobs.count() == 0


@pytest.mark.parametrize("url", ["http://a", "HTTPS://a.b:1/c?d#e", "http://u:p@a/", "http://[2606:4700::1]:80/"])
def test_urls_that_can_be_called(strict: Mainspring, url: str) -> None:
    assert url in strict.tasks["webhook"].job(url).input


# -- httpx ------------------------------------------------------------------------------------------------------------


async def test_without_httpx_the_failure_says_what_to_install(
    app: Mainspring, server: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "_load", fetch._load.__wrapped__)
    monkeypatch.setitem(sys.modules, "httpx", None)
    job = await failed(app, server.url)
    assert "pip install mainspring[webhook]" in str(job.error)


def test_httpx_is_not_imported_before_it_is_used() -> None:
    code = (
        "import sys; from mainspring import Mainspring; app = Mainspring('sqlite://:memory:'); app.use_builtins(); "
        "app.tasks['webhook'].job('http://a'); sys.exit('httpx' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=30).returncode == 0
