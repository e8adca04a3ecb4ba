"""Threads for handlers that are plain functions.

Not `ThreadPoolExecutor`: its threads are joined at interpreter exit, so that one handler in a long C call would keep a
stopped process alive for ever. These are daemons, made on demand, at most one per slot, kept for the next job.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

from mainspring.worker.text import storable

Call = tuple[contextvars.Context, Callable[[], Any], "asyncio.Future[Any]"]


class Threads:
    """Runs functions in daemon threads and answers on the event loop."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._calls: SimpleQueue[Call | None] = SimpleQueue()
        self._idle = 0
        self._alive = 0

    def run(self, function: Callable[[], Any]) -> asyncio.Future[Any]:
        """Call `function` in a thread, in a copy of the caller's context."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        if self._idle:
            self._idle -= 1
        else:
            self._alive += 1
            threading.Thread(target=self._work, args=(loop,), name=f"{self._name}-{self._alive}", daemon=True).start()
        self._calls.put((contextvars.copy_context(), function, future))
        return future

    def close(self) -> None:
        """Let the idle threads end, and the others when their call is over."""
        for _ in range(self._alive):
            self._calls.put(None)

    def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        while (call := self._calls.get()) is not None:
            context, function, future = call
            try:
                answer, error = context.run(function), None
            except BaseException as raised:
                answer, error = None, raised
            del call, context, function
            try:
                loop.call_soon_threadsafe(self._answer, future, answer, error)
            except RuntimeError:
                return  # the loop is closed: nobody waits for the answer

    def _answer(self, future: asyncio.Future[Any], answer: Any, error: BaseException | None) -> None:
        self._idle += 1
        if future.done():
            return
        if error is None:
            future.set_result(answer)
        else:
            future.set_exception(_raisable(error))


def _raisable(error: BaseException) -> Exception:
    """A future refuses StopIteration, and SystemExit in one would end the loop's thread."""
    if isinstance(error, Exception) and not isinstance(error, StopIteration):
        return error
    replaced = RuntimeError(f"{type(error).__name__}: {storable(error, 200)}")
    replaced.__cause__ = error
    return replaced
