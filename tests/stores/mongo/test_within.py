"""Enqueueing in the caller's own transaction: the job exists exactly when the business write commits, and a taken key
leaves the transaction alive, or ends it in the way that PyMongo repeats."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest
from pymongo import AsyncMongoClient
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import DuplicateKeyError, OperationFailure, PyMongoError

from mainspring import DefinitionError, Mainspring
from mainspring.errors import InputError, StoreUnavailable
from mainspring.stores.base import Query
from tests.servers.mongo import MongoServer
from tests.servers.shared import SharedMongo
from tests.stores.mongo.rig import their_client, until


@pytest.fixture
async def url(mongo_server: SharedMongo, mongo_database: str) -> str:
    return mongo_server.url_of(mongo_database)


@pytest.fixture
async def app(url: str) -> AsyncIterator[Mainspring]:
    app = Mainspring(url)

    @app.task
    def ship(order: int) -> None: ...

    @app.task(debounce="1h")
    def index(n: int) -> None: ...

    @app.task(unique=True)
    def build() -> None: ...

    await app.open()
    yield app
    await app.close()


@pytest.fixture
async def theirs(app: Mainspring, url: str) -> AsyncIterator[AsyncMongoClient[dict[str, Any]]]:
    """A client of the caller's own."""
    async with AsyncMongoClient[dict[str, Any]](url) as found:
        await found.get_default_database()["orders"].insert_one({"_id": 0})
        yield found


async def jobs_of(app: Mainspring) -> int:
    return sum(row.jobs for row in await (await app.connect()).store.count(Query()))


async def orders_of(theirs: AsyncMongoClient[dict[str, Any]]) -> int:
    return await theirs.get_default_database()["orders"].count_documents({"_id": {"$ne": 0}})


async def order(session: AsyncClientSession, id: int) -> None:
    await session.client.get_default_database()["orders"].insert_one({"_id": id}, session=session)


@pytest.mark.parametrize("commits", [True, False])
async def test_a_session_of_a_foreign_client(
    app: Mainspring, theirs: AsyncMongoClient[dict[str, Any]], commits: bool
) -> None:
    async with theirs.start_session() as session:
        await session.start_transaction()
        await order(session, 1)
        handle = await app.tasks["ship"].options(session=session).enqueue(1)
        assert await jobs_of(app) == 0, "nobody sees it yet"
        await (session.commit_transaction() if commits else session.abort_transaction())
    assert (await jobs_of(app), await orders_of(theirs)) == ((1, 1) if commits else (0, 0))
    if commits:
        assert await handle.status() == "pending"


@pytest.mark.parametrize("commits", [True, False])
async def test_a_session_of_a_synchronous_client(
    app: Mainspring, url: str, theirs: AsyncMongoClient[dict[str, Any]], commits: bool
) -> None:
    with their_client(url) as user, user.start_session() as session:
        session.start_transaction()
        user.get_default_database()["orders"].insert_one({"_id": 1}, session=session)
        await app.tasks["ship"].options(session=session).enqueue(1)
        assert await jobs_of(app) == 0
        getattr(session, "commit_transaction" if commits else "abort_transaction")()
    assert (await jobs_of(app), await orders_of(theirs)) == ((1, 1) if commits else (0, 0))


async def test_a_session_of_the_app(app: Mainspring) -> None:
    async def both(session: AsyncClientSession) -> None:
        await app.tasks["ship"].options(session=session).enqueue(1)

    await app.with_transaction(both)
    assert await jobs_of(app) == 1


async def test_many_are_all_or_nothing(app: Mainspring, theirs: AsyncMongoClient[dict[str, Any]]) -> None:
    for end, expected in [("abort_transaction", 0), ("commit_transaction", 1_200)]:
        async with theirs.start_session() as session:
            await session.start_transaction()
            await app.enqueue_many([app.tasks["ship"].job(n) for n in range(1_200)], session=session)
            assert await jobs_of(app) == 0
            await getattr(session, end)()
        assert await jobs_of(app) == expected


async def test_what_is_no_transaction_of_this_database(
    app: Mainspring, theirs: AsyncMongoClient[dict[str, Any]]
) -> None:
    ship = app.tasks["ship"]
    for wrong in (object(), "session", theirs):
        with pytest.raises(DefinitionError, match="not a transaction of this store"):
            await ship.options(session=wrong).enqueue(1)
    async with theirs.start_session() as session:
        with pytest.raises(DefinitionError, match="no open transaction"):
            await ship.options(session=session).enqueue(1)
    assert await jobs_of(app) == 0


@pytest.mark.slow
async def test_a_session_of_another_deployment(app: Mainspring) -> None:
    with (
        MongoServer.started() as other,
        their_client(other.url_of("other")) as user,
        user.start_session() as session,
    ):
        session.start_transaction()
        with pytest.raises(DefinitionError, match="another deployment"):
            await app.tasks["ship"].options(session=session).enqueue(1)
        assert session.in_transaction


@pytest.mark.slow
async def test_a_transaction_that_the_server_has_ended() -> None:
    """After its lifetime: neither the order nor the job is there, and the error is one that is run again."""
    with MongoServer.started(transactionLifetimeLimitSeconds=1) as server:
        app = Mainspring(server.url_of("test"))

        @app.task
        def ship(order: int) -> None: ...

        await app.open()
        async with AsyncMongoClient[dict[str, Any]](server.url_of("test")) as theirs:
            await theirs.get_default_database()["orders"].insert_one({"_id": 0})
            tries = 0

            async def callback(session: AsyncClientSession) -> None:
                nonlocal tries
                tries += 1
                await order(session, tries)
                if tries == 1:
                    await until(lambda: not alive(server), "the server to end it")
                await ship.options(session=session).enqueue(tries)

            async with theirs.start_session() as session:
                await session.with_transaction(callback)
            assert (tries, await jobs_of(app), await orders_of(theirs)) == (2, 1, 1)
        await app.close()


def alive(server: MongoServer) -> bool:
    return bool(server.command("serverStatus")["transactions"]["currentOpen"])


# -- taken keys --------------------------------------------------------------------------------------------------------

RULES = ["once", "skip", "merge"]


def call(app: Mainspring, rule: str, n: int, session: Any = None) -> Any:
    """A call whose key is taken by each other one of its rule."""
    given = {} if session is None else {"session": session}
    if rule == "once":
        return app.tasks["ship"].options(idempotency_key="k", **given).job(n)
    if rule == "skip":
        return app.tasks["build"].options(**given).job()
    return app.tasks["index"].options(**given).job(n)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("taken", ["before the snapshot", "after the snapshot", "in this transaction"])
async def test_a_taken_key_leaves_the_transaction_alive_or_has_it_run_again(
    app: Mainspring, theirs: AsyncMongoClient[dict[str, Any]], rule: str, taken: str
) -> None:
    tries = 0
    if taken == "before the snapshot":
        await app.enqueue(call(app, rule, 0))

    async def callback(session: AsyncClientSession) -> None:
        nonlocal tries
        tries += 1
        await order(session, 1)
        if taken == "after the snapshot" and tries == 1:
            await app.enqueue(call(app, rule, 0))
        if taken == "in this transaction":
            await app.enqueue(call(app, rule, 0, session))
        await app.enqueue(call(app, rule, 1, session))
        await order(session, 2)

    async with theirs.start_session() as session:
        await session.with_transaction(callback)
    print(f"{rule}, {taken}: {tries} tries")
    assert (await jobs_of(app), await orders_of(theirs)) == (1, 2)
    [row] = (await (await app.connect()).store.find(Query())).jobs
    [row] = [job for job in await (await app.connect()).store.get([row.id]) if job is not None]
    assert row.input == {"once": '{"order":0}', "skip": "{}", "merge": '{"n":1}'}[rule]


async def test_a_lost_race_is_told_as_both_kinds_of_error(
    app: Mainspring, theirs: AsyncMongoClient[dict[str, Any]]
) -> None:
    """The holder is changed by somebody else after the snapshot."""
    await app.enqueue(call(app, "merge", 0))
    async with theirs.start_session() as session:
        await session.start_transaction()
        await order(session, 1)
        await app.enqueue(call(app, "merge", 5))
        with pytest.raises(StoreUnavailable) as caught:
            await app.enqueue(call(app, "merge", 1, session))
        assert isinstance(caught.value, PyMongoError)
        assert caught.value.has_error_label("TransientTransactionError")
        assert session.in_transaction
        await session.abort_transaction()
    assert await orders_of(theirs) == 0


# -- picked up ---------------------------------------------------------------------------------------------------------


async def test_it_is_picked_up_soon_after_the_commit_and_never_before(
    app: Mainspring, theirs: AsyncMongoClient[dict[str, Any]]
) -> None:
    loop = asyncio.get_running_loop()
    ran: list[float] = []

    @app.task(queue="own")
    async def notes() -> None:
        ran.append(loop.time())

    async with app.worker(queues=["own"], poll=30):
        await notes.enqueue()
        await until(lambda: ran, "the worker to work")
        async with theirs.start_session() as session:
            await session.start_transaction()
            await notes.options(session=session).enqueue()
            await notes.enqueue()  # its hint has the worker look
            await until(lambda: len(ran) == 2, "the other to run")
            committed = loop.time()
            await session.commit_transaction()
        await until(lambda: len(ran) == 3, "it to run")
        print(f"picked up {(ran[2] - committed) * 1_000:.0f} ms after the commit was sent")
        assert committed < ran[2] < committed + 2, "long before the poll"


async def test_who_closes_right_after_the_commit_has_told_the_workers_and_made_the_view(
    app: Mainspring, theirs: AsyncMongoClient[dict[str, Any]], url: str
) -> None:
    """The worker is somebody else's, and does not look by itself."""

    @app.task(queue="own")
    async def notes() -> None: ...

    async with app.worker(queues=["own"], poll=600):
        await (await notes.enqueue()).result(timeout=60)
        await theirs.get_default_database().drop_collection("own_tasks")
        other = Mainspring(url)
        request = other.task(name="notes", queue="own")(notes.function)

        async def callback(session: AsyncClientSession) -> str:
            return (await request.options(session=session).enqueue()).id

        id = await other.with_transaction(callback)
        await other.close()
        assert "own_tasks" in await theirs.get_default_database().list_collection_names()
        await app.job(id).result(timeout=60)


async def test_the_transaction_is_theirs_to_go_on_with_after_a_refusal(
    app: Mainspring, theirs: AsyncMongoClient[dict[str, Any]]
) -> None:
    """A number that MongoDB cannot hold is refused before anything is sent."""

    @app.task
    def count(n: int) -> None: ...

    async with theirs.start_session() as session:
        await session.start_transaction()
        await order(session, 1)
        with pytest.raises(InputError):
            await count.options(session=session).enqueue(1 << 80)
        await session.commit_transaction()
    assert (await orders_of(theirs), await jobs_of(app)) == (1, 0)


async def test_an_operation_that_fails_in_their_transaction_ends_it_for_all(
    app: Mainspring, theirs: AsyncMongoClient[dict[str, Any]]
) -> None:
    """A duplicate order of the caller's own: the job that was asked for before goes with it."""
    async with theirs.start_session() as session:
        await session.start_transaction()
        await app.tasks["ship"].options(session=session).enqueue(1)
        with pytest.raises(OperationFailure):
            await order(session, 0)
        with pytest.raises(StoreUnavailable):
            await app.tasks["ship"].options(session=session).enqueue(2)
    assert await jobs_of(app) == 0


async def test_who_swallows_the_error_of_a_statement_is_told_once_what_it_has_done(app: Mainspring) -> None:
    async def callback(session: AsyncClientSession) -> None:
        for _ in range(2):
            with suppress(DuplicateKeyError):
                await order(session, 1)
        await app.tasks["ship"].options(session=session).enqueue(1)

    with pytest.raises(StoreUnavailable) as caught:
        await app.with_transaction(callback, timeout="1ms")
    said = str(caught.value)
    assert said.count("Roll it back") == 1, said
    assert "a statement in it failed" in said
    assert "full error" not in said
