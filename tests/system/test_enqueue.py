"""What a call stores, and when it would start."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from mainspring import Context, Debounce, InputError, Job, Mainspring, Retry, State
from mainspring.core.duration import UNITS
from mainspring.core.outcome import Success
from mainspring.stores import open_store
from mainspring.testing import FakeClock
from tests.system.conftest import claim, count, run_one
from tests.system.watched import watched


async def test_a_call_is_stored_with_what_its_task_says(app: Mainspring, clock: FakeClock) -> None:
    @app.task(queue="emails", priority=75, expires="10m")
    async def send_email(ctx: Context, to: str, subject: str = "Hi") -> str:
        return to

    handle = await send_email.enqueue("a@b.c", subject="Hello")

    job = await handle.get()
    assert handle.created
    assert (job.id, job.task, job.queue, job.priority) == (handle.id, "send-email", "emails", 75)
    assert job.input == '{"to":"a@b.c","subject":"Hello"}'
    assert (job.state, job.due_at, job.scheduled_at, job.created_at) == (State.WAITING, *[clock.now()] * 3)
    assert job.start_by == clock.now() + 10 * UNITS["m"]
    assert await handle.status() == "pending"


async def test_what_is_left_out_stays_left_out_so_that_a_new_default_counts(app: Mainspring) -> None:
    @app.task
    def resize(path: str, width: int = 100) -> None: ...

    assert (await (await resize.enqueue("x")).get()).input == '{"path":"x"}'


async def test_the_options_of_a_call_win(app: Mainspring, clock: FakeClock) -> None:
    @app.task(queue="slow", retries=9, timeout=5)
    def work() -> None: ...

    call = work.options(
        delay="5m", priority=100, queue="fast", expires="1m", retry=Retry(2, backoff="fixed"), timeout="30s",
        retention="2h", meta={"trace": "abc"},
    )  # fmt: skip
    job = await (await call.enqueue()).get()

    assert (job.queue, job.priority, job.timeout, job.retention) == ("fast", 100, 30_000, 2 * UNITS["h"])
    assert job.due_at == clock.now() + 5 * UNITS["m"]
    assert job.start_by == job.due_at + UNITS["m"]
    assert job.meta == {"trace": "abc"}
    assert job.retry is not None
    assert Retry.from_dict(job.retry).max_attempts == 2
    assert await app.status(job.id) == "scheduled"


async def test_retries_are_the_runs_after_the_first(app: Mainspring) -> None:
    @app.task
    def work() -> None: ...

    job = await (await work.options(retries=3).enqueue()).get()
    assert job.retry is not None
    assert Retry.from_dict(job.retry).max_attempts == 4


@pytest.mark.parametrize("shift", [timedelta(hours=1), timedelta(hours=-1)])
async def test_a_call_can_name_its_time_even_one_that_is_over(app: Mainspring, clock: FakeClock, shift: Any) -> None:
    @app.task
    def work() -> None: ...

    at = datetime.fromtimestamp(clock.now() / 1000, UTC) + shift
    job = await (await work.options(at=at).enqueue()).get()
    assert job.due_at == round(at.timestamp() * 1000)
    assert bool(await claim(app)) is (shift < timedelta(0))


async def test_a_delayed_job_is_not_due_before_its_time(app: Mainspring, clock: FakeClock) -> None:
    @app.task
    def work() -> None: ...

    await work.options(delay="1h").enqueue()
    await clock.advance("59m 59s")
    assert await claim(app) == []
    await clock.advance("1s")
    assert len(await claim(app)) == 1


async def test_jobs_start_by_priority_then_in_the_order_of_their_calls(app: Mainspring) -> None:
    @app.task
    def work(n: int) -> None: ...

    for n in range(3):
        await work.enqueue(n)
    await work.options(priority=100).enqueue(100)
    await work.options(priority=0).enqueue(-100)
    for n in range(3, 6):
        await work.enqueue(n)

    jobs = await claim(app, limit=20)
    assert [work.arguments(job.input or "")["n"] for job in jobs] == [100, 0, 1, 2, 3, 4, 5, -100]


async def test_a_task_is_still_a_function(app: Mainspring) -> None:
    @app.task
    async def double(ctx: Context | None, n: int) -> int:
        """Twice as much."""
        return 2 * n

    assert await double(None, 4) == 8
    assert (double.__name__, double.__doc__, double.description) == ("double", "Twice as much.", "Twice as much.")
    assert await count(app) == 0


async def test_a_thousand_calls_keep_their_order_and_cost_two_round_trips(clock: FakeClock) -> None:
    store, watch = watched(open_store("sqlite://:memory:", clock.now))
    app = Mainspring(store, clock=clock)

    @app.task
    def work(n: int) -> None: ...

    handles = await app.enqueue_many([work.job(n) for n in range(1_000)])

    assert watch.calls["add"] == 2
    assert [work.arguments(job.input or "")["n"] for job in await claim(app, limit=1_000)] == list(range(1_000))
    assert len({handle.id for handle in handles}) == 1_000
    assert all(handle.created for handle in handles)
    await app.close()


async def test_a_batch_stays_within_the_bytes_of_a_round_trip(clock: FakeClock) -> None:
    store, watch = watched(open_store("sqlite://:memory:", clock.now))
    app = Mainspring(store, clock=clock)

    @app.task
    def work(text: str) -> None: ...

    await app.enqueue_many([work.job("x" * 200_000) for _ in range(10)])
    assert watch.calls["add"] == 3
    assert await count(app) == 10
    await app.close()


async def test_many_calls_of_nothing_do_nothing(app: Mainspring) -> None:
    assert await app.enqueue_many([]) == []


async def test_concurrent_calls_share_round_trips(clock: FakeClock) -> None:
    store, watch = watched(open_store("sqlite://:memory:", clock.now))
    app = Mainspring(store, clock=clock)

    @app.task
    def work(n: int) -> None: ...

    await work.enqueue(-1)
    watch.calls.clear()
    await asyncio.gather(*(work.enqueue(n) for n in range(1_000)))

    assert watch.calls["add"] <= 4, "one goes alone, and the rest collect behind it"
    assert await count(app) == 1_001
    await app.close()


async def test_a_call_whose_caller_was_cancelled_is_stored_or_not_but_hurts_no_other(app: Mainspring) -> None:
    @app.task
    def work(n: int) -> None: ...

    await app.open()
    calls = [asyncio.ensure_future(work.enqueue(n)) for n in range(10)]
    await asyncio.sleep(0)
    calls[3].cancel()
    done = await asyncio.gather(*calls, return_exceptions=True)
    assert [n for n, answer in enumerate(done) if isinstance(answer, BaseException)] == [3]
    assert await count(app) in (9, 10)


async def test_enqueue_takes_a_task_a_request_or_a_name(app: Mainspring) -> None:
    @app.task
    def work(n: int) -> int:
        return n

    handles = [
        await app.enqueue(work, 1),
        await app.enqueue(work, n=1),
        await app.enqueue(work.job(1)),
        await app.enqueue("work", {"n": 1}),
        await app.enqueue("work", {"n": "1"}, priority=100),
    ]
    jobs = [await handle.get() for handle in handles]
    assert {job.input for job in jobs} == {'{"n":1}'}
    assert [job.priority for job in jobs] == [50, 50, 50, 50, 100]


async def test_a_request_is_a_new_call_each_time(app: Mainspring) -> None:
    @app.task
    def work() -> None: ...

    request = work.job()
    assert (await app.enqueue(request)).id != (await app.enqueue(request)).id


async def test_enqueueing_from_many_event_loops_one_after_the_other(url: str, clock: FakeClock) -> None:
    app = Mainspring(url, clock=clock)

    @app.task
    def work(n: int) -> None: ...

    def in_a_loop_of_its_own(n: int) -> int:
        async def call() -> int:
            await work.enqueue(n)
            return await count(app)

        return asyncio.run(call())

    for n in range(3):
        assert await asyncio.to_thread(in_a_loop_of_its_own, n) == n + 1
    assert await count(app) == 3
    await app.close()


async def test_the_result_is_what_the_annotation_promises(app: Mainspring) -> None:
    @app.task
    def when() -> datetime:
        return datetime.now(UTC)

    moment = datetime(2030, 1, 1, tzinfo=UTC)
    handle = await when.enqueue()
    await run_one(app, Success(result=when.encode_result(moment)))
    assert await handle.result(timeout=60) == moment
    assert await app.job(handle.id, when).result(timeout=60) == moment
    assert await app.job(handle.id).result(timeout=60) == "2030-01-01T00:00:00Z"


async def test_positional_only_keyword_only_and_open_parameters(app: Mainspring) -> None:
    seen: list[Any] = []

    @app.task
    def work(a: int, b: int = 2, /, *, c: int, **rest: int) -> None:
        seen.append((a, b, c, rest))

    job = await (await work.enqueue(1, c=3, d=4)).get()
    work.handler(**work.arguments(cast(str, job.input)))
    assert seen == [(1, 2, 3, {"d": 4})]
    with pytest.raises(InputError, match="d: input should be a valid integer"):
        await work.enqueue(1, c=3, d="x")  # type: ignore[arg-type]


async def test_debounce_with_a_bound_is_written_down_once(app: Mainspring, clock: FakeClock) -> None:
    @app.task(debounce=Debounce("1s", max_wait="3s"))
    def index() -> None: ...

    job: Job = await (await index.enqueue()).get()
    assert job.due_at == clock.now() + 1_000
    assert job.first_asked_at == clock.now()
