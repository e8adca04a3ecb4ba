"""The part of a `redis:` URL after the question mark: each option, its form and its default.

Options of the connection that other libraries offer are refused by name, with what to use instead: how a blocking
read times out, what is retried and how many connections there are is not a matter of taste here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

from mainspring.core.duration import milliseconds
from mainspring.errors import DefinitionError, UnknownOption

OPTIONS = ("namespace", "timeout", "connect_timeout", "replicas", "client_name")
TLS_OPTIONS = ("ssl_cert_reqs", "ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_check_hostname")
SENTINEL_OPTIONS = ("sentinel_username", "sentinel_password")
UNIX_OPTIONS = ("db",)
CERT_REQS = ("required", "optional", "none")

_DEADLINE = "a call ends by its deadline: use ?timeout="
_RETRIES = "what proves to have had no effect is retried until the deadline of the call: use ?timeout="
_LINES = "one connection carries all calls of a store, and blocking reads have their own"
_BYTES = "replies are bytes that only the store reads"
OWNED: Mapping[str, str] = {
    "socket_timeout": _DEADLINE + ", which never cuts a blocking read",
    "socket_connect_timeout": "use ?connect_timeout=",
    "socket_read_timeout": _DEADLINE,
    "retry": _RETRIES,
    "retry_on_timeout": _RETRIES,
    "retry_on_error": _RETRIES,
    "max_retries": _RETRIES,
    "health_check_interval": "a connection that fails is replaced at once, and keep-alive finds one that is dead",
    "socket_keepalive": "keep-alive is always on, and finds a dead connection within 30 seconds",
    "socket_keepalive_options": "keep-alive is always on, and finds a dead connection within 30 seconds",
    "max_connections": _LINES,
    "pool_size": _LINES,
    "blocking_pool": _LINES,
    "decode_responses": _BYTES,
    "encoding": _BYTES,
    "encoding_errors": _BYTES,
    "protocol": "the store speaks version 2 of the protocol, which every server knows",
    "single_connection_client": _LINES,
    "username": "write it before the host: redis://user:password@host",
    "password": "write it before the host: redis://:password@host",
    "db": "write it after the host: redis://host:6379/1",
    "prefix": "use ?namespace=",
    "key_prefix": "use ?namespace=",
    "ssl": "use rediss:// in place of redis://",
    "service_name": "write it after the hosts: redis+sentinel://host:26379/mymaster",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    cert_reqs: str = "required"
    check_hostname: bool = True
    ca_certs: str | None = None
    """None: the certificate authorities of the system."""
    certfile: str | None = None
    keyfile: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    namespace: str
    timeout: float
    connect_timeout: float
    replicas: int
    client_name: str
    db: int
    tls: Tls | None
    sentinel_username: str | None
    sentinel_password: str | None = field(repr=False)


def parse(query: str, *, tls: bool, unix: bool, sentinel: bool, shown: str) -> Options:
    """The options in `query`, as far as such a URL may have them. `shown` is the URL for messages."""
    known = [*OPTIONS, *(TLS_OPTIONS if tls else ()), *(UNIX_OPTIONS if unix else ())]
    known += SENTINEL_OPTIONS if sentinel else ()
    given = _given(query, known, shown)
    if given.get("sentinel_username") and not given.get("sentinel_password"):
        raise DefinitionError("sentinel_username without sentinel_password. Expected both; add the password.")
    return Options(
        namespace=_word("namespace", given.get("namespace", "mainspring"), r"[^\s{}]{1,64}", "whitespace or braces"),
        timeout=_seconds("timeout", given.get("timeout", "5s")),
        connect_timeout=_seconds("connect_timeout", given.get("connect_timeout", "2s")),
        replicas=_whole("replicas", given.get("replicas", "0"), 0, 100),
        client_name=_word("client_name", given.get("client_name", "mainspring"), r"[!-~]{1,64}", "whitespace"),
        db=_whole("db", given.get("db", "0"), 0, 99_999),
        tls=_tls(given) if tls else None,
        sentinel_username=given.get("sentinel_username"),
        sentinel_password=given.get("sentinel_password"),
    )


def _given(query: str, known: list[str], shown: str) -> dict[str, str]:
    given: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name in given:
            raise DefinitionError(f"option {name!r} is given twice in {shown!r}. Expected each once; remove one.")
        if name not in known:
            raise UnknownOption(_unknown(name, known, shown))
        given[name] = value
    return given


def _unknown(name: str, known: list[str], shown: str) -> str:
    if name in TLS_OPTIONS:
        return f"option {name!r} in {shown!r} is about TLS. Expected it with rediss:// only; change the scheme."
    if name in SENTINEL_OPTIONS:
        return f"option {name!r} in {shown!r} is about sentinels. Expected it with redis+sentinel:// only; remove it."
    if name in OWNED:
        return f"option {name!r} in {shown!r} is not yours to set: {OWNED[name]}. Remove it."
    return f"unknown option {name!r} in {shown!r}. Expected one of {', '.join(known)}; correct or remove it."


def _word(name: str, value: str, pattern: str, without: str) -> str:
    if not re.fullmatch(pattern, value):
        raise DefinitionError(
            f"bad {name}: {value!r}. Expected 1 to 64 characters without {without}; choose a plain word."
        )
    return value


def _seconds(name: str, value: str) -> float:
    number = float(value) if re.fullmatch(r"\d+(\.\d+)?", value, re.ASCII) else value
    amount = milliseconds(number, name)
    if not 0 < amount <= 3_600_000:
        raise DefinitionError(
            f'bad {name}: {value!r}. Expected more than 0 and at most 1h; write it as "5s" or "500ms".'
        )
    return amount / 1_000


def _whole(name: str, value: str, least: int, most: int) -> int:
    if not re.fullmatch(r"\d{1,9}", value, re.ASCII) or not least <= int(value) <= most:
        raise DefinitionError(f"bad {name}: {value!r}. Expected a whole number from {least} to {most}; correct it.")
    return int(value)


def _choice(name: str, value: str, choices: tuple[str, ...]) -> str:
    if value not in choices:
        raise DefinitionError(f"bad {name}: {value!r}. Expected one of {', '.join(choices)}; correct it.")
    return value


def _tls(given: dict[str, str]) -> Tls:
    cert_reqs = _choice("ssl_cert_reqs", given.get("ssl_cert_reqs", "required"), CERT_REQS)
    checked = "false" if cert_reqs == "none" else "true"
    check = _choice("ssl_check_hostname", given.get("ssl_check_hostname", checked), ("true", "false")) == "true"
    if check and cert_reqs == "none":
        raise DefinitionError(
            "ssl_check_hostname=true with ssl_cert_reqs=none. Expected a certificate to check the name of; drop one."
        )
    files = {name: given.get(f"ssl_{name}") for name in ("ca_certs", "certfile", "keyfile")}
    for name, path in files.items():
        if path == "":
            raise DefinitionError(f"bad ssl_{name}: ''. Expected the path of a file; give it, or remove the option.")
    if files["keyfile"] and not files["certfile"]:
        raise DefinitionError("ssl_keyfile without ssl_certfile. Expected both, or the certificate alone; add it.")
    return Tls(cert_reqs=cert_reqs, check_hostname=check, **files)
