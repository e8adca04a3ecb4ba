"""What can go wrong between us and a server, and the error of the store contract that it becomes.

`Refusal` and `Broken` live inside of the wire and leave it as `StoreError`.
"""

from __future__ import annotations

import re
from functools import cached_property

from mainspring.core.duration import humanize
from mainspring.errors import StoreError, StoreFull, StoreReadOnly, StoreUnavailable, StoreUnusable
from mainspring.stores.redis.settings import Address, Settings

OLDEST = (6, 2)
ELSEWHERE = frozenset({"READONLY", "MOVED", "MASTERDOWN", "CLUSTERDOWN", "UNBLOCKED"})
"""Refused, and probably not the server to ask any more."""
LATER = frozenset({"LOADING", "TRYAGAIN", "ASK", "NOREPLICAS", "BUSY"})
"""Refused, and soon to be had from the same server.

ASK is here and not followed: while a slot moves, a part of the namespace lies on each of two nodes, and a script sees
only one of them. All calls name one key that never exists, so the node that gives the slot away refuses them all, and
nothing runs on a half of the data until the move is over.
"""
HARMLESS = ELSEWHERE | LATER
_IN_SCRIPT = re.compile(r"@user_script:\s?\d+:\s-?([A-Z]{2,}) ")
_LOGIN = {
    "WRONGPASS": "it does not know this user and password. Correct them in the URL",
    "NOAUTH": "it wants a password. Write it into the URL: redis://user:password@host",
    "NOPERM": "this user may not do that. Expected at least the rights +hello +select; ask whoever runs the server",
    "DENIED": "it is in protected mode. Set a password on the server, or bind it to an address of this machine only",
}


class Refusal(Exception):
    """An error that a server answered: the command had no effect, but for a script that broke off in the middle."""

    def __init__(self, text: str) -> None:
        # Of an unknown command the server quotes the arguments: of HELLO that is the password.
        super().__init__(text.partition(", with args beginning")[0])

    @cached_property
    def code(self) -> str:
        """The word that says which: LOADING, READONLY, OOM …; ERR for all others."""
        text = str(self)
        # Redis 6.2 wraps what was refused to a command inside of a script.
        inner = _IN_SCRIPT.search(text) if text.startswith("ERR") else None
        return inner[1] if inner else text.partition(" ")[0]


class Broken(ConnectionError):
    """A connection is gone, or could not be made."""

    def __init__(self, address: Address, reason: BaseException, unanswered: bool = False) -> None:
        self.address = address
        self.reason = reason
        self.unanswered = unanswered
        """Whether the command may have been sent: then nobody knows whether it took effect."""
        super().__init__(f"{address}: {told(reason)}")


class Misplaced(ConnectionError):
    """What was asked for is not at this address, or nobody could say where it is."""


class Replica(Misplaced):
    """A server that was to be written to is a replica."""


def told(error: BaseException) -> str:
    """The words of an error; of some there are none but their class."""
    return str(error) or type(error).__name__


def unavailable(settings: Settings, trouble: BaseException | None) -> StoreError:
    """For a call whose deadline has passed without a connection, or with one that only refused it."""
    waited = humanize(round(settings.timeout * 1_000))
    if (isinstance(trouble, Refusal) and trouble.code == "READONLY") or isinstance(trouble, Replica):
        return StoreReadOnly(
            f"{settings.shown}: the server is a replica for {waited} now ({told(trouble)}). "
            "Expected a master. Name the master, or its sentinels with redis+sentinel://."
        )
    reason = told(trouble) if trouble else "no answer"
    return StoreUnavailable(
        f"{settings.shown}: not to be had within {waited} ({reason}). Nothing took effect. "
        f"Try again; if it lasts, {_advice(settings, trouble)}."
    )


def _advice(settings: Settings, trouble: BaseException | None) -> str:
    if "max number of clients" in str(trouble):
        return "raise its maxclients"
    if isinstance(trouble, Refusal):
        return {
            "LOADING": "it is still reading its data: raise ?timeout= or wait",
            "BUSY": "somebody's script keeps it busy: look at its SLOWLOG",
            "NOREPLICAS": "its min-replicas-to-write is not met: look at its replicas",
            "ASK": "a slot is on its way to another node: finish the move",
        }.get(trouble.code, "look at its log")
    if settings.tls is not None:
        return "see whether it runs, and whether that port speaks TLS"
    if isinstance(getattr(trouble, "reason", None), ConnectionResetError):
        return "see whether that port wants TLS: then write rediss://"
    return "see whether it runs, and whether the address is right"


def lost(settings: Settings, error: Broken) -> StoreUnavailable:
    """For a call that was sent and never answered."""
    return StoreUnavailable(
        f"{settings.shown}: no answer from {error.address} ({told(error.reason)}). It is not known whether the call "
        "took effect. Look whether it did before it is repeated."
    )


def too_few_replicas(settings: Settings, replicas: int | Exception) -> StoreUnavailable:
    """For a write that the master has, and fewer replicas than were asked for."""
    have = told(replicas) if isinstance(replicas, Exception) else f"{replicas} of {settings.replicas} have it"
    return StoreUnavailable(
        f"{settings.shown}: written on the master, but not on as many replicas as ?replicas= asks for ({have}). "
        "A failover now may lose it. Look at the replicas, then repeat the call, or ask for fewer."
    )


def not_open(settings: Settings) -> StoreUnavailable:
    return StoreUnavailable(f"{settings.shown}: the store is not open. Expected open() before any call; it was closed?")


def refused(settings: Settings, address: Address, error: Refusal) -> StoreError:
    """For a reply that no repeating will change."""
    where, code, text = f"{settings.shown} ({address})", error.code, str(error)
    if code == "OOM":
        return StoreFull(
            f"{where}: the server's memory is full ({text}). Nothing was written. "
            "Raise its maxmemory, or have less kept: shorter retention, fewer or smaller jobs."
        )
    if code == "MISCONF":
        return StoreUnavailable(
            f"{where}: it cannot save its data and refuses writes ({text}). Nothing was written. "
            "Look at its log and at the space on its disk."
        )
    if code == "NOPERM":
        return StoreReadOnly(
            f"{where}: this user may not do that ({text}). Expected rights on all keys that begin with "
            f"{{{settings.namespace}}}: and on the commands in use, scripts included; ask whoever runs the server."
        )
    if code == "WRONGTYPE":
        return StoreUnusable(
            f"{where}: a key of the namespace {settings.namespace!r} holds something that is not ours ({text}). "
            "Expected a namespace of our own; choose another with ?namespace=."
        )
    if code in _LOGIN or "unknown command" in text or "unknown subcommand" in text:
        return login(address, error)
    return StoreError(f"{where}: the server refused a command ({text}).")


def login(address: Address, error: Refusal) -> StoreError:
    """For a server that does not let us in. Names no user and no password."""
    text = str(error)
    if error.code in _LOGIN:
        return StoreUnusable(f"{address}: the server refused the connection ({error.code}): {_LOGIN[error.code]}.")
    if "unknown command" in text or "unknown subcommand" in text:
        return StoreUnusable(
            f"{address}: the server lacks a command ({text[:80]}). Expected Redis {_dotted(OLDEST)} or Valkey, "
            "or newer, without commands renamed away; upgrade it."
        )
    if "DB index" in text:
        return StoreUnusable(f"{address}: no such database ({text}). Expected a number the server has; correct it.")
    if "max number of clients" in text:
        return StoreUnavailable(f"{address}: the server has no connection left ({text}). Raise its maxclients.")
    return StoreUnavailable(f"{address}: the server refused the connection ({text}). Look at its log.")


def too_old(address: Address, server: object) -> StoreUnusable:
    return StoreUnusable(
        f"{address}: {server} is too old. Expected Redis {_dotted(OLDEST)} or newer, or Valkey; upgrade the server."
    )


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
