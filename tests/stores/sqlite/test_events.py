"""Events are rows only while somebody follows, in whatever process; and they do not pile up."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import aclosing

import pytest

from mainspring.stores.base import Event
from mainspring.stores.sqlite import SQLiteStore, events, follow
from tests.conformance.bench import Bench
from tests.factory import NOW, make_job


def event(number: int) -> Event:
    return Event(job_id=str(number), task="t", queue="default", kind="state", status="running", at=NOW)


def rows(other: sqlite3.Connection, table: str = "events") -> int:
    [(count,)] = other.execute(f"SELECT count(*) FROM mainspring_{table}")
    return int(count)


async def test_events_are_written_only_while_somebody_follows(
    store: SQLiteStore, bench: Bench, other: sqlite3.Connection
) -> None:
    await store.publish([event(1)])
    assert rows(other) == 0
    async with aclosing(store.subscribe()) as stream:
        assert await anext(stream) == [], "the follower is known now"
        await store.publish([event(2), event(3)])
        assert rows(other) == 2
        assert await anext(stream) == [event(2), event(3)]
    assert rows(other) == rows(other, "records") == 0, "the last follower clears up"
    await bench.add(make_job())
    await store.publish([event(4)])
    assert rows(other) == 0


async def test_a_publisher_learns_of_a_follower_with_its_next_write(
    store: SQLiteStore, other: sqlite3.Connection
) -> None:
    """As in another process: nothing but the file tells it."""
    async with aclosing(store.subscribe()) as stream:
        await anext(stream)
        stranger = store.clone()
        assert isinstance(stranger, SQLiteStore)
        await stranger.open()
        stranger._hub.followed = False
        await stranger.publish([event(1)])
        assert rows(other) == 0, "it has not written since, so it does not know"
        await stranger.add([make_job()])
        await stranger.publish([event(2)])
        assert await anext(stream) == [event(2)]
        await stranger.close()


async def test_silence_is_answered_by_an_empty_batch(store: SQLiteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow, "ALIVE", 0.02)
    async with aclosing(store.subscribe()) as stream, asyncio.timeout(60):
        assert [await anext(stream) for _ in range(3)] == [[], [], []]


async def test_a_follower_renews_itself_and_one_that_died_is_forgotten(
    store: SQLiteStore, bench: Bench, other: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow, "ALIVE", 0.0)
    monkeypatch.setattr(follow, "RENEWAL", 0.0)
    stream = store.subscribe()
    await anext(stream)
    other.execute("UPDATE mainspring_records SET expires_at = 1")
    await anext(stream)
    await anext(stream)
    [(expires_at,)] = other.execute("SELECT expires_at FROM mainspring_records")
    assert expires_at > 1
    other.execute("UPDATE mainspring_records SET expires_at = 1")
    await bench.add(make_job())
    await store.publish([event(1)])
    assert rows(other) == 0
    await stream.aclose()


async def test_events_do_not_pile_up(
    store: SQLiteStore, other: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "KEPT", 10)
    async with aclosing(store.subscribe()) as stream:
        await anext(stream)
        for number in range(5):
            await store.publish([event(number)] * 7)
        assert rows(other) == 10
        other.execute("UPDATE mainspring_events SET written_at = 5")
        await store.publish([event(9)])
        await store.purge(NOW, 10)
        assert rows(other) == 1


async def test_a_store_may_be_closed_under_its_follower(store: SQLiteStore) -> None:
    sibling = store.clone()
    await sibling.open()
    stream = sibling.subscribe()
    await anext(stream)
    await sibling.close()
    await stream.aclose()
