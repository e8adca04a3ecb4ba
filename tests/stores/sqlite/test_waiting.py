"""Waiting across processes, and what idle stores do to the file: nothing."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from pathlib import Path

import pytest

from mainspring.core.job import State
from mainspring.core.records import GATE, Record, queue_gate
from mainspring.stores.base import Event
from mainspring.stores.sqlite import SQLiteStore
from tests.conformance.bench import Bench
from tests.factory import NOW, make_job
from tests.stores.sqlite.processes import Child

PROMPT = 40.0
LONG = 200.0


async def woken(store: SQLiteStore, *names: str) -> bool:
    async with asyncio.timeout(PROMPT):
        return await store.wait(names, LONG)


@pytest.mark.parametrize("kernel", ["tells", "is silent"])
async def test_an_add_by_another_process_ends_the_wait(
    bench: Bench, store: SQLiteStore, path: Path, kernel: str
) -> None:
    if kernel == "is silent":  # As on other systems than Linux.
        store._database._watch.close()  # type: ignore[attr-defined]
    child = Child("add", path, "a")
    await child.ready()
    assert (await bench.claim()).jobs == []
    waiting = asyncio.create_task(woken(store, "default", "w:1"))
    await asyncio.sleep(0)
    child.go()
    assert await waiting
    assert [job.id for job in (await bench.claim()).jobs] == ["a"]
    await child.end()


@pytest.mark.slow
async def test_an_add_by_another_process_between_claim_and_wait_ends_it_at_once(
    bench: Bench, store: SQLiteStore, path: Path
) -> None:
    child = Child("add", path, "a")
    await child.ready()
    assert (await bench.claim()).jobs == []
    child.go()
    await child.end()
    assert await woken(store, "default")


@pytest.mark.slow
async def test_a_wake_by_another_process_reaches_a_worker(store: SQLiteStore, path: Path) -> None:
    child = Child("wake", path, "w:1")
    await child.ready()
    waiting = asyncio.create_task(woken(store, "w:1"))
    await asyncio.sleep(0)
    child.go()
    assert await waiting
    await child.end()
    assert not await store.wait(["w:1"], 0.0), "a wake is used up by the wait that it ended"


async def test_several_may_wait_on_one_store(store: SQLiteStore, other: sqlite3.Connection) -> None:
    waits = [asyncio.create_task(woken(store, name)) for name in ("default", "other", "w:1")]
    await asyncio.wait(waits, timeout=0.05)
    other.execute("INSERT INTO mainspring_hints VALUES ('default', 1), ('other', 1), ('w:1', 1)")
    assert await asyncio.gather(*waits) == [True] * 3


async def test_a_commit_of_the_callers_own_ends_the_wait(
    bench: Bench, store: SQLiteStore, other: sqlite3.Connection
) -> None:
    assert (await bench.claim()).jobs == []
    waiting = asyncio.create_task(woken(store, "default"))
    other.execute("BEGIN")
    await store.add([make_job("a")], within=other)
    assert not waiting.done()
    other.execute("COMMIT")
    assert await waiting


async def test_settles_and_beats_of_others_wake_nobody(bench: Bench, store: SQLiteStore) -> None:
    sibling = store.clone()
    await sibling.open()
    [job] = await bench.take(make_job("a"))
    assert (await bench.claim()).jobs == []
    waiting = asyncio.create_task(sibling.wait(["default", "w:1"], 0.15))
    ours = asyncio.create_task(store.wait(["default", "w:1"], 0.15))
    while not waiting.done():
        saved = (await store.save([job.evolve(progress="1")]))[0]
        assert saved is not None
        job = saved
        await asyncio.wait([waiting], timeout=0.01)
    assert not await waiting
    assert not await ours
    await sibling.close()


async def test_a_retry_and_an_earlier_lapse_are_told_to_sleepers(bench: Bench, store: SQLiteStore) -> None:
    sibling = store.clone()
    assert isinstance(sibling, SQLiteStore)
    await sibling.open()
    jobs = await bench.take(make_job("a"), make_job("b"))
    changes = (jobs[0].evolve(state=State.WAITING, due_at=NOW + 100), jobs[1].evolve(due_at=NOW))
    for change in changes:
        assert (await sibling.claim("default", {"other": None}, "w:2", "x", NOW, NOW + 1, 5)).jobs == []
        await store.save([change])
        assert await woken(sibling, "default")
    await sibling.close()


async def test_an_opened_gate_is_told_to_sleepers_of_every_queue(bench: Bench, store: SQLiteStore) -> None:
    [gate] = await store.write([Record(kind=GATE, name=queue_gate("default"), written_at=NOW)])
    assert gate is not None
    await bench.add(make_job("a"))
    assert (await bench.claim()).jobs == []
    await store.erase(gate)
    assert await woken(store, "default")
    assert [job.id for job in (await bench.claim()).jobs] == ["a"]


async def test_a_claim_held_back_by_a_cap_looks_again_when_a_job_ends(bench: Bench, store: SQLiteStore) -> None:
    sibling = store.clone()
    assert isinstance(sibling, SQLiteStore)
    await sibling.open()
    [job, _] = [*await bench.take(make_job("a")), *await bench.add(make_job("b"))]
    assert (await sibling.claim("default", {"t": 1}, "w:2", "x", NOW, NOW + 9, 5)).jobs == []
    waiting = asyncio.create_task(woken(sibling, "default"))
    await asyncio.sleep(0)
    await store.save([job.evolve(state=State.COMPLETED)])
    assert await waiting
    assert len((await sibling.claim("default", {"t": 1}, "w:2", "x", NOW, NOW + 9, 5)).jobs) == 1
    await sibling.close()


async def test_idle_stores_write_nothing(
    store: SQLiteStore, bench: Bench, other: sqlite3.Connection, path: Path
) -> None:
    await bench.take(make_job("a"))
    await store.purge(NOW, 100)  # Sweeps up after the claim, once.
    siblings = [store.clone() for _ in range(3)]
    for sibling in siblings:
        await sibling.open()
    before = state(other, path)
    for sibling in siblings:
        assert (await sibling.claim("default", {"t": None}, "w:2", "x", NOW, NOW + 9, 5)).jobs == []
    waits = [sibling.wait([name, "w:9"], 0.1) for sibling in siblings for name in ("default", "w:1")]
    assert not any(await asyncio.gather(*waits))
    assert await store.purge(NOW, 100) == 0
    await store.publish([Event(job_id="a", task="t", queue="default", kind="state", status="running", at=NOW)])
    assert state(other, path) == before
    for sibling in siblings:
        await sibling.close()


def state(other: sqlite3.Connection, path: Path) -> tuple[int, int]:
    """What a write would change: the version that others see, and the size of the log."""
    [(version,)] = other.execute("PRAGMA data_version")
    return version, os.path.getsize(f"{path}-wal")
