"""Records: swap by version, fences that only grow, scans by name and by due time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mainspring.core.records import LEASE as LEASE_KIND
from mainspring.core.records import Record
from mainspring.stores.base import Store
from tests.conformance.bench import Bench
from tests.conformance.subjects import having_transactions
from tests.factory import NOW


def record(name: str = "a", **fields: Any) -> Record:
    given: dict[str, Any] = {"kind": "k", "name": name, "written_at": NOW} | fields
    return Record(**given)


async def written(store: Store, **fields: Any) -> Record:
    [new] = await store.write([record(**fields)])
    assert new is not None
    return new


async def test_a_record_comes_back(store: Store) -> None:
    mine = record("☃'%", due_at=NOW + 5, expires_at=NOW - 1, value={"x": [1, None, {"y": "é"}], "n": 2**62})
    [new] = await store.write([mine])
    assert new == mine.evolve(version=NOW)
    assert await store.read("k", "☃'%") == new, "expired or not"
    assert await store.read("k", "b") is None
    assert await store.read("other", "☃'%") is None


async def test_the_first_version_is_the_time_of_birth_and_each_write_adds_one(store: Store) -> None:
    one = await written(store)
    assert one.version == NOW
    [two] = await store.write([one.evolve(written_at=NOW + 500, value={"x": 1})])
    assert two is not None
    assert (two.version, two.written_at) == (NOW + 1, NOW + 500)
    assert await store.read("k", "a") == two


async def test_a_write_swaps_on_the_version(store: Store) -> None:
    one = await written(store)
    for version in (0, one.version - 1, one.version + 1):
        assert await store.write([one.evolve(version=version, value={"lost": True})]) == [None]
    assert await store.write([record("b", version=NOW)]) == [None], "a version, but nothing there"
    assert await store.read("k", "a") == one
    assert await store.read("k", "b") is None


async def test_a_batch_answers_in_order_and_one_lost_write_does_not_hinder_the_others(store: Store) -> None:
    await written(store, name="b")
    answers = await store.write([record("c"), record("b"), record("a", kind="other")])
    assert [r and (r.kind, r.name) for r in answers] == [("k", "c"), None, ("other", "a")]
    assert await store.write([]) == []


async def test_erase_swaps_on_the_version(store: Store) -> None:
    one = await written(store)
    [two] = await store.write([one])
    assert two is not None
    assert not await store.erase(one)
    assert not await store.erase(record("b"))
    assert await store.read("k", "a") == two
    assert await store.erase(two)
    assert not await store.erase(two)
    assert await store.read("k", "a") is None


async def test_fences_only_grow_over_erase_and_rebirth(store: Store) -> None:
    fences, now = [], NOW
    for _ in range(3):
        lock = await written(store, written_at=now)
        fences.append(lock.version)
        for _ in range(3):
            [renewed] = await store.write([lock])
            assert renewed is not None
            lock = renewed
            fences.append(lock.version)
        await store.erase(lock)
        now += 1_000
    assert fences == sorted(set(fences))


async def test_a_late_owners_release_leaves_the_new_owners_lock(store: Store) -> None:
    mine = await written(store, kind=LEASE_KIND, expires_at=NOW + 10, value={"owner": "me"})
    [taken] = await store.write([mine.evolve(value={"owner": "you"}, expires_at=NOW + 99, written_at=NOW + 20)])
    assert not await store.erase(mine)
    assert await store.read(LEASE_KIND, "a") == taken
    assert await store.erase(taken or mine)
    yours = await written(store, kind=LEASE_KIND, written_at=NOW + 30, value={"owner": "you"})
    assert not await store.erase(mine)
    assert await store.write([mine]) == [None]
    assert await store.read(LEASE_KIND, "a") == yours


async def test_a_scan_goes_by_name(store: Store) -> None:
    await store.write([record(name) for name in ("b", "d", "a", "c")] + [record("x", kind="other")])
    assert [r.name for r in await store.scan("k")] == ["a", "b", "c", "d"]
    assert [r.name for r in await store.scan("k", after="b")] == ["c", "d"]
    assert [r.name for r in await store.scan("k", after="b", limit=1)] == ["c"]
    assert await store.scan("none") == []


async def test_a_scan_with_due_goes_by_due_time_and_name(store: Store) -> None:
    dues = {"c": NOW, "b": NOW + 1, "a": NOW + 1, "e": NOW - 9, "later": NOW + 2, "never": None}
    await store.write([record(name, due_at=due) for name, due in dues.items()])
    assert [r.name for r in await store.scan("k", due=NOW + 1)] == ["e", "c", "a", "b"]
    assert [r.name for r in await store.scan("k", due=NOW + 1, limit=2)] == ["e", "c"]
    [moved] = await store.scan("k", due=NOW - 9)
    await store.write([moved.evolve(due_at=None)])
    assert [r.name for r in await store.scan("k", due=NOW + 1)] == ["c", "a", "b"]


@having_transactions
async def test_within_a_callers_transaction(store: Store, subject: Any, tmp_path: Path, bench: Bench) -> None:
    with subject.transaction(tmp_path) as transaction:
        [new] = await store.write([record()], within=transaction)
        assert new is not None
        assert await store.read("k", "a") is None
    assert await store.read("k", "a") == new
