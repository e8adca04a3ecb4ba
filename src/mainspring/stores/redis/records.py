"""Records as the scripts keep them: a msgpack array, of which Lua reads the version and the expiry only."""

from __future__ import annotations

from typing import Any

import msgspec

from mainspring.core.records import Record
from mainspring.errors import StoreUnusable
from mainspring.stores.redis.rows import NONE

_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(tuple[int, int, int, int, str]).decode
_encode_json = msgspec.json.Encoder().encode
_decode_json = msgspec.json.Decoder(dict[str, Any]).decode


def next_version(record: Record) -> Record:
    """The record as it is once it is written."""
    # 0 means "must not exist", so no stored version is 0, whatever the clock says.
    return record.evolve(version=record.version + 1 if record.version else max(1, record.written_at))


def write_row(record: Record) -> tuple[str | bytes | int, ...]:
    """The arguments of `write.lua` for a record."""
    new = next_version(record)
    due, expires = new.due_at, new.expires_at
    packed = _pack(
        (
            new.version, new.written_at, NONE if due is None else due, NONE if expires is None else expires,
            _encode_json(new.value).decode(),
        )
    )  # fmt: skip
    return (
        new.kind, new.name, record.version, packed, "" if due is None else due, "" if expires is None else expires,
    )  # fmt: skip


def read_record(kind: str, name: str, packed: bytes) -> Record:
    """The record of a stored value. Raises `StoreUnusable` for a value that is none."""
    try:
        version, written_at, due, expires, value = _unpack(packed)
        return Record(
            kind=kind, name=name, version=version, written_at=written_at, due_at=None if due == NONE else due,
            expires_at=None if expires == NONE else expires, value=_decode_json(value),
        )  # fmt: skip
    except (msgspec.DecodeError, msgspec.ValidationError) as e:
        raise StoreUnusable(f"the stored record {kind} {name!r} cannot be read: {e}. Restore a backup.") from e
