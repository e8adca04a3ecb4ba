"""The janitor: erases what is over, so that nothing grows without bound.

Expired rows go by `purge`. Completed jobs of calls, without a key, are kept up to a count per queue as well: the oldest
beyond it go. Every worker has one, at different moments; two at once do no harm.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from typing import TYPE_CHECKING

from mainspring.core.job import State
from mainspring.errors import StoreError
from mainspring.events import emit
from mainspring.stores.base import Query

if TYPE_CHECKING:
    from mainspring.worker.worker import Worker

EVERY = 30.0
"""Seconds between two rounds that found nothing."""
BATCH = 100
"""Rows at a time: 500 made every write of a job beside it wait 30 ms on SQLite."""
KEEP = 10_000
"""Completed keyless jobs per queue."""


class Janitor:
    def __init__(self, worker: Worker, keep: int = KEEP) -> None:
        self._worker = worker
        self._keep = keep

    async def run(self) -> None:
        while True:
            await asyncio.sleep(EVERY * random.uniform(0.5, 1.5))
            try:
                gone = await self.round()
            except StoreError as error:
                emit("purge.failed", logging.WARNING, worker=self._worker.id, error=str(error))
            else:
                if gone:
                    emit("purged", logging.DEBUG, jobs=gone)

    async def round(self) -> int:
        """Erase all that is over now. Answers how many jobs and records went."""
        gone = 0
        begun = self._worker.clock.monotonic()
        while (erased := await self._worker.store.purge(self._worker.clock.now(), BATCH)) > 0:
            gone += erased
            begun = await self._let_others(begun)
        return gone + await self._enforce_count()

    async def _enforce_count(self) -> int:
        ended = Query(states=(State.COMPLETED,), origin="call", keyed=False)
        kept = Counter[str]()
        for row in await self._worker.store.count(ended):
            kept[row.queue] += row.jobs
        return sum([await self._erase_oldest(ended.evolve(queue=q), n - self._keep) for q, n in kept.items()])

    async def _erase_oldest(self, ended: Query, excess: int) -> int:
        gone, begun = 0, self._worker.clock.monotonic()
        while excess > gone:
            page = await self._worker.store.find(ended.evolve(oldest_first=True, limit=min(excess - gone, BATCH)))
            if not page.jobs:
                break
            await self._worker.store.save([job.evolve(expires_at=0) for job in page.jobs])
            gone += len(page.jobs)
            begun = await self._let_others(begun)
        return gone

    async def _let_others(self, begun: int) -> int:
        """Rest for half as long as the last batch took, for it kept the others waiting. Answers when that was over."""
        await asyncio.sleep((self._worker.clock.monotonic() - begun) / 2_000)
        return self._worker.clock.monotonic()
