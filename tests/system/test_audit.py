"""`app.audit`: who did what, when, to what, and to how many."""

from __future__ import annotations

import asyncio
import getpass
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from mainspring import DefinitionError, IllegalTransition, Mainspring, StoreUnavailable
from mainspring.audit import ACTIONS, KEPT_FOR, Audit, AuditEntry
from mainspring.core.job import State
from mainspring.core.records import AUDIT, WORKER, Record
from mainspring.stores import open_store
from mainspring.testing import FakeClock
from tests.factory import make_job
from tests.system.conftest import claim
from tests.system.watched import Watch, watched

ME = f"{getpass.getuser()}@{socket.gethostname()}"


@pytest.fixture
async def app(url: str, clock: FakeClock) -> AsyncIterator[Mainspring]:
    store, watch = watched(open_store(url, clock.now))
    app = Mainspring(store, clock=clock)
    app.__dict__["watch"] = watch

    @app.task(name="t")
    async def t(a: int = 0) -> None: ...

    yield app
    await app.close()


def watch_of(app: Mainspring) -> Watch:
    watch = app.__dict__["watch"]
    assert isinstance(watch, Watch)
    return watch


async def add(app: Mainspring, number: int = 1, state: State = State.WAITING) -> list[str]:
    client, now = await app.connect(), app.clock.now()
    ended: dict[str, Any] = {"finished_at": now, "expires_at": None} if state.terminal else {}
    jobs = [make_job(state=state, due=now, created_at=now, **ended) for _ in range(number)]
    for first in range(0, number, 500):
        await client.store.add(jobs[first : first + 500])
    return [job.id for job in jobs]


async def newest(app: Mainspring) -> AuditEntry:
    [entry] = await app.audit.list(limit=1)
    return entry


# -- every act ---------------------------------------------------------------------------------------------------------


async def a_job(app: Mainspring, act: str, state: State, **more: Any) -> tuple[str, dict[str, Any]]:
    [id] = await add(app, 1, state)
    await getattr(app.jobs, act)(id, **more)
    return id, {}


async def a_dead_letter(app: Mainspring) -> tuple[str, dict[str, Any]]:
    [id] = await add(app, 1, State.DEAD)
    await app.dead_letters.retry(id)
    return id, {}


async def all_dead_letters(app: Mainspring, act: str, **more: Any) -> tuple[str, dict[str, Any]]:
    await add(app, 1, State.DEAD)
    await getattr(app.dead_letters, act)(task="t", **more)
    return "", {"filters": {"task": "t"} | ({"older_than": "0ms"} if more else {})}


async def a_queue(app: Mainspring, act: str, *args: Any) -> tuple[str, dict[str, Any]]:
    if act in ("resume", "unthrottle", "resume_task"):
        await getattr(app.queues, {"resume": "pause"}.get(act, "pause_task"))("t")
    await getattr(app.queues, act)("t", *args)
    return "t", {}


async def a_throttle(app: Mainspring) -> tuple[str, dict[str, Any]]:
    await app.queues.throttle("t", "1h", "429")
    return "t", {"reason": "429", "detail": {"until": "2030-01-01T01:00:00+00:00"}}


async def a_schedule(app: Mainspring, act: str) -> tuple[str, dict[str, Any]]:
    await app.schedules.create("s", "t", every="1h", paused=act == "resume")
    if act == "create":
        return "s", {"detail": {"task": "t", "paused": False, "every": "1h"}}
    more = {"every": "2h", "input": {"a": 5}} if act == "update" else {}
    answer = await getattr(app.schedules, act)("s", **more)
    if act == "update":
        return "s", {"detail": {"every": "2h", "input": "changed"}}
    return "s", {"detail": {"job": answer.id} if act == "run" else {}}


async def a_worker(app: Mainspring, act: str) -> tuple[str, dict[str, Any]]:
    now = app.clock.now()
    record = Record(kind=WORKER, name="w:1", written_at=now, expires_at=now + 60_000, value={"queues": [], "tasks": []})
    await (await app.connect()).store.write([record])
    await getattr(app.workers, act)("w:1", "deploy")
    return "w:1", {"reason": "deploy"}


async def a_lock(app: Mainspring) -> tuple[str, dict[str, Any]]:
    await app.locks.acquire("report", "somebody")
    await app.locks.force_release("report", "stuck")
    return "report", {"reason": "stuck", "detail": {"owner": "somebody"}}


Doing = Callable[[Mainspring], Awaitable[tuple[str, dict[str, Any]]]]
"""Does an act, and answers its target and what else is to be in the entry."""

SCHEDULES = ("create", "update", "delete", "pause", "resume", "run", "reset_retries")
ACTS: dict[str, Doing] = {
    "jobs.retry": lambda app: a_job(app, "retry", State.DEAD),
    "jobs.cancel": lambda app: a_job(app, "cancel", State.WAITING),
    "jobs.delete": lambda app: a_job(app, "delete", State.COMPLETED),
    "jobs.pause": lambda app: a_job(app, "pause", State.WAITING),
    "jobs.resume": lambda app: a_job(app, "resume", State.PAUSED),
    "dead_letters.retry": a_dead_letter,
    "dead_letters.retry_all": lambda app: all_dead_letters(app, "retry_all"),
    "dead_letters.purge": lambda app: all_dead_letters(app, "purge", older_than=0),
    "queues.pause": lambda app: a_queue(app, "pause"),
    "queues.resume": lambda app: a_queue(app, "resume"),
    "queues.throttle": a_throttle,
    "queues.unthrottle": lambda app: a_queue(app, "unthrottle"),
    "queues.pause_task": lambda app: a_queue(app, "pause_task"),
    "queues.resume_task": lambda app: a_queue(app, "resume_task"),
    **{f"schedules.{act}": partial(a_schedule, act=act) for act in SCHEDULES},
    "workers.pause": lambda app: a_worker(app, "pause"),
    "workers.resume": lambda app: a_worker(app, "resume"),
    "locks.force_release": a_lock,
}


def test_every_act_is_tried() -> None:
    assert set(ACTS) == set(ACTIONS)


@pytest.mark.parametrize("action", ACTIONS)
async def test_an_act_is_told_and_written_down(
    app: Mainspring, action: str, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "mainspring")
    with app.acting("alice"):
        target, more = await ACTS[action](app)

    entry = await newest(app)
    assert (entry.actor, entry.action, entry.target, entry.at) == ("alice", action, target, clock.now())
    assert (entry.changed, entry.outcome) == (1, "done")
    assert {name: getattr(entry, name) for name in more} == more
    told: Any = [record for record in caplog.records if getattr(record, "event", "") == "audit"]
    assert told[-1].levelno == logging.INFO
    fields = told[-1].fields
    assert (fields["actor"], fields["action"], fields["changed"]) == ("alice", action, 1)
    assert fields.get("target", "") == target


async def test_what_raises_or_finds_nothing_is_no_act(app: Mainspring) -> None:
    [id] = await add(app, 1, State.COMPLETED)
    with pytest.raises(IllegalTransition):
        await app.jobs.pause(id)
    with pytest.raises(DefinitionError):
        await app.jobs.cancel()
    assert not await app.jobs.delete("nobody")
    assert len(await app.audit.list()) == 0


async def test_an_act_that_changed_nothing_says_so(app: Mainspring) -> None:
    assert not await app.queues.resume("emails")
    assert await app.jobs.retry(task="t") == 0
    assert [(entry.action, entry.changed) for entry in await app.audit.list()] == [
        ("jobs.retry", 0),
        ("queues.resume", 0),
    ]


async def test_application_code_and_handlers_are_no_administrators(app: Mainspring) -> None:
    first, second = await app.enqueue("t"), await app.enqueue("t")
    await first.cancel()
    await app.cancel(second.id)
    await (await app.connect()).retry(first.id)
    assert await app.locks.acquire("x", "me")
    assert await app.locks.release("x", "me")
    assert len(await app.audit.list()) == 0


# -- who and why -------------------------------------------------------------------------------------------------------


async def test_the_actor_is_the_user_of_the_process_unless_said(app: Mainspring) -> None:
    async def act() -> tuple[str, str]:
        await app.queues.pause("q")
        entry = await newest(app)
        return entry.actor, entry.reason

    assert await act() == (ME, "")
    with app.acting("alice", reason="ticket 12"):
        assert await act() == ("alice", "ticket 12")
        with app.acting("bob"):
            assert await act() == ("bob", "ticket 12")
        with app.acting(reason="another"):
            assert await act() == ("alice", "another")
        await app.queues.pause("q", "its own")
        assert (await newest(app)).reason == "its own"
    assert await act() == (ME, "")


async def test_actors_at_the_same_time_are_not_mixed_up(app: Mainspring) -> None:
    async def act(actor: str) -> None:
        with app.acting(actor):
            await asyncio.sleep(0)
            await app.queues.pause(f"of-{actor}")

    await asyncio.gather(*(act(f"user-{n}") for n in range(20)))
    entries = await app.audit.list()
    assert len({entry.id for entry in entries}) == 20
    assert {(entry.actor, entry.target) for entry in entries} == {(f"user-{n}", f"of-user-{n}") for n in range(20)}


def test_the_actor_is_known_behind_the_bridge_for_synchronous_code(tmp_path: Path) -> None:
    app = Mainspring(f"sqlite:///{tmp_path}/jobs.db")
    with app.acting("alice"):
        app.sync.queues.pause("emails")
    [entry] = app.sync.audit.list()
    assert entry.actor == "alice"
    app.sync.close()


@pytest.mark.parametrize("actor", ["", "x" * 201, 5, "\ud800"])
def test_bad_actors(actor: str) -> None:
    with pytest.raises(DefinitionError, match="bad actor"), Mainspring("sqlite://:memory:").acting(actor):
        pass


# -- many --------------------------------------------------------------------------------------------------------------


async def test_an_act_on_many_jobs_is_one_entry_and_one_write(app: Mainspring) -> None:
    await add(app, 1_200, State.DEAD)
    watch_of(app).calls.clear()
    assert await app.jobs.retry(task="t", status=["failed", "dead"], error=None) == 1_200
    assert watch_of(app).calls["write"] == 1
    assert watch_of(app).calls["scan"] == 1
    [entry] = await app.audit.list()
    assert (entry.action, entry.changed, entry.target) == ("jobs.retry", 1_200, "")
    assert entry.filters == {"task": "t", "status": ["failed", "dead"]}


async def test_an_act_that_fails_half_way_says_how_far_it_came(app: Mainspring) -> None:
    await add(app, 1_200, State.DEAD)

    def fail(changed: int, seen: int) -> None:
        if seen == 1_000:
            watch_of(app).down["save"] = 1

    with pytest.raises(StoreUnavailable):
        await app.dead_letters.retry_all(on_progress=fail)
    entry = await newest(app)
    assert (entry.changed, entry.outcome, entry.detail) == (1_000, "failed", {"error": "down, says the test"})
    assert await app.dead_letters.retry_all() == 200


async def test_an_act_that_is_interrupted_says_how_far_it_came(app: Mainspring) -> None:
    await add(app, 1_200, State.DEAD)

    def interrupt(changed: int, seen: int) -> None:
        if changed == 500:
            acting.cancel()

    acting = asyncio.ensure_future(app.dead_letters.retry_all(on_progress=interrupt))
    with pytest.raises(asyncio.CancelledError):
        await acting
    left = await app.dead_letters.count()
    entry = await newest(app)
    assert (entry.changed, entry.outcome) == (1_200 - left, "interrupted")
    assert 0 < left < 1_200


async def test_long_filters_are_cut(app: Mainspring) -> None:
    await app.jobs.cancel(ids=[f"id-{n}" for n in range(100)], error="x" * 2_000)
    entry = await newest(app)
    assert entry.filters["ids"] == [*(f"id-{n}" for n in range(20)), "and 80 more"]
    assert len(entry.filters["error"]) == 501


# -- reading -----------------------------------------------------------------------------------------------------------


async def test_the_trail_is_read_by_pages_newest_first(app: Mainspring) -> None:
    for n in range(7):
        await app.queues.pause(f"q{n}")
    read: list[str] = []
    cursor, sizes = None, []
    while True:
        page = await app.audit.list(limit=3, cursor=cursor)
        read += [entry.target for entry in page]
        sizes.append(len(page))
        cursor = page.cursor
        if cursor is None:
            break
    assert read == [f"q{n}" for n in reversed(range(7))]
    assert sizes == [3, 3, 1]
    assert (await app.audit.list(limit=7)).cursor is None


async def test_the_trail_is_filtered(app: Mainspring, clock: FakeClock) -> None:
    with app.acting("alice"):
        await app.queues.pause("a")
        await clock.advance("2h")
        await app.queues.resume("a")
    await app.jobs.cancel(task="t")

    async def found(**filters: Any) -> list[str]:
        return [entry.action for entry in await app.audit.list(**filters)]

    assert await found(action="queues") == ["queues.resume", "queues.pause"]
    assert await found(action="queues.pause") == ["queues.pause"]
    assert await found(actor="alice", since="1h") == ["queues.resume"]
    assert await found(actor=ME) == ["jobs.cancel"]
    assert await found(actor="nobody") == []
    assert len(await found(since="3h")) == 3


async def test_a_filtered_page_goes_on_behind_its_last_entry(app: Mainspring) -> None:
    for n in range(12):
        with app.acting("alice" if n % 3 == 0 else "bob"):
            await app.queues.pause(f"q{n}")
    page = await app.audit.list(actor="alice", limit=2)
    rest = await app.audit.list(actor="alice", limit=2, cursor=page.cursor)
    assert [entry.target for entry in (*page, *rest)] == ["q9", "q6", "q3", "q0"]
    assert rest.cursor is None


@pytest.mark.parametrize("wrong", [{"action": "bogus"}, {"limit": 0}, {"limit": 501}, {"since": "soon"}])
async def test_bad_filters(wrong: dict[str, Any]) -> None:
    app = Mainspring("sqlite://:memory:")
    with pytest.raises(DefinitionError):
        await app.audit.list(**wrong)
    await app.close()


# -- keeping -----------------------------------------------------------------------------------------------------------


async def test_the_trail_is_bounded(app: Mainspring) -> None:
    async def connect() -> Any:
        return (await app.connect()).store

    audit = Audit(connect, app.clock, keep=150)
    for n in range(320):
        async with audit.act("queues.pause", f"q{n}"):
            pass
    store = await connect()
    assert len(await store.scan(AUDIT)) <= 250
    targets = [entry.target for entry in await audit.list(limit=150)]
    assert targets == [f"q{n}" for n in range(319, 169, -1)]


async def test_entries_go_after_ninety_days_and_not_before(app: Mainspring, clock: FakeClock) -> None:
    await app.queues.pause("a")
    await app.jobs.delete(task="t")
    store = (await app.connect()).store
    await clock.advance(KEPT_FOR / 1000 - 1)
    await store.purge(clock.now(), 500)
    assert len(await app.audit.list()) == 2
    await clock.advance(2)
    assert len(await app.audit.list()) == 0
    await app.queues.pause("b")
    await store.purge(clock.now(), 500)
    assert [record.value["target"] for record in await store.scan(AUDIT)] == ["b"]


async def test_a_trail_that_cannot_be_written_is_told_and_the_act_stands(
    app: Mainspring, caplog: pytest.LogCaptureFixture
) -> None:
    await add(app, 3, State.DEAD)
    watch_of(app).down["write"] = 1
    assert await app.dead_letters.retry_all() == 3
    assert await app.dead_letters.count() == 0
    [failure] = [record for record in caplog.records if getattr(record, "event", "") == "audit.failed"]
    assert failure.levelno == logging.ERROR
    assert "dead_letters.retry_all" in failure.getMessage()
    await app.queues.pause("a")
    assert [entry.action for entry in await app.audit.list()] == ["queues.pause"]


async def test_two_who_write_at_once_lose_no_entry(app: Mainspring, clock: FakeClock) -> None:
    """Each has a number of its own, though both have seen the same newest one."""
    await app.queues.pause("before")
    watch = watch_of(app)

    async def another(_: object) -> None:
        del watch.before["write"]
        async with app.audit.act("queues.pause", "the faster"):
            pass

    store = (await app.connect()).store

    async def connect() -> Any:
        return store

    watch.before["write"] = another
    async with Audit(connect, app.clock).act("queues.pause", "the slower"):
        pass
    assert [entry.target for entry in await app.audit.list()] == ["the slower", "the faster", "before"]


async def test_a_trail_that_is_read_by_another_app_is_the_same(app: Mainspring) -> None:
    for job in await claim(app) or await add(app):
        await app.jobs.cancel(str(job))
    await app.queues.pause("a")
    other = Mainspring((await app.connect()).store.clone())
    assert [entry.action for entry in await other.audit.list()] == ["queues.pause", "jobs.cancel"]
    await other.close()
