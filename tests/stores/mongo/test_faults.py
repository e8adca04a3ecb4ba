"""Commands that fail before or after they have run, connections that break, a server that freezes: every verb gives a
right answer or `StoreUnavailable`, in time, and to repeat it is right."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import suppress
from typing import Any

import pytest

from mainspring.core import states
from mainspring.core.ids import new_token
from mainspring.core.job import Job, State
from mainspring.core.policy import Policy
from mainspring.core.records import Record
from mainspring.errors import StoreError, StoreUnavailable
from mainspring.stores.base import Beat, LogLine, Query, Store
from tests.factory import LEASE, NOW, make_job
from tests.servers.mongo import MongoServer
from tests.servers.proxy import Proxy
from tests.stores.mongo.rig import CALL, behind_proxy, claim, lose_answers, settled, store_at, turn, until

FAULTS: dict[str, dict[str, Any]] = {
    "not primary": {"errorCode": 10107},
    "closed": {"closeConnection": True},
    "done, stepped down": {"writeConcernError": {"code": 11602, "errmsg": "stepped down"}},
    "done, no majority": {"writeConcernError": {"code": 64, "errmsg": "waiting for replication timed out"}},
}
TIMES = (1, 2, 3)
"""PyMongo repeats once what it may repeat, and the store some of the rest."""

LOOKS_AGAIN: dict[str, Any] = {"serverMonitoringMode": "poll", "heartbeatFrequencyMS": 500}
"""A primary that steps down says so at once to whoever watches it. This one only claims to have done it, and is
believed until the next look: by default 10 s later."""

Verb = Callable[[Store], Coroutine[Any, Any, None]]


async def attempt(call: Awaitable[Any]) -> Any:
    """What it answers; None where the store is unavailable, the only failure that is allowed."""
    try:
        return await call
    except StoreUnavailable:
        return None


async def quietly(ask: Callable[[], Awaitable[Any]]) -> Any:
    """Ask until it is answered: the fault lasts for some commands only."""
    for _ in range(20):
        with suppress(StoreUnavailable):
            return await ask()
    pytest.fail("the store never answered again")


async def adding(store: Store) -> None:
    await quietly(lambda: store.add([make_job("taken")]))
    jobs = [make_job("a"), make_job("taken", input='{"a":2}'), make_job("b")]
    for answer in (await attempt(store.add(jobs)), await quietly(lambda: store.add(jobs))):
        assert answer is None or [(job.id, job.version) for job in answer] == [("a", 1), ("taken", 1), ("b", 1)]
    rows = await quietly(lambda: store.get(["a", "taken", "b"]))
    assert [row.input for row in rows] == ['{"a":1}'] * 3


async def claiming(store: Store, cap: int | None = None) -> None:
    jobs = [make_job(f"j{n}") for n in range(6)]
    await quietly(lambda: store.add(jobs))
    token, tasks = new_token(), {"t": cap}
    first = await attempt(claim(store, tasks, token=token, limit=4))
    if first is None:
        await give_back(store, token)
    held = {job.id: job for job in first or ()}
    second = await quietly(lambda: _claim_or_give_back(store, tasks))
    held |= {job.id: job for job in second}
    assert len(held) == len(first or ()) + len(second), "nothing is claimed twice"
    assert len(held) == (6 if cap is None else cap)
    for row in await quietly(lambda: store.get(list(held))):
        assert (row.token, row.version, row.state) == (held[row.id].token, held[row.id].version, State.RUNNING)


async def claiming_under_a_cap(store: Store) -> None:
    await claiming(store, 3)


async def _claim_or_give_back(store: Store, tasks: dict[str, int | None]) -> list[Job]:
    token = new_token()
    try:
        return await claim(store, tasks, token=token)
    except StoreUnavailable:
        await give_back(store, token)
        raise


async def give_back(store: Store, token: str) -> None:
    """As a worker does: what carries the token of a claim whose answer was lost is released."""
    page = await quietly(lambda: store.find(Query(states=(State.RUNNING,), worker="w:1")))
    ours = [job for job in page.jobs if job.token == token]

    async def release() -> None:
        await store.save([states.release(job, NOW, NOW, Policy()) for job in ours])

    if ours:
        await quietly(release)


async def renewing(store: Store) -> None:
    await quietly(lambda: store.add([make_job(f"j{n}") for n in range(3)]))
    held = await quietly(lambda: _claim_or_give_back(store, {"t": None}))
    beats = [Beat(job.id, job.token, '{"percent":1}') for job in held] + [Beat("none", "t")]
    for answer in (
        await attempt(store.renew(beats, NOW + 2 * LEASE)),
        await quietly(lambda: store.renew(beats, NOW + 2 * LEASE)),
    ):
        assert answer is None or sorted(job.id for job in answer) == ["j0", "j1", "j2"]
        assert all(job.due_at == NOW + 2 * LEASE for job in answer or ()), "what is answered has been lengthened"


async def saving(store: Store) -> None:
    await quietly(lambda: store.add([make_job(f"j{n}") for n in range(3)]))
    held = await quietly(lambda: _claim_or_give_back(store, {"t": None}))
    stale = held[2].evolve(token="stale")
    jobs = [settled(held[0]), settled(held[1]), settled(stale)]
    first = await attempt(store.save(jobs))
    assert first is None or ([row is not None for row in first] == [True, True, False]), "every answer is true"
    if first is None:
        rows = await quietly(lambda: store.get(["j0", "j1", "j2"]))
        again = [n for n in range(2) if not states.landed(rows[n], jobs[n])]
        await quietly(lambda: store.save([jobs[n] for n in again]))
    rows = await quietly(lambda: store.get(["j0", "j1", "j2"]))
    assert [row.state.value for row in rows] == ["completed", "completed", "running"]
    assert [row.version for row in rows] == [held[0].version + 1, held[1].version + 1, held[2].version], "once each"


async def recording(store: Store) -> None:
    new = Record(kind="k", name="n", written_at=NOW, value={"n": 1})
    born = await attempt(store.write([new]))
    if born is None:
        await quietly(lambda: store.write([new]))
    row = await quietly(lambda: store.read("k", "n"))
    assert row is not None
    assert (row.version, row.value) == (NOW, {"n": 1})
    assert born in (None, [row]), "an answered record is there"
    changed = await attempt(store.write([row.evolve(value={"n": 2})]))
    after = await quietly(lambda: store.read("k", "n"))
    if changed is not None:
        assert changed == [after]
    assert (after.version, after.value["n"]) in [(NOW, 1), (NOW + 1, 2)]
    assert await attempt(store.erase(after)) in (True, False, None)
    await quietly(lambda: store.erase(after))
    assert await quietly(lambda: store.read("k", "n")) is None


async def purging(store: Store) -> None:
    await quietly(lambda: store.add([make_job("old", state=State.COMPLETED), make_job("new")]))
    await attempt(store.append([LogLine("old", 1, NOW, "info", "said")], 10))
    await attempt(store.purge(NOW + 90_000_000, 10))
    await quietly(lambda: store.purge(NOW + 90_000_000, 10))
    # Not by `find`, which shows what a majority has: of a write that was not confirmed nobody knows when that will be.
    [old, new] = await quietly(lambda: store.get(["old", "new"]))
    assert old is None
    assert new is not None


async def transacting(store: Store) -> None:
    """A block that says nothing has committed; one that raises `StoreUnavailable` has not; another error: unknown."""
    try:
        async with store.transaction() as session:
            await store.add([make_job("in")], session)
        known: bool | None = True
    except StoreUnavailable:
        known = False
    except StoreError:
        known = None
    [row] = await quietly(lambda: store.get(["in"]))
    assert known in (None, row is not None)


VERBS: dict[Verb, tuple[str, ...]] = {
    adding: ("insert", "find"),
    claiming: ("aggregate", "update", "find"),
    claiming_under_a_cap: ("aggregate", "findAndModify", "update", "find"),
    renewing: ("update", "find"),
    saving: ("update", "find"),
    recording: ("update", "find", "delete"),
    purging: ("find", "delete"),
    transacting: ("find", "update", "commitTransaction"),
}
"""With the commands that each is made of."""
EACH = pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.__name__)


@pytest.mark.parametrize("times", TIMES)
@pytest.mark.parametrize("fault", FAULTS)
@EACH
async def test_a_verb_whose_command_fails(
    hurt_server: MongoServer, hurt_url: str, verb: Verb, fault: str, times: int
) -> None:
    """Each command of the verb in turn fails so many times."""
    for command in VERBS[verb]:
        if command in ("find", "aggregate") and fault.startswith("done"):
            continue
        async with store_at(hurt_url, prefix=f"{command}_", appName="hurt", **LOOKS_AGAIN) as store:
            with hurt_server.fail(command, times=times, appName="hurt", **FAULTS[fault]):
                await verb(store)


@pytest.fixture(scope="module")
def spoiled() -> Iterator[tuple[MongoServer, Proxy, str]]:
    with behind_proxy() as found:
        yield found


@EACH
async def test_a_verb_whose_answer_is_lost(spoiled: tuple[MongoServer, Proxy, str], verb: Verb) -> None:
    """Each command of the verb in turn runs, the first time that it comes, and nobody hears of it: then all
    connections break."""
    server, proxy, url = spoiled
    for command in VERBS[verb]:
        async with store_at(url, prefix=f"{verb.__name__}_{command}_", appName="hurt") as store:
            before = server.command("configureFailPoint", "failCommand", mode="off")["count"]
            with server.fail(command, times=1, blockConnection=True, blockTimeMS=100, appName="hurt"):
                at_work = asyncio.create_task(verb(store))
                entered = {"timesEntered": before + 1, "maxTimeMS": 5_000}
                await asyncio.to_thread(server.command, "waitForFailPoint", "failCommand", **entered)
                lose_answers(proxy)
                await turn(0.2)
                proxy.cut()
                await at_work


async def test_calls_on_a_frozen_server_end_in_time() -> None:
    loop = asyncio.get_running_loop()
    with MongoServer.started() as server:
        async with store_at(server.url_of("test")) as store:
            await store.add([make_job("a"), make_job("b")])
            [held, _] = await claim(store)
            server.freeze()
            calls: dict[str, Awaitable[Any]] = {
                "add": store.add([make_job()]),
                "claim": claim(store),
                "capped": claim(store, {"t": 1}),
                "renew": store.renew([Beat(held.id, held.token), Beat("b", held.token)], NOW + LEASE),
                "save": store.save([settled(held)]),
                "get": store.get(["a"]),
                "find": store.find(Query()),
                "count": store.count(Query()),
                "read": store.read("k", "n"),
                "write": store.write([Record(kind="k", name="n", written_at=NOW)]),
                "time": store.time(),
                "purge": store.purge(NOW, 10),
                "append": store.append([LogLine("a", 1, NOW, "info", "said")], 10),
            }
            took: dict[str, float] = {}

            async def timed(name: str, call: Awaitable[Any]) -> object:
                begun = loop.time()
                try:
                    return await call
                except StoreError as error:
                    return error
                finally:
                    took[name] = loop.time() - begun

            answers = dict(zip(calls, await asyncio.gather(*(timed(*item) for item in calls.items())), strict=True))
            server.thaw()
            print({name: round(seconds, 1) for name, seconds in took.items()})
            for name, answer in answers.items():
                assert isinstance(answer, StoreUnavailable) or name == "time", (name, answer)
            assert max(took.values()) < CALL + 1, took

            async def answered() -> bool:
                return await attempt(store.get(["a"])) is not None

            await until(answered, "the store to answer again")
