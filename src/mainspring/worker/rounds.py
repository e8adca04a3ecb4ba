"""The rounds of a service that looks again and again: whether one that began after a moment has found nothing to do.

For clocks that tests hold: they move on when a worker has done all there is to do at a time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Rounds:
    def __init__(self, stuck: Callable[[], bool]) -> None:
        """`stuck`: whether the service makes no rounds before something else happens; `look` is called when it is."""
        self._stuck = stuck
        self._begun = 0
        self._idle = 0
        """The last round that found nothing to do."""
        self._next_due: int | None = None
        self._waiting: list[asyncio.Future[bool]] = []

    def begin(self) -> None:
        self._begun += 1

    def end(self, idle: bool, next_due: int | None) -> None:
        """The round is over. `next_due`: when there may be something to do, as far as it knows."""
        if idle:
            self._idle, self._next_due = self._begun, next_due
        self._tell(True)

    def fail(self) -> None:
        """The round could not be made: the store does not answer."""
        self._tell(False)

    def look(self) -> None:
        """Whoever waits for a round looks again whether there will be one."""
        self._tell(True)

    def _tell(self, made: bool) -> None:
        for future in self._waiting:
            if not future.done():
                future.set_result(made)
        self._waiting.clear()

    async def idle(self, nudge: Callable[[], object], patience: float | None) -> int | None:
        """Nudge, and wait for a round that begins after this call and finds nothing to do; answers what is next due.

        None, too, where there is none: the service is stuck, or its store does not answer, or takes longer than
        `patience` seconds. `patience` None: it is waited for, however long that takes.
        """
        begun = self._begun
        try:
            async with asyncio.timeout(patience):
                while self._idle <= begun:
                    if patience is not None and self._stuck():
                        return None
                    nudge()  # each time: after a round that found something it may sleep
                    future = asyncio.get_running_loop().create_future()
                    self._waiting.append(future)
                    if not await future and patience is not None:
                        return None  # a store that is down now may be so for as long as the test says
        except TimeoutError:
            return None
        return self._next_due
