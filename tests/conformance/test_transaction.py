"""transaction: the caller's own, on the store's database; or a refusal."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest

from mainspring.core.records import Record
from mainspring.errors import DefinitionError, StoreUnavailable
from mainspring.stores.base import Store
from tests.conformance.bench import Bench
from tests.conformance.subjects import Subject, having_transactions, without_transactions
from tests.factory import NOW, FakeClock, make_job


def record() -> Record:
    return Record(kind="k", name="n", written_at=NOW, value={"a": 1})


@pytest.fixture
async def other(store: Store, subject: Subject, tmp_path: Path, clock: FakeClock) -> AsyncIterator[Store]:
    """Another program's store on the same data."""
    other = store.clone()
    await other.open()
    yield other
    await other.close()


@having_transactions
async def test_it_commits_at_the_end_of_its_block(store: Store, bench: Bench) -> None:
    async with store.transaction() as transaction:
        await store.add([make_job("a")], within=transaction)
        [written] = await store.write([record()], within=transaction)
        assert await bench.gone("a"), "nobody sees it yet"
        assert await store.read("k", "n") is None
    assert (await bench.row("a")).id == "a"
    assert await store.read("k", "n") == written


@having_transactions
async def test_an_exception_rolls_it_back_and_is_raised(store: Store, bench: Bench) -> None:
    async def fail() -> None:
        async with store.transaction() as transaction:
            await store.add([make_job("a")], within=transaction)
            raise KeyError("a")

    with pytest.raises(KeyError):
        await fail()
    assert await bench.gone("a")
    async with store.transaction() as transaction:
        await store.add([make_job("b")], within=transaction)
    assert (await bench.row("b")).id == "b"


@having_transactions
async def test_of_two_that_write_the_same_new_record_one_does(store: Store, other: Store) -> None:
    async with store.transaction() as transaction:
        assert [row is not None for row in await store.write([record()], within=transaction)] == [True]
    with suppress(StoreUnavailable):
        async with other.transaction() as transaction:
            assert await other.write([record()], within=transaction) == [None]
    [held] = [await store.read("k", "n")]
    assert held is not None
    assert held.version == NOW


@without_transactions
async def test_a_store_without_transactions_refuses_at_the_call(store: Store) -> None:
    with pytest.raises(DefinitionError, match="no transactions"):
        store.transaction()
