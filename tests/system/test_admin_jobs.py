"""`app.jobs` by id and by page: what operators see, and single acts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from mainspring import DefinitionError, IllegalTransition, Job, JobNotFound, Mainspring
from mainspring.core.job import Error
from mainspring.core.outcome import Dead, Failure, Outcome, Success
from mainspring.stores.base import LogLine
from mainspring.testing import FakeClock
from tests.system.conftest import claim, run_one, settle

BOOM = Error(type="ValueError", message="boom")


@pytest.fixture
def greet(app: Mainspring) -> None:
    @app.task(name="greet")
    async def greet(name: str = "Ada") -> None: ...

    @app.task(name="mail", queue="emails")
    async def mail() -> None: ...


async def one_of_each(app: Mainspring) -> dict[str, str]:
    """A job in every status, by status."""
    jobs: dict[str, str] = {}
    outcomes: dict[str, Outcome] = {
        "completed": Success(),
        "dead": Dead(reason="hopeless", error=BOOM),
        "failed": Failure(error=BOOM, retryable=False, dead_letter=False),
        "retrying": Failure(error=BOOM),
    }
    for status, outcome in outcomes.items():
        jobs[status] = (await app.enqueue("greet")).id
        await run_one(app, outcome)
    for status in ("running", "cancelled", "paused", "pending"):
        jobs[status] = (await app.enqueue("greet", {"name": status})).id
        if status == "running":
            await claim(app)
    await app.jobs.cancel(jobs["cancelled"])
    await app.jobs.pause(jobs["paused"])
    jobs["scheduled"] = (await app.enqueue("greet", {}, delay="1h")).id
    return jobs


# -- looking -----------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("greet")
async def test_a_job_is_read_with_input_and_runs(app: Mainspring) -> None:
    handle = await app.enqueue("greet", {"name": "Grace"})
    await run_one(app, Success(result='"done"'))

    job = await app.jobs.get(handle.id)

    assert job is not None
    assert job.input == '{"name":"Grace"}'
    assert job.result == '"done"'
    assert [run.outcome for run in job.runs] == ["succeeded"]


async def test_a_job_that_is_not_there_is_none(app: Mainspring) -> None:
    assert await app.jobs.get("nobody") is None


@pytest.mark.usefixtures("greet")
async def test_a_list_has_the_newest_first_unless_told_otherwise(app: Mainspring) -> None:
    ids = [(await app.enqueue("greet")).id for _ in range(3)]

    assert [job.id for job in await app.jobs.list()] == ids[::-1]
    assert [job.id for job in await app.jobs.list(oldest_first=True)] == ids


@pytest.mark.usefixtures("greet")
async def test_every_status_is_found_and_counted_apart(app: Mainspring) -> None:
    jobs = await one_of_each(app)

    for status, id in jobs.items():
        assert [job.id for job in await app.jobs.list(status=status)] == [id], status
        assert await app.jobs.count(status=status) == 1, status
    assert await app.jobs.counts() == dict.fromkeys(jobs, 1)


@pytest.mark.usefixtures("greet")
async def test_several_statuses_are_found_together(app: Mainspring) -> None:
    jobs = await one_of_each(app)

    page = await app.jobs.list(status=["scheduled", "dead", "retrying"])

    assert {job.id for job in page} == {jobs["scheduled"], jobs["dead"], jobs["retrying"]}
    assert await app.jobs.count(status=["scheduled", "dead", "retrying"]) == 3
    counts = await app.jobs.counts(status=["scheduled", "dead"])
    assert {status: n for status, n in counts.items() if n} == {"scheduled": 1, "dead": 1}


@pytest.mark.usefixtures("greet")
async def test_jobs_are_found_by_queue_task_worker_origin_and_error(app: Mainspring) -> None:
    mail = (await app.enqueue("mail")).id
    failed = (await app.enqueue("greet")).id
    [job] = [job for job in await claim(app) if job.id == failed]
    await settle(app, job, Failure(error=BOOM, retryable=False))
    await app.enqueue("greet")

    assert [job.id for job in await app.jobs.list(queue="emails")] == [mail]
    assert [job.id for job in await app.jobs.list(task="mail")] == [mail]
    assert [job.id for job in await app.jobs.list(task="greet", error="BOOM")] == [failed]
    assert {job.id for job in await app.jobs.list(worker="w:1")} == {mail, failed}
    assert len(await app.jobs.list(origin="call")) == 3
    assert len(await app.jobs.list(origin="nightly")) == 0


@pytest.mark.usefixtures("greet")
async def test_jobs_are_found_by_when_they_were_made(app: Mainspring, clock: FakeClock) -> None:
    old = (await app.enqueue("greet")).id
    await clock.advance("1h")
    new = (await app.enqueue("greet")).id
    between = datetime.fromtimestamp(clock.now() / 1000, UTC) - timedelta(minutes=30)

    assert [job.id for job in await app.jobs.list(created_after=between)] == [new]
    assert [job.id for job in await app.jobs.list(created_before=between)] == [old]


@pytest.mark.parametrize("limit", [1, 7, 100, 500])
@pytest.mark.usefixtures("greet")
async def test_pages_of_a_status_that_the_store_does_not_know_add_up(app: Mainspring, limit: int) -> None:
    client = await app.connect()
    requests = [
        app.tasks["greet"].options(delay="1h" if n % 3 else 0).job() for n in range(140 if limit == 1 else 1_300)
    ]
    handles = await client.enqueue_many(requests)
    scheduled = [handle.id for n, handle in enumerate(handles) if n % 3]

    found: list[str] = []
    cursor = None
    while True:
        page = await app.jobs.list(status="scheduled", limit=limit, cursor=cursor)
        assert len(page) <= limit
        assert len(page) == limit or page.cursor is None, "only the last page may be shorter"
        found += [job.id for job in page]
        cursor = page.cursor
        if cursor is None:
            break

    assert found == scheduled[::-1]


@pytest.mark.usefixtures("greet")
async def test_logs_are_read_in_order_and_from_a_place(app: Mainspring) -> None:
    handle = await app.enqueue("greet")
    client = await app.connect()
    await client.store.append([LogLine(handle.id, 1, 5, "info", f"line {n}") for n in range(3)], 100)

    lines = await app.jobs.logs(handle.id)

    assert [line.text for line in lines] == ["line 0", "line 1", "line 2"]
    assert [line.text for line in await app.jobs.logs(handle.id, after=lines[0].seq)] == ["line 1", "line 2"]


@pytest.mark.usefixtures("greet")
async def test_no_logs_and_no_job_are_told_apart(app: Mainspring) -> None:
    assert await app.jobs.logs((await app.enqueue("greet")).id) == []
    with pytest.raises(JobNotFound, match="nobody"):
        await app.jobs.logs("nobody")


@pytest.mark.usefixtures("greet")
@pytest.mark.parametrize(
    ("filters", "message"),
    [
        ({"status": "waiting"}, "unknown status: 'waiting'"),
        ({"status": ["dead", "gone"]}, "unknown status: 'gone'"),
        ({"state": "dead"}, "unknown filter: 'state'"),
        ({"task": ""}, "bad filter task"),
        ({"created_after": datetime(2030, 1, 1)}, "zone"),
        ({"limit": 0}, "bad limit"),
        ({"limit": 501}, "bad limit"),
        ({"task": 5}, "bad filter task: 5"),
        ({"task": [5]}, "bad filter task: 5"),
        ({"cursor": 5}, "bad cursor: 5. Expected the cursor of an earlier page"),
        ({"cursor": "a"}, "bad cursor: 'a'. Expected the cursor of an earlier page"),
    ],
)
async def test_filters_that_make_no_sense_are_refused(
    app: Mainspring, filters: dict[str, object], message: str
) -> None:
    await app.enqueue("greet")
    with pytest.raises(DefinitionError, match=message):
        await app.jobs.list(**filters)  # type: ignore[arg-type]


# -- acts on one job ---------------------------------------------------------------------------------------------------


async def stored(app: Mainspring, id: str) -> Job:
    job = await app.jobs.get(id)
    assert job is not None, f"job {id} is gone"
    return job


@pytest.mark.parametrize("status", ["completed", "dead", "failed", "retrying", "cancelled", "scheduled", "pending"])
@pytest.mark.usefixtures("greet")
async def test_retry_makes_a_job_run_now_with_new_attempts(app: Mainspring, status: str) -> None:
    id = (await one_of_each(app))[status]
    before = await stored(app, id)

    job = await app.jobs.retry(id)

    assert await app.jobs.status(job) == "pending"
    assert (job.attempts, job.due_at) == (0, app.clock.now())
    assert job.runs == before.runs
    assert (await stored(app, id)).input == before.input


@pytest.mark.usefixtures("greet")
async def test_retry_of_a_running_job_runs_it_once_more_after(app: Mainspring) -> None:
    id = (await one_of_each(app))["running"]

    await app.jobs.retry(id)

    job = await settle(app, await stored(app, id), Success())
    assert await app.jobs.status(job) == "pending"
    assert (await stored(app, id)).input == '{"name":"running"}'


@pytest.mark.usefixtures("greet")
async def test_retry_of_a_paused_job_is_refused(app: Mainspring) -> None:
    id = (await one_of_each(app))["paused"]
    with pytest.raises(IllegalTransition, match="resume it first"):
        await app.jobs.retry(id)


@pytest.mark.parametrize(
    ("status", "cancelled"),
    [
        ("scheduled", True),
        ("pending", True),
        ("retrying", True),
        ("paused", True),
        ("completed", False),
        ("dead", False),
        ("cancelled", False),
    ],
)
@pytest.mark.usefixtures("greet")
async def test_cancel_ends_what_waits_and_leaves_what_has_ended(app: Mainspring, status: str, cancelled: bool) -> None:
    id = (await one_of_each(app))[status]

    assert await app.jobs.cancel(id, "not needed") is cancelled

    job = await stored(app, id)
    assert await app.jobs.status(job) == ("cancelled" if cancelled else status)
    assert (job.reason == "not needed") is cancelled


@pytest.mark.usefixtures("greet")
async def test_a_cancelled_job_is_kept_as_long_as_its_task_says(app: Mainspring, clock: FakeClock) -> None:
    @app.task(retention="3d")
    async def kept() -> None: ...

    handle = await kept.enqueue()
    await app.jobs.cancel(handle.id)
    assert (await stored(app, handle.id)).expires_at == clock.now() + 3 * 86_400_000


@pytest.mark.usefixtures("greet")
async def test_cancel_of_a_running_job_asks_its_worker(app: Mainspring) -> None:
    id = (await one_of_each(app))["running"]
    client = await app.connect()

    assert await app.jobs.cancel(id, "too slow") is True

    assert await client.store.wait(["w:1"], 10), "the worker was not woken"
    job = await stored(app, id)
    assert (job.state, job.cancelling) == ("running", "too slow")
    assert (await settle(app, job, Failure(error=BOOM))).state == "cancelled"


@pytest.mark.usefixtures("greet")
async def test_delete_leaves_nothing(app: Mainspring) -> None:
    jobs = await one_of_each(app)
    running = jobs.pop("running")
    for status, id in jobs.items():
        assert await app.jobs.delete(id), status
        assert await app.jobs.get(id) is None, status
    assert not await app.jobs.delete(jobs["dead"])

    assert await app.jobs.delete(running)
    await settle(app, await stored(app, running), Success())
    assert await app.jobs.get(running) is None


@pytest.mark.usefixtures("greet")
async def test_a_paused_job_waits_until_it_is_resumed(app: Mainspring) -> None:
    handle = await app.enqueue("greet")

    assert (await app.jobs.pause(handle.id)).state == "paused"
    assert await claim(app) == []
    assert await app.jobs.status(await app.jobs.resume(handle.id)) == "pending"
    assert [job.id for job in await claim(app)] == [handle.id]


@pytest.mark.usefixtures("greet")
async def test_only_what_waits_is_paused_and_only_what_is_paused_resumed(app: Mainspring) -> None:
    jobs = await one_of_each(app)
    with pytest.raises(IllegalTransition, match="cannot pause"):
        await app.jobs.pause(jobs["running"])
    with pytest.raises(IllegalTransition, match="cannot resume"):
        await app.jobs.resume(jobs["pending"])


@pytest.mark.parametrize("act", ["retry", "cancel", "pause", "resume"])
async def test_an_act_on_a_job_that_is_not_there_says_so(app: Mainspring, act: str) -> None:
    with pytest.raises(JobNotFound, match="nobody"):
        await getattr(app.jobs, act)("nobody")


@pytest.mark.parametrize("method", ["get", "logs", "history", "retry", "cancel", "delete", "pause", "resume"])
async def test_what_is_no_id_is_refused(app: Mainspring, method: str) -> None:
    for bad in (5, ["1"], "\ud800"):
        with pytest.raises(DefinitionError, match="bad id of a job"):
            await getattr(app.jobs, method)(bad)
    if method in ("get", "retry"):
        with pytest.raises(DefinitionError, match="bad id of a job: 5"):
            await getattr(app.dead_letters, method)(5)


@pytest.mark.usefixtures("greet")
async def test_an_empty_id_is_an_id_that_no_job_has(app: Mainspring) -> None:
    await app.enqueue("greet")
    assert await app.jobs.get("") is None
    assert await app.jobs.delete("") is False
    with pytest.raises(JobNotFound):
        await app.jobs.retry("")
    assert await app.jobs.count() == 1


@pytest.mark.parametrize("act", ["retry", "cancel", "delete", "pause", "resume"])
async def test_an_act_takes_an_id_or_filters(app: Mainspring, act: str) -> None:
    with pytest.raises(DefinitionError, match="both an id and filters"):
        await getattr(app.jobs, act)("nobody", task="greet")
    with pytest.raises(DefinitionError, match="neither an id nor a filter"):
        await getattr(app.jobs, act)()
