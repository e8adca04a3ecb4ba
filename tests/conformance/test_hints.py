"""Hints: waiting, waking, following. They may come late or for nothing; these are the promises that they do make."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from mainspring.stores.base import Event, Store
from tests.conformance.bench import Bench
from tests.factory import NOW, make_job

PROMPT = 40.0
"""Seconds within which a hint must have come; a wait that sleeps on is ended by the far longer timeout it asked for."""
LONG = 200.0


async def woken(store: Store, *names: str) -> bool:
    async with asyncio.timeout(PROMPT):
        return await store.wait(names, LONG)


async def test_a_wait_ends_by_itself(store: Store) -> None:
    assert not await store.wait(["default"], 0.01)
    assert not await store.wait(["default", "w:1"], 0.0)


async def test_a_wait_is_ended_by_a_wake_of_any_of_its_names(store: Store) -> None:
    for name in ("default", "w:1"):
        waiting = asyncio.create_task(woken(store, "default", "w:1", "other"))
        await asyncio.sleep(0)
        await store.wake(name)
        assert await waiting


async def test_what_was_woken_before_the_wait_and_after_the_claim_ends_it_at_once(bench: Bench) -> None:
    await bench.claim()
    await bench.store.wake("default")
    assert await woken(bench.store, "default")


async def test_claim_empty_then_add_then_wait_returns_at_once(bench: Bench) -> None:
    assert (await bench.claim()).jobs == []
    await bench.add(make_job("a"))
    assert await woken(bench.store, "default")
    assert [job.id for job in (await bench.claim()).jobs] == ["a"]


async def test_an_add_by_another_store_ends_the_wait_too(bench: Bench, store: Store) -> None:
    other = store.clone()
    await other.open()
    assert (await bench.claim()).jobs == []
    waiting = asyncio.create_task(woken(store, "default"))
    await asyncio.sleep(0)
    await other.add([make_job("a")])
    assert await waiting
    await other.close()


async def test_a_wake_by_another_store_reaches_a_worker(store: Store) -> None:
    other = store.clone()
    await other.open()
    waiting = asyncio.create_task(woken(store, "w:1"))
    await asyncio.sleep(0)
    await other.wake("w:1")
    assert await waiting
    await other.close()


async def test_a_wait_can_be_cancelled(store: Store) -> None:
    waiting = asyncio.create_task(store.wait(["default"], LONG))
    await asyncio.sleep(0)
    waiting.cancel()
    async with asyncio.timeout(PROMPT):
        await asyncio.gather(waiting, return_exceptions=True)
    assert waiting.cancelled()
    await store.wake("default")


def event(number: int) -> Event:
    return Event(job_id=f"j{number}", task="t", queue="default", kind="state", status="running", at=NOW, data={"☃": 1})


async def first(following: AsyncGenerator[list[Event], None]) -> list[Event]:
    """The first batch that is not empty."""
    async for batch in following:
        if batch:
            return batch
    raise AssertionError("the stream ended")


async def test_followers_are_told_in_order(store: Store) -> None:
    other = store.clone()
    await other.open()
    async with aclosing(store.subscribe()) as one, aclosing(other.subscribe()) as two:
        following = [asyncio.create_task(first(stream)) for stream in (one, two)]
        told = 0
        while not all(task.done() for task in following):
            await store.publish([event(told), event(told + 1)])
            told += 2
            async with asyncio.timeout(PROMPT):
                await asyncio.wait(following, timeout=0.02)
        batches = [await task for task in following]
    await other.close()
    for batch in batches:
        numbers = [int(e.job_id[1:]) for e in batch]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
        assert batch[0] == event(numbers[0])


async def test_an_empty_batch_says_that_the_stream_is_alive(store: Store) -> None:
    async with aclosing(store.subscribe()) as stream, asyncio.timeout(PROMPT):
        assert await anext(stream) == []


async def test_a_follower_that_is_known_misses_nothing(store: Store) -> None:
    async with aclosing(store.subscribe()) as stream, asyncio.timeout(PROMPT):
        while await anext(stream):
            pass
        await store.publish([event(1), event(2)])
        assert await first(stream) == [event(1), event(2)]


async def test_a_store_that_has_seen_a_follower_says_so(store: Store) -> None:
    async with aclosing(store.subscribe()) as stream, asyncio.timeout(PROMPT):
        await anext(stream)
        await store.add([make_job()])
        assert store.followed


async def test_nobody_needs_to_follow(store: Store) -> None:
    await store.publish([event(1)])
    await store.publish([])
