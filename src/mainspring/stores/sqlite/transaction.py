"""Transactions, and statements over many rows at once.

Every step of a statement gives the interpreter lock away, and has to wait up to 5 ms to get it back where the event
loop is busy. So a batch is a handful of steps, not one per row: 500 inserts beside a busy loop took 1,280 ms by
`executemany`, and 180 ms in statements of 50 rows (beside an idle one both take 8 ms). For the same reason a query
answers one row of JSON instead of many rows; reading it costs the same.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from itertools import chain
from typing import Any

import msgspec

from mainspring.errors import InputError

CHUNKS = (50, 10, 1)
"""Rows per statement. Each size is prepared once; a statement of 500 rows runs no faster and takes ms to prepare."""

NUL = r"\u0000"

encode_json = msgspec.json.Encoder().encode
decode_json = msgspec.json.Decoder().decode


@contextmanager
def transaction(connection: sqlite3.Connection, begin: str) -> Iterator[None]:
    """All or nothing. `begin` is BEGIN for reading one snapshot, BEGIN IMMEDIATE for writing."""
    connection.execute(begin)
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        # After a full disk or a lost lock SQLite may have rolled back by itself.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def ask(connection: sqlite3.Connection, query: str, *values: Any, **named: Any) -> Any:
    """The value of a query that answers one row with one column of JSON. Its parameters are `?` or `:name`."""
    (answer,) = connection.execute(query, named or values).fetchone()
    return decode_json(answer)


def json_list(values: Sequence[Any]) -> str:
    """`values` as a parameter for `json_each`. Raises `InputError` for a NUL, at which SQLite would cut the text."""
    text = encode_json(values).decode()
    if NUL in text:
        raise InputError(f"a name or an id has a NUL character: {text}. Expected text without one.")
    return text


class Bulk:
    """A statement with `{rows}` in its text, which stands for the rows of a VALUES clause."""

    def __init__(self, template: str, columns: int) -> None:
        self._template = template
        self._row = f"({', '.join('?' * columns)})"
        self._text = lru_cache(len(CHUNKS))(self._build)

    def _build(self, rows: int) -> str:
        return self._template.format(rows=", ".join([self._row] * rows))

    def run(self, connection: sqlite3.Connection, rows: Sequence[Sequence[Any]]) -> None:
        """Run over all `rows`, in order."""
        done = 0
        for size in CHUNKS:
            while len(rows) - done >= size:
                connection.execute(self._text(size), tuple(chain.from_iterable(rows[done : done + size])))
                done += size
