"""Where the server is that holds the namespace and may be written to.

Standalone: where the URL says. Sentinel: where the sentinels say that the master is. Cluster: the master of the one
slot in which all keys of the namespace lie. Whoever answers also tells of its fellows, who are asked too from then on,
so the seeds of the URL need not live for ever.
"""

from __future__ import annotations

import asyncio
import binascii
from collections.abc import Callable, Sequence
from typing import Any

from mainspring.errors import StoreError, StoreUnusable
from mainspring.stores.redis.connecting import connect
from mainspring.stores.redis.failures import OLDEST, Broken, Misplaced, Refusal, Replica, too_old
from mainspring.stores.redis.line import Line, answers
from mainspring.stores.redis.settings import Address, Settings

SLOTS = 16_384
_STAGGER = 0.25
"""Seconds of silence after which the next seed is asked beside the ones before: a black-holed one costs no more."""


def slot(name: str) -> int:
    """The slot of a cluster in which the keys with this hash tag lie."""
    return binascii.crc_hqx(name.encode(), 0) % SLOTS


class Topology:
    """What is known of who is who. Belongs to one `Link`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._seeds = list(settings.seeds)
        self._moved: Address | None = None

    @property
    def seeds(self) -> list[Address]:
        """Who is asked, in this order."""
        return list(self._seeds)

    def moved(self, refusal: Refusal, asked: Address) -> None:
        """Take over the address that a MOVED names. Raises `StoreUnusable` where the URL is not that of a cluster."""
        if self._settings.kind != "cluster":
            raise StoreUnusable(
                f"{self._settings.shown}: {asked} is a node of a cluster. "
                "Expected a server by itself; write redis+cluster:// in place of redis://."
            )
        host, _, port = str(refusal).split()[2].rpartition(":")
        self._moved = Address(host.strip("[]") or asked.host, int(port))

    async def connect(self) -> Line:
        """A line to the master. Raises `Broken` or `Misplaced` for now, `StoreUnusable` for good."""
        line = await connect(await self.resolve(), self._settings)
        mode, role = line.server.mode, line.server.role
        if line.server.kind == "redis" and line.server.version < OLDEST:
            line.hang_up()
            raise too_old(line.address, line.server)
        if mode == "sentinel":
            line.hang_up()
            raise StoreUnusable(
                f"{self._settings.shown}: {line.address} is a sentinel. "
                "Expected a server that keeps data; write redis+sentinel://host:26379/name-of-the-master."
            )
        if role in ("slave", "replica"):
            line.hang_up()
            raise Replica(f"{line.address} is a replica")
        return line

    async def resolve(self) -> Address:
        """The address of the master, as somebody tells it. As `connect`."""
        moved, self._moved = self._moved, None
        if moved is not None:
            return moved
        if self._settings.kind == "standalone":
            return self._settings.seeds[0]
        found, seed, fellows = await self._first_answer()
        self._learn(seed, fellows)
        return found

    def doubt(self) -> None:
        """What was told last did not hold: ask another first. A node that is cut off still thinks itself the master."""
        self._seeds.append(self._seeds.pop(0))

    def _learn(self, answered: Address, fellows: Sequence[Address]) -> None:
        """Ask who answered first the next time. Those of the URL stay, the others as long as somebody tells of them."""
        known = {answered, *fellows, *self._settings.seeds}
        self._seeds = [each for each in dict.fromkeys([answered, *self._seeds, *fellows]) if each in known]

    async def _first_answer(self) -> tuple[Address, Address, list[Address]]:
        """Ask the seeds, each a moment after the other, until one knows."""
        asking: set[asyncio.Task[tuple[Address, Address, list[Address]]]] = set()
        seeds = list(self._seeds)
        trouble: Broken | Misplaced = Misplaced("nobody was asked")
        try:
            while seeds or asking:
                if seeds:
                    asking.add(asyncio.create_task(self._ask(seeds.pop(0))))
                done, asking = await asyncio.wait(
                    asking, timeout=_STAGGER if seeds else None, return_when=asyncio.FIRST_COMPLETED
                )
                for task in done:
                    error = task.exception()
                    if error is None:
                        return task.result()
                    if isinstance(error, StoreError) or not isinstance(error, Broken | Misplaced):
                        raise error
                    trouble = error
        finally:
            for task in asking:
                task.cancel()
            await asyncio.gather(*asking, return_exceptions=True)
        raise trouble

    async def _ask(self, seed: Address) -> tuple[Address, Address, list[Address]]:
        sentinel = self._settings.kind == "sentinel"
        ask: Callable[[Line], Any] = self._ask_sentinel if sentinel else self._ask_node
        line = await connect(seed, self._settings, self._settings.sentinel_login if sentinel else None)
        try:
            async with asyncio.timeout(self._settings.connect_timeout):
                found, fellows = await ask(line)
            return found, seed, fellows
        except TimeoutError:
            raise Broken(seed, TimeoutError("connected, but does not answer")) from None
        finally:
            await line.close()

    async def _ask_sentinel(self, line: Line) -> tuple[Address, list[Address]]:
        service = self._settings.service
        master, fellows = await answers(
            line.send_many([("SENTINEL", "GET-MASTER-ADDR-BY-NAME", service), ("SENTINEL", "SENTINELS", service)])
        )
        if isinstance(master, Refusal) and "unknown command" in str(master):
            raise StoreUnusable(
                f"{self._settings.shown}: {line.address} is no sentinel. "
                "Expected the addresses of sentinels, port 26379 by default; use redis:// for a server by itself."
            )
        if isinstance(master, Exception):
            raise _unsaid(line.address, master)
        if master is None:
            raise Misplaced(f"the sentinel {line.address} knows no master named {service!r}; correct it in the URL")
        told = [] if isinstance(fellows, Exception) else [_fellow(each) for each in fellows]
        return Address(master[0].decode(), int(master[1])), told

    async def _ask_node(self, line: Line) -> tuple[Address, list[Address]]:
        (ranges,) = await answers([line.send("CLUSTER", "SLOTS")])
        if isinstance(ranges, Refusal) and "cluster support disabled" in str(ranges):
            raise StoreUnusable(
                f"{self._settings.shown}: {line.address} is no node of a cluster. "
                "Expected cluster mode; use redis:// for a server by itself."
            )
        if isinstance(ranges, Exception):
            raise _unsaid(line.address, ranges)
        wanted = slot(self._settings.namespace)
        nodes = [node for each in ranges for node in each[2:]]
        for first, last, master, *_ in ranges:
            address = _node(master, line.address)
            if first <= wanted <= last and address is not None:
                return address, [other for node in nodes if (other := _node(node, line.address)) is not None]
        raise Misplaced(f"the node {line.address} knows no master for the slot {wanted}")


def _unsaid(asked: Address, error: Exception) -> Exception:
    return Misplaced(f"{asked} does not say: {error}") if isinstance(error, Refusal) else error


def _fellow(reply: list[bytes]) -> Address:
    facts = dict(zip(reply[::2], reply[1::2], strict=True))
    return Address(facts[b"ip"].decode(), int(facts[b"port"]))


def _node(reply: list[Any], asked: Address) -> Address | None:
    """The address in an entry of CLUSTER SLOTS; an empty host is the one that was asked, "?" is unknown."""
    host = (reply[0] or b"").decode()
    return None if host == "?" else Address(host or asked.host, int(reply[1]))
