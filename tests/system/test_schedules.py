"""`app.schedules`: making, looking at, changing, pausing, running by hand. On a clock that stands still."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mainspring import Mainspring, Retry
from mainspring.core.records import SCHEDULE
from mainspring.errors import (
    DefinitionError,
    IllegalTransition,
    InputError,
    ScheduleExists,
    ScheduleNotFound,
    UnknownOption,
    UnknownTask,
)
from mainspring.testing import START, FakeClock

DAY = timedelta(days=1)


@pytest.fixture
async def app(clock: FakeClock) -> AsyncIterator[Mainspring]:
    app = Mainspring("sqlite://:memory:", clock=clock)

    @app.task(queue="reports", priority=70)
    async def report(kind: str, pages: int = 1) -> str:
        return f"{kind} {pages}"

    @app.task
    async def flaky(fail: bool = True) -> None:
        if fail:
            raise ValueError("boom")

    yield app
    await app.close()


async def names(app: Mainspring, **query: Any) -> list[str]:
    return [found.name for found in await app.schedules.list(**query)]


# -- create ------------------------------------------------------------------------------------------------------------


async def test_create_answers_what_is_stored(app: Mainspring) -> None:
    made = await app.schedules.create(
        "sales", "report", {"kind": "sales"}, cron="0 9 * * 1", timezone="America/New_York", max_retries=3,
        retry_delay="5m", jitter="30s", catch_up="all", catch_up_window="1h", overlap="queue", timeout="1m",
        queue="slow", priority=5, history=7, description="for the board",
    )  # fmt: skip
    assert await app.schedules.get("sales") == made
    assert (made.name, made.task, made.input, made.description) == (
        "sales",
        "report",
        {"kind": "sales"},
        "for the board",
    )
    assert (made.cron, made.every, made.at, made.recurring) == ("0 9 * * 1", None, None, True)
    assert made.when.startswith("every Monday at 09:00, America/New_York")
    assert made.next_run == datetime(2030, 1, 7, 14, tzinfo=UTC)
    assert str(made.next_run) == "2030-01-07 09:00:00-05:00"
    assert (made.status, made.declared, made.runs, made.missed, made.skipped) == ("active", False, 0, 0, 0)
    assert (made.max_retries, made.jitter, made.catch_up, made.catch_up_window) == (3, 30.0, "all", 3600.0)
    assert (made.overlap, made.timeout, made.queue, made.priority, made.history) == ("queue", 60.0, "slow", 5, 7)
    assert made.created_at == made.updated_at == START
    assert (made.last_run, made.last_execution, made.last_missed, made.retry_count, made.last_retry) == (
        None, None, None, 0, None,
    )  # fmt: skip


async def test_create_by_task_and_paused(app: Mainspring) -> None:
    made = await app.schedules.create("sales", app.tasks["report"], {"kind": "x"}, every="5m", paused=True)
    assert (made.task, made.every, made.status, made.next_run) == ("report", 300.0, "paused", None)
    assert (await app.schedules.resume("sales")).next_run == START + timedelta(minutes=5)


async def test_create_refuses_a_name_that_is_taken(app: Mainspring) -> None:
    await app.schedules.create("sales", "report", {"kind": "x"}, every="5m")
    with pytest.raises(ScheduleExists, match="a schedule named 'sales' exists already"):
        await app.schedules.create("sales", "flaky", every="6m")
    found = await app.schedules.get("sales")
    assert found is not None
    assert found.task == "report"


@pytest.mark.parametrize(
    ("task", "input", "options", "error", "message"),
    [
        ("reprot", {}, {"every": "5m"}, UnknownTask, "Did you mean 'report'"),
        (print, {}, {"every": "5m"}, DefinitionError, "bad task: <built-in function print>. Expected a task"),
        (None, {}, {"every": "5m"}, DefinitionError, "bad task: None"),
        ("report", {}, {"every": "5m"}, InputError, "kind"),
        ("report", {"kind": "x", "pages": "many"}, {"every": "5m"}, InputError, "pages"),
        ("report", {"kind": "x", "colour": 1}, {"every": "5m"}, InputError, "colour"),
        ("report", {"kind": "x"}, {}, DefinitionError, "without a time"),
        ("report", {"kind": "x"}, {"every": "5m", "hisory": 1}, UnknownOption, "history"),
    ],
)
async def test_create_refuses_and_stores_nothing(
    app: Mainspring, task: Any, input: dict[str, Any], options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        await app.schedules.create("sales", task, input, **options)
    with pytest.raises(DefinitionError, match="bad schedule name"):
        await app.schedules.create("a b", "flaky", every="5m")
    assert (await app.schedules.list()).total == 0


async def test_a_task_that_only_a_worker_knows(app: Mainspring, clock: FakeClock) -> None:
    await (await app.connect()).publish_tasks(list(app.tasks.values()))
    other = Mainspring("sqlite://:memory:", clock=clock)
    other._clients._clients = app._clients._clients  # the same database, without the tasks
    client = await other.connect()
    client.tasks = client.snapshots._tasks = {}
    made = await other.schedules.create("sales", "report", {"kind": "x"}, every="5m")
    assert made.input == {"kind": "x"}
    with pytest.raises(InputError, match="kind: is missing"):
        await other.schedules.create("other", "report", {}, every="5m")
    with pytest.raises(UnknownTask):
        await other.schedules.create("other", "nobody", {}, every="5m")
    job = await other.schedules.run("sales")
    row = await job.get()
    assert (row.queue, row.priority) == ("reports", 70)


# -- get, list -----------------------------------------------------------------------------------------------------


async def test_what_is_not_there(app: Mainspring) -> None:
    schedules = app.schedules
    assert await schedules.get("nobody") is None
    assert await schedules.delete("nobody") is False
    for act in (schedules.pause, schedules.resume, schedules.run, schedules.reset_retries, schedules.executions):
        with pytest.raises(ScheduleNotFound, match="no schedule is named 'nobody'"):
            await act("nobody")
    for changes in ({"every": "5m"}, {"input": {"kind": "x"}}, {"task": "report"}):
        with pytest.raises(ScheduleNotFound):
            await schedules.update("nobody", **changes)


async def test_pages(app: Mainspring) -> None:
    for number in range(25):
        await app.schedules.create(f"s{number:02}", "flaky", every="5m")
    page = await app.schedules.list(offset=10, limit=10)
    assert ([found.name for found in page], page.total, len(page)) == ([f"s{n:02}" for n in range(10, 20)], 25, 10)
    assert (len(await app.schedules.list(offset=25)), len(await app.schedules.list(limit=500))) == (0, 25)
    assert (await names(app, descending=True, limit=1)) == ["s24"]
    for bad in ({"limit": 0}, {"limit": 501}, {"offset": -1}):
        with pytest.raises(DefinitionError):
            await app.schedules.list(**bad)  # type: ignore[arg-type]


async def test_more_schedules_than_a_batch(app: Mainspring, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mainspring.admin.schedule_list.BATCH_ROWS", 10)
    for number in range(21):
        await app.schedules.create(f"s{number:02}", "flaky", every="5m")
    assert (await app.schedules.list(limit=1)).total == 21


async def test_filters_and_search(app: Mainspring) -> None:
    await app.schedules.create("a", "report", {"kind": "x"}, every="5m", description="The BOARD reads it")
    await app.schedules.create("board", "flaky", every="5m")
    await app.schedules.create("c", "flaky", every="5m", paused=True)
    assert await names(app, task="flaky") == ["board", "c"]
    assert await names(app, search="Board") == ["a", "board"]
    assert await names(app, search="flak", status="active") == ["board"]
    assert await names(app, status=["paused", "failed"]) == ["c"]
    with pytest.raises(DefinitionError, match=r"unknown status: 'broken'. Expected: active"):
        await app.schedules.list(status="broken")
    with pytest.raises(DefinitionError, match=r"unknown sort: 'age'. Expected one of: name"):
        await app.schedules.list(sort="age")


async def test_sorts(app: Mainspring, clock: FakeClock) -> None:
    await app.schedules.create("a", "flaky", {"fail": False}, every="3h")
    await clock.advance("1s")
    await app.schedules.create("b", "flaky", {"fail": False}, every="1h")
    await clock.advance("1s")
    await app.schedules.create("c", "flaky", {"fail": False}, every="2h", paused=True)
    await app.schedules.run("b")
    await clock.advance("1s")
    await app.schedules.update("a", description="newer")
    async with app.worker():
        await clock.advance("1s")
    assert await names(app, sort="created_at") == ["a", "b", "c"]
    assert await names(app, sort="updated_at", descending=True) == ["a", "c", "b"]
    assert await names(app, sort="next_run") == ["b", "a", "c"]
    assert (await names(app, sort="last_run", descending=True))[0] == "b"


# -- update --------------------------------------------------------------------------------------------------------


async def test_update_leaves_the_rest(app: Mainspring, clock: FakeClock) -> None:
    made = await app.schedules.create("sales", "report", {"kind": "x"}, every="1h", max_retries=3, description="old")
    await clock.advance("10m")
    found = await app.schedules.update("sales", description="new", history=5)
    assert (found.description, found.history, found.max_retries) == ("new", 5, 3)
    assert (found.id, found.next_run, found.created_at) == (made.id, made.next_run, made.created_at)
    assert found.updated_at == START + timedelta(minutes=10)
    found = await app.schedules.update("sales", cron="@daily")
    assert (found.cron, found.every, found.next_run) == ("@daily", None, START + DAY)
    found = await app.schedules.update("sales", input={"kind": "y", "pages": 2})
    assert (found.input, found.next_run) == ({"kind": "y", "pages": 2}, START + DAY)
    found = await app.schedules.update("sales", task="flaky", input={"fail": False}, retry=None)
    assert (found.task, found.input, found.retry) == ("flaky", {"fail": False}, None)
    assert await app.schedules.get("sales") == found


async def test_update_refuses_and_changes_nothing(app: Mainspring) -> None:
    made = await app.schedules.create("sales", "report", {"kind": "x"}, every="1h")
    bad: list[tuple[type[Exception], dict[str, Any]]] = [
        (UnknownTask, {"task": "nobody"}),
        (DefinitionError, {"task": print}),
        (InputError, {"task": "flaky"}),  # its input is another's
        (InputError, {"input": {"pages": 1}}),
        (DefinitionError, {"cron": "99 * * * *"}),
        (DefinitionError, {"timezone": "Mars/Olympus"}),
        (DefinitionError, {"fixed_delay": True, "overlap": "queue"}),
        (UnknownOption, {"paused": True}),
        (DefinitionError, {"max_retries": 3, "retry": Retry()}),
    ]
    for error, changes in bad:
        with pytest.raises(error):
            await app.schedules.update("sales", **changes)
    assert await app.schedules.get("sales") == made


# -- pause, resume, delete -----------------------------------------------------------------------------------------


async def test_pause_and_resume(app: Mainspring, clock: FakeClock) -> None:
    await app.schedules.create("sales", "flaky", {"fail": False}, every="1h")
    async with app.worker():
        found = await app.schedules.pause("sales", "holidays")
        assert (found.status, found.pause_reason, found.next_run) == ("paused", "holidays", None)
        with pytest.raises(IllegalTransition, match="cannot pause schedule sales: it is paused"):
            await app.schedules.pause("sales")
        await clock.advance("150m")
        found = await app.schedules.resume("sales")
        assert (found.status, found.pause_reason, found.runs, found.missed) == ("active", "", 0, 0)
        assert found.next_run == START + timedelta(hours=3)
        with pytest.raises(IllegalTransition, match="cannot resume schedule sales: it is not paused"):
            await app.schedules.resume("sales")
        with pytest.raises(DefinitionError, match="bad reason"):
            await app.schedules.pause("sales", "x" * 2_001)
        await clock.advance("1h")
        found = await app.schedules.update("sales", description="it ran")
        assert found.runs == 1


async def test_deleted_and_made_anew_it_fires_at_the_same_time_again(app: Mainspring, clock: FakeClock) -> None:
    async with app.worker():
        made = await app.schedules.create("sales", "flaky", {"fail": False}, every="1h", start="now")
        await clock.advance(1)
        [before] = await app.schedules.executions("sales")
        assert await app.schedules.delete("sales")
        assert await app.schedules.get("sales") is None
        again = await app.schedules.create(
            "sales", "flaky", {"fail": False}, every="1h", start=START, catch_up="all", catch_up_window="1d"
        )
        assert again.id != made.id
        await clock.advance("1h")
        ran = await app.schedules.executions("sales")
        assert [(one.scheduled_at, one.status) for one in ran] == [(START + timedelta(hours=1), "completed")]
        assert before.job_id not in {one.job_id for one in ran}


async def _there(app: Mainspring, id: str) -> bool:
    [row] = await (await app.connect()).store.get([id])
    return row is not None


async def test_delete_takes_what_waits_and_its_history(app: Mainspring, clock: FakeClock) -> None:
    await app.schedules.create("sales", "flaky", {"fail": False}, every="1h", jitter=0)
    async with app.worker():
        await clock.advance("2h")
    ended = {one.job_id for one in await app.schedules.executions("sales")}
    waiting = await app.schedules.run("sales")
    assert len(ended) == 2
    assert await app.schedules.delete("sales")
    assert not [id for id in (*ended, waiting.id) if await _there(app, id)]


# -- a record that nobody can read -----------------------------------------------------------------------------------


async def test_one_that_cannot_be_read(app: Mainspring) -> None:
    await app.schedules.create("bad", "flaky", every="1h")
    await app.schedules.create("good", "flaky", every="1h")
    store = (await app.connect()).store
    record = await store.read(SCHEDULE, "bad")
    assert record is not None
    await store.write([record.evolve(value=record.value | {"every": "often"})])
    assert await names(app) == ["good"]
    for act in (app.schedules.get, app.schedules.pause, app.schedules.run, app.schedules.executions):
        with pytest.raises(DefinitionError, match=r"'bad' cannot be read: .* Delete it\."):
            await act("bad")
    assert await app.schedules.delete("bad")
    assert await app.schedules.get("bad") is None


async def test_one_whose_zone_this_machine_does_not_know(app: Mainspring) -> None:
    await app.schedules.create("bad", "flaky", cron="@daily")
    store = (await app.connect()).store
    record = await store.read(SCHEDULE, "bad")
    assert record is not None
    await store.write([record.evolve(value=record.value | {"timezone": "Mars/Olympus"})])
    [found] = await app.schedules.list()
    assert found.timezone == "Mars/Olympus"
    assert found.when.startswith("at no time that can be read: ")
    assert (await app.schedules.update("bad", timezone="Asia/Tokyo")).when == "every day at 00:00, Asia/Tokyo"


# -- times and words ---------------------------------------------------------------------------------------------------


def test_preview_and_describe_need_no_store() -> None:
    schedules = Mainspring("sqlite:////nowhere/at/all.db").schedules
    new_york = {"cron": "0 9 * * 1", "timezone": "America/New_York"}
    times = schedules.preview(**new_york, start=START, count=2)  # type: ignore[arg-type]
    assert [str(time) for time in times] == ["2030-01-07 09:00:00-05:00", "2030-01-14 09:00:00-05:00"]
    assert schedules.describe(**new_york) == "every Monday at 09:00, America/New_York"  # type: ignore[arg-type]
    times = schedules.preview(every="90m", start=START, count=3)
    assert [time - START for time in times] == [timedelta(minutes=90 * n) for n in (1, 2, 3)]
    assert schedules.preview(at=START + DAY, start=START) == [START + DAY]
    assert len(schedules.preview(schedule="now")) == 1
    assert len(schedules.preview(cron="@hourly")) == 5
    assert len(schedules.preview(every="36500d", start=START, count=100)) == 79  # until the year 9999
    gap = {"cron": "30 2 * * *", "timezone": "America/New_York", "start": datetime(2030, 3, 9, 12, tzinfo=UTC)}
    assert str(schedules.preview(**gap, count=1)[0]) == "2030-03-10 03:00:00-04:00"  # type: ignore[arg-type]
    skipped = schedules.preview(**gap, count=1, dst_gap="skip")  # type: ignore[arg-type]
    assert str(skipped[0]) == "2030-03-11 02:30:00-04:00"
    assert "does not exist" in schedules.describe(cron="30 2 * * *", timezone="America/New_York")
    for bad in ({"cron": "x"}, {}, {"cron": "@daily", "jitter": 5}, {"cron": "@daily", "count": 0}):
        with pytest.raises(DefinitionError):
            schedules.preview(**bad)
    with pytest.raises(DefinitionError):
        schedules.describe(cron="x")


async def test_an_update_of_the_retries_leaves_the_rest_of_them(app: Mainspring) -> None:
    await app.schedules.create("s", "report", {"kind": "x"}, cron="@daily", max_retries=3, retry_delay="5m")
    more = await app.schedules.update("s", max_retries=5)
    assert (more.max_retries, (more.retry or {})["initial_delay"]) == (5, 300)
    later = await app.schedules.update("s", retry_delay="10m")
    assert (later.max_retries, (later.retry or {})["initial_delay"]) == (5, 600)
    assert (await app.schedules.update("s", retry=None)).retry is None
