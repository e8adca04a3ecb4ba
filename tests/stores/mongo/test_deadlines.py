"""How long an enqueue may take: where nobody answers, and where somebody else's open transaction is in the way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from mainspring import Mainspring, StoreUnavailable
from mainspring.stores import open_store
from tests.servers.mongo import MongoServer
from tests.servers.shared import needs_mongo
from tests.stores.mongo.rig import CALL, their_client, until, with_options
from tests.system.watched import watched

pytestmark = [pytest.mark.slow, *needs_mongo()]


async def test_an_enqueue_on_a_frozen_server_is_tried_once(
    hurt_server: MongoServer, hurt_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each attempt takes the whole time-out, and is longer than what the attempts together may take."""
    monkeypatch.setattr("mainspring.joining.ADD_DEADLINE", CALL / 2)
    store, watch = watched(open_store(with_options(hurt_url, timeout=CALL)))
    app = Mainspring(store)

    @app.task
    async def work(n: int) -> None: ...

    await work.enqueue(1)
    hurt_server.freeze()
    try:
        with pytest.raises(StoreUnavailable):
            await work.enqueue(2)
        assert watch.calls["add"] == 2
        failed = await asyncio.gather(*(work.enqueue(n) for n in range(5)), return_exceptions=True)
    finally:
        hurt_server.thaw()
    assert {type(one) for one in failed} == {StoreUnavailable}
    assert watch.calls["add"] == 4, "the first by itself, and the others together"
    await app.close()


@asynccontextmanager
async def in_an_open_transaction(url: str, key: str) -> AsyncIterator[Any]:
    """Another process has enqueued the key within its transaction, which is still open."""
    app = Mainspring(url)
    work = app.task(name="work")(do)
    with their_client(url) as user, user.start_session() as session:
        session.start_transaction()
        await work.options(idempotency_key=key, session=session).enqueue(0)
        yield session
        if session.in_transaction:
            session.abort_transaction()
    await app.close()


async def do(n: int) -> None: ...


async def test_a_key_in_an_open_transaction_keeps_back_no_other_enqueue(hurt_url: str) -> None:
    app = Mainspring(with_options(hurt_url, timeout=40))
    work = app.task(name="work")(do)
    await work.enqueue(1)
    async with in_an_open_transaction(hurt_url, "k") as session:
        held = asyncio.create_task(work.options(idempotency_key="k").enqueue(2))
        await asyncio.sleep(0)  # it is sent
        others = [await work.enqueue(n) for n in range(3)]
        others.append(await work.options(idempotency_key="other").enqueue(4))
        assert all(other.created for other in others)
        assert not held.done()
        session.commit_transaction()
        handle = await held
    assert not handle.created
    assert (await handle.get()).input == '{"n":0}'
    await app.close()


async def test_a_key_in_an_open_transaction_keeps_back_no_other_of_its_batch(hurt_url: str) -> None:
    app = Mainspring(with_options(hurt_url, timeout=40))
    work = app.task(name="work")(do)
    await work.enqueue(1)
    async with in_an_open_transaction(hurt_url, "k") as session:
        first = asyncio.create_task(work.enqueue(1))
        held = [asyncio.create_task(work.options(idempotency_key="k").enqueue(n)) for n in (2, 3)]
        others = [asyncio.create_task(work.options(idempotency_key=str(n)).enqueue(n)) for n in range(50)]
        assert all(other.created for other in await asyncio.gather(first, *others))
        assert not any(one.done() for one in held)
        session.commit_transaction()
        assert [one.created for one in await asyncio.gather(*held)] == [False, False]
    await app.close()


async def test_a_key_in_a_transaction_that_is_rolled_back_is_stored_once(hurt_url: str) -> None:
    app = Mainspring(with_options(hurt_url, timeout=40))
    work = app.task(name="work")(do)
    async with in_an_open_transaction(hurt_url, "k") as session:
        calls = [work.options(idempotency_key=key).job(2) for key in ("a", "k", "b")]
        held = asyncio.create_task(app.enqueue_many(calls))

        async def stored() -> bool:
            return await app.jobs.count() == 2

        await until(stored, "the others to be stored")
        session.abort_transaction()
        assert [handle.created for handle in await held] == [True] * 3
    await app.close()
