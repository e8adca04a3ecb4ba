"""The keys of one namespace on a server that others use too: a name for it, a copy of them, and their removal."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import redis

from tests.servers.redis import client

AT_ONCE = 1_000


def name_for(folder: Path) -> str:
    """A namespace for a test that has this folder: the same for the same folder, and no other."""
    digest = hashlib.sha256(str(folder).encode()).hexdigest()[:12]
    return f"{re.sub(r'[^A-Za-z0-9_.-]', '-', folder.name)[-40:]}-{digest}"


def copy(url: str, namespace: str) -> Callable[[], None]:
    """Copies all keys of the namespace; what it answers puts them back in place of those that are there then."""
    with client(url) as connection:
        dumped = [(key, *_dump(connection, key)) for key in keys(connection, namespace)]

    def restore() -> None:
        drop(url, namespace)
        with client(url) as connection:
            for key, lifetime, value in dumped:
                connection.restore(key, max(lifetime, 0), value, replace=True)

    return restore


def drop(url: str, namespace: str) -> None:
    """Remove all keys of the namespace."""
    with client(url) as connection:
        found = list(keys(connection, namespace))
        for start in range(0, len(found), AT_ONCE):
            connection.unlink(*found[start : start + AT_ONCE])


def keys(connection: redis.Redis, namespace: str) -> Iterator[bytes]:
    """The keys of the namespace, each once, on the server of that connection."""
    pattern = f"{{{namespace}}}:*"
    yield from sorted({*connection.scan_iter(match=pattern, count=AT_ONCE)})


def _dump(connection: redis.Redis, key: bytes) -> tuple[int, bytes]:
    """The time that a key has left in ms (-1: for ever) and its value. It may not end between the two."""
    lifetime, value = connection.pttl(key), connection.dump(key)
    assert isinstance(lifetime, int)
    assert isinstance(value, bytes), f"{key!r} has ended while it was copied"
    return lifetime, value
