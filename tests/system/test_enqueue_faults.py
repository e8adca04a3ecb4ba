"""A store that does not answer, or whose answers are lost, and others who are faster."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from mainspring import Contended, Job, Mainspring, StoreUnavailable
from mainspring.core import states
from mainspring.stores import open_store
from mainspring.stores.base import Store
from mainspring.testing import FakeClock
from tests.system.conftest import claim, count, run_one
from tests.system.watched import Watch, watched


@pytest.fixture
def store(clock: FakeClock) -> tuple[Store, Watch]:
    return watched(open_store("sqlite://:memory:", clock.now))


@pytest.fixture
def watch(store: tuple[Store, Watch]) -> Watch:
    return store[1]


@pytest.fixture
async def app(store: tuple[Store, Watch], clock: FakeClock) -> AsyncIterator[Mainspring]:
    app = Mainspring(store[0], clock=clock)
    yield app
    await app.close()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Back off by less than what is usual."""
    monkeypatch.setattr("mainspring.joining.FIRST_DELAY", 0.001)


@pytest.fixture
def given_up_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mainspring.joining.ADD_DEADLINE", 0.02)


@pytest.fixture
def silent(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The methods named in it are not answered: each call ends by its own time-out, after 10 s by joining's clock."""
    time, named = [0.0], set[str]()
    monkeypatch.setattr("mainspring.joining.monotonic", lambda: time[0])

    def silence(name: str) -> None:
        async def hang(_: object) -> None:
            if name in named:
                time[0] += 10
                raise StoreUnavailable("no answer within 10 s, says the test")

        watch.before[name] = hang

    for name in ("add", "save"):
        silence(name)
    return named


async def test_a_call_whose_answer_was_lost_is_one_job(app: Mainspring, watch: Watch) -> None:
    @app.task
    def work(n: int) -> None: ...

    watch.lose_answers["add"] = 1
    handle = await work.enqueue(1)
    assert handle.created, "it was this call that made it"
    assert await count(app) == 1
    assert watch.calls["add"] == 2


async def test_a_bulk_whose_answer_was_lost_is_stored_once(app: Mainspring, watch: Watch) -> None:
    @app.task
    def work(n: int) -> None: ...

    watch.lose_answers["add"] = 2
    await app.enqueue_many([work.job(n) for n in range(700)])
    assert await count(app) == 700


@pytest.mark.usefixtures("given_up_soon")
async def test_a_store_that_stays_away_is_an_error_and_the_next_call_works(app: Mainspring, watch: Watch) -> None:
    @app.task
    def work(n: int) -> None: ...

    watch.down["add"] = 1_000
    with pytest.raises(StoreUnavailable):
        await work.enqueue(1)
    watch.down["add"] = 0
    await work.enqueue(2)
    assert [job.input for job in await claim(app, limit=10)] == ['{"n":2}']


async def test_a_store_that_is_back_soon_is_asked_again(app: Mainspring, watch: Watch) -> None:
    @app.task
    def work(n: int) -> None: ...

    watch.down["add"] = 5
    await work.enqueue(1)
    assert watch.calls["add"] == 6


async def test_a_store_that_is_silent_until_its_time_out_is_asked_once(
    app: Mainspring, watch: Watch, silent: set[str]
) -> None:
    @app.task
    def work(n: int) -> None: ...

    silent.add("add")
    with pytest.raises(StoreUnavailable):
        await work.enqueue(1)
    assert watch.calls["add"] == 1


async def test_a_merge_into_a_store_that_is_silent_is_tried_once(
    app: Mainspring, watch: Watch, silent: set[str]
) -> None:
    @app.task(debounce="1s")
    def index(n: int) -> None: ...

    await index.enqueue(0)
    silent.add("save")
    with pytest.raises(StoreUnavailable):
        await index.enqueue(1)
    assert watch.calls["save"] == 1


@pytest.mark.usefixtures("given_up_soon")
async def test_a_merge_into_a_store_that_stays_away_says_so(app: Mainspring, watch: Watch) -> None:
    @app.task(debounce="1s")
    def index(n: int) -> None: ...

    await index.enqueue(0)
    watch.down["save"] = 1_000
    with pytest.raises(StoreUnavailable):
        await index.enqueue(1)


async def test_a_merge_whose_answer_was_lost_is_merged_once(app: Mainspring, watch: Watch, clock: FakeClock) -> None:
    @app.task(debounce="1s")
    def index(n: int) -> None: ...

    handle = await index.enqueue(0)
    before = await handle.get()
    watch.lose_answers["save"] = 1
    again = await index.enqueue(1)
    job = await handle.get()
    assert (job.input, job.version) == ('{"n":1}', before.version + 1)
    assert not again.created


async def test_a_merge_into_a_running_job_whose_answer_was_lost(
    app: Mainspring, watch: Watch, clock: FakeClock
) -> None:
    @app.task(debounce="1s")
    def index(n: int) -> None: ...

    handle = await index.enqueue(0)
    await clock.advance("1s")
    await claim(app)
    watch.lose_answers["save"] = 1
    await index.enqueue(1)
    job = await handle.get()
    assert job.again is not None
    assert job.again.input == '{"n":1}'
    assert watch.calls["save"] == 1, "looking again told that it had landed"


async def test_a_merge_takes_turns_with_others(app: Mainspring, store: tuple[Store, Watch], clock: FakeClock) -> None:
    """Somebody else writes the row between our look and our save, three times."""

    @app.task(debounce="1s")
    def index(n: int) -> None: ...

    handle = await index.enqueue(0)
    rounds = _meddle(app, store[1], handle.id, times=3)
    await index.enqueue(1)
    assert (await handle.get()).input == '{"n":1}'
    assert len(rounds) == 4


@pytest.mark.slow
async def test_a_row_that_never_stands_still_is_an_error(app: Mainspring, store: tuple[Store, Watch]) -> None:
    @app.task(debounce="1s")
    def index(n: int) -> None: ...

    handle = await index.enqueue(0)
    _meddle(app, store[1], handle.id, times=1_000)
    with pytest.raises(Contended, match="changed 50 times in a row"):
        await index.enqueue(1)
    assert (await handle.get()).input == '{"n":0}'


async def test_a_holder_that_is_erased_meanwhile_makes_room(app: Mainspring, watch: Watch, clock: FakeClock) -> None:
    @app.task(unique=True)
    def build() -> str:
        return ""

    handle = await build.enqueue()
    await run_one(app)

    async def purge(jobs: Sequence[Job]) -> None:
        watch.before.pop("save")
        client = await app.connect()
        [done] = await client.store.get([handle.id])
        assert done is not None
        await client.store.save([done.evolve(expires_at=0, input=None, result=None)])

    watch.before["save"] = purge
    again = await build.enqueue()
    assert again.created
    assert await again.status() == "pending"


async def test_a_cancel_whose_answer_was_lost_has_cancelled(app: Mainspring, watch: Watch) -> None:
    @app.task
    def work() -> None: ...

    handle = await work.enqueue()
    watch.lose_answers["save"] = 1
    assert await handle.cancel()
    assert await handle.status() == "cancelled"


@pytest.mark.usefixtures("given_up_soon")
async def test_concurrent_calls_all_learn_that_the_store_is_away(app: Mainspring, watch: Watch) -> None:
    @app.task
    def work(n: int) -> None: ...

    await app.open()
    watch.down["add"] = 1_000
    answers = await asyncio.gather(*(work.enqueue(n) for n in range(20)), return_exceptions=True)
    assert {type(answer) for answer in answers} == {StoreUnavailable}


def _meddle(app: Mainspring, watch: Watch, id: str, times: int) -> list[Any]:
    """Write the row before each of the next saves, as another process would."""
    rounds: list[Any] = []

    async def touch(jobs: Sequence[Job]) -> None:
        rounds.append(jobs)
        if len(rounds) > times:
            return
        hook = watch.before.pop("save")
        client = await app.connect()
        [row] = await client.store.get([id])
        assert row is not None
        changed = states.pause(row) if row.state is not states.P else states.resume(row)
        await client.store.save([changed.evolve(input=None)])
        watch.before["save"] = hook

    watch.before["save"] = touch
    return rounds
