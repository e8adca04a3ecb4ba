"""`open`, `close`, `clone`, `time`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from mainspring.errors import DefinitionError, StoreUnavailable
from mainspring.stores import open_store
from mainspring.stores.base import Query, Store
from tests.conformance.bench import Bench
from tests.conformance.subjects import Subject
from tests.factory import NOW, FakeClock, make_job


async def test_open_and_close_twice_is_once(subject: Subject, tmp_path: Path, clock: FakeClock) -> None:
    store = subject.make(tmp_path, clock)
    await store.open()
    await store.add([make_job("a")])
    await store.open()
    assert (await store.get(["a"]))[0] is not None
    await store.close()
    await store.close()


async def test_calls_after_close_say_so(subject: Subject, tmp_path: Path, clock: FakeClock) -> None:
    store = subject.make(tmp_path, clock)
    await store.open()
    await store.close()
    calls: list[Callable[[], Awaitable[object]]] = [
        store.time,
        lambda: store.add([make_job()]),
        lambda: store.get(["a"]),
        lambda: store.count(Query()),
        lambda: store.purge(NOW, 1),
    ]
    for call in calls:
        with pytest.raises(StoreUnavailable):
            await call()


async def test_a_clone_shares_the_data_and_not_its_life(store: Store, bench: Bench) -> None:
    other = store.clone()
    await other.open()
    await other.add([make_job("a")])
    await other.close()
    assert (await bench.row("a")).version == 1
    assert [job.id for job in (await bench.claim()).jobs] == ["a"]


async def test_the_stores_clock(store: Store, clock: FakeClock) -> None:
    assert await store.time() == clock.now
    clock.advance(1_234)
    assert await store.time() == NOW + 1_234


async def test_no_other_call_reads_a_clock(bench: Bench) -> None:
    """Times are passed in: a store whose own clock is far off does the same."""
    await bench.add(make_job("a"))
    bench.clock.advance(10**9)
    now = NOW
    claim = await bench.store.claim("default", {"t": None}, "w:1", "x", now, now + 10, 5)
    assert [(j.started_at, j.due_at) for j in claim.jobs] == [(now, now + 10)]
    assert (await bench.store.claim("default", {"t": None}, "w:1", "y", now + 9, now + 20, 5)).jobs == []


@pytest.mark.parametrize("url", ["", "oracle://x", "mainspring.db"])
def test_an_unknown_url_is_refused(url: str) -> None:
    with pytest.raises(DefinitionError, match="unknown store"):
        open_store(url)
