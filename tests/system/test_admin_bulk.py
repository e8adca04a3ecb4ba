"""`app.jobs` and `app.dead_letters` by filters: many jobs, while others change them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from mainspring import Contended, DefinitionError, Mainspring
from mainspring.core.job import Error, Job, State
from mainspring.core.outcome import Dead, Success
from mainspring.core.records import WORKER, Record
from mainspring.stores import open_store
from mainspring.testing import FakeClock
from tests.factory import make_job
from tests.system.conftest import claim, settle
from tests.system.watched import Watch, watched

MANY = 2_000
TRACE = Error(type="ValueError", message="boom", traceback="x" * 4_000)


@pytest.fixture
async def app(url: str, clock: FakeClock) -> AsyncIterator[Mainspring]:
    store, watch = watched(open_store(url, clock.now))
    app = Mainspring(store, clock=clock)
    app.__dict__["watch"] = watch

    @app.task(name="t")
    async def t(a: int = 0) -> None: ...

    @app.task(name="u", queue="others")
    async def u() -> None: ...

    yield app
    await app.close()


def watch_of(app: Mainspring) -> Watch:
    watch = app.__dict__["watch"]
    assert isinstance(watch, Watch)
    return watch


async def fill(app: Mainspring, number: int, state: State = State.WAITING, **fields: Any) -> list[Job]:
    client = await app.connect()
    now = client.clock.now()
    fields = {"created_at": now, "finished_at": now if state.terminal else None, "expires_at": None} | fields
    jobs: list[Job] = []
    for first in range(0, number, 500):
        batch = [make_job(state=state, due=now, **fields) for _ in range(min(500, number - first))]
        jobs += await client.store.add(batch)
    return jobs


# -- many --------------------------------------------------------------------------------------------------------------


async def test_many_jobs_are_cancelled(app: Mainspring) -> None:
    await fill(app, MANY)
    await fill(app, 10, task="u", queue="others")

    assert await app.jobs.cancel(task="t", reason="a mistake") == MANY

    assert await app.jobs.count(task="t", status="cancelled") == MANY
    assert await app.jobs.count(task="u", status="pending") == 10
    assert {job.reason for job in await app.jobs.list(status="cancelled")} == {"a mistake"}


async def test_many_dead_jobs_are_retried(app: Mainspring) -> None:
    await fill(app, MANY, State.DEAD, attempts=5, reason="exhausted")
    await fill(app, 10, State.COMPLETED)

    assert await app.jobs.retry(task="t") == MANY

    assert await app.jobs.counts() == {**dict.fromkeys(await app.jobs.counts(), 0), "pending": MANY, "completed": 10}
    job = await app.jobs.get((await app.jobs.list(status="pending", limit=1)).jobs[0].id)
    assert job is not None
    assert (job.input, job.attempts, job.reason) == ('{"a":1}', 0, "")


async def test_many_jobs_are_paused_resumed_and_deleted(app: Mainspring) -> None:
    await fill(app, MANY)

    assert await app.jobs.pause(queue="default") == MANY
    assert await app.jobs.count(status="paused") == MANY
    assert await app.jobs.resume(queue="default") == MANY
    assert await app.jobs.count(status="pending") == MANY
    assert await app.jobs.delete(queue="default", status="pending") == MANY
    assert await app.jobs.count() == 0


async def test_a_batch_stays_within_what_a_store_takes(app: Mainspring) -> None:
    await fill(app, 600, State.DEAD, error=TRACE)

    assert await app.dead_letters.retry_all() == 600

    # 600 rows of 5 KB: three megabytes, and no round trip of more than one.
    assert 4 <= watch_of(app).calls["save"] <= 6


@pytest.mark.parametrize(
    ("act", "changed"),
    [
        ("retry", {State.FAILED, State.DEAD}),
        ("cancel", {State.WAITING, State.PAUSED, State.RUNNING}),
        ("delete", {State.COMPLETED, State.FAILED, State.DEAD, State.CANCELLED}),
        ("pause", {State.WAITING}),
        ("resume", {State.PAUSED}),
    ],
)
async def test_an_act_by_filter_means_the_jobs_to_which_it_applies(
    app: Mainspring, act: str, changed: set[State]
) -> None:
    before = {state: (await fill(app, 1, state, worker="w:9", token="x", claims=1))[0] for state in State}

    assert await getattr(app.jobs, act)(task="t") == len(changed)

    for state, job in before.items():
        now = await app.jobs.get(job.id)
        assert (now is None or now.version != job.version) is (state in changed), state


async def test_a_job_to_which_an_act_does_not_apply_is_passed_over(app: Mainspring) -> None:
    await fill(app, 3, State.DEAD)
    await fill(app, 2, State.PAUSED)
    assert await app.jobs.retry(status=["dead", "paused"]) == 3
    assert await app.jobs.count(status="paused") == 2


async def test_queues_and_workers_hear_of_what_concerns_them(app: Mainspring) -> None:
    await fill(app, 3, State.DEAD)
    await fill(app, 3, State.DEAD, task="u", queue="others")
    await fill(app, 3, State.RUNNING, worker="w:9", token="x", claims=1)
    watch = watch_of(app)
    heard: list[str] = []

    async def hear(name: str) -> None:
        heard.append(name)

    watch.before["wake"] = hear
    await app.dead_letters.retry_all()
    assert sorted(heard) == ["default", "others"]
    heard.clear()
    await app.jobs.cancel(status="running")
    assert heard == ["w:9"]


async def test_a_resume_wakes_every_live_worker_of_the_queue(app: Mainspring, clock: FakeClock) -> None:
    store = (await app.connect()).store
    lives = {"w:1": ("default", 60_000), "w:2": ("default", 60_000), "w:3": ("others", 60_000), "w:4": ("default", 0)}
    for name, (queue, lasts) in lives.items():
        record = Record(kind=WORKER, name=name, written_at=clock.now(), expires_at=clock.now() + lasts)
        await store.write([record.evolve(value={"queues": [queue], "tasks": ["t", "u"]})])
    await fill(app, 3)
    await app.queues.pause("default")
    assert (await app.queues.stats("default")).workers == 2

    watch_of(app).calls["wake"] = 0
    await app.queues.resume("default")
    assert watch_of(app).calls["wake"] == 2
    await app.queues.throttle("t", "1h")
    await app.queues.unthrottle("t")
    assert watch_of(app).calls["wake"] == 4


# -- while others change them ------------------------------------------------------------------------------------------


async def test_a_job_that_moved_on_is_looked_at_again(app: Mainspring) -> None:
    """Between our look and our write a worker claims some; a running job is asked to end instead."""
    jobs = await fill(app, 20)
    watch = watch_of(app)
    taken: list[Job] = []

    async def claim_some(_: object) -> None:
        del watch.before["save"]
        taken.extend(await claim(app, 5))

    watch.before["save"] = claim_some
    assert await app.jobs.cancel(task="t") == 20

    for job in jobs:
        row = await app.jobs.get(job.id)
        assert row is not None
        claimed = job.id in {one.id for one in taken}
        assert row.state == ("running" if claimed else "cancelled")
        assert (row.cancelling == "cancelled") is claimed


async def test_a_job_that_moved_out_of_the_filter_is_left_alone(app: Mainspring) -> None:
    await fill(app, 20)
    watch = watch_of(app)
    taken: list[Job] = []

    async def claim_some(_: object) -> None:
        del watch.before["save"]
        taken.extend(await claim(app, 5))

    watch.before["save"] = claim_some
    assert await app.jobs.delete(task="t", status="pending") == 15

    assert len(taken) == 5
    for job in taken:
        row = await app.jobs.get(job.id)
        assert row is not None
        assert row.cancelling is None
        await settle(app, row, Success())
    assert await app.jobs.count(status="completed") == 5


async def test_running_jobs_are_retried_with_their_own_input(app: Mainspring) -> None:
    for n in range(30):
        await app.enqueue("t", {"a": n})
    running = await claim(app, 30)
    assert len(running) == 30

    assert await app.jobs.retry(task="t", status="running") == 30

    for job in running:
        row = await settle(app, job, Success())
        again = await app.jobs.get(row.id)
        assert again is not None
        assert (again.state, again.input) == ("waiting", job.input)


async def test_a_job_that_never_holds_still_is_given_up(app: Mainspring) -> None:
    [job] = await fill(app, 1)
    client = await app.connect()

    watch = watch_of(app)

    async def change(_: object) -> None:
        watch.before.pop("save")
        await client.change(job.id, lambda row: row.evolve(priority=(row.priority + 1) % 100))
        watch.before["save"] = change

    watch.before["save"] = change
    with pytest.raises(Contended, match="Try again"):
        await app.jobs.cancel(task="t")
    watch.before.clear()
    assert await app.jobs.cancel(task="t") == 1


async def test_a_lost_hint_does_not_fail_an_act(app: Mainspring) -> None:
    await fill(app, 3, State.DEAD)
    watch_of(app).down["publish"] = 1
    assert await app.dead_letters.retry_all() == 3


async def test_what_dies_after_an_act_began_is_left_alone(app: Mainspring, clock: FakeClock) -> None:
    """It would be met later on, for pages go from the newest to the oldest."""
    [oldest] = await fill(app, 1)
    await fill(app, 600, State.DEAD)
    watch = watch_of(app)

    async def die(_: object) -> None:
        del watch.before["save"]
        await clock.advance(0.001)
        [job] = await claim(app)
        assert job.id == oldest.id
        await settle(app, job, Dead(reason="hopeless"))

    watch.before["save"] = die
    assert await app.dead_letters.retry_all() == 600
    assert [job.id for job in await app.dead_letters.list()] == [oldest.id]
    assert await app.jobs.retry(task="t", status="dead") == 1


async def test_progress_is_told_page_by_page(app: Mainspring) -> None:
    await fill(app, 1_200, State.DEAD)
    await fill(app, 10, State.PAUSED)
    told: list[tuple[int, int]] = []

    def tell(changed: int, seen: int) -> None:
        told.append((changed, seen))

    assert await app.jobs.retry(task="t", status=["dead", "paused"], on_progress=tell) == 1_200
    assert told == [(490, 500), (990, 1_000), (1_200, 1_210)]
    for act in (app.jobs.pause, app.jobs.resume, app.jobs.cancel, app.jobs.delete):
        told.clear()
        changed = await act(queue="default", on_progress=tell)
        assert told[-1] == (changed, changed)


async def test_progress_that_nobody_can_call_is_refused_before_anything_changes(app: Mainspring) -> None:
    await fill(app, 1, State.DEAD)
    bad: Any = 5
    for act in (app.jobs.retry, app.jobs.cancel, app.jobs.delete, app.jobs.pause, app.jobs.resume):
        with pytest.raises(DefinitionError, match="bad on_progress: 5"):
            await act(status="dead", on_progress=bad)
    for act_on_all in (app.dead_letters.retry_all, app.dead_letters.purge):
        with pytest.raises(DefinitionError, match="bad on_progress: 5"):
            await act_on_all(on_progress=bad)
    assert await app.dead_letters.count() == 1


async def test_what_progress_raises_ends_the_act(app: Mainspring) -> None:
    await fill(app, 1_200, State.DEAD)

    def enough(changed: int, seen: int) -> None:
        raise KeyError(changed)

    with pytest.raises(KeyError, match="500"):
        await app.dead_letters.purge(on_progress=enough)
    assert await app.dead_letters.count() == 700


async def test_a_cancellation_ends_an_act_between_two_pages(app: Mainspring) -> None:
    """And not in the middle of one: what is counted is what was done."""
    await fill(app, 1_200, State.DEAD)
    watch = watch_of(app)
    told: list[int] = []

    async def cancel(_: object) -> None:
        del watch.before["save"]
        acting.cancel()
        for _ in range(5):
            await asyncio.sleep(0)

    watch.before["save"] = cancel
    acting = asyncio.ensure_future(app.dead_letters.retry_all(on_progress=lambda changed, seen: told.append(changed)))
    with pytest.raises(asyncio.CancelledError):
        await acting
    assert told == [500]
    assert await app.dead_letters.count() == 700


# -- dead letters ------------------------------------------------------------------------------------------------------


async def test_dead_letters_are_purged_by_age(app: Mainspring, clock: FakeClock) -> None:
    await fill(app, 3, State.DEAD)
    await clock.advance("2d")
    await fill(app, 2, State.DEAD)
    others = await fill(app, 1, State.FAILED)

    assert await app.dead_letters.purge(older_than="1d") == 3
    assert await app.dead_letters.count() == 2
    assert await app.dead_letters.purge() == 2
    assert await app.jobs.count() == len(others)


async def test_a_job_that_is_retried_meanwhile_is_not_purged(app: Mainspring) -> None:
    jobs = await fill(app, 10, State.DEAD)
    watch = watch_of(app)

    async def retry_one(_: object) -> None:
        del watch.before["save"]
        await app.dead_letters.retry(jobs[3].id)

    watch.before["save"] = retry_one
    assert await app.dead_letters.purge() == 9
    assert [job.id for job in await app.jobs.list()] == [jobs[3].id]
