"""One connection to one server, with many calls in flight at once.

Replies come in the order of the calls, so a call costs one future and its share of a write: no task, no timer, no
lock. What is sent while replies are outstanding leaves in one write per turn of the event loop.

A line that breaks stays broken, and all that was in flight on it fails with `Broken`. It repeats nothing: what may be
repeated is for `link.py` to say.

Measured against Redis 7.0 on loopback, two noisy cores, GET of 100 bytes, medians of rounds that take turns: one after
the other 17,400/s, where `redis.asyncio.Connection` does 14,300 and the client of redis-py 6,800; from 100 tasks
112,000/s at 3.5 us of CPU a call. That is why the sockets are asyncio's own, and only hiredis is used.
"""

from __future__ import annotations

import asyncio
import socket
from asyncio import Future, TimerHandle
from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, cast

import hiredis

from mainspring.core.duration import humanize
from mainspring.stores.redis.failures import Broken, Refusal
from mainspring.stores.redis.settings import Address

Argument = bytes | str | int | float
HIGH_WATER = 1_000_000
"""Bytes that may lie in the buffer of a connection before `ready` waits."""
SLACK = 2.0
"""Seconds at most that a server may be late with the end of a blocking read: it ends them to the tenth of a second. A
worker waits most of its time, so this is how soon it finds out that its connection is dead."""
_MORE = object()


class Server(NamedTuple):
    """What a server says of itself when somebody logs in."""

    kind: str
    """redis or valkey"""
    version: tuple[int, ...]
    mode: str
    """standalone, cluster or sentinel"""
    role: str
    """master or replica; empty for a sentinel."""

    @property
    def flags(self) -> bool:
        """Whether its scripts may begin with `#!lua flags=`."""
        return self.kind == "valkey" or self.version >= (7,)

    def __str__(self) -> str:
        return f"{self.kind} {'.'.join(map(str, self.version))}"


class Receiver(Protocol):
    """Who takes a reply: a future, or something that has no time to wait for a turn of the loop."""

    def done(self) -> bool: ...
    def set_result(self, reply: Any, /) -> None: ...
    def set_exception(self, error: Exception, /) -> None: ...


class Line(asyncio.Protocol):
    """A connection. Made by `connecting.connect`, which logs in; belongs to one event loop."""

    server: Server
    id: int
    """The number that the server knows this connection by, for CLIENT UNBLOCK."""

    def __init__(self, address: Address, patience: float) -> None:
        self.address = address
        self.patience = patience
        """Seconds that the server may keep silent with a call in flight."""
        self._loop = asyncio.get_running_loop()
        self._reader = hiredis.Reader(replyError=Refusal, notEnoughData=_MORE)
        self._transport: asyncio.Transport | None = None
        self._calls: deque[tuple[Receiver, float, float]] = deque()
        """In flight, oldest first: the future, when it was sent, and how long the server may keep silent then."""
        self._outbox: list[bytes] = []
        self._heard = self._loop.time()
        self._watch: TimerHandle | None = None
        self._due = 0.0
        """When the watch was to look, in the loop's time."""
        self._failure: Exception | None = None
        self._room: Future[None] | None = None
        self._lost: Future[None] = self._loop.create_future()
        self._retired = False

    # -- calls -------------------------------------------------------------------------------------------------

    @property
    def usable(self) -> bool:
        return self._failure is None

    @property
    def busy(self) -> bool:
        """Whether a call is in flight, also one that nobody waits for any more."""
        return bool(self._calls)

    @property
    def silent(self) -> bool:
        """Whether nothing has come for a while: nobody asked, or the connection is dead."""
        return self._loop.time() - self._heard >= min(self.patience, SLACK)

    @property
    def full(self) -> bool:
        """Whether to wait for `ready` before more is sent."""
        return self._room is not None

    def send(self, *args: Argument) -> Future[Any]:
        """Send one command. The future gets its reply, or fails with `Refusal` or `Broken`.

        Raises `Broken`, with nothing sent, where the line is broken already.
        """
        future: Future[Any] = self._loop.create_future()
        self._put(_pack(args), [future], self.patience)
        return future

    def send_many(self, commands: Sequence[Sequence[Argument]]) -> list[Future[Any]]:
        """Send several commands in one write, so that nothing else of ours comes between them. As `send`."""
        futures: list[Future[Any]] = [self._loop.create_future() for _ in commands]
        self._put(b"".join([_pack(tuple(args)) for args in commands]), futures, self.patience)
        return futures

    async def block(self, args: Sequence[Argument], seconds: float) -> Any:
        """The reply of a command that the server may hold back for `seconds`; the line waits for longer than that."""
        future: Future[Any] = self._loop.create_future()
        self.block_to(future, args, seconds)
        return await future

    def block_to(self, receiver: Receiver, args: Sequence[Argument], seconds: float) -> None:
        """As `block`, for a receiver that is told of the reply within the turn of the loop in which it comes."""
        self._put(_pack(tuple(args)), [receiver], seconds + min(self.patience, SLACK))

    async def ready(self) -> None:
        """Wait until what was sent has left, if it is more than `HIGH_WATER`. Raises `Broken`, with nothing sent."""
        while self._room is not None and self._failure is None:
            await asyncio.wait([self._room])
        if self._failure is not None:
            raise self._broken(unanswered=False)

    def _put(self, data: bytes, futures: Sequence[Receiver], patience: float) -> None:
        if self._failure is not None or self._transport is None:
            raise self._broken(unanswered=False)
        now = self._loop.time()
        # Alone, a call leaves at once: a turn of the loop would add a tenth to the time of its round trip. In company
        # it waits for the end of this turn, which makes one write of 100: 81,000 calls a second become 112,000.
        if not self._calls:
            self._transport.write(data)
        else:
            if not self._outbox:
                self._loop.call_soon(self._flush)
            self._outbox.append(data)
        for future in futures:
            self._calls.append((future, now, patience))
        if self._watch is not None and now + patience < self._due:
            self._watch.cancel()  # set for a call that might take longer
            self._watch = None
        if self._watch is None:
            self._due = now + patience
            self._watch = self._loop.call_at(self._due, self._look)

    def _flush(self) -> None:
        if self._transport is not None and self._failure is None:
            self._transport.write(b"".join(self._outbox))
        self._outbox.clear()

    # -- the end -----------------------------------------------------------------------------------------------

    async def close(self) -> None:
        """Hang up, whatever is in flight, and wait until the socket is gone. Twice is once."""
        self.hang_up()
        await asyncio.wait([self._lost])

    def hang_up(self, reason: Exception | None = None) -> None:
        """Break the line now."""
        self._break(reason or ConnectionError("closed here"))

    def retire(self) -> None:
        """Hang up as soon as nothing is in flight."""
        self._retired = True
        if not self._calls:
            self.hang_up()

    def _break(self, reason: Exception) -> None:
        if self._failure is not None:
            return
        self._failure = reason
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        self._make_room()
        if self._transport is None:
            self._settle_lost()
        else:
            self._transport.abort()
        calls, self._calls = self._calls, deque()
        for future, _, _ in calls:
            if not future.done():
                future.set_exception(self._broken(unanswered=True))

    def _broken(self, unanswered: bool) -> Broken:
        return Broken(self.address, self._failure or ConnectionError("not connected"), unanswered)

    def _look(self) -> None:
        """The one timer of a line: is the oldest call still young enough?"""
        self._watch = None
        if not self._calls:
            return
        now = self._loop.time()
        _, sent, patience = self._calls[0]
        if now - self._due > max(patience / 10, 0.1):
            # The loop was stuck. What has come meanwhile is read in the next turns; until then nobody is to blame.
            self._heard = now
        # Replies that still come count: cutting a connection that works would lose them all.
        self._due = max(sent, self._heard) + patience
        if self._due <= now:
            self._break(TimeoutError(f"no answer within {humanize(round(patience * 1_000))}"))
        else:
            self._watch = self._loop.call_at(self._due, self._look)

    # -- what asyncio calls ------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=HIGH_WATER)
        _keep_alive(transport.get_extra_info("socket"))

    def data_received(self, data: bytes) -> None:
        self._heard = self._loop.time()
        reader, calls = self._reader, self._calls
        try:
            reader.feed(data)
            while (reply := reader.gets()) is not _MORE:
                if not calls:
                    self._unasked(reply)
                    return
                future = calls.popleft()[0]
                if future.done():
                    continue
                if isinstance(reply, Refusal):
                    future.set_exception(reply)
                else:
                    future.set_result(reply)
        except hiredis.ProtocolError as error:
            self._break(error)
        if self._retired and not calls:
            self.hang_up()

    def _unasked(self, reply: Any) -> None:
        # A server that is full, or in protected mode, says so before it hangs up.
        self._break(reply if isinstance(reply, Refusal) else ConnectionError(f"sent {reply!r} unasked"))

    def eof_received(self) -> bool:
        self._break(ConnectionResetError("the server closed the connection"))
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._break(exc or ConnectionResetError("the server closed the connection"))
        self._settle_lost()

    def pause_writing(self) -> None:
        self._room = self._loop.create_future()

    def resume_writing(self) -> None:
        self._make_room()

    def _make_room(self) -> None:
        room, self._room = self._room, None
        if room is not None:
            room.set_result(None)

    def _settle_lost(self) -> None:
        if not self._lost.done():
            self._lost.set_result(None)


async def answers(futures: Sequence[Future[Any]]) -> list[Any]:
    """What became of each: its reply, or the `Refusal` or `Broken` it failed with, as a value."""
    try:
        await asyncio.wait(futures)
    except asyncio.CancelledError:
        for future in futures:
            future.cancel()  # so that a later failure of theirs is not reported as one that nobody looked at
        raise
    return [future.exception() or future.result() for future in futures]


def _pack(args: tuple[Argument, ...]) -> bytes:
    return cast(bytes, hiredis.pack_command(cast("tuple[Any]", args)))


def _keep_alive(sock: socket.socket | None) -> None:
    """Have the kernel find out within 30 seconds that the other side is gone."""
    if sock is None or sock.family not in (socket.AF_INET, socket.AF_INET6):
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", 15), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, name):  # the names of Linux; macOS has another for the first, and keeps its default
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
