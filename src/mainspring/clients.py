"""The clients of one app: one per running event loop, made on first use.

A store's connections belong to a loop; an app, its tasks and its handles belong to nobody. This is the seam.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, TypeVar

from mainspring.client import Client, decode_any
from mainspring.core.clock import Clock
from mainspring.core.handle import Caller, JobHandle
from mainspring.core.task import Task
from mainspring.errors import MainspringError
from mainspring.stores.base import Store

R = TypeVar("R")
Make = Callable[[Store, Clock, Mapping[str, Task[Any, Any]], Caller], Client]


class Clients:
    """Gives each event loop its client."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        tasks: Mapping[str, Task[Any, Any]],
        caller: Caller,
        make: Make = Client,
    ) -> None:
        self._store = store
        self._make_client = make
        self._clock = clock
        self._tasks = tasks
        self._caller = caller
        self._lock = threading.Lock()
        self._clients: dict[asyncio.AbstractEventLoop, Client] = {}

    def here(self) -> Client:
        """The client of the running event loop. Raises `MainspringError` where none is running."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError as e:
            raise MainspringError("no event loop is running here. From synchronous code use app.sync(...).") from e
        client = self._clients.get(loop)
        return client if client is not None else self._make(loop)

    def handle(self, id: str, task: Task[..., R] | None) -> JobHandle[R]:
        """A handle that works in every loop."""
        decode = decode_any if task is None else task.decode_result
        return JobHandle(self._caller, id, "" if task is None else task.name, decode)

    async def close_here(self) -> None:
        """Close the client of the running event loop, if there is one."""
        with self._lock:
            client = self._clients.pop(asyncio.get_running_loop(), None)
        if client is not None:
            await client.close()

    @property
    def loops(self) -> list[asyncio.AbstractEventLoop]:
        """The event loops that have a client."""
        return list(self._clients)

    def wake_all(self) -> None:
        """Let every worker look at its queues, whatever loop it lives in. For tests: the time has moved."""
        for loop, client in list(self._clients.items()):
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(client.wake_queues)

    def _make(self, loop: asyncio.AbstractEventLoop) -> Client:
        with self._lock:
            # A loop that has ended closed its client's store by itself; forget both.
            self._clients = {known: client for known, client in self._clients.items() if not known.is_closed()}
            client = self._make_client(self._store.clone(), self._clock, self._tasks, self._caller)
            self._clients[loop] = client
            return client
