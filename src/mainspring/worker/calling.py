"""From a run to its handler: middleware, inside of it the dependencies, inside of them the function.

What is not used costs a look. Knows nothing of outcomes: what the handler returns or raises passes through.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from mainspring.logs import running
from mainspring.worker.context import Context
from mainspring.worker.dependencies import Resolved
from mainspring.worker.hold import Hold
from mainspring.worker.middleware import compose
from mainspring.worker.processes import Processes
from mainspring.worker.threads import Threads

if TYPE_CHECKING:
    from mainspring.worker.hooks import Hooks
    from mainspring.worker.worker import Worker


class Calls:
    """Calls the handlers of a worker."""

    def __init__(self, worker: Worker) -> None:
        self._hooks: Hooks = worker.app.hooks
        self._threads = Threads("mainspring-handler")
        self.processes = Processes(worker)

    async def close(self) -> None:
        self._threads.close()
        await self.processes.close()

    async def call(self, hold: Hold, context: Context, arguments: dict[str, Any]) -> Any:
        """What the handler of `hold` makes of its arguments, with all that stands around it."""
        running.set(context)
        try:
            if self._hooks.middleware:
                return await self._around(hold, context, arguments)
            return await self._supplied(hold, context, arguments)
        finally:
            running.set(None)  # this task goes on to settle, together with others

    async def _around(self, hold: Hold, context: Context, arguments: dict[str, Any]) -> Any:
        async def handler(_: Context) -> Any:
            return await self._supplied(hold, context, arguments)

        return await compose(self._hooks.middleware, handler)(context)

    async def _supplied(self, hold: Hold, context: Context, arguments: dict[str, Any]) -> Any:
        needs = hold.task.needs
        if hold.task.cpu:  # its dependencies are made in its own process
            return await self.processes.run(hold)
        if not needs:
            return await self._handler(hold, arguments)

        def run_sync(function: Callable[[], Any]) -> Any:
            return self._beside(hold, function)

        async with Resolved(needs, context, self._hooks.overrides.providers, run_sync) as values:
            return await self._handler(hold, {**arguments, **values})

    async def _handler(self, hold: Hold, arguments: dict[str, Any]) -> Any:
        if hold.task.is_async:
            return await hold.task.handler(**arguments)
        return await self._in_thread(hold, lambda: hold.task.handler(**arguments))

    async def _in_thread(self, hold: Hold, function: Callable[[], Any]) -> Any:
        """Nobody interrupts a thread, so a run is not cancelled while it waits for one (`Executor.stop`). Where its
        event loop ends it is, and the thread goes on."""
        call = self._threads.run(function)
        hold.in_thread = True
        try:
            return await call
        finally:
            hold.in_thread = call.cancelled()

    async def _beside(self, hold: Hold, function: Callable[[], Any]) -> Any:
        """Run a part of a provider. If the run was asked to stop meanwhile it is told now, for what comes may wait."""
        stop = hold.stop
        try:
            return await self._in_thread(hold, function)
        finally:
            if hold.stop is not stop and not hold.in_thread and hold.run is not None:
                hold.run.cancel()
