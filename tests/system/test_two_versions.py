"""Old and new code on one store: renamed tasks, changed arguments, other queues. Both are apps of this process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import NamedTuple

import pytest

from mainspring import Context, DefinitionError, JobHandle, Mainspring
from mainspring.testing import FakeClock
from tests.stores_for_apps import SLOW_STORES, store_url


class Versions(NamedTuple):
    old: Mainspring
    new: Mainspring
    nameless: Mainspring
    """An app without code, whose callers know names."""


@pytest.fixture(params=["file", *SLOW_STORES])
def shared_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    with store_url(request.param, tmp_path) as url:
        yield url


@pytest.fixture
async def apps(shared_url: str, clock: FakeClock) -> AsyncIterator[Versions]:
    async with AsyncExitStack() as stack:
        made = [await stack.enter_async_context(Mainspring(shared_url, clock=clock)) for _ in range(3)]
        yield Versions(*made)


# -- names ---------------------------------------------------------------------------------------------------------


async def test_a_renamed_task_runs_the_jobs_of_its_old_name(apps: Versions, clock: FakeClock) -> None:
    @apps.old.task
    async def send(to: str) -> str:
        return f"sent to {to}"

    @apps.new.task(aliases=["send", "mail"])
    async def notify(ctx: Context, to: str) -> str:
        return f"{ctx.task}: notified {to}"

    async with apps.old.worker():
        pass  # it has announced its tasks, and is gone
    asked = [await send.enqueue("ada"), await apps.nameless.enqueue("send", {"to": "bob"})]
    assert (await apps.nameless.queues.stats("default")).no_handler == ("send",)
    asked.append(await apps.new.enqueue("send", {"to": "cy"}))
    async with apps.new.worker():
        await clock.advance(1)
        assert (await apps.nameless.queues.stats("default")).no_handler == ()
        asked.append(await send.options(delay=5).enqueue("dan"))
        assert (await apps.nameless.queues.stats("default")).no_handler == ()
        await clock.advance(10)
    rows = [await job.get() for job in asked]
    assert [row.task for row in rows] == ["send", "send", "notify", "send"], "what is enqueued has the new name"
    assert [await job.result() for job in asked] == [
        "send: notified ada", "send: notified bob", "notify: notified cy", "send: notified dan",
    ]  # fmt: skip


async def test_a_worker_of_some_tasks_takes_their_aliases_too(apps: Versions, clock: FakeClock) -> None:
    @apps.new.task(name="new", aliases=["old"])
    async def task() -> int:
        return 1

    @apps.new.task
    async def other() -> int:
        return 2

    for name in ("new", "old"):
        assert set(apps.new.worker(tasks=[name]).tasks) == {"new", "old"}
    assert set(apps.new.worker(tasks=["other"]).tasks) == {"other"}
    assert apps.new.tasks["old"] is apps.new.tasks["new"] is task
    assert other.aliases == ()


def test_an_alias_is_a_name_that_nobody_else_has() -> None:
    app = Mainspring("sqlite://:memory:")

    @app.task(name="first", aliases=["before"])
    async def first() -> None: ...

    for options in ({"name": "before"}, {"name": "x", "aliases": ["first"]}, {"name": "x", "aliases": ["before"]}):
        with pytest.raises(DefinitionError, match=r"a task named '(before|first)' exists already"):
            app.task(**options)(lambda: None)
    assert set(app.tasks) == {"first", "before"}, "nothing is left of what was refused"
    for aliases in ("before", ["x", "x"], ["y"], [5], 5):
        with pytest.raises(DefinitionError, match=r"aliases|bad task name"):
            app.task(name="y", aliases=aliases)(lambda: None)  # type: ignore[arg-type]


# -- queues --------------------------------------------------------------------------------------------------------


async def test_a_task_in_another_queue_leaves_nothing_behind_in_the_old_one(apps: Versions, clock: FakeClock) -> None:
    @apps.old.task(name="work", queue="before")
    async def old_work(n: int) -> int:
        return n

    @apps.new.task(name="work", queue="after")
    async def new_work(n: int) -> int:
        return -n

    async with apps.old.worker():
        pass
    later = await old_work.options(delay="1d").enqueue(1)
    async with apps.new.worker() as worker:
        assert worker.queues == ["after", "before"]
        asked = [await old_work.enqueue(2), await new_work.enqueue(3)]
        await clock.advance(1)
        assert [await job.result() for job in asked] == [-2, -3]
    async with apps.new.worker() as worker:
        assert worker.queues == ["after", "before"], "the next ones know it too"
        await clock.advance("2d")
    assert await later.result() == -1
    async with apps.old.worker() as worker:
        assert worker.queues == ["after", "before"], "and an old one that is started again"
    async with apps.new.worker(queues=["after"]) as worker:
        assert worker.queues == ["after"], "what is said holds"


async def test_a_renamed_task_in_another_queue_leaves_nothing_behind(apps: Versions, clock: FakeClock) -> None:
    @apps.old.task(name="before", queue="first")
    async def before() -> str:
        return "old"

    @apps.new.task(name="after", queue="second", aliases=["before"])
    async def after() -> str:
        return "new"

    async with apps.old.worker():
        pass
    job = await before.enqueue()
    async with apps.new.worker():
        await clock.advance(1)
    assert await job.result() == "new"


async def test_of_the_queues_before_only_the_last_are_remembered(shared_url: str, clock: FakeClock) -> None:
    for n in range(6):
        async with Mainspring(shared_url, clock=clock) as app:
            app.task(name="work", queue=f"q{n}")(lambda: None)
            async with app.worker() as worker:
                queues = worker.queues
    assert queues == ["q2", "q3", "q4", "q5"]


# -- arguments -----------------------------------------------------------------------------------------------------


async def with_a_new_argument(apps: Versions) -> tuple[JobHandle[str], Mainspring]:
    """A job of the new code that the old code cannot run."""

    @apps.old.task(name="send")
    async def old_send(to: str) -> str:
        return f"sent to {to}"

    @apps.new.task(name="send")
    async def new_send(to: str, copy: str | None = None) -> str:
        return f"sent to {to} and {copy}"

    plain = await new_send.enqueue("ada")
    async with apps.old.worker() as worker:
        await worker.drain()
    assert await plain.result() == "sent to ada", "defaults are not stored, so the old code can run it"
    return await new_send.enqueue("ada", copy="bob"), apps.old


async def test_what_the_old_code_cannot_run_is_left_for_the_new_code(apps: Versions, clock: FakeClock) -> None:
    job, old = await with_a_new_argument(apps)
    async with old.worker():
        await clock.advance("5m")
        row = await job.get()
        assert await job.status() == "scheduled"
        assert "another version of its task" in row.runs[-1].note
        assert "copy: is not known" in row.runs[-1].note
        async with apps.new.worker():
            await clock.advance("15m")
    assert await job.result() == "sent to ada and bob"
    assert ((await job.get()).runs[-1].attempt, (await job.get()).misfit_since) == (1, None)


async def test_it_is_bad_input_where_no_new_code_comes(apps: Versions, clock: FakeClock) -> None:
    job, old = await with_a_new_argument(apps)
    async with old.worker():
        await clock.advance("59m")
        assert await job.status() == "scheduled"
        await clock.advance("3m")
        row = await job.get()
        assert (row.state, row.reason, len(row.runs)) == ("dead", "not retryable", 5)
        assert row.error is not None
        assert "copy: is not known" in row.error.message
    async with apps.new.worker():
        await apps.new.dead_letters.retry(job.id)
        await clock.advance(1)
    assert await job.result() == "sent to ada and bob"


async def test_what_the_new_code_cannot_run_is_left_for_the_old_code(apps: Versions, clock: FakeClock) -> None:
    @apps.old.task(name="send")
    async def old_send(to: str) -> str:
        return f"sent to {to}"

    @apps.new.task(name="send")
    async def new_send(to: str, sender: str) -> str:
        return f"{sender} sent to {to}"

    job = await old_send.enqueue("ada")
    async with apps.new.worker():
        await clock.advance(30)
        assert await job.status() == "scheduled"
        async with apps.old.worker():
            await clock.advance("15m")
    assert await job.result() == "sent to ada"


async def test_a_misfit_expires_as_it_was_asked_to(apps: Versions, clock: FakeClock) -> None:
    @apps.old.task(name="send")
    async def old_send(to: str) -> None: ...

    @apps.new.task(name="send", expires="1m")
    async def new_send(to: str, copy: str = "") -> None: ...

    job = await new_send.enqueue("ada", copy="bob")
    async with apps.old.worker():
        await clock.advance("10m")
    assert ((await job.get()).state, (await job.get()).reason) == ("cancelled", "expired")


async def test_bad_values_are_bad_for_every_version(apps: Versions, clock: FakeClock) -> None:
    @apps.old.task
    async def send(to: str) -> None: ...

    async with apps.old.worker():
        job = await apps.nameless.enqueue("send", {"to": 5})
        await clock.advance(1)
        assert (await job.get()).reason == "not retryable"
