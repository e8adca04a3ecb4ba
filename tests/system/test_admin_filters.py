"""Filters of `app.jobs` and `app.dead_letters`: each of them, in lists, counts and acts; and what counting costs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mainspring import DefinitionError, Mainspring, UnknownTask
from mainspring.core.job import Error, Job, State
from mainspring.stores import open_store
from mainspring.testing import FakeClock
from tests.factory import make_job
from tests.system.watched import Watch, watched

BOOM = Error(type="ValueError", message="boom")
HOUR = 3_600_000


@pytest.fixture
async def app(url: str, clock: FakeClock) -> AsyncIterator[Mainspring]:
    store, watch = watched(open_store(url, clock.now))
    app = Mainspring(store, clock=clock)
    app.__dict__["watch"] = watch
    for name, queue in (("t", "default"), ("u", "others"), ("v", "others")):

        @app.task(name=name, queue=queue)
        async def task(a: int = 0) -> None: ...

    yield app
    await app.close()


def watch_of(app: Mainspring) -> Watch:
    watch = app.__dict__["watch"]
    assert isinstance(watch, Watch)
    return watch


async def add(app: Mainspring, id: str, state: State = State.WAITING, **fields: Any) -> Job:
    now = app.clock.now()
    fields = {"created_at": now, "due": now} | fields
    if state.terminal:
        fields = {"finished_at": now, "expires_at": None} | fields
    [job] = await (await app.connect()).store.add([make_job(id, state=state, **fields)])
    return job


async def found(app: Mainspring, **filters: Any) -> list[str]:
    """The ids that a list by pages of two gives, oldest first; count and counts must agree with it."""
    ids: list[str] = []
    cursor = None
    while True:
        page = await app.jobs.list(limit=2, cursor=cursor, oldest_first=True, **filters)
        ids += [job.id for job in page]
        cursor = page.cursor
        if cursor is None:
            break
    assert await app.jobs.count(**filters) == len(ids)
    assert sum((await app.jobs.counts(**filters)).values()) == len(ids)
    newest_first = [job.id for job in await app.jobs.list(limit=500, **filters)]
    assert newest_first == ids[::-1]
    return ids


def at(app: Mainspring, hours: float) -> datetime:
    return datetime.fromtimestamp(app.clock.now() / 1000, UTC) + timedelta(hours=hours)


async def test_by_task_and_queue_one_or_several(app: Mainspring) -> None:
    await add(app, "1")
    await add(app, "2", task="u", queue="others")
    await add(app, "3", task="v", queue="others")
    await add(app, "4", task="u", queue="default")

    assert await found(app, task="u") == ["2", "4"]
    assert await found(app, task=["t", "u"]) == ["1", "2", "4"]
    assert await found(app, task=["v"]) == ["3"]
    assert await found(app, queue="others") == ["2", "3"]
    assert await found(app, queue=["others", "default", "none"], task=["t", "v"]) == ["1", "3"]
    assert await found(app, queue=["default", "none"]) == ["1", "4"]
    assert await found(app, queue="none") == []


async def test_by_a_task_itself(app: Mainspring) -> None:
    await add(app, "1")
    await add(app, "2", State.DEAD, task="u", queue="others")
    t, u = app.tasks["t"], app.tasks["u"]

    assert await found(app, task=t) == ["1"]
    assert await found(app, task=[u, "t"]) == ["1", "2"]
    assert [job.id for job in await app.dead_letters.list(task=u)] == ["2"]
    assert (await app.jobs.totals(task=t))["waiting"] == 1
    assert await app.dead_letters.retry_all(task=u) == 1
    assert await app.jobs.cancel(task=[t, u]) == 2
    told = [(entry.action, entry.filters) for entry in await app.audit.list()]
    assert told == [("jobs.cancel", {"task": ["t", "u"]}), ("dead_letters.retry_all", {"task": "u"})]


async def test_by_status_one_or_several(app: Mainspring) -> None:
    for state in State:
        await add(app, state.value, state)
    await add(app, "later", due=app.clock.now() + HOUR)
    await add(app, "again", attempts=1, due=app.clock.now() + HOUR)

    assert await found(app, status="pending") == ["waiting"]
    assert await found(app, status=["scheduled", "retrying"]) == ["later", "again"]
    assert await found(app, status=["scheduled", "pending", "retrying"]) == ["waiting", "later", "again"]
    assert await found(app, status=("dead", "failed", "pending")) == ["waiting", "failed", "dead"]


async def test_by_error_and_whether_there_is_one(app: Mainspring) -> None:
    await add(app, "1", State.DEAD, error=BOOM)
    await add(app, "2", attempts=1, error=Error(type="KeyError", message="Größe"))
    await add(app, "3", State.COMPLETED)

    assert await found(app, error="valueerror: BOOM") == ["1"]
    assert await found(app, error="GRÖSSE".replace("SS", "ß")) == ["2"]
    assert await found(app, has_error=True) == ["1", "2"]
    assert await found(app, has_error=False) == ["3"]
    assert await found(app, has_error=True, status="retrying") == ["2"]


async def test_by_the_reason_of_what_ended_badly(app: Mainspring) -> None:
    await add(app, "1", State.DEAD, reason="nobody is no address")
    await add(app, "2", State.DEAD, reason="exhausted", error=BOOM)
    await add(app, "3", State.FAILED, reason="No Address", task="u", queue="others")
    await add(app, "4", State.CANCELLED, reason="no address")
    await add(app, "5", State.COMPLETED, reason="no address")
    await add(app, "6", State.DEAD, reason="no address", error=BOOM)

    assert await found(app, error="no ADDRESS") == ["1", "3", "6"]
    assert await found(app, error="no address", status="dead", task="t") == ["1", "6"]
    assert await found(app, error="boom") == ["2", "6"]
    assert await found(app, error="exhausted") == ["2"]
    assert await found(app, has_error=True) == ["1", "2", "3", "6"]
    assert await found(app, has_error=False) == ["4", "5"]
    totals = await app.jobs.totals(error="no address")
    assert (totals["dead"], totals["failed"], totals["cancelled"]) == (2, 1, 0)
    assert (await app.jobs.totals(error="no address", task=["u", "v"]))["dead"] == 0


async def test_by_worker_and_origin(app: Mainspring) -> None:
    await add(app, "1", State.RUNNING, worker="w:1", token="x", claims=1)
    await add(app, "2", origin="schedule:nightly")
    assert await found(app, worker="w:1") == ["1"]
    assert await found(app, origin="schedule:nightly") == ["2"]
    assert await found(app, origin="call", task=["t", "u"]) == ["1"]


async def test_by_the_times_of_making_and_ending(app: Mainspring) -> None:
    now = app.clock.now()
    for hours in (5, 3, 1):
        made, ended = now - hours * HOUR, now - (hours - 1) * HOUR
        await add(app, f"{hours}", State.DEAD, created_at=made, finished_at=ended)
    await add(app, "live", created_at=now - 6 * HOUR)

    assert await found(app, created_after=at(app, -3)) == ["3", "1"]
    assert await found(app, created_before=at(app, -3)) == ["5", "live"]
    assert await found(app, ended_after=at(app, -2)) == ["3", "1"]
    assert await found(app, ended_before=at(app, -2)) == ["5"]
    assert await found(app, ended_after=at(app, -3), ended_before=at(app, 0)) == ["3"]
    assert await found(app, ended_before=at(app, 1), status="dead", created_after=at(app, -4)) == ["3", "1"]


async def test_by_the_time_at_which_it_is_due(app: Mainspring) -> None:
    now = app.clock.now()
    await add(app, "late", due=now - 2 * HOUR)
    await add(app, "soon", due=now + HOUR)
    await add(app, "held", State.PAUSED, due=now - 2 * HOUR)
    await add(app, "runs", State.RUNNING, due=now - 2 * HOUR, worker="w:1", token="x", claims=1)
    await add(app, "ended", State.COMPLETED, due=now - 2 * HOUR)

    assert await found(app, due_before=at(app, 0)) == ["late", "held"]
    assert await found(app, due_after=at(app, 0)) == ["soon"]
    assert await found(app, due_before=at(app, 2), status=["scheduled", "pending"]) == ["late", "soon"]


async def test_by_key(app: Mainspring) -> None:
    task = app.tasks["t"]
    mine = await task.options(idempotency_key="k").enqueue(a=1)
    unique = await task.options(unique_key="k").enqueue(a=1)
    other = await app.tasks["u"].options(idempotency_key="k").enqueue(a=1)
    await task.options(idempotency_key="l").enqueue(a=1)
    assert set(await found(app, key="k")) == {mine.id, unique.id, other.id}
    assert set(await found(app, key="k", task="t")) == {mine.id, unique.id}
    assert await found(app, key="k", queue="others", status="pending") == [other.id]
    assert await found(app, key="nothing") == []
    assert await app.jobs.cancel(key="k", task="u") == 1
    assert await found(app, key="k", status="cancelled") == [other.id]


async def test_by_ids(app: Mainspring, clock: FakeClock) -> None:
    for n in range(60):
        await add(app, f"id-{n:02}", State.DEAD if n % 2 else State.WAITING)
        await clock.advance(0.001)
    ids = [f"id-{n:02}" for n in range(50)] + ["nobody", "id-00"]
    assert await found(app, ids=ids) == [f"id-{n:02}" for n in range(50)]
    assert await found(app, ids=ids, status="dead") == [f"id-{n:02}" for n in range(1, 50, 2)]
    assert await app.jobs.retry(ids=ids) == 25
    assert await app.dead_letters.count() == 5
    assert {job.input for job in await app.jobs.list(ids=ids)} == {None}
    [again] = await app.jobs.list(ids=["id-01"])
    stored = await app.jobs.get(again.id)
    assert stored is not None
    assert stored.input == '{"a":1}'


async def test_ids_and_every_other_filter(app: Mainspring, clock: FakeClock) -> None:
    """Rows that are read by their ids are tested for all that the store would have told."""
    await add(app, "1", State.DEAD, worker="w:1", error=BOOM)
    await clock.advance("1h")
    await add(app, "2", task="u", queue="others", origin="schedule:nightly")
    for filters in (
        {"task": "t"}, {"task": ["t", "v"]}, {"queue": "default"}, {"queue": ["default", "none"]}, {"status": "dead"},
        {"worker": "w:1"}, {"origin": "call"}, {"error": "boom"}, {"has_error": True},
        {"created_before": at(app, -0.5)}, {"ended_before": at(app, 0)},
    ):  # fmt: skip
        assert await found(app, ids=["1", "2"], **filters) == ["1"], filters
    assert await found(app, ids=["1", "2"], created_after=at(app, -0.5)) == ["2"]
    assert await found(app, ids=["1", "2"], due_before=at(app, 1)) == ["2"]


async def test_running_jobs_by_ids_keep_their_input(app: Mainspring) -> None:
    await add(app, "1", State.RUNNING, worker="w:1", token="x", claims=1)
    assert await app.jobs.retry(ids=["1"], status="running") == 1
    job = await app.jobs.get("1")
    assert job is not None
    assert job.again is not None
    assert job.again.input == '{"a":1}'


async def test_dead_letters_by_the_same_filters(app: Mainspring) -> None:
    now = app.clock.now()
    await add(app, "1", State.DEAD, finished_at=now - HOUR, created_at=now - HOUR)
    await add(app, "2", State.DEAD, task="u", queue="others")
    await add(app, "3", State.FAILED)
    letters = app.dead_letters
    assert await letters.count() == 2
    assert [job.id for job in await letters.list(oldest_first=True)] == ["1", "2"]
    assert [job.id for job in await letters.list(ended_before=at(app, -0.5))] == ["1"]
    assert await letters.retry_all(ids=["2", "3"]) == 1
    assert await letters.purge(task=["t", "u"]) == 1
    assert [job.id for job in await app.jobs.list(oldest_first=True)] == ["2", "3"]


# -- every act by every filter -----------------------------------------------------------------------------------------

ALL_FILTERS: dict[str, Any] = {
    "task": ["u"],
    "queue": "others",
    "worker": "w:7",
    "origin": "import",
    "error": "boom",
    "has_error": True,
    "ids": ["meant"],
    "created_after": -1.0,
    "created_before": 1.0,
}


DIFFERS: dict[str, dict[str, Any]] = {
    "task": {"task": "v"},
    "queue": {"queue": "default"},
    "worker": {"worker": "w:8"},
    "origin": {"origin": "call"},
    "error": {"error": Error(type="KeyError", message="k")},
    "has_error": {"error": None},
    "created_after": {"hours": -2},
    "created_before": {"hours": 2},
}
"""How a job is different that only this filter tells apart."""


@pytest.mark.parametrize("act", ["retry", "cancel", "delete", "pause", "resume"])
@pytest.mark.parametrize("without", [None, *ALL_FILTERS])
async def test_an_act_means_what_all_filters_mean(app: Mainspring, act: str, without: str | None) -> None:
    """Two jobs differ in one respect; the filter for that respect tells them apart, and no other one does."""
    state = {"retry": State.DEAD, "delete": State.DEAD, "resume": State.PAUSED}.get(act, State.WAITING)
    now = app.clock.now()
    meant: dict[str, Any] = {
        "task": "u", "queue": "others", "worker": "w:7", "origin": "import", "error": BOOM, "created_at": now,
    }  # fmt: skip
    differs: dict[str, Any] = DIFFERS.get(str(without), {})
    if str(without).startswith("created"):
        differs = {"created_at": now + differs["hours"] * HOUR}
    await add(app, "meant", state, **meant)
    if without is not None:
        await add(app, "other", state, **meant | differs)
    given = {name: at(app, value) if isinstance(value, float) else value for name, value in ALL_FILTERS.items()}
    if without == "has_error":
        del given["error"]  # it tells them apart, too
    if without != "ids":
        del given["ids"]
    assert await getattr(app.jobs, act)(**given) == 1
    if without is None:
        return
    other = await app.jobs.get("other")
    assert other is not None
    assert other.version == 1
    del given[without]
    assert await getattr(app.jobs, act)(**given) == 1, "it was only this filter that kept it out"


# -- what is refused ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("act", ["retry", "cancel", "delete", "pause", "resume"])
@pytest.mark.parametrize("filters", [{}, {"task": None}, {"status": None, "error": None}])
async def test_an_act_on_everything_is_refused(app: Mainspring, act: str, filters: dict[str, None]) -> None:
    await add(app, "1", State.DEAD)
    with pytest.raises(DefinitionError, match="neither an id nor a filter"):
        await getattr(app.jobs, act)(**filters)


@pytest.mark.parametrize("empty", [[], (), ""])
@pytest.mark.parametrize("name", ["status", "task", "queue", "ids"])
async def test_an_empty_filter_is_a_slip_and_not_everything(app: Mainspring, name: str, empty: Sequence[str]) -> None:
    await add(app, "1", State.DEAD)
    with pytest.raises(DefinitionError, match=f"bad filter {name}"):
        await app.jobs.retry(**{name: empty})  # type: ignore[call-overload]
    assert await app.dead_letters.count() == 1


@pytest.mark.parametrize(
    "filters",
    [
        {"status": "failed,pending"},
        {"status": ["dead", "gone"]},
        {"bogus": "x"},
        {"error": ""},
        {"error": 5},
        {"has_error": "yes"},
        {"created_after": datetime(2030, 1, 1)},
        {"ended_after": 5},
        {"ended_after": datetime(2030, 1, 1, tzinfo=UTC), "status": "running"},
        {"due_after": datetime(2030, 1, 1, tzinfo=UTC), "status": ["dead"]},
        {"due_after": datetime(2030, 1, 1, tzinfo=UTC), "ended_after": datetime(2030, 1, 1, tzinfo=UTC)},
    ],
)
async def test_a_filter_that_makes_no_sense_is_refused(app: Mainspring, filters: dict[str, Any]) -> None:
    for method in (app.jobs.list, app.jobs.count, app.jobs.counts, app.jobs.totals, app.jobs.delete):
        with pytest.raises(DefinitionError):
            await method(**filters)


async def test_times_that_an_act_s_own_statuses_cannot_have_are_refused(app: Mainspring) -> None:
    with pytest.raises(DefinitionError, match="times that none of these can have: dead, failed"):
        await app.jobs.retry(due_after=at(app, 0))
    assert await app.jobs.retry(due_after=at(app, 0), status="retrying") == 0


async def test_an_unknown_task_is_refused_and_one_of_old_jobs_is_not(app: Mainspring) -> None:
    await add(app, "1", State.DEAD, task="renamed")
    for method in (app.jobs.list, app.jobs.count, app.jobs.retry, app.jobs.delete, app.dead_letters.retry_all):
        with pytest.raises(UnknownTask, match="Known tasks: t, u, v"):
            await method(task="renamned")
        with pytest.raises(UnknownTask):
            await method(task=["t", "renamned"])
    assert await app.jobs.retry(task="renamed") == 1


# -- what counting costs -----------------------------------------------------------------------------------------------


async def test_totals_and_cheap_counts_read_no_job(app: Mainspring) -> None:
    for state in (State.DEAD, State.DEAD, State.COMPLETED, State.WAITING):
        await add(app, f"{state}-{len(await app.jobs.list())}", state)
    await add(app, "u", State.DEAD, task="u", queue="others")
    watch = watch_of(app)
    watch.calls.clear()

    assert (await app.jobs.totals())["dead"] == 3
    assert (await app.jobs.totals(task=["u", "v"], queue="others"))["dead"] == 1
    assert await app.jobs.count() == 5
    assert await app.jobs.count(task="t", status=["dead", "completed"]) == 3
    assert await app.jobs.count(status=["scheduled", "pending", "retrying"]) == 1
    assert (await app.jobs.counts(status=["dead", "completed"]))["dead"] == 3
    assert await app.dead_letters.count(queue=["default", "others"]) == 3

    assert watch.calls["count"] == 7
    assert not watch.calls["find"] + watch.calls["get"] + watch.calls["scan"]


async def test_totals_refuse_what_would_need_a_look_at_each_job(app: Mainspring) -> None:
    for filters in ({"status": "dead"}, {"has_error": True}, {"ids": ["1"]}, {"ended_after": at(app, 0)}):
        with pytest.raises(DefinitionError, match="it reads no job"):
            await app.jobs.totals(**filters)
