"""A store that can be down, slow, or lose its answers: as a program that uses it meets that, and its worker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from mainspring import Mainspring, StoreFull, StoreUnavailable, Task
from mainspring.errors import DefinitionError
from mainspring.stores import open_store
from mainspring.testing import Drained, FakeClock, Kit, Outages, kit, unreliable


class Shop:
    def __init__(self) -> None:
        self.app = app = Mainspring("sqlite://:memory:")

        @app.task
        async def pack(order: str) -> str:
            return order

        self.pack: Task[[str], str] = pack


@pytest.fixture
def shop() -> Shop:
    return Shop()


@pytest.fixture
async def k(shop: Shop) -> AsyncIterator[Kit]:
    async with kit(shop.app) as k:
        yield k


async def test_while_it_is_down_everything_fails_at_once(shop: Shop, k: Kit) -> None:
    job = await shop.pack.enqueue("tea")
    with k.store.down():
        assert k.store.is_down
        with pytest.raises(StoreUnavailable, match="the store is down, because the test says so"):
            await shop.pack.enqueue("coffee")
        with pytest.raises(StoreUnavailable):
            await job.status()
        with pytest.raises(StoreUnavailable):
            await shop.app.jobs.list()
        with pytest.raises(StoreUnavailable):
            await k.drain()
    assert not k.store.is_down
    assert await k.drain() == Drained(completed=1)


async def test_it_can_be_down_before_anybody_has_connected(shop: Shop) -> None:
    async with kit(shop.app) as k:
        k.store.down()
        with pytest.raises(StoreUnavailable):
            await shop.pack.enqueue("tea")
        k.store.up()
        assert await shop.pack.enqueue("tea")


async def test_a_worker_outlives_an_outage_and_looks_at_once_after_it(shop: Shop, k: Kit) -> None:
    async with shop.app.worker():
        await k.drain()
        claims = k.store.calls["claim"]
        job = await shop.pack.options(delay="1m").enqueue("tea")
        with k.store.down():
            await k.clock.advance("2m")
            assert k.store.calls["claim"] > claims
        assert await job.result(timeout=60) == "tea"


async def test_a_kit_ends_while_its_store_is_down(shop: Shop) -> None:
    async with kit(shop.app, check=True) as k, shop.app.worker():
        await shop.pack.enqueue("tea")
        await k.drain()
        k.store.down()


async def test_the_next_calls_fail_and_nothing_happens(shop: Shop, k: Kit) -> None:
    k.store.fail_next(2)
    assert k.store.planned("add") == 2
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match="Nothing was done"):
            await shop.pack.enqueue("tea")
    await k.refute_enqueued()
    assert await shop.pack.enqueue("tea")


async def test_they_fail_as_the_test_says(shop: Shop, k: Kit) -> None:
    k.store.fail_next(error=StoreFull())
    with pytest.raises(StoreFull):
        await shop.pack.enqueue("tea")
    k.store.fail_next(operation="get")
    job = await shop.pack.enqueue("tea")
    with pytest.raises(StoreUnavailable, match="get fails"):
        await job.get()


async def test_a_lost_answer_is_not_an_undone_write(shop: Shop, k: Kit) -> None:
    k.store.lose_answers()
    with pytest.raises(StoreUnavailable, match="its answer is lost"):
        await shop.pack.options(idempotency_key="tea").enqueue("tea")
    await k.assert_enqueued(shop.pack, count=1)
    again = await shop.pack.options(idempotency_key="tea").enqueue("tea")
    assert not again.created
    await k.assert_enqueued(shop.pack, count=1)


async def test_a_settle_whose_answer_is_lost_is_one_run(shop: Shop, k: Kit) -> None:
    job = await shop.pack.enqueue("tea")
    k.store.lose_answers(operation="save")
    assert await k.drain() == Drained(completed=1)
    assert len((await job.get()).runs) == 1


async def test_a_call_can_hang_until_the_test_lets_it_go(shop: Shop, k: Kit) -> None:
    with k.store.hang("add") as hang:
        asking = asyncio.create_task(shop.pack.enqueue("tea"))
        await hang.reached()
        await k.refute_enqueued()
        assert not asking.done()
        hang.release()
        await asking
    await k.assert_enqueued(shop.pack)


async def test_a_call_that_hangs_goes_on_at_the_end_of_the_block(shop: Shop, k: Kit) -> None:
    with k.store.hang():
        asking = asyncio.create_task(shop.pack.enqueue("tea"))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(asking), 0.01)
    assert (await asking).created


async def test_a_slow_store_runs_into_the_patience_of_its_caller(shop: Shop, k: Kit) -> None:
    await k.refute_enqueued()
    with k.store.slow("10s", operation="add"), pytest.raises(TimeoutError):
        await asyncio.wait_for(shop.pack.enqueue("tea"), 0.01)
    assert await shop.pack.enqueue("coffee")
    with k.store.slow(0.001):
        assert await shop.pack.enqueue("milk")


@pytest.mark.parametrize("method", ["fail_next", "lose_answers"])
async def test_an_operation_that_there_is_not_is_refused(k: Kit, method: str) -> None:
    with pytest.raises(DefinitionError, match=r"unknown operation: 'ad'\. Expected one of add, append,"):
        getattr(k.store, method)(operation="ad")
    with pytest.raises(DefinitionError, match="unknown operation"):
        k.store.planned("ad")


async def test_it_works_in_front_of_any_store(clock: FakeClock) -> None:
    outages = Outages()
    app = Mainspring(unreliable(open_store("sqlite://:memory:", clock.now), outages), clock=clock)
    async with app:
        with outages.down(), pytest.raises(StoreUnavailable):
            await app.jobs.list()
        assert len(await app.jobs.list()) == 0
        assert outages.calls["find"] == 2
