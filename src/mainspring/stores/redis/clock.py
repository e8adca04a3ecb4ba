"""The clock of a Redis server, and the offset that a namespace keeps beside it."""

from __future__ import annotations

from mainspring.stores.redis.link import Link
from mainspring.stores.redis.scripts import CLOCK
from mainspring.stores.server_clock import Reading


class RedisTime:
    """For `ServerClock.now`."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def read(self) -> Reading:
        (seconds, micros), (offset, moved) = await self._link.commands(
            [("TIME",), ("HMGET", f"{self._link.namespace}:meta", "offset", "moved")]
        )
        return Reading(int(seconds) * 1_000 + int(micros) // 1_000, int(offset or 0), int(moved or 0))

    async def move(self, offset: int, new: int, at: int) -> bool:
        return bool(await self._link.call(CLOCK, offset, new, at))
