"""Many processes and threads at once: each job runs exactly once, and the counts are right."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from mainspring.core.job import State
from mainspring.stores.base import Count, Query
from mainspring.stores.sqlite import SQLiteStore
from tests.stores.sqlite.processes import Child, run_children

PROCESSES, THREADS, OWN, SHARED = 3, 2, 60, 20


@pytest.mark.slow
async def test_processes_and_threads_add_claim_and_save_at_once(
    store: SQLiteStore, path: Path, other: sqlite3.Connection
) -> None:
    total = PROCESSES * THREADS * OWN + SHARED
    await run_children(*(Child("work", path, str(OWN), str(SHARED), str(total)) for _ in range(PROCESSES)))
    assert await store.count(Query()) == [Count("default", "t", State.COMPLETED, total)]
    seen: list[str] = []
    cursor = None
    while True:
        page = await store.find(Query(after=cursor, limit=500))
        assert all((job.claims, job.settled, job.state) == (1, 1, State.COMPLETED) for job in page.jobs)
        seen += [job.id for job in page.jobs]
        cursor = page.cursor
        if cursor is None:
            break
    assert len(seen) == len(set(seen)) == total
    assert sum(id.startswith("shared-") for id in seen) == SHARED
    assert other.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    workers = other.execute("SELECT count(DISTINCT worker) FROM mainspring_jobs").fetchone()
    assert workers > (1,), "one did all of it, so nothing was at once"


@pytest.mark.parametrize("url", ["file", "memory"])
async def test_the_kept_counts_are_those_of_the_rows(url: str, path: Path) -> None:
    from tests.stores.sqlite.histories import live

    store = SQLiteStore("sqlite://:memory:" if url == "memory" else f"sqlite:///{path}")
    await store.open()
    await live(store, rounds=150)
    kept = await store.count(Query())
    counted = await store.count(Query(created_after=0))
    assert sorted(kept) == sorted(counted)
    assert len({found.state for found in kept}) > 3
    await store.close()
