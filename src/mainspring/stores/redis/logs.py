"""Log lines as the scripts keep them: a number, which Lua gives, and a msgpack array."""

from __future__ import annotations

import struct

import msgspec

from mainspring.stores.base import LogLine

_SEQ = struct.Struct(">Q")
_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(tuple[int, int, str, str]).decode


def pack_line(line: LogLine) -> bytes:
    """A line without its number."""
    return _pack((line.claim, line.at, line.level, line.text))


def read_line(id: str, packed: bytes) -> LogLine:
    """A stored line of the job `id`."""
    claim, at, level, text = _unpack(packed[_SEQ.size :])
    return LogLine(id, claim, at, level, text, _SEQ.unpack_from(packed)[0])
