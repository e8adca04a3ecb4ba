"""What happens when the disk is full, somebody holds the lock, or the caller goes away."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from pathlib import Path

import pytest

from mainspring.core.job import State
from mainspring.errors import StoreFull, StoreUnavailable
from mainspring.stores.base import Query
from mainspring.stores.sqlite import SQLiteStore
from mainspring.stores.sqlite.channel import Channel
from mainspring.stores.sqlite.settings import Settings
from tests.conformance.bench import Bench
from tests.factory import make_job


async def limit_pages(store: SQLiteStore, pages: int) -> None:
    """Let the file grow no further than this: a full disk."""
    await store._database.run(lambda connection: connection.execute(f"PRAGMA max_page_count = {pages}").fetchone())


async def test_a_full_disk_says_so_and_nothing_is_half_written(bench: Bench, store: SQLiteStore) -> None:
    await bench.add(make_job("a"))
    await limit_pages(store, 1)
    with pytest.raises(StoreFull, match=r"no space left.*Free some"):
        await bench.add(*(make_job(input=f'"{"x" * 10_000}"') for _ in range(50)))
    assert sum(found.jobs for found in await store.count(Query())) == 1
    assert [job.id for job in (await bench.claim()).jobs] == ["a"], "what needs no more space still goes"
    await limit_pages(store, 1_000_000)
    await bench.add(make_job("b"))
    assert not await bench.gone("b")


async def test_a_lock_held_too_long_is_told(bench: Bench, store: SQLiteStore, other: sqlite3.Connection) -> None:
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable, match=r"locked by another process for longer than 200ms.*long transaction"):
        await bench.add(make_job("a"))
    assert await store.get(["a"]) == [None], "readers are not held up"
    assert (await bench.claim()).jobs == [], "nor a claim that finds nothing"
    other.execute("COMMIT")
    await bench.add(make_job("a"))


async def test_a_lock_that_is_let_go_in_time_is_waited_for(bench: Bench, other: sqlite3.Connection) -> None:
    other.execute("BEGIN IMMEDIATE")
    adding = asyncio.create_task(bench.add(make_job("a")))
    await asyncio.sleep(0)
    other.execute("COMMIT")
    assert [job.version for job in await adding] == [1]


async def test_a_claim_that_meets_a_writer_chooses_again(bench: Bench, other: sqlite3.Connection) -> None:
    """The row that the first choice saw is paused by somebody else before the claim has the lock."""
    await bench.add(make_job("a"), make_job("b"))
    other.execute("BEGIN IMMEDIATE")
    claiming = asyncio.create_task(bench.claim())
    await asyncio.sleep(0)
    other.execute("UPDATE mainspring_jobs SET state = 'paused', version = version + 1 WHERE id = 'a'")
    other.execute("COMMIT")
    assert [job.id for job in (await claiming).jobs] == ["b"]


async def test_a_cancelled_call_leaves_the_store_whole(bench: Bench, store: SQLiteStore) -> None:
    for number in range(20):
        calls = [asyncio.create_task(bench.add(*(make_job(f"{number}-{n}-{i}") for i in range(50)))) for n in (1, 2)]
        await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
        calls[1].cancel()
        await asyncio.gather(*calls, return_exceptions=True)
    [found] = await store.count(Query())
    assert found.jobs >= 20 * 50
    assert found.jobs % 50 == 0, "each batch is there, or is not"
    assert len((await bench.claim(limit=500)).jobs) == 500


async def test_a_call_that_waits_for_a_lock_ends_with_its_caller(
    bench: Bench, store: SQLiteStore, other: sqlite3.Connection
) -> None:
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.02):
            await bench.add(make_job("a"))
    other.execute("COMMIT")
    await bench.add(make_job("b"))
    assert await bench.gone("a")


async def test_calls_after_the_end_and_before_the_beginning(path: Path) -> None:
    store = SQLiteStore(f"sqlite:///{path}")
    with pytest.raises(StoreUnavailable, match="not open"):
        await store.get(["a"])
    await store.open()
    waiting = asyncio.create_task(store.wait(["default"], 60))
    await asyncio.sleep(0)
    await store.close()
    await store.close()
    async with asyncio.timeout(60):
        await asyncio.gather(waiting, return_exceptions=True)
    with pytest.raises(StoreUnavailable, match="not open"):
        await store.claim("default", {}, "w:1", "token", 1, 2, 1)


async def test_a_store_serves_one_event_loop_after_another(path: Path) -> None:
    store = SQLiteStore(f"sqlite:///{path}")
    await store.open()
    await store.add([make_job("a")])
    seen = await asyncio.to_thread(asyncio.run, _get(store))
    assert seen is State.WAITING
    await store.close()


async def _get(store: SQLiteStore) -> State:
    [job] = await store.get(["a"])
    assert job is not None
    return job.state


# -- the channel -------------------------------------------------------------------------------------------------

ENDLESS = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"


async def test_a_call_past_its_deadline_is_given_up_and_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    channel = Channel("test", Settings(None))
    await channel.open(lambda: sqlite3.connect(":memory:", check_same_thread=False))
    with monkeypatch.context() as impatient:
        impatient.setattr(Settings, "deadline", 0.05)
        with pytest.raises(StoreUnavailable, match=r"no answer within 0\.05 s"):
            await channel.call(lambda connection: connection.execute(ENDLESS).fetchone())
    assert await channel.call(lambda connection: connection.execute("SELECT 7").fetchone()) == (7,)
    await channel.close()


async def test_an_error_of_the_work_is_the_callers() -> None:
    channel = Channel("test", Settings(None))
    await channel.open(lambda: sqlite3.connect(":memory:", check_same_thread=False))
    with pytest.raises(ZeroDivisionError):
        await channel.call(lambda _: 1 // 0)
    assert await channel.call(lambda connection: connection.in_transaction) is False
    await channel.close()


async def test_a_store_that_was_opened_before_a_fork_says_so(store: SQLiteStore) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "getpid", lambda: -1)
        with pytest.raises(StoreUnavailable, match=r"another process.*after the fork"):
            await store.get(["a"])
    assert await store.get(["a"]) == [None]
