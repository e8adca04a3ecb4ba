"""Keys: ONCE (idempotency_key), SKIP (unique) and MERGE (debounce), through the public API."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mainspring import Debounce, Mainspring, State
from mainspring.core import states
from mainspring.core.duration import UNITS
from mainspring.core.outcome import Failure, Success
from mainspring.stores import open_store
from mainspring.testing import FakeClock
from tests.factory import BOOM
from tests.system.conftest import claim, count, run_one, settle
from tests.system.watched import watched

# -- ONCE ------------------------------------------------------------------------------------------------------------


async def test_an_idempotency_key_is_one_job_finished_or_not(app: Mainspring, clock: FakeClock) -> None:
    @app.task(idempotency_key=lambda payment, **_: f"charge-{payment}")
    def charge(payment: str, note: str = "") -> str:
        return payment

    first = await charge.enqueue("p1")
    again = await charge.enqueue("p1", note="other")
    other = await charge.enqueue("p2")
    assert (first.created, again.created, other.created) == (True, False, True)
    assert first.id == again.id != other.id

    await run_one(app, Success(result='"p1"'))
    await clock.advance("23h")
    late = await charge.enqueue("p1")
    assert not late.created
    assert await late.result(timeout=60) == "p1"
    assert (await late.get()).input == '{"payment":"p1"}'


async def test_an_idempotency_key_ends_with_its_retention_purged_or_not(app: Mainspring, clock: FakeClock) -> None:
    @app.task(retention="2d")
    def charge() -> str:
        return ""

    call = charge.options(idempotency_key="k")
    await call.enqueue()
    done = await run_one(app)
    await clock.advance("49h")
    revived = await call.enqueue()
    job = await revived.get()
    assert (job.id, job.state, job.has_result) == (done.id, State.WAITING, False)
    assert len(job.runs) == 1, "its history stays"


@pytest.mark.slow
async def test_30_000_later_jobs_and_the_key_still_holds(clock: FakeClock) -> None:
    app = Mainspring("sqlite://:memory:", clock=clock)

    @app.task
    def work(n: int) -> str:
        return "done"

    call = work.options(idempotency_key="the-one")
    first = await call.enqueue(-1)
    await run_one(app)
    for start in range(0, 30_000, 10_000):
        await app.enqueue_many([work.job(n) for n in range(start, start + 10_000)])
    client = await app.connect()
    await client.store.purge(clock.now(), 500)

    again = await call.enqueue(-1)
    assert (again.id, again.created) == (first.id, False)
    assert await again.result(timeout=60) == "done"
    await app.close()


async def test_the_same_key_text_of_two_tasks_or_two_rules_is_two_keys(app: Mainspring) -> None:
    @app.task
    def one() -> None: ...

    @app.task
    def two() -> None: ...

    handles = [await task.options(idempotency_key="k").enqueue() for task in (one, two)]
    handles += [await task.options(unique_key="k").enqueue() for task in (one, two)]
    assert len({handle.id for handle in handles}) == 4


async def test_a_key_in_one_bulk_many_times_is_one_job(app: Mainspring) -> None:
    @app.task
    def work(n: int) -> None: ...

    requests = [work.options(idempotency_key=str(n % 3)).job(n) for n in range(1_200)]
    handles = await app.enqueue_many(requests)
    assert await count(app) == 3
    assert [handle.id for handle in handles] == [handles[n % 3].id for n in range(1_200)]
    assert [handle.created for handle in handles[:4]] == [True, True, True, False]
    assert [(await handle.get()).input for handle in handles[:3]] == ['{"n":0}', '{"n":1}', '{"n":2}']


RACER = """
import asyncio, sys
from mainspring import Mainspring

app = Mainspring(sys.argv[1])

@app.task(idempotency_key=lambda n: str(n))
def work(n: int) -> None: ...

async def main():
    await app.open()
    print("ready", flush=True)
    sys.stdin.readline()
    handles = [await work.enqueue(n) for n in range(20)]
    print(sum(handle.created for handle in handles))

asyncio.run(main())
"""


@pytest.mark.slow
def test_eight_processes_enqueue_the_same_keys_at_once(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/jobs.db"
    racers = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", RACER, url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ,
        )
        for _ in range(8)
    ]
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("\n")
        racer.stdin.flush()
    created = [int(racer.communicate()[0]) for racer in racers]
    assert [racer.returncode for racer in racers] == [0] * 8
    assert sum(created) == 20
    app = Mainspring(url)
    assert app.sync(count, app) == 20
    app.sync.close()


async def test_a_key_function_takes_what_it_names_defaults_included(app: Mainspring) -> None:
    @app.task(idempotency_key=lambda user, plan: f"{user}/{plan}")
    def charge(user: str, amount: int, plan: str = "free") -> None: ...

    job = await (await charge.enqueue("u1", 5)).get()
    assert job.key == "u1/free"
    assert job.input == '{"user":"u1","amount":5}'


# -- SKIP ------------------------------------------------------------------------------------------------------------


async def test_unique_by_input_is_one_live_job_and_a_finished_one_runs_again(app: Mainspring) -> None:
    @app.task(unique=True)
    def build(project: str, clean: bool = False) -> str:
        return project

    first = await build.enqueue(project="a")
    same = [await build.enqueue("a"), await build.enqueue(clean=False, project="a")]
    other = await build.enqueue("a", clean=True)
    assert [handle.id for handle in same] == [first.id] * 2
    assert other.id != first.id
    assert not any(handle.created for handle in same)

    [job] = await claim(app)
    assert (await build.enqueue("a")).id == job.id, "it wins while it runs"
    await settle(app, job)
    again = await build.enqueue("a")
    assert again.id == first.id
    assert await again.status() == "pending"


async def test_unique_by_a_key_keeps_the_first_input_while_it_lives(app: Mainspring) -> None:
    @app.task(unique=lambda user, **_: user)
    def sync_user(user: str, reason: str) -> None: ...

    first = await sync_user.enqueue("u1", "login")
    await sync_user.enqueue("u1", "logout")
    assert (await first.get()).input == '{"user":"u1","reason":"login"}'
    await run_one(app, Failure(error=BOOM, retryable=False))
    assert await first.status() == "dead"
    await sync_user.enqueue("u1", "logout")
    assert (await first.get()).input == '{"user":"u1","reason":"logout"}'
    assert await first.status() == "pending"


async def test_a_thousand_unique_calls_at_once_are_one_job_even_where_a_finished_one_holds_the_key(
    app: Mainspring,
) -> None:
    @app.task(unique=True)
    def build() -> str:
        return ""

    await build.enqueue()
    await run_one(app)
    handles = await asyncio.gather(*(build.enqueue() for _ in range(1_000)))
    assert len({handle.id for handle in handles}) == 1
    assert len(await claim(app, limit=10)) == 1


# -- MERGE -----------------------------------------------------------------------------------------------------------


async def test_a_burst_is_one_run_of_the_newest_input_a_window_after_the_last_call(
    app: Mainspring, clock: FakeClock
) -> None:
    @app.task(debounce=Debounce("10s", key=lambda user: user))
    def index(user: str, revision: int) -> None: ...

    for revision in range(5):
        await index.enqueue("u1", revision)
        await clock.advance("9s")
    await index.enqueue("u2", 0)
    assert await claim(app) == []
    await clock.advance("1s")
    [job] = await claim(app, limit=10)
    assert job.input == '{"user":"u1","revision":4}'
    await settle(app, job)
    await clock.advance("10s")
    assert [job.input for job in await claim(app, limit=10)] == ['{"user":"u2","revision":0}']


async def test_a_burst_waits_no_longer_than_max_wait(app: Mainspring, clock: FakeClock) -> None:
    @app.task(debounce=Debounce("10s", max_wait="25s"))
    def index(n: int) -> None: ...

    started = clock.now()
    handle = await index.enqueue(0)
    for n in range(1, 4):
        await clock.advance("8s")
        await index.enqueue(n)
    assert (await handle.get()).due_at == started + 25_000
    await clock.advance("1s")
    [job] = await claim(app)
    assert job.input == '{"n":3}'


async def test_a_call_during_the_run_is_run_after_it(app: Mainspring, clock: FakeClock) -> None:
    @app.task(debounce="1s")
    def index(n: int) -> str:
        return ""

    handle = await index.enqueue(0)
    await clock.advance("1s")
    [job] = await claim(app)
    await index.enqueue(1)
    await index.enqueue(2)
    row = await settle(app, job)
    assert (row.state, row.id) == (State.WAITING, handle.id)
    await clock.advance("1s")
    [job] = await claim(app)
    assert job.input == '{"n":2}'
    assert (await settle(app, job)).state is State.COMPLETED
    await index.enqueue(3)
    assert await handle.status() == "scheduled"


@pytest.mark.slow
async def test_ten_thousand_calls_of_one_key_at_once_cost_a_few_writes(clock: FakeClock) -> None:
    store, watch = watched(open_store("sqlite://:memory:", clock.now))
    app = Mainspring(store, clock=clock)

    @app.task(debounce="1s")
    def index(n: int) -> None: ...

    handles = await asyncio.gather(*(index.enqueue(n) for n in range(10_000)))
    assert len({handle.id for handle in handles}) == 1
    assert (await handles[0].get()).input == '{"n":9999}'
    assert watch.calls["add"] <= 25
    assert watch.calls["save"] <= 25
    await app.close()


async def test_a_bulk_with_one_key_many_times_takes_the_last(app: Mainspring, clock: FakeClock) -> None:
    @app.task(debounce=Debounce("1s", key=lambda n: str(n % 2)))
    def index(n: int) -> None: ...

    handles = await app.enqueue_many([index.job(n) for n in range(1_000)])
    await clock.advance("1s")
    assert sorted(job.input or "" for job in await claim(app, limit=10)) == ['{"n":998}', '{"n":999}']
    assert [handle.id for handle in handles] == [handles[n % 2].id for n in range(1_000)]


async def test_a_key_of_the_call_replaces_the_rule_of_its_task(app: Mainspring, clock: FakeClock) -> None:
    @app.task(debounce="1h")
    def index(n: int) -> None: ...

    job = await (await index.options(idempotency_key="k").enqueue(1)).get()
    assert (job.rule, job.key, job.due_at) == ("once", "k", clock.now())


async def test_a_paused_job_takes_asks_and_stays_paused(app: Mainspring, clock: FakeClock) -> None:
    @app.task(debounce="1s")
    def index(n: int) -> None: ...

    handle = await index.enqueue(0)
    client = await app.connect()
    await client.change(handle.id, states.pause)
    await index.enqueue(1)
    job = await handle.get()
    assert (job.state, job.input) == (State.PAUSED, '{"n":1}')
    assert job.due_at == clock.now() + UNITS["s"]


async def test_a_set_has_one_text_in_every_process(app: Mainspring) -> None:
    @app.task(unique=True)
    async def tag(tags: set[str]) -> None: ...

    letters = "qwertyuiopasdfghjkl"
    assert tag.encode_input(tags=set(letters)) == f'{{"tags":{json.dumps(sorted(letters), separators=(",", ":"))}}}'
