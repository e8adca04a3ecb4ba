"""One HTTP call for the webhook task: addresses judged, redirects followed step by step, the answer cut at a size.

It speaks through httpx's transport and not its client, which would log the whole URL, read redirects to their end, and
look for proxies in the environment. Each step is a connection of its own, to an address that was judged for this step.
httpx is imported when the first call is made, in a thread, for that takes a while.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING, NamedTuple, cast

from mainspring.builtins.addresses import refusal, resolve
from mainspring.errors import MainspringError

if TYPE_CHECKING:
    import httpx

READ_LIMIT = 1_000_000
"""Bytes of an answer that are read."""
NEXT_ADDRESS = 5.0
"""Seconds for one address of several to take the connection."""
REDIRECTS = 5
REDIRECTING = (301, 302, 303, 307, 308)
HARMLESS = ("accept", "accept-language", "content-type", "user-agent")
"""The headers that go along to another origin and may stand in messages; any other may hold a secret."""


class WebhookError(MainspringError):
    """A webhook could not be called, or did not answer as it should. Worth another try."""


class WebhookRefused(WebhookError):
    """A webhook that no retry will mend: its address may not be called, or it said that the request is at fault."""


class Outgoing(NamedTuple):
    """What to send. The URL has no user and no password in it. `secrets`: what no message may show."""

    method: str
    url: str
    headers: Mapping[str, str]
    content: bytes | None
    secrets: tuple[str, ...] = ()

    @property
    def shown(self) -> str:
        """For messages: without path and query, which may be secrets as well."""
        return f"{self.method} {shown(self.url)}"


class Answer(NamedTuple):
    status: int
    headers: Mapping[str, str]
    content: bytes
    encoding: str | None
    """The characters' encoding, as the answer says."""


def shown(url: str) -> str:
    """The scheme, host and port of a URL: what may stand in messages."""
    scheme, _, rest = url.partition("://")
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    return f"{scheme}://{authority.rpartition('@')[2]}"


async def fetch(outgoing: Outgoing, *, follow_redirects: bool, allow_private: bool) -> Answer:
    """Send it, follow up to five redirects, and read up to 1 MB of the answer. It takes as long as it is let.

    Raises `WebhookError` where the server could not be reached, `WebhookRefused` for an address that is not public.
    """
    loaded = await asyncio.to_thread(_load)
    for _ in range(REDIRECTS + 1):
        answer = await _step(loaded, outgoing, follow_redirects, allow_private)
        if isinstance(answer, Answer):
            return answer
        outgoing = answer
    raise WebhookRefused(f"{outgoing.shown}: redirected more than {REDIRECTS} times. Expected the final address.")


class _Loaded(NamedTuple):
    httpx: ModuleType
    context: ssl.SSLContext


@cache
def _load() -> _Loaded:
    try:
        import httpx
    except ImportError as error:
        raise WebhookError("httpx is not installed, and webhooks need it: pip install mainspring[webhook].") from error
    return _Loaded(httpx, httpx.create_ssl_context())


# -- one step --------------------------------------------------------------------------------------------------------


async def _step(loaded: _Loaded, outgoing: Outgoing, follow_redirects: bool, allow_private: bool) -> Answer | Outgoing:
    """One request. Answers what came; or what to send next, where that is a redirect to follow."""
    httpx = loaded.httpx
    try:
        request = httpx.Request(outgoing.method, outgoing.url, headers=dict(outgoing.headers), content=outgoing.content)
        hosts = await _hosts(request.url, outgoing, allow_private)
        async with httpx.AsyncHTTPTransport(verify=loaded.context, trust_env=False) as transport:
            response = await _send(httpx, transport, request, hosts)
            try:
                following = _following(outgoing, request.url, response) if follow_redirects else None
                return following or await _read(response)
            finally:
                await response.aclose()
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        # Without its cause, in whose texts anything may stand.
        said = hide(f"{type(error).__name__}: {error}".rstrip(": "), outgoing.secrets)
        raise WebhookError(f"{outgoing.shown} failed: {said}.") from None


async def _hosts(url: httpx.URL, outgoing: Outgoing, allow_private: bool) -> list[str]:
    """Where to connect to, in turn: the addresses of the host, all judged; or the host itself, where none is."""
    host = url.raw_host.decode("ascii")
    if url.scheme not in ("http", "https") or not host:
        raise WebhookRefused(f"bad webhook url: {outgoing.shown}. Expected one of http or https, with a host.")
    if allow_private:
        return [host]
    try:
        addresses = await resolve(host, url.port or (443 if url.scheme == "https" else 80))
    except (OSError, UnicodeError) as error:
        raise WebhookError(f"{outgoing.shown} failed: no address of {host!r} was found ({error}).") from None
    for address in addresses:
        why = refusal(address)
        if why is not None:
            raise WebhookRefused(
                f"{outgoing.shown} refused: {host} is at {address}, which is {why}. Expected a public address; an app "
                "that trusts the callers of its webhooks says use_builtins(allow_private=True)."
            )
    return addresses


async def _send(
    httpx: ModuleType, transport: httpx.AsyncHTTPTransport, request: httpx.Request, hosts: list[str]
) -> httpx.Response:
    """Connect to the first host that takes the connection. Name and certificate stay those of the URL."""
    for number, host in enumerate(hosts, 1):
        last = number == len(hosts)
        placed = httpx.Request(
            request.method,
            request.url.copy_with(host=host),
            headers=request.headers,  # with the Host of the URL
            stream=request.stream,
            extensions={
                "sni_hostname": request.url.raw_host.decode("ascii"),
                "timeout": {} if last else {"connect": NEXT_ADDRESS},
            },
        )
        try:
            return await transport.handle_async_request(placed)
        except (httpx.ConnectError, httpx.ConnectTimeout):
            if last:
                raise
    raise httpx.ConnectError("no address")


async def _read(response: httpx.Response) -> Answer:
    content = bytearray()
    raw = cast("AsyncGenerator[bytes, None]", response.aiter_raw())
    async with aclosing(raw) as parts:
        async for part in parts:
            content += part
            if len(content) >= READ_LIMIT:
                break
    packed = response.headers.get("content-encoding", "identity").strip().lower()
    if packed not in ("", "identity"):  # it was asked not to; unpacked it might be of any size
        content = bytearray(f"({len(content):,} bytes of {packed})".encode())
    return Answer(response.status_code, dict(response.headers), bytes(content[:READ_LIMIT]), response.charset_encoding)


def _following(outgoing: Outgoing, url: httpx.URL, response: httpx.Response) -> Outgoing | None:
    """What a redirect asks for, None where this is none."""
    location = response.headers.get("location")
    if response.status_code not in REDIRECTING or not location:
        return None
    following = url.join(location).copy_with(userinfo=b"")
    headers, method, content = dict(outgoing.headers), outgoing.method, outgoing.content
    if (url.scheme, url.host, url.port) != (following.scheme, following.host, following.port):
        headers = {name: value for name, value in headers.items() if name.lower() in HARMLESS}
    becomes_get = response.status_code == 303 or (response.status_code in (301, 302) and method == "POST")
    if becomes_get and method != "HEAD":
        headers = {name: value for name, value in headers.items() if name.lower() != "content-type"}
        method, content = "GET", None
    return outgoing._replace(method=method, url=str(following), headers=headers, content=content)


def hide(text: str, secrets: tuple[str, ...]) -> str:
    """The text with stars for each secret in it, the longest first; of fewer than four letters none is one."""
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, "***") if len(secret) >= 4 else text
    return text
