"""A worker process: one worker, in a process that belongs to it.

Started by the supervisor with its settings as JSON. Its standard input is a pipe that the parent holds open: the end of
it means that the parent is gone, and the child ends too. The first SIGTERM or SIGINT stops gracefully, the second now.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any, NoReturn

from mainspring.errors import MainspringError
from mainspring.events import emit
from mainspring.logs import configure_logging
from mainspring.process.colours import colour_logs
from mainspring.process.locate import locate_app
from mainspring.process.supervisor import bury
from mainspring.worker.settings import WorkerSettings
from mainspring.worker.worker import Worker

EXIT_FAILED = 1
EXIT_ORPHANED = 76


class Stopper:
    """Turns signals, and the parent's death, into one graceful stop and then an immediate one."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._starting: asyncio.Task[None] | None = None
        self._asked = False
        self._stop: asyncio.Task[None] | None = None

    async def start(self) -> bool:
        """Start the worker. False: it was told to end meanwhile, and its start did not end within the grace. One that
        ends in time is stopped as any other."""
        self._starting = asyncio.create_task(self._worker.start())
        try:
            await self._starting
        except asyncio.CancelledError:
            if self._asked:
                return False
            raise
        if self._asked:
            self()
        return True

    def __call__(self) -> None:
        if self._starting is None or not self._starting.done():
            self._end_start()
        elif self._stop is None:
            self._stop = asyncio.create_task(self._worker.stop())
        else:
            self._worker.hurry()

    def _end_start(self) -> None:
        """A lifespan may need its time to come up; the second time it has none."""
        again, self._asked = self._asked, True
        if self._starting is not None:
            grace = 0 if again else self._worker.settings.grace_ms / 1000
            asyncio.get_running_loop().call_later(grace, self._starting.cancel)

    async def wait(self) -> None:
        """Until the worker has ended, by itself or because it was told to."""
        try:
            await self._worker.join()
        finally:
            if self._stop is not None:
                await self._stop


class Parent:
    """The process that started this one, as long as its end of our standard input is open.

    Watched from the first line on: an import that never ends must not outlive it, either.
    """

    def __init__(self) -> None:
        self._stop: Callable[[], float] | None = None
        threading.Thread(target=self._watch, name="mainspring-parent", daemon=True).start()

    def on_death(self, worker: Worker, stopper: Stopper) -> None:
        """Stop the worker in good order when the parent is gone; before this, there is nothing to be stopped."""

        def stop() -> float:
            emit("parent.gone", logging.WARNING, worker=worker.id)
            worker.call_soon(stopper)
            return worker.settings.grace_ms / 1000 + 5

        self._stop = stop

    def _watch(self) -> None:
        while os.read(0, 1024):
            pass
        if self._stop is not None:
            # A loop that does not turn cannot stop gracefully; nobody is left to kill it.
            threading.Event().wait(self._stop())
        os._exit(EXIT_ORPHANED)


def spare_the_collector() -> None:
    """Keep what start-up made out of the cyclic collector, and let it run rarely: jobs are freed without it.

    Worth 15-20 % of a drain of no-op jobs; the process belongs to the worker, so nobody else is surprised.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


async def work(worker: Worker, parent: Parent | None = None, predecessor: str | None = None) -> int:
    """Run `worker` until it is told to stop; answers the exit code. `predecessor`: the id of a worker that is dead,
    whose jobs are due now."""
    loop = asyncio.get_running_loop()
    stopper = Stopper(worker)
    # Before it starts: from its first word in the store on, others may want it to stop.
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopper)
    if not await stopper.start():
        return worker.exit_code
    spare_the_collector()
    if parent is not None:
        parent.on_death(worker, stopper)
    if predecessor is not None:
        await bury(worker.store, predecessor, worker.clock)
    await stopper.wait()
    return worker.exit_code


def main() -> None:
    """`python -m mainspring.process.child APP SETTINGS`: the supervisor's way to start a worker."""
    name, settings = sys.argv[1], json.loads(sys.argv[2])
    parent = Parent()
    configure_logging(settings.pop("log_level", "INFO"), settings.pop("log_format", "text"))
    if settings.pop("log_colours", False):
        colour_logs()
    _run(name, settings, parent)


def _run(name: str, settings: dict[str, Any], parent: Parent) -> None:
    predecessor = settings.pop("predecessor", None)
    try:
        worker = Worker(locate_app(name), WorkerSettings(**settings, owns_process=True))
    except Exception as error:
        _exit(_explain(error))
    asyncio.run(_live(worker, parent, predecessor))


async def _live(worker: Worker, parent: Parent, predecessor: str | None) -> None:
    """Work, and end the process from in here: asyncio would wait for handlers that will not end, though their jobs are
    due again in a moment, and for the threads that they have left behind."""
    try:
        code = await work(worker, parent, predecessor)
        await worker.app.close()
    except Exception as error:
        code = _explain(error)
    _exit(code)


def _explain(error: Exception) -> int:
    if isinstance(error, MainspringError):
        print(f"mainspring: {error}", file=sys.stderr)
    else:
        logging.getLogger("mainspring").error("the worker failed", exc_info=error)
    return EXIT_FAILED


def _exit(code: int) -> NoReturn:
    """End at once: a handler's thread that never ends must not hold the process."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
