"""One connection through the proxy: two sides, each of which forwards to the other after the latency, in order."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque

_RESET = struct.pack("ii", 1, 0)  # close at once, and with RST instead of FIN


class Side(asyncio.Protocol):
    """One of the two connections of a link. What it receives goes to `other`."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.other: Side = self
        self.transport: asyncio.Transport | None = None
        self.received: deque[tuple[float, bytes]] = deque()
        """What waits to be forwarded, with the time when it is due; empty bytes are the end."""
        self.lost = False
        self.stalled = False
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.transport = transport
        self.link.made(self)

    def data_received(self, data: bytes) -> None:
        self._take(data)

    def eof_received(self) -> bool:
        self._take(b"")
        return True  # keep what the other way still has to bring

    def connection_lost(self, error: Exception | None) -> None:
        self.transport = None
        self._take(b"")
        self.link.side_ended()

    def pause_writing(self) -> None:
        self.other.read(False)

    def resume_writing(self) -> None:
        self.other.read(True)

    def read(self, on: bool) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.resume_reading() if on else self.transport.pause_reading()

    def _take(self, data: bytes) -> None:
        if self.lost:
            return
        loop = self.link.loop
        self.received.append((loop.time() + self.link.latency, data))
        self.forward()

    def forward(self) -> None:
        """Hand over what is due, and come back for the rest."""
        if self._timer is not None or self.stalled:
            return
        if self.other.transport is None and self.link.connecting:
            return  # comes again when the other side is there
        now = self.link.loop.time()
        due = []
        while self.received and self.received[0][0] <= now:
            due.append(self.received.popleft()[1])
        if due:
            self.other.write(b"".join(due), end=not due[-1])
        if self.received:
            self._timer = self.link.loop.call_at(self.received[0][0], self._tick)

    def _tick(self) -> None:
        self._timer = None
        self.forward()

    def write(self, data: bytes, end: bool) -> None:
        if self.transport is None or self.transport.is_closing():
            return
        if data:
            self.transport.write(data)
        if end:
            self.transport.close()

    def reset(self) -> None:
        """End this side with RST, whatever is still to be written."""
        if self._timer is not None:
            self._timer.cancel()
        self.lost = True
        if self.transport is not None:
            self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self.transport.abort()


class Link:
    """A client's connection and the one to the server that belongs to it. Used in the thread of the proxy only."""

    def __init__(self, target: tuple[str, int], latency: float, links: set[Link]) -> None:
        self.target = target
        self.latency = latency
        self.loop = asyncio.get_running_loop()
        self.client = Side(self)
        self.upstream = Side(self)
        self.client.other, self.upstream.other = self.upstream, self.client
        self.connecting = True
        self._links = links
        self._task: asyncio.Task[None] | None = None

    def made(self, side: Side) -> None:
        self._links.add(self)
        if side is self.client and not self.client.lost:
            self._task = self.loop.create_task(self._connect())

    async def _connect(self) -> None:
        try:
            await self.loop.create_connection(lambda: self.upstream, *self.target)
        except OSError:
            self.client.reset()
        finally:
            self.connecting = False
        if self.client.transport is None or self.client.lost:
            self.upstream.reset()
        self.client.forward()

    def side_ended(self) -> None:
        if self.client.transport is None and self.upstream.transport is None and not self.connecting:
            self._links.discard(self)

    def cut(self) -> None:
        if self._task is not None:
            self._task.cancel()
        self.client.reset()
        self.upstream.reset()
        self._links.discard(self)

    def stall(self) -> None:
        for side in (self.client, self.upstream):
            side.stalled = True
            side.read(False)

    def lose(self) -> None:
        for side in (self.client, self.upstream):
            side.lost = True
            side.received.clear()

    def go_on(self) -> None:
        for side in (self.client, self.upstream):
            if side.stalled:
                side.stalled = False
                side.read(True)
                side.forward()

    def drop_upstream(self) -> None:
        self.lose()
        if self.upstream.transport is not None:
            self.upstream.transport.abort()
