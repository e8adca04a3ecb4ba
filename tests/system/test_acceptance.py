"""What newcomers do with the public API that its authors would not: each is done, or refused by name; never half."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from mainspring import (
    DefinitionError,
    IllegalTransition,
    InputError,
    Mainspring,
    Request,
    Retry,
    Snooze,
    State,
    UnknownTask,
)
from mainspring.core.job import Error
from mainspring.core.outcome import Dead, Failure
from mainspring.stores import open_store
from mainspring.testing import FakeClock
from tests.system.conftest import claim, count, run_one
from tests.system.watched import Watch, watched

Enqueue = Callable[[Any], Any]
MISTAKES: dict[str, tuple[Enqueue, str]] = {
    "a second object after the input": (lambda app: app.enqueue("add", {"a": 1}, {"delay": 5}), "Expected one object"),
    "options beside a call that is made": (lambda app: app.enqueue(_call(app), delay=5), "delay beside a call of"),
    "arguments beside a call that is made": (lambda app: app.enqueue(_call(app), 5), "5 beside a call of 'add'"),
    "a task among many": (lambda app: app.enqueue_many([app.tasks["add"]]), "made by task.job"),
    "one call as many": (lambda app: app.enqueue_many(_call(app)), "Expected a list of calls"),
    "a number as many": (lambda app: app.enqueue_many(5), "Expected a list of calls"),
}


def _call(app: Mainspring) -> Any:
    return app.tasks["add"].job(1)


@pytest.fixture
def adding(app: Mainspring) -> Mainspring:
    @app.task
    def add(a: int = 0, b: int = 2) -> int:
        return a + b

    return app


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES)
async def test_what_would_be_passed_over_is_refused(adding: Mainspring, mistake: tuple[Enqueue, str]) -> None:
    enqueue, message = mistake
    with pytest.raises(DefinitionError, match=message):
        await enqueue(adding)
    assert await count(adding) == 0


@pytest.mark.parametrize("input", [0, False, [], "", 1, [1], "a"], ids=repr)
async def test_an_input_by_name_is_an_object(adding: Mainspring, input: Any) -> None:
    with pytest.raises(InputError, match="Expected an object"):
        await adding.enqueue("add", input)
    assert await count(adding) == 0


async def test_many_calls_may_come_from_a_generator(adding: Mainspring) -> None:
    def calls() -> Iterator[Request[Any]]:
        yield from (adding.tasks["add"].job(n) for n in range(1_200))

    handles = await adding.enqueue_many(calls())
    assert len({handle.id for handle in handles}) == await count(adding) == 1_200


@pytest.mark.parametrize("name", ["emails", 5, None])
def test_a_task_is_made_of_a_function(name: Any) -> None:
    app = Mainspring("sqlite://:memory:")
    with pytest.raises(DefinitionError, match="Expected a function; options are given by name"):
        app.task(name)


async def test_retries_of_a_call_change_the_count_alone(app: Mainspring, clock: FakeClock) -> None:
    @app.task(retry=Retry(backoff="series", intervals=["1m", "5m"], jitter=0, max_attempts=9))
    def work() -> None: ...

    handle = await work.options(retries=2).enqueue()
    failure = Failure(error=Error(type="ValueError", message="no"))
    for delay in ("1m", "5m"):
        before = clock.now()
        job = await run_one(app, failure)
        assert job.state is State.WAITING
        assert job.due_at - before == {"1m": 60_000, "5m": 300_000}[delay]
        await clock.advance(delay)
    assert (await run_one(app, failure)).state is State.DEAD
    assert len((await handle.get()).runs) == 3


async def test_retries_of_a_call_follow_a_new_policy_of_the_task(tmp_path: Path, clock: FakeClock) -> None:
    """A whole policy is stored with its job; a count alone is not tied to what the task said when it was called."""
    url = f"sqlite:///{tmp_path}/jobs.db"
    old, new = Retry(backoff="fixed", initial_delay=3, jitter=0), Retry(backoff="fixed", initial_delay=7, jitter=0)
    async with _app_of_work(url, clock, old) as app:
        count_alone = await app.tasks["work"].options(retries=3).enqueue()
        whole = await app.tasks["work"].options(retry=old).enqueue()
    async with _app_of_work(url, clock, new) as app:
        failure = Failure(error=Error(type="ValueError", message="no"))
        delays = {job.id: job.due_at - clock.now() for job in [await run_one(app, failure) for _ in range(2)]}
        assert delays == {count_alone.id: 7_000, whole.id: 3_000}


def _app_of_work(url: str, clock: FakeClock, retry: Retry) -> Mainspring:
    app = Mainspring(url, clock=clock)

    @app.task(retry=retry)
    def work() -> None: ...

    return app


def test_snooze_takes_a_time_in_both_places_and_not_two() -> None:
    at = datetime(2030, 1, 1, tzinfo=UTC)
    assert Snooze(at).due(0) == Snooze(until=at).due(0) == round(at.timestamp() * 1000)
    with pytest.raises(DefinitionError, match="both a delay and until"):
        Snooze("5s", until=at)
    with pytest.raises(DefinitionError, match="zone"):
        Snooze(at.replace(tzinfo=None))
    with pytest.raises(DefinitionError, match="Snooze delay"):
        Snooze(timedelta(seconds=-1))


@pytest.mark.parametrize("named", [False, True], ids=["a call", "a call by name"])
async def test_options_among_the_arguments_are_told_where_they_belong(adding: Mainspring, named: bool) -> None:
    task: Any = adding.tasks["add"]
    with pytest.raises(InputError, match=r"delay: is not known.*task\.options\(delay=\.\.\.\)"):
        await (adding.enqueue("add", {"a": 1, "delay": 5}) if named else task.enqueue(a=1, delay=5))
    with pytest.raises(InputError) as caught:
        await task.enqueue(a=1, c=5)
    assert "options" not in str(caught.value)
    assert await count(adding) == 0


async def test_a_throttle_lasts_for_a_time_or_until_one(adding: Mainspring, clock: FakeClock) -> None:
    await adding.enqueue("add")
    at = datetime.fromtimestamp(clock.now() / 1000, UTC)
    await adding.queues.throttle("add", at + timedelta(minutes=5))
    await clock.advance("4m 59s")
    assert await claim(adding) == []
    await clock.advance("1s")
    assert len(await claim(adding)) == 1
    for bad in (at, 0, at.replace(tzinfo=None)):
        with pytest.raises(DefinitionError, match=r"throttle|zone"):
            await adding.queues.throttle("add", bad)


@pytest.mark.slow
async def test_resume_with_ten_thousand_waiting_fills_all_workers(url: str) -> None:
    """Measured: 13 ms after `resume` has returned, for 80 handlers in four processes. The poll is 5 s."""
    app = Mainspring(url)
    running, full = 0, asyncio.Event()

    @app.task
    async def hold() -> None:
        nonlocal running
        running += 1
        if running == 80:
            full.set()
        await asyncio.Event().wait()

    await app.queues.pause("default")
    await app.enqueue_many(hold.job() for _ in range(10_000))
    async with AsyncExitStack() as workers:
        for _ in range(4):
            await workers.enter_async_context(app.worker(concurrency=20, grace=0.1, poll=600))
        await app.queues.resume("default")
        await asyncio.wait_for(full.wait(), 60)
    await app.close()


async def test_totals_read_no_job(clock: FakeClock) -> None:
    store, watch = watched(open_store("sqlite://:memory:", clock.now))
    app = Mainspring(store, clock=clock)

    @app.task(queue="emails")
    def work() -> None: ...

    @app.task
    def other() -> None: ...

    await app.enqueue_many([work.options(delay=n % 2).job() for n in range(1_000)])
    await other.enqueue()
    await app.jobs.pause((await other.enqueue()).id)
    watch.calls.clear()
    expected = dict.fromkeys((state.value for state in State), 0)
    assert await app.jobs.totals() == {**expected, "waiting": 1_001, "paused": 1}
    assert await app.jobs.totals(task="work") == {**expected, "waiting": 1_000}
    assert set(watch.calls) == {"count"}
    with pytest.raises(DefinitionError, match="status"):
        await app.jobs.totals(status="pending")
    await app.close()


class TestALostAnswer:
    """An act whose answer was lost, and which cannot be made twice, has succeeded."""

    @pytest.fixture
    def watched_app(self, clock: FakeClock) -> tuple[Mainspring, Watch]:
        store, watch = watched(open_store("sqlite://:memory:", clock.now))
        return Mainspring(store, clock=clock), watch

    async def test_of_a_retry_a_pause_and_a_resume(self, watched_app: tuple[Mainspring, Watch]) -> None:
        app, watch = watched_app

        @app.task
        def work() -> None: ...

        id = (await work.enqueue()).id
        await run_one(app, Dead(reason="no"))
        acts: list[tuple[Callable[[str], Any], State]] = [
            (app.dead_letters.retry, State.WAITING),
            (app.jobs.pause, State.PAUSED),
            (app.jobs.resume, State.WAITING),
        ]
        for act, state in acts:
            watch.lose_answers["save"] = 1
            assert (await act(id)).state is state
            assert (await app.get(id)).state is state
        await app.close()

    async def test_of_a_retry_that_is_being_run_already(self, watched_app: tuple[Mainspring, Watch]) -> None:
        app, watch = watched_app

        @app.task
        def work() -> None: ...

        id = (await work.enqueue()).id
        await run_one(app, Dead(reason="no"))

        async def run_it(ids: list[str]) -> None:
            if watch.calls["save"] and not watch.lose_answers["save"]:
                del watch.before["get"]
                await run_one(app)

        watch.calls.clear()
        watch.lose_answers["save"] = 1
        watch.before["get"] = run_it
        assert (await app.dead_letters.retry(id)).state is State.COMPLETED
        await app.close()

    async def test_that_is_not_the_reason_is_no_success(self, watched_app: tuple[Mainspring, Watch]) -> None:
        app, watch = watched_app

        @app.task
        def work() -> None: ...

        id = (await work.enqueue()).id

        async def run_it(ids: list[str]) -> None:
            if watch.calls["save"]:
                del watch.before["get"]
                await run_one(app)

        watch.calls.clear()
        watch.down["save"] = 1
        watch.before["get"] = run_it
        with pytest.raises(IllegalTransition, match="completed"):
            await app.jobs.pause(id)
        await app.close()


async def test_an_unknown_task_is_told_from_the_known_ones_each_named_once(adding: Mainspring) -> None:
    await (await adding.connect()).publish_tasks(list(adding.tasks.values()))
    with pytest.raises(UnknownTask, match=r"'ad'\. Did you mean 'add'\? Known tasks: add\. ") as caught:
        await adding.enqueue("ad")
    assert caught.value.known == ["add"]
