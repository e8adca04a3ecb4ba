"""Listeners: functions of the user's that are told what happens in this process, and can change nothing of it.

Each is told one event after the other, in order: an async one in a task of its own, a plain one in a thread of its own.
What it raises is logged; while it hangs, its events wait, and those that are too many are dropped. No run waits for it.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import logging
from collections import deque
from collections.abc import Callable
from typing import Any

from mainspring.core.annotations import is_async, is_async_generator, is_generator
from mainspring.core.app_event import AppEvent, EventName, check_event
from mainspring.errors import DefinitionError
from mainspring.events import emit
from mainspring.worker.threads import Threads

Listener = Callable[[AppEvent], Any]
MOST_WAITING = 10_000
"""Events that wait for one listener: some MB. More than that, and it will not catch up."""
LAST_WORDS = 2.0
"""Seconds that a stop waits for listeners to hear what is told already."""


class Listeners:
    """The listeners of one app, in all its event loops."""

    def __init__(self) -> None:
        self._functions: dict[str, tuple[Listener, ...]] = {}
        self._lines: dict[asyncio.AbstractEventLoop, Lines] = {}

    def add(self, event: EventName, function: Listener) -> Callable[[], None]:
        """Tell `function` every `event` from now on, until the answer is called. Raises `DefinitionError`."""
        check_event(event)
        _check_listener(function)
        self._functions[event] = (*self._functions.get(event, ()), function)
        subscribed = True

        def unsubscribe() -> None:
            nonlocal subscribed
            if subscribed:
                subscribed = False
                left = list(self._functions[event])
                left.remove(function)
                self._functions[event] = tuple(left)

        return unsubscribe

    def wants(self, event: EventName) -> bool:
        """Whether anybody listens to it; then it is worth making."""
        return bool(self._functions) and bool(self._functions.get(event))

    def tell(self, event: AppEvent) -> None:
        """Let everybody hear it who listens. Returns at once, and raises nothing. In an event loop."""
        for function in self._functions.get(event.name, ()):
            self._here().put(function, event)

    async def close_here(self) -> None:
        """Let the listeners of this event loop hear what was told until now; end those that hang after `LAST_WORDS`.

        Where others go on to tell, in the same loop, it stays open for them.
        """
        loop = asyncio.get_running_loop()
        lines = self._lines.get(loop)
        if lines is not None and await lines.close(LAST_WORDS):
            self._lines.pop(loop, None)

    def _here(self) -> Lines:
        loop = asyncio.get_running_loop()
        lines = self._lines.get(loop)
        if lines is None:
            for ended in [known for known in list(self._lines) if known.is_closed()]:
                self._lines.pop(ended, None)
            lines = self._lines[loop] = Lines(loop)
        return lines


class Lines:
    """What waits to be heard in one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._threads = Threads("mainspring-listener")
        self._lines: dict[Listener, Line] = {}

    def put(self, function: Listener, event: AppEvent) -> None:
        line = self._lines.get(function)
        if line is None:
            line = self._lines[function] = Line(function, self._threads)
        if line.put(event):
            # In a context of its own: it is nobody's run, whoever told the first event.
            line.task = self._loop.create_task(line.run(), context=contextvars.Context())

    async def close(self, seconds: float) -> bool:
        """Wait until what was told is heard; end the listeners that hang. False: more was told, so it stays open."""
        ends = {line.end(): line for line in self._lines.values() if line.busy}
        if ends:
            _, late = await asyncio.wait(ends, timeout=seconds)
            await self._give_up([ends[end] for end in late])
        if any(line.busy for line in self._lines.values()):
            return False
        self._threads.close()
        return True

    async def _give_up(self, lines: list[Line]) -> None:
        for line in lines:
            emit("listener.stuck", logging.WARNING, listener=line.name, unheard=line.left)
            line.cancel()
            self._lines = {function: other for function, other in self._lines.items() if other is not line}
        tasks = [line.task for line in lines if line.task is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=1)


class Line:
    """The events that one listener has not heard yet."""

    def __init__(self, function: Listener, threads: Threads) -> None:
        self.name = getattr(function, "__qualname__", None) or repr(function)
        self.task: asyncio.Task[None] | None = None
        self._function = function
        self._async = is_async(function)
        self._threads = threads
        self._waiting: deque[AppEvent | asyncio.Future[None]] = deque()
        """A future among them is somebody who waits until all before it is heard."""
        self._dropped = 0

    @property
    def left(self) -> int:
        return len(self._waiting)

    @property
    def busy(self) -> bool:
        return self.task is not None and not self.task.done()

    def put(self, event: AppEvent) -> bool:
        """Take an event. Answers whether somebody must `run` this line now."""
        if len(self._waiting) >= MOST_WAITING:
            self._dropped += 1
            if self._dropped == 1:
                emit("listener.behind", logging.ERROR, listener=self.name, waiting=len(self._waiting))
            return False
        self._waiting.append(event)
        return not self.busy

    def end(self) -> asyncio.Future[None]:
        """Done when what waits now is heard. Of a line that is busy."""
        heard: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(heard)
        return heard

    def cancel(self) -> None:
        if self.task is not None:
            self.task.cancel()

    async def run(self) -> None:
        """Tell what waits, until nothing does."""
        while self._waiting:
            if isinstance(self._waiting[0], asyncio.Future):
                self._answer()
            elif self._async:
                await self._tell(self._next())
            else:
                await self._threads.run(self._tell_all)
            if self._dropped:
                emit("listener.dropped", logging.ERROR, listener=self.name, events=self._dropped)
                self._dropped = 0

    def _answer(self) -> None:
        heard = self._waiting.popleft()
        if isinstance(heard, asyncio.Future) and not heard.done():
            heard.set_result(None)

    def _next(self) -> AppEvent:
        event = self._waiting.popleft()
        assert isinstance(event, AppEvent)
        return event

    async def _tell(self, event: AppEvent) -> None:
        try:
            await self._function(event)
        except BaseException as error:
            task = asyncio.current_task()
            if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
                raise
            self._failed(event, error)

    def _tell_all(self) -> None:
        """In a thread: all that waits now, so that a burst costs one change of threads."""
        for _ in range(len(self._waiting)):
            if isinstance(self._waiting[0], asyncio.Future):
                return  # to be answered by the event loop
            event = self._next()
            try:
                self._function(event)
            except BaseException as error:
                self._failed(event, error)

    def _failed(self, event: AppEvent, error: BaseException) -> None:
        emit("listener.failed", logging.ERROR, exc_info=error, listener=self.name, told=event.name, job_id=event.job_id)


def _check_listener(function: Any) -> None:
    if not callable(function) or isinstance(function, type) or is_generator(function) or is_async_generator(function):
        raise DefinitionError(f"bad listener: {function!r}. Expected a function of the event, plain or async.")
    try:
        hash(function)
        inspect.signature(function).bind(None)
    except TypeError as e:
        name = getattr(function, "__qualname__", None) or repr(function)
        raise DefinitionError(f"bad listener: {name} ({e}). Expected one parameter, the event.") from e
    except ValueError:
        pass  # a builtin that does not tell; the call will
