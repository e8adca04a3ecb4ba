"""Followers of a server that forgets, goes away, or counts its stream from the beginning again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import msgspec
import pytest

from mainspring.core.clock import Clock
from mainspring.core.job import State
from mainspring.errors import StoreError
from mainspring.follow import Hub
from mainspring.stores.base import Event
from mainspring.stores.redis import RedisStore
from tests.factory import NOW, FakeClock, make_job
from tests.stores.redis.rig import EVERY, ONE, server_of, turn

SILENCE = 6.0
"""Seconds, and some more, after which a follower looks whether the stream has begun anew."""


def event(id: str) -> Event:
    return Event(job_id=id, task="t", queue="default", kind="state", status="completed", at=NOW)


async def heard(stream: AsyncGenerator[list[Event], None], id: str, within: float) -> None:
    async with asyncio.timeout(within):
        async for events in stream:
            if id in [event.job_id for event in events]:
                return


@EVERY
async def test_after_all_was_erased_followers_hear_on(kind: str) -> None:
    with server_of(kind) as server:
        store = RedisStore(server.url, FakeClock())
        await store.open()
        async with aclosing(store.subscribe()) as stream:
            await anext(stream)
            await store.publish([event("before")])
            await heard(stream, "before", 2)
            server.flush()
            await anext(stream)  # says again that it is there
            await store.publish([event("after")])
            await heard(stream, "after", 2)
        await store.close()


@pytest.mark.slow
@ONE
async def test_a_stream_that_begins_anew_with_lower_numbers_is_followed_too(kind: str) -> None:
    with server_of(kind) as server:
        store = RedisStore(server.url, FakeClock())
        await store.open()
        async with aclosing(store.subscribe()) as stream:
            await anext(stream)
            await store.publish([event("before")])
            await heard(stream, "before", 2)
            server.flush()
            entry = msgspec.json.encode([event("lower")]).decode()
            hearing = asyncio.create_task(heard(stream, "higher", 3 * SILENCE))
            server.command("XADD", "{mainspring}:events", "5-1", "e", entry)
            await turn(SILENCE)
            server.command("XADD", "{mainspring}:events", "5-2", "e", entry.replace("lower", "higher"))
            await hearing
        server.command("DEL", "{mainspring}:events")
        await store.close()


@pytest.mark.slow
@ONE
async def test_a_server_that_is_away_ends_the_stream_and_not_the_hub(kind: str) -> None:
    with server_of(kind, appendonly="yes", appendfsync="always") as server:
        store = RedisStore(f"{server.url}?timeout=1s", FakeClock())
        await store.open()
        [row] = await store.add([make_job("a")])
        hub = Hub(store, Clock())
        waiting = asyncio.create_task(hub.ended("a"))
        async with aclosing(store.subscribe()) as stream:
            await anext(stream)
            server.kill()
            with pytest.raises(StoreError):
                await heard(stream, "none", 10)
        await turn(3)
        assert not waiting.done()
        server.start()
        await store.save([row.evolve(state=State.COMPLETED, expires_at=None)])
        async with asyncio.timeout(60):
            assert (await waiting).state is State.COMPLETED
        await hub.close()
        await store.close()
