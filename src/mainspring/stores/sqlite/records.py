"""Records by kind and name: read, swap on version, scan by name or due time. Insides of transactions."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

from mainspring.core.records import GATE, Record
from mainspring.stores.sqlite import hints
from mainspring.stores.sqlite.transaction import Bulk, ask, decode_json, encode_json, json_list

_FIELDS = "kind, name, version, written_at, due_at, expires_at, value"
_RECORD = f"json_array({_FIELDS})"

READ = f"SELECT json_group_array({_RECORD}) FROM mainspring_records WHERE kind = ? AND name = ?"

VERSIONS = """
    SELECT json_group_array(json_array(records.kind, records.name, records.version))
    FROM json_each(?) AS names CROSS JOIN mainspring_records AS records
    ON records.kind = json_extract(names.value, '$[0]') AND records.name = json_extract(names.value, '$[1]')"""

WRITE = Bulk(
    f"""
    INSERT INTO mainspring_records ({_FIELDS}) VALUES {{rows}}
    ON CONFLICT (kind, name) DO UPDATE SET
        version = excluded.version, written_at = excluded.written_at,
        due_at = excluded.due_at, expires_at = excluded.expires_at, value = excluded.value""",
    columns=7,
)

BY_NAME = f"""
    SELECT json_group_array({_RECORD}) FROM (
        SELECT * FROM mainspring_records WHERE kind = :kind AND name > :after ORDER BY name LIMIT :limit
    )"""

BY_DUE = f"""
    SELECT json_group_array({_RECORD}) FROM (
        SELECT * FROM mainspring_records INDEXED BY mainspring_records_due
        WHERE kind = :kind AND name > :after AND due_at IS NOT NULL AND due_at <= :due
        ORDER BY due_at, name LIMIT :limit
    )"""

ERASE = "DELETE FROM mainspring_records WHERE kind = ? AND name = ? AND version = ?"


def read(connection: sqlite3.Connection, kind: str, name: str) -> Record | None:
    found = ask(connection, READ, kind, name)
    return _record(found[0]) if found else None


def write(connection: sqlite3.Connection, records: Sequence[Record]) -> list[Record | None]:
    """Write those whose stored version is theirs; answer the new ones, None where lost."""
    names = json_list([(record.kind, record.name) for record in records])
    stored = {(kind, name): version for kind, name, version in ask(connection, VERSIONS, names)}
    answer: list[Record | None] = []
    for record in records:
        place = (record.kind, record.name)
        if stored.get(place, 0) != record.version:
            answer.append(None)
            continue
        # 0 means "must not exist", so no stored version is 0, whatever the clock says.
        stored[place] = record.version + 1 if record.version else max(1, record.written_at)
        answer.append(record.evolve(version=stored[place]))
    _put(connection, [record for record in answer if record is not None])
    return answer


def _put(connection: sqlite3.Connection, records: Sequence[Record]) -> None:
    WRITE.run(connection, [_row(record) for record in records])
    if any(record.kind == GATE for record in records):
        hints.bump(connection, [hints.GATES])


def scan(connection: sqlite3.Connection, kind: str, due: int | None, after: str | None, limit: int) -> list[Record]:
    if due is None:
        found = ask(connection, BY_NAME, kind=kind, after=after or "", limit=limit)
    else:
        found = ask(connection, BY_DUE, kind=kind, after=after or "", limit=limit, due=due)
    return [_record(row) for row in found]


def erase(connection: sqlite3.Connection, record: Record) -> bool:
    erased = connection.execute(ERASE, (record.kind, record.name, record.version)).rowcount == 1
    if erased and record.kind == GATE:
        hints.bump(connection, [hints.GATES])
    return erased


def _row(record: Record) -> tuple[Any, ...]:
    return (
        record.kind, record.name, record.version, record.written_at, record.due_at, record.expires_at,
        encode_json(record.value).decode(),
    )  # fmt: skip


def _record(row: Sequence[Any]) -> Record:
    kind, name, version, written_at, due_at, expires_at, value = row
    return Record(
        kind=kind, name=name, version=version, written_at=written_at, due_at=due_at, expires_at=expires_at,
        value=decode_json(value),
    )  # fmt: skip
