"""Events: a capped stream, written while anybody follows, read by blocked readers.

A stream and not pub/sub: a follower whose connection was cut reads on where it was, and it works in a cluster like
anywhere else. A follower says that it is there every few seconds; when the last one is gone, nobody writes any more.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence

import msgspec

from mainspring.stores.base import Event
from mainspring.stores.redis.link import Link
from mainspring.stores.redis.scripts import PUBLISH

ENTRY = 50
"""Events in one entry of the stream at most."""
ENTRIES = 2_000
"""Entries that the stream keeps, about: some 15 MB at worst."""
PRESENCE = 30_000
"""ms after which a follower that said nothing is gone."""
SILENCE = 5_000
"""ms after which a follower that heard nothing is told that the stream is alive."""

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(list[Event]).decode


async def publish(link: Link, events: Sequence[Event]) -> bool:
    """Write the events where anybody follows; answers whether."""
    entries = [_encode(events[first : first + ENTRY]) for first in range(0, len(events), ENTRY)]
    return bool(await link.call(PUBLISH, ENTRIES, *entries))


async def follow(link: Link) -> AsyncGenerator[list[Event], None]:
    """The events written from now on, in batches; an empty one now and then."""
    stream = f"{link.namespace}:events"
    await _be_present(link)
    last = await _newest(link, stream)
    yield []
    while True:
        await _be_present(link)
        async with link.blocking() as line:
            reply = await line.block(
                ("XREAD", "COUNT", 100, "BLOCK", SILENCE, "STREAMS", stream, last), SILENCE / 1_000
            )
        if reply:
            entries = reply[0][1]
            last = entries[-1][0]
            yield [event for _, fields in entries for event in _decode(fields[1])]
        else:
            # A server that lost its data begins its stream anew, with numbers that may be lower than ours.
            last = min(last, await _newest(link, stream), key=_order)
            yield []


async def _be_present(link: Link) -> None:
    await link.command("SET", f"{link.namespace}:followed", 1, "PX", PRESENCE)


async def _newest(link: Link, stream: str) -> bytes:
    entries = await link.command("XREVRANGE", stream, "+", "-", "COUNT", 1)
    return entries[0][0] if entries else b"0-0"


def _order(id: bytes) -> tuple[int, int]:
    ms, _, number = id.partition(b"-")
    return int(ms), int(number)
