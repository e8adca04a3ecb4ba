"""What a `redis:` URL says: where the servers are, how to log in, and the few settings that are a matter of taste.

Parses text: it connects to nothing and touches no file. A password never appears in a message or a `repr`; messages
name `Settings.shown`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal, NamedTuple
from urllib.parse import unquote

from mainspring.errors import DefinitionError
from mainspring.stores.redis import options
from mainspring.stores.redis.options import Tls

Kind = Literal["standalone", "sentinel", "cluster"]

_SCHEMES: dict[str, tuple[Kind, bool]] = {
    "redis": ("standalone", False),
    "rediss": ("standalone", True),
    "unix": ("standalone", False),
    "redis+sentinel": ("sentinel", False),
    "rediss+sentinel": ("sentinel", True),
    "redis+cluster": ("cluster", False),
    "rediss+cluster": ("cluster", True),
}
_PORTS: dict[Kind, int] = {"standalone": 6379, "sentinel": 26379, "cluster": 6379}
_FORMS = (
    '"redis://user:password@host:6379/0", "rediss://..." for TLS, "unix:///path/to.sock?db=0", '
    '"redis+sentinel://host1:26379,host2:26379/master-name/0" or "redis+cluster://host1:7000,host2:7001"'
)
_HOST = re.compile(r"(?:\[(?P<six>[0-9a-fA-F:.]+(?:%[\w%.-]+)?)\]|(?P<name>[^\s\[\]:]*))(?::(?P<port>[^:\]]*))?")


class Address(NamedTuple):
    """Where a server listens: a host and a port, or the path of a Unix socket."""

    host: str
    port: int
    path: str = ""

    def __str__(self) -> str:
        if self.path:
            return self.path
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """Who we say that we are, and what we ask for, when a connection is made."""

    username: str | None = None
    password: str | None = field(default=None, repr=False)
    db: int = 0
    client_name: str = "mainspring"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    kind: Kind
    seeds: tuple[Address, ...]
    """The server itself; or the sentinels, or the nodes of the cluster, of which one is enough to find the others."""
    service: str = ""
    """The name of the master that the sentinels watch."""
    login: Login = Login()
    sentinel_login: Login = Login()
    tls: Tls | None = None
    namespace: str = "mainspring"
    """Before every key, as `{namespace}:`, so that all of them lie in one slot of a cluster."""
    timeout: float = 5.0
    """Seconds that a call may take, and that a server may keep silent with a call in flight."""
    connect_timeout: float = 2.0
    """Seconds for one attempt at one address, logging in included."""
    replicas: int = 0
    """How many replicas have to acknowledge a write."""
    shown: str
    """The URL, without its password."""


def parse(url: str) -> Settings:
    """The settings that `url` names. Raises `DefinitionError` for a bad one, `UnknownOption` for an option."""
    scheme, mark, rest = url.partition("://")
    if not mark or scheme not in _SCHEMES:
        raise DefinitionError(f"bad store URL: {masked(url)!r}. Expected {_FORMS}.")
    kind, tls = _SCHEMES[scheme]
    place, _, query = rest.partition("?")
    netloc, _, path = place.partition("/")
    if "@" in path or "@" in query:
        # Most likely the rest of a password; whatever it is, no later message may quote it.
        raise _bad(url, '"@" after the first "/" or "?"', "percent-encode them where they are part of a password")
    user, _, hosts = netloc.rpartition("@")
    given = options.parse(query, tls=tls, unix=scheme == "unix", sentinel=kind == "sentinel", shown=masked(url))
    login = _login(url, user, given.client_name)
    service, db = ("", given.db) if scheme == "unix" else _path(url, kind, path)
    seeds = (_socket(url, hosts, path),) if scheme == "unix" else _seeds(url, kind, hosts)
    return Settings(
        kind=kind,
        seeds=seeds,
        service=service,
        login=Login(username=login[0], password=login[1], db=db, client_name=given.client_name),
        sentinel_login=Login(
            username=given.sentinel_username, password=given.sentinel_password, client_name=given.client_name
        ),
        tls=given.tls,
        namespace=given.namespace,
        timeout=given.timeout,
        connect_timeout=min(given.connect_timeout, given.timeout),
        replicas=given.replicas,
        shown=masked(url),
    )


def masked(url: str) -> str:
    """`url` without what may be a password, however badly it is written."""
    # Up to the last "@", for a password that was not encoded may hold any sign; without a colon it may be all there is.
    before, at, after = url.rpartition("@")
    if at:
        known = re.match(r"(?:[\w+]*://)?(?:[^:/@?#\s]*:(?!//))?", before)
        url = f"{known[0] if known else ''}***@{after}"
    else:
        url = re.sub(r"(://[^:/?\[]*):(?!\d{1,5}(?:[/?,]|$)).*", r"\1:***", url, flags=re.DOTALL)
    return re.sub(r"((?:password|passwd|pwd)=)[^&]*", r"\1***", url, flags=re.IGNORECASE)


def _bad(url: str, what: str, hint: str) -> DefinitionError:
    return DefinitionError(f"bad store URL: {masked(url)!r} has {what}. Expected {_FORMS}; {hint}.")


def _login(url: str, user: str, client_name: str) -> tuple[str | None, str | None]:
    name, mark, password = user.partition(":")
    if name and not mark:
        raise DefinitionError(
            "bad store URL: it names a user without a password. "
            'Expected "user:password@" or ":password@" before the host; add the password, or remove the "@".'
        )
    return unquote(name) or None, unquote(password) or None


def _path(url: str, kind: Kind, path: str) -> tuple[str, int]:
    """The name of the sentinels' master, and the number of the database."""
    service = ""
    if kind == "sentinel":
        name, _, path = path.partition("/")
        service = unquote(name)
        if not service:
            raise _bad(url, "no master name", "give the name that the sentinels watch after the hosts: /mymaster")
    if path and not re.fullmatch(r"\d{1,5}", path, re.ASCII):
        raise _bad(url, f"the database {path!r}", "give its number after the host: /0")
    db = int(path or "0")
    if kind == "cluster" and db:
        raise _bad(url, f"the database {db}", "a cluster has database 0 only; use ?namespace= to keep things apart")
    return service, db


def _socket(url: str, hosts: str, path: str) -> Address:
    if hosts or not path:
        raise _bad(url, "no absolute path", "write three slashes: unix:///run/redis.sock")
    return Address("", 0, "/" + unquote(path))


def _seeds(url: str, kind: Kind, hosts: str) -> tuple[Address, ...]:
    if kind == "standalone":
        if "," in hosts:
            raise _bad(url, "more than one host", "use redis+sentinel:// or redis+cluster://")
        return (_address(url, kind, hosts or "localhost"),)
    return tuple(dict.fromkeys(_address(url, kind, host) for host in hosts.split(",")))


def _address(url: str, kind: Kind, text: str) -> Address:
    match = _HOST.fullmatch(text)
    if match is None:
        raise _bad(url, f"the host {text!r}", "write IPv6 addresses in brackets: [::1]:6379")
    host = unquote(match["six"] or "") or match["name"] or ("localhost" if kind == "standalone" else "")
    if not host:
        raise _bad(url, "an empty host", "name at least one host, separated by commas")
    port = match["port"] or str(_PORTS[kind])
    if not re.fullmatch(r"\d{1,5}", port, re.ASCII) or not 0 < int(port) < 65_536:
        # Not quoted: where somebody forgot the host it is his password.
        raise _bad(url, "a bad port", "give a number from 1 to 65535, or the host after user:password@")
    return Address(host, int(port))
