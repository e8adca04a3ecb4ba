"""Natural batching: while one call is in flight, the next batch collects.

There is no timer. An idle system has the latency of a single call, a busy one the throughput of large batches. This
module may not know what it carries: the items, their answers and the call are the caller's.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")
Answer = TypeVar("Answer")

BESIDE = 20
"""Batches that may be in flight at once, where there is a patience: each may occupy a connection."""


class Batcher(Generic[Item, Answer]):
    """Joins concurrent `submit` calls of one event loop into calls of `send`, one at a time, in order.

    `send` answers one answer per item, in order; an exception of it goes to every item of that batch. A batch has at
    most `most` items and, where `size` is given, a sum of sizes of at most `most_size` (one oversized item goes alone).
    `patience`: seconds after which a batch that is not answered yet holds up the next one no longer, unless `BESIDE`
    are under way already; None = for ever, which keeps the order.
    """

    def __init__(
        self,
        send: Callable[[list[Item]], Awaitable[Sequence[Answer]]],
        *,
        most: int,
        size: Callable[[Item], int] | None = None,
        most_size: int = 0,
        patience: float | None = None,
    ) -> None:
        self._send = send
        self._most = most
        self._size = size
        self._most_size = most_size
        self._patience = patience
        self._slow: set[asyncio.Future[None]] = set()
        """Batches in flight, where there is a patience."""
        self._waiting: deque[tuple[Item, asyncio.Future[Answer]]] = deque()
        self._sender: asyncio.Task[None] | None = None
        self._leader: asyncio.Future[None] | None = None
        """A caller of `put` that sends for itself: done when it has."""

    async def put(self, item: Item) -> Answer:
        """`submit`, and wait for the answer. Where nothing is in flight the caller sends its item itself, at once:
        that spares a task and two turns of the loop, a third of the time of a single enqueue. A caller that is
        cancelled does not know whether its item was sent."""
        if self._leader is not None or self._sender is not None or self._waiting or len(self._slow) >= BESIDE:
            return await self.submit(item)
        self._leader = leader = asyncio.get_running_loop().create_future()
        try:
            [answer] = await self._send([item])
            return answer
        finally:
            leader.set_result(None)
            if self._leader is leader:
                self._leader = None
                if self._waiting and self._sender is None:
                    self._start()

    def submit(self, item: Item) -> asyncio.Future[Answer]:
        """Put `item` into the next batch. The future may be cancelled; the item is sent all the same."""
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._sender is None and (self._leader is None or self._patience is not None):
            self._start()
        return future

    def _start(self) -> None:
        self._sender = asyncio.create_task(self._run(), name="mainspring-batcher")

    async def drain(self) -> None:
        """Wait until everything submitted so far has been answered."""
        while going := {one for one in (self._leader, self._sender, *self._slow) if one is not None and not one.done()}:
            await asyncio.wait(going)

    async def _run(self) -> None:
        try:
            while self._waiting:
                if self._patience is None:
                    await self._send_batch(self._take())
                else:
                    await self._wait_for_others(self._patience)
                    await self._send_beside(self._take(), self._patience)
        finally:
            self._sender = None

    async def _wait_for_others(self, patience: float) -> None:
        """Until a batch may go out: the leader has had its time, and not too many are under way."""
        leader = self._leader
        if leader is not None:
            await asyncio.wait([leader], timeout=patience)
            if self._leader is leader:
                self._leader = None
                self._note(leader)
        while len(self._slow) >= BESIDE:
            await asyncio.wait(self._slow, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.sleep(0)  # what is done leaves the set

    def _note(self, sending: asyncio.Future[None]) -> None:
        self._slow.add(sending)
        sending.add_done_callback(self._slow.discard)

    async def _send_beside(self, batch: list[tuple[Item, asyncio.Future[Answer]]], patience: float) -> None:
        sending = asyncio.create_task(self._send_batch(batch), name="mainspring-batch")
        self._note(sending)
        try:
            await asyncio.wait([sending], timeout=patience)
        except asyncio.CancelledError:
            sending.cancel()
            raise

    def _take(self) -> list[tuple[Item, asyncio.Future[Answer]]]:
        batch = [self._waiting.popleft()]
        size = self._size(batch[0][0]) if self._size else 0
        while self._waiting and len(batch) < self._most:
            size += self._size(self._waiting[0][0]) if self._size else 0
            if self._size and size > self._most_size:
                break
            batch.append(self._waiting.popleft())
        return batch

    async def _send_batch(self, batch: list[tuple[Item, asyncio.Future[Answer]]]) -> None:
        try:
            answers = await self._send([item for item, _ in batch])
        except asyncio.CancelledError:
            for _, future in batch:
                future.cancel()
            raise
        except Exception as error:
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
            return
        for (_, future), answer in zip(batch, answers, strict=True):
            if not future.done():
                future.set_result(answer)
