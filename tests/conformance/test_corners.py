"""The corners that a review of the design found: lost answers, rebirths, floods, races. One test each."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from mainspring.core import codec, states
from mainspring.core.ids import key_id, new_id
from mainspring.core.job import SCHEMA, Job, State
from mainspring.core.outcome import Failure, Success
from mainspring.core.policy import DAY, Policy, Retry
from mainspring.core.records import GATE, Record, queue_gate, task_gate
from mainspring.stores.base import Beat, Query, Store
from tests.conformance.bench import Bench
from tests.conformance.subjects import on_real_stores
from tests.factory import BOOM, LEASE, NOW, make_ask, make_job

POLICY = Policy(retry=Retry(3, "fixed", initial_delay=0, jitter=0))


# -- answers that were lost -------------------------------------------------------------------------------------


async def test_an_add_repeated_by_many_at_once_is_one_row(bench: Bench, store: Store) -> None:
    other = store.clone()
    await other.open()
    jobs = [make_job(key_id("t", "call", "payment"), keyed=True, ask=str(n)) for n in range(8)]
    rows = await asyncio.gather(*((store, other)[n % 2].add([job]) for n, job in enumerate(jobs)))
    assert len({row.ask for [row] in rows}) == 1
    assert [c.jobs for c in await store.count(Query())] == [1]
    await other.close()


@pytest.mark.parametrize("outcome", [Success(result="1"), Failure(error=BOOM)])
async def test_a_save_whose_answer_was_lost_is_recognised(bench: Bench, outcome: Success | Failure) -> None:
    [held] = await bench.take(make_job("a"))
    done = states.settle(held, outcome, NOW, POLICY)
    await bench.store.save([done])
    assert await bench.store.save([done]) == [None]
    assert states.landed(await bench.row("a"), held)
    assert len((await bench.row("a")).runs) == 1


async def test_a_save_that_did_not_land_is_not_taken_for_one(bench: Bench) -> None:
    [held] = await bench.take(make_job("a"))
    assert not states.landed(await bench.row("a"), held)
    bench.clock.advance(LEASE)
    [newer] = (await bench.claim(worker="w:2")).jobs
    await bench.store.save([states.settle(newer, Success(), bench.clock.now, POLICY)])
    assert not states.landed(await bench.row("a"), held)


async def test_a_claim_whose_answer_was_lost_is_found_and_given_back(bench: Bench) -> None:
    await bench.add(*(make_job(id) for id in "abc"))
    [mine] = (await bench.claim(worker="w:1", limit=1, token="before")).jobs
    await bench.claim(worker="w:1", limit=2, token="lost")
    found = await bench.store.find(Query(worker="w:1", states=(State.RUNNING,)))
    lost = [job for job in found.jobs if job.token == "lost"]
    assert sorted(job.id for job in lost) == ["b", "c"]
    await bench.store.save([states.release(job, NOW, NOW, POLICY) for job in lost])
    again = (await bench.claim(worker="w:2")).jobs
    assert [(j.id, j.interruptions, j.runs, j.input) for j in again] == [(id, 0, (), mine.input) for id in "bc"]
    assert [states.begin(job, NOW, POLICY) is job for job in again] == [True, True]


# -- rows that go and come back ---------------------------------------------------------------------------------


async def reborn(bench: Bench) -> tuple[Job, Job]:
    """The row of a worker that slept, and the row of the key's next life, both under claim 1 and version 2."""
    [old] = await bench.take(make_job("k", keyed=True), worker="w:1")
    bench.clock.advance(LEASE)
    [second] = (await bench.claim(worker="w:2")).jobs
    await bench.store.save([states.settle(second, Success(), bench.clock.now, POLICY)])
    bench.clock.advance(2 * DAY)
    assert await bench.store.purge(bench.clock.now, 10) == 1
    [new] = await bench.take(make_job("k", keyed=True), worker="w:1")
    assert (new.claims, new.version, new.worker) == (old.claims, old.version, old.worker)
    return old, new


async def test_a_key_comes_back_after_purge_and_the_old_token_changes_nothing(bench: Bench) -> None:
    old, new = await reborn(bench)
    assert await bench.store.renew([Beat("k", old.token, "99")], NOW + 10 * DAY) == []
    for stale in (
        states.settle(old, Success(), bench.clock.now, POLICY),
        states.release(old, NOW, NOW, POLICY),
        old.evolve(state=State.COMPLETED, expires_at=0),
    ):
        assert await bench.store.save([stale]) == [None]
    assert await bench.row("k") == new
    assert await bench.store.save([states.settle(new, Success(), bench.clock.now, POLICY)]) != [None]


async def test_purge_and_revive_at_once_keep_exactly_one_story(bench: Bench, store: Store) -> None:
    other = store.clone()
    await other.open()
    for round_ in range(30):
        key = f"k{round_}"
        await bench.add(make_job(key, state=State.COMPLETED, rule="skip", expires_at=NOW))
        revived = states.join(await bench.row(key), make_ask("again"), NOW)
        assert revived is not None
        purged, [saved] = await asyncio.gather(other.purge(NOW, 10), store.save([revived]))
        row = (await store.get([key]))[0]
        assert (purged, saved is None, row is None) in ((1, True, True), (0, False, False))
    await other.close()


# -- gates ------------------------------------------------------------------------------------------------------


@on_real_stores
@pytest.mark.slow
async def test_nothing_starts_after_pause_has_returned_in_1_000_rounds(bench: Bench, store: Store) -> None:
    """A claimer that never rests, on a store of its own, against pause, add and resume."""
    other = store.clone()
    await other.open()
    claimer, taken, over = Bench(other, bench.clock), list[Job](), asyncio.Event()

    async def claim_for_ever() -> None:
        while not over.is_set():
            taken.extend((await claimer.claim(worker="w:2")).jobs)

    racing = asyncio.create_task(claim_for_ever())
    for round_ in range(1_000):
        name = queue_gate("default") if round_ % 2 else task_gate("t")
        [gate] = await store.write([Record(kind=GATE, name=name, written_at=NOW + round_)])
        assert gate is not None
        await store.add([make_job(f"{round_}")])
        assert (await bench.claim()).jobs == []
        assert (await bench.row(f"{round_}")).state is State.WAITING, "started behind a closed gate"
        assert await store.erase(gate)
    over.set()
    await racing
    taken.extend((await bench.claim(limit=500)).jobs)
    while more := (await bench.claim(limit=500)).jobs:
        taken.extend(more)
    assert Counter(job.id for job in taken) == Counter(str(n) for n in range(1_000))
    await other.close()


# -- floods -----------------------------------------------------------------------------------------------------

FLOOD = 20_000


@on_real_stores
@pytest.mark.slow
async def test_a_flood_that_may_not_run_hinders_nobody(bench: Bench) -> None:
    """20,000 jobs that may not run, before the others in every way: claims take full batches of the others, and
    nothing is written to a row of the flood."""
    for _ in range(FLOOD // 500):
        await bench.store.add([make_job(task="flood", priority=99, due=NOW - DAY, input=None) for _ in range(500)])
    await others_are_taken(bench, {"t": None}, "not named")
    name = task_gate("flood")
    [gate] = await bench.store.write([Record(kind=GATE, name=name, written_at=NOW, expires_at=NOW + DAY)])
    assert gate is not None
    await others_are_taken(bench, {"t": None, "flood": None}, "throttled")
    await bench.store.erase(gate)
    await bench.add(make_job(task="flood", queue="other"))
    assert len((await bench.claim({"flood": 1}, queue="other")).jobs) == 1
    await others_are_taken(bench, {"t": None, "flood": 1}, "full in another queue")
    assert len((await bench.claim({"flood": 3})).jobs) == 2
    await others_are_taken(bench, {"t": None, "flood": 3}, "full")


async def others_are_taken(bench: Bench, tasks: dict[str, int | None], why: str) -> None:
    written = await written_to_flood(bench)
    await bench.add(*(make_job() for _ in range(300)))
    batches = [(await bench.claim(tasks, limit=100)).jobs for _ in range(3)]
    assert [len(batch) for batch in batches] == [100, 100, 100], why
    assert {job.task for batch in batches for job in batch} == {"t"}, why
    last = await bench.claim(tasks, limit=100)
    assert last.jobs == [], why
    assert last.next_due is None or last.next_due > NOW, f"{why}: it would ask again at once, for ever"
    assert await written_to_flood(bench) == written, why


async def written_to_flood(bench: Bench) -> int:
    """How often rows of the flood that wait were written since they were added."""
    page = await bench.store.find(Query(task="flood", states=(State.WAITING,), limit=500))
    return sum(job.version - 1 for job in page.jobs)


async def test_a_bulk_of_1_000_keyless_jobs_keeps_its_order_across_batches_and_claimers(bench: Bench) -> None:
    ids = [new_id() for _ in range(1_000)]
    await bench.add(*(make_job(id) for id in ids))
    taken: list[str] = []
    while jobs := (await bench.claim(worker=f"w:{len(taken) % 3}", limit=37)).jobs:
        taken += [job.id for job in jobs]
    assert taken == ids


# -- old and new versions side by side --------------------------------------------------------------------------


async def test_unknown_body_fields_survive_a_claim_a_renew_and_a_save(bench: Bench) -> None:
    newer = make_job("a", schema=SCHEMA + 1, extra={"lineage": {"parent": "☃"}, "weights": [1, 2]})
    [added] = await bench.add(newer)
    assert added.extra == newer.extra
    [held] = (await bench.claim()).jobs
    await bench.store.renew([Beat("a", held.token, "1")], NOW + LEASE)
    fresh = await bench.row("a")
    [saved] = await bench.store.save([states.settle(fresh, Failure(error=BOOM), NOW, POLICY)])
    assert saved is not None
    [again] = (await bench.claim()).jobs
    assert (again.extra, again.schema, again.attempts) == (newer.extra, SCHEMA + 1, 1)
    assert '"lineage":{"parent":"☃"}' in codec.encode_body(again)


# -- progress, then the end -------------------------------------------------------------------------------------


async def test_progress_then_return_is_no_conflict_for_long(bench: Bench) -> None:
    """A beat that carries progress overtakes the settle: the same worker settles the fresher row, under its token."""
    [held] = await bench.take(make_job("a"))
    await bench.store.renew([Beat("a", held.token, "100")], NOW + LEASE)
    done = states.settle(held, Success(result="1"), NOW, POLICY)
    assert await bench.store.save([done]) == [None]
    fresh = await bench.row("a")
    assert fresh.token == held.token
    [saved] = await bench.store.save([states.settle(fresh, Success(result="1"), NOW, POLICY)])
    assert saved is not None
    assert (saved.state, saved.progress, (await bench.row("a")).result) == (State.COMPLETED, "100", "1")


async def test_swaps_of_many_writers_lose_no_update(bench: Bench, store: Store) -> None:
    """Twenty writers add one to the same row, each until its swap is taken."""
    await bench.add(make_job("a"))
    other = store.clone()
    await other.open()

    async def add_one(mine: Store) -> None:
        while True:
            [row] = await mine.get(["a"])
            assert row is not None
            if await mine.save([row.evolve(attempts=row.attempts + 1)]) != [None]:
                return

    await asyncio.gather(*(add_one((store, other)[n % 2]) for n in range(20)))
    row = await bench.row("a")
    assert (row.attempts, row.version) == (20, 21)
    await other.close()
