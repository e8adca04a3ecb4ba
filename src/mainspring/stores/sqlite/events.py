"""Events for those who follow, in this and other processes: rows that are written only while a follower lives.

Each write looks whether anybody follows (one seek, 3 us) and remembers it, so `publish` is free where nobody does.
Followers renew a record by the machine's clock, which all processes of one machine share, so a test's clock that
jumps cannot end them.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence

import msgspec

from mainspring.core.records import FOLLOWER
from mainspring.stores.base import Event
from mainspring.stores.sqlite.transaction import Bulk, ask

PUBLISHED = "event:"
"""What followers wait for in the hub; no queue and no worker is called so."""

LIFE = 30_000
"""Ms that a follower lives without a renewal."""
KEPT_FOR = 60_000
KEPT = 10_000

FOLLOWED = f"SELECT EXISTS (SELECT 1 FROM mainspring_records WHERE kind = '{FOLLOWER}' AND expires_at > ?)"
FOLLOW = f"""
    INSERT INTO mainspring_records (kind, name, version, written_at, expires_at, value)
    VALUES ('{FOLLOWER}', :name, :now, :now, :until, '{{}}')
    ON CONFLICT (kind, name) DO UPDATE SET version = version + 1, written_at = :now, expires_at = :until"""
UNFOLLOW = f"DELETE FROM mainspring_records WHERE kind = '{FOLLOWER}' AND name = ?"
LAST = "SELECT coalesce(max(seq), 0) FROM mainspring_events"
INSERT = Bulk("INSERT INTO mainspring_events (written_at, event) VALUES {rows}", columns=2)
SINCE = """
    SELECT json_group_array(json_array(seq, event)) FROM (
        SELECT seq, event FROM mainspring_events WHERE seq > ? ORDER BY seq LIMIT ?
    )"""
CUT = "DELETE FROM mainspring_events WHERE seq <= last_insert_rowid() - ?"
# The table is at most KEPT rows long, so now and then a look at each is cheap.
TRIM = "DELETE FROM mainspring_events WHERE written_at < ?"
CLEAR = "DELETE FROM mainspring_events"

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Event).decode


def followed(connection: sqlite3.Connection) -> bool:
    """Whether anybody follows."""
    (answer,) = connection.execute(FOLLOWED, (_now(),)).fetchone()
    return bool(answer)


def follow(connection: sqlite3.Connection, name: str) -> int:
    """Register, or renew, a follower; answers the number of the last event before it."""
    now = _now()
    connection.execute(FOLLOW, {"name": name, "now": now, "until": now + LIFE})
    trim(connection)
    (last,) = connection.execute(LAST).fetchone()
    return int(last)


def unfollow(connection: sqlite3.Connection, name: str) -> None:
    """Forget a follower. After the last, nobody needs the events."""
    connection.execute(UNFOLLOW, (name,))
    if not followed(connection):
        connection.execute(CLEAR)


def publish(connection: sqlite3.Connection, rows: Sequence[str]) -> None:
    """Write events, where anybody follows."""
    if followed(connection):
        now = _now()
        INSERT.run(connection, [(now, row) for row in rows])
        connection.execute(CUT, (KEPT,))


def since(connection: sqlite3.Connection, last: int, limit: int) -> tuple[int, list[Event]]:
    """The events after number `last`, and the number of the newest of them."""
    rows = ask(connection, SINCE, last, limit)
    return (rows[-1][0] if rows else last), [_decode(text) for _, text in rows]


def encode(event: Event) -> str:
    return _encode(event).decode()


def trim(connection: sqlite3.Connection) -> None:
    """Forget what is older than a minute."""
    connection.execute(TRIM, (_now() - KEPT_FOR,))


def _now() -> int:
    return time.time_ns() // 1_000_000
