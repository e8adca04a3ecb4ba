"""The task `webhook`: calls an HTTP address, and fails where the answer is none of success.

Its parameters are checked when it is enqueued or scheduled, without httpx, and no message shows a value of theirs that
may be a secret: the URL is shown without user, password, path and query, headers by their names alone.
"""

from __future__ import annotations

import asyncio
import base64
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import cache
from typing import Annotated, Any
from urllib.parse import parse_qsl, unquote, urlsplit

from pydantic import BeforeValidator, JsonValue

from mainspring import __version__
from mainspring.builtins.fetch import HARMLESS, Answer, Outgoing, WebhookError, WebhookRefused, fetch, hide
from mainspring.core.codec import encode_json
from mainspring.core.duration import Duration, humanize, milliseconds
from mainspring.core.policy import Retry
from mainspring.errors import DefinitionError, InputError

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
LONGEST_URL = 8_000
LONGEST_MS = 3_600_000
BODY_LIMIT = 10_000
"""Characters of the answer's body that the result keeps."""
BEGINNING = 300
"""Characters of it that a failure tells."""
KEPT = (
    "content-language", "content-length", "content-type", "date", "etag", "last-modified", "retry-after", "server",
    "x-request-id",
)  # fmt: skip
"""Headers of the answer that the result keeps."""
WORTH_A_RETRY = (408, 425, 429)
"""Of the 4xx. Any other says that the request is at fault, and would say so again."""
OUR_OWN = ("connection", "content-length", "host", "te", "trailer", "transfer-encoding", "upgrade")
"""Headers that are made here."""
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e]*", re.ASCII)
_STRANGE = re.compile(r"[\x00-\x20\x7f\\]")


def _worth_a_retry(error: BaseException, attempt: int) -> bool:
    return not isinstance(error, WebhookRefused)


RETRY = Retry(retry_on=_worth_a_retry)
"""Five runs, exponential from 10 s, as for any task; none after what a retry will not mend."""


# -- parameters ------------------------------------------------------------------------------------------------------


def _url(value: Any) -> str:
    problem = _problem_of_url(value)
    if problem is not None:  # the value is not shown: there may be a password in it
        raise InputError(
            f"bad url: {problem}. Expected http:// or https:// with a host, such as https://example.com/x."
        )
    assert isinstance(value, str)
    return value


def _problem_of_url(value: Any) -> str | None:
    if not isinstance(value, str):
        return f"it is of type {type(value).__name__}"
    if len(value) > LONGEST_URL:
        return f"it has {len(value):,} characters, more than {LONGEST_URL:,}"
    if _STRANGE.search(value):
        return "it has spaces, backslashes or control characters in it"
    try:
        parts = urlsplit(value)
        scheme, host, _ = parts.scheme, parts.hostname, parts.port
    except ValueError as error:
        return "its port is no number from 0 to 65535" if "ort" in str(error) else "it cannot be read"
    if scheme not in ("http", "https"):
        return f"its scheme is {scheme[:20]!r}" if scheme else "it has no scheme"
    return None if host else "it has no host"


def _method(value: Any) -> str:
    method = value.upper() if isinstance(value, str) else value
    if method not in METHODS:
        raise InputError(f"bad method: {value!r}. Expected one of: {', '.join(METHODS)}.")
    return str(method)


def _headers(value: Any) -> Any:
    if value is None:
        return None
    if not isinstance(value, dict):
        raise InputError(f"bad headers: of type {type(value).__name__}. Expected an object of names and texts.")
    for name, text in value.items():
        if not isinstance(name, str) or not _HEADER_NAME.fullmatch(name):
            raise InputError(f"bad header name: {name!r}. Expected letters, digits and hyphens.")
        if name.lower() in OUR_OWN:
            raise InputError(
                f"bad header: {name!r} is made from the call itself. Expected none of {', '.join(OUR_OWN)}."
            )
        if not isinstance(text, str) or not _HEADER_VALUE.fullmatch(text):
            raise InputError(f"bad value of header {name!r}. Expected text of printable ASCII characters, on one line.")
    return value


def _timeout_ms(value: Duration) -> int:
    try:
        amount = milliseconds(value, "timeout")
    except DefinitionError as error:
        raise InputError(str(error)) from error
    if not 0 < amount <= LONGEST_MS:
        raise InputError(f"bad timeout: {value!r}. Expected more than 0, and at most an hour.")
    return amount


def _timeout(value: Any) -> Any:
    _timeout_ms(value)
    return value


Url = Annotated[str, BeforeValidator(_url)]
Method = Annotated[str, BeforeValidator(_method)]
Headers = Annotated[dict[str, str] | None, BeforeValidator(_headers)]
Timeout = Annotated[int | float | str, BeforeValidator(_timeout)]


# -- the task --------------------------------------------------------------------------------------------------------


@cache
def webhook(allow_private: bool) -> Callable[..., Awaitable[dict[str, Any]]]:
    """The handler. Whether addresses that are not public may be called is the app's to say, so no parameter of it."""

    async def webhook(
        url: Url,
        method: Method = "GET",
        headers: Headers = None,
        body: JsonValue = None,
        timeout: Timeout = 30,
        follow_redirects: bool = True,
    ) -> dict[str, Any]:
        """Calls a URL; an answer that is not 2xx is a failure. A body that is no text is sent as JSON."""
        outgoing = _outgoing(url, method, headers or {}, body)
        limit, begun = _timeout_ms(timeout), time.monotonic()
        try:
            async with asyncio.timeout(limit / 1000):
                answer = await fetch(outgoing, follow_redirects=follow_redirects, allow_private=allow_private)
        except TimeoutError:
            raise WebhookError(
                f"{outgoing.shown} did not end within {humanize(limit)}. Expected an answer by then; give it more time "
                "with timeout=."
            ) from None
        return _result(outgoing, answer, time.monotonic() - begun)

    return webhook


def _outgoing(url: str, method: str, headers: Mapping[str, str], body: JsonValue) -> Outgoing:
    parts = urlsplit(url)
    userinfo, _, place = parts.netloc.rpartition("@")
    name, _, password = userinfo.partition(":")
    sent = {
        "User-Agent": f"mainspring/{__version__}",
        "Accept": "*/*",
        "Accept-Encoding": "identity",
        **_authorization(unquote(name), unquote(password)),
        **({} if body is None else {"Content-Type": _content_type(body)}),
    }
    given = {key.lower() for key in headers}
    sent = {key: value for key, value in sent.items() if key.lower() not in given} | dict(headers)
    hidden = [value for key, value in sent.items() if key.lower() not in (*HARMLESS, "accept-encoding")]
    words = [word for value in hidden for word in value.split()]
    queried = [value for _, value in parse_qsl(parts.query)]
    secrets = (*hidden, *words, *queried, name, password, unquote(name), unquote(password))
    content = None if body is None else (body if isinstance(body, str) else encode_json(body)).encode()
    return Outgoing(method, parts._replace(netloc=place).geturl(), sent, content, tuple(dict.fromkeys(secrets)))


def _authorization(name: str, password: str) -> dict[str, str]:
    if not name and not password:
        return {}
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}


def _content_type(body: JsonValue) -> str:
    return "text/plain; charset=utf-8" if isinstance(body, str) else "application/json"


def _result(outgoing: Outgoing, answer: Answer, elapsed: float) -> dict[str, Any]:
    """What the job keeps. Raises `WebhookError`, `WebhookRefused` for an answer that is not 2xx."""
    text = _text(answer)
    if not 200 <= answer.status < 300:
        final = answer.status < 500 and answer.status not in WORTH_A_RETRY
        beginning = hide(text, outgoing.secrets)[:BEGINNING].strip()
        raise (WebhookRefused if final else WebhookError)(
            f"{outgoing.shown} answered {answer.status}. Expected 2xx.{' It said: ' if beginning else ''}{beginning}"
        )
    headers = {name: value for name, value in answer.headers.items() if name in KEPT}
    return {"status": answer.status, "headers": headers, "body": text[:BODY_LIMIT], "elapsed": round(elapsed, 3)}


def _text(answer: Answer) -> str:
    try:
        return answer.content.decode(answer.encoding or "utf-8", "replace")
    except LookupError:  # an encoding that there is not
        return answer.content.decode("utf-8", "replace")
