"""`claim`: which jobs it takes, in which order, and what it writes."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from mainspring.core.job import Job, State
from mainspring.core.records import GATE, Record, queue_gate, task_gate
from mainspring.stores.base import Query, Store
from tests.conformance.bench import Bench
from tests.factory import LEASE, NOW, make_job


def ids(jobs: list[Job]) -> list[str]:
    return [job.id for job in jobs]


# -- what is taken ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [s for s in State if s is not State.WAITING and s is not State.RUNNING])
async def test_only_what_waits_or_has_lapsed_is_taken(bench: Bench, state: State) -> None:
    await bench.add(make_job("no", state=state, due=NOW - 1), make_job("yes"))
    assert ids((await bench.claim()).jobs) == ["yes"]


async def test_due_is_up_to_now(bench: Bench) -> None:
    await bench.add(make_job("later", due=NOW + 1), make_job("now", due=NOW), make_job("early", due=NOW - 5))
    assert ids((await bench.claim()).jobs) == ["early", "now"]


async def test_only_the_queue_and_the_tasks_that_were_named(bench: Bench) -> None:
    await bench.add(make_job("q", queue="q"), make_job("u", task="u"), make_job("t"), make_job("tt", task="tt"))
    assert ids((await bench.claim(["t"])).jobs) == ["t"]
    assert ids((await bench.claim([])).jobs) == []
    assert ids((await bench.claim(["t"], queue="nowhere")).jobs) == []
    assert sorted(ids((await bench.claim(["t", "u", "unknown"])).jobs)) == ["u"]
    assert ids((await bench.claim(["t"], queue="q")).jobs) == ["q"]


async def test_at_most_limit(bench: Bench) -> None:
    await bench.add(*(make_job(f"{n:02}") for n in range(10)))
    assert [len((await bench.claim(limit=4)).jobs) for _ in range(4)] == [4, 4, 2, 0]


async def test_strange_names_are_only_names(bench: Bench) -> None:
    names = ["a'b", 'a"b', "a:b", "a%b", "☃", "a b", "A", "a"]
    await bench.add(*(make_job(n, task=n, queue="Q'%") for n in names))
    for name in names:
        assert ids((await bench.claim([name], queue="Q'%")).jobs) == [name]


# -- what is written --------------------------------------------------------------------------------------------


async def test_what_a_claim_writes(bench: Bench) -> None:
    [added] = await bench.add(make_job("a", input='{"x":1}', progress="7", result="9"))
    [job] = (await bench.claim(worker="w:1", token="one")).jobs
    expected = added.evolve(
        state=State.RUNNING, due_at=NOW + LEASE, token="one", worker="w:1", started_at=NOW, claims=1, version=2,
        input='{"x":1}', last_worker="", last_started_at=None,
    )  # fmt: skip
    assert job.evolve(result=None) == expected
    assert await bench.row("a") == expected.evolve(result="9")
    now = bench.clock.advance(LEASE)
    [again] = (await bench.claim(worker="w:2", token="two", lease=7)).jobs
    assert again.evolve(result=None) == expected.evolve(
        due_at=now + 7, token="two", worker="w:2", started_at=now, claims=2, version=3, last_worker="w:1",
        last_started_at=NOW,
    )  # fmt: skip


async def test_a_claim_that_takes_nothing_writes_nothing(bench: Bench) -> None:
    await bench.add(make_job("later", due=NOW + 1), make_job("held"), make_job("u", task="u"))
    await bench.claim()
    before = [await bench.row(id) for id in ("later", "held", "u")]
    for _ in range(3):
        assert (await bench.claim(limit=5)).jobs == []
    assert [await bench.row(id) for id in ("later", "held", "u")] == before


async def test_two_claimers_never_take_the_same_job(bench: Bench, store: Store) -> None:
    await bench.add(*(make_job() for _ in range(300)))
    other = store.clone()
    await other.open()
    stores = (store, other)

    async def claimer(number: int) -> list[str]:
        mine = Bench(stores[number % 2], bench.clock)
        taken: list[str] = []
        while jobs := (await mine.claim(worker=f"w:{number}", limit=7)).jobs:
            taken += ids(jobs)
        return taken

    taken = [id for ids_ in await asyncio.gather(*map(claimer, range(6))) for id in ids_]
    await other.close()
    assert len(taken) == len(set(taken)) == 300


# -- order ------------------------------------------------------------------------------------------------------


async def test_priority_is_strict(bench: Bench) -> None:
    for priority in (0, 100, 49, 50, 51):
        await bench.add(make_job(f"p{priority}", priority=priority, due=NOW - priority, task="tu"[priority % 2]))
    await bench.add(make_job("oldest", priority=10, due=NOW - 10**9))
    assert ids((await bench.claim(["t", "u"])).jobs) == ["p100", "p51", "p50", "p49", "oldest", "p0"]


async def test_a_later_job_of_higher_priority_overtakes_when_it_is_due(bench: Bench) -> None:
    await bench.add(make_job("low"), make_job("low2"), make_job("high", priority=99, due=NOW + 1_000))
    assert ids((await bench.claim(limit=1)).jobs) == ["low"]
    bench.clock.advance(1_000)
    assert ids((await bench.claim(limit=1)).jobs) == ["high"]


async def test_inside_a_lane_by_due_time_and_id(bench: Bench) -> None:
    await bench.add(make_job("c", due=NOW - 1), make_job("b", due=NOW - 2), make_job("a", due=NOW - 1))
    assert ids((await bench.claim()).jobs) == ["b", "a", "c"]


async def test_lanes_by_the_due_time_of_their_first_job(bench: Bench) -> None:
    await bench.add(
        make_job("t1", task="t", due=NOW - 3),
        make_job("u1", task="u", due=NOW - 9),
        make_job("v1", task="v", due=NOW - 6),
    )
    assert ids((await bench.claim(["t", "u", "v"], limit=2)).jobs) == ["u1", "v1"]
    assert ids((await bench.claim(["t", "u", "v"])).jobs) == ["t1"]


async def test_one_at_a_time_a_flooded_lane_does_not_starve_its_neighbour(bench: Bench) -> None:
    await bench.add(*(make_job(f"t{n:03}", task="t", due=NOW - 1_000 + n) for n in range(100)))
    await bench.add(make_job("u", task="u", due=NOW - 995))
    taken = [id for _ in range(10) for id in ids((await bench.claim(["t", "u"], limit=1)).jobs)]
    assert "u" in taken


async def test_lapsed_leases_come_first_even_before_a_backlog(bench: Bench) -> None:
    await bench.take(make_job("lapsed", priority=0), make_job("lapsed-too", task="t", priority=1))
    bench.clock.advance(LEASE)
    await bench.add(*(make_job(priority=100, due=NOW - 10**6, task="tu"[n % 2]) for n in range(2_000)))
    assert sorted(ids((await bench.claim(["t", "u"], limit=2)).jobs)) == ["lapsed", "lapsed-too"]


async def test_a_lease_lapses_at_its_end_and_not_before(bench: Bench) -> None:
    await bench.take(make_job("a"))
    bench.clock.advance(LEASE - 1)
    assert (await bench.claim()).jobs == []
    bench.clock.advance(1)
    [job] = (await bench.claim(worker="w:2")).jobs
    assert (job.claims, job.last_worker, job.interruptions) == (2, "w:1", 1)


# -- gates ------------------------------------------------------------------------------------------------------


async def gate(bench: Bench, name: str, expires_at: int | None) -> Record:
    [record] = await bench.store.write([Record(kind=GATE, name=name, written_at=NOW, expires_at=expires_at)])
    assert record is not None
    return record


@pytest.mark.parametrize("name", [queue_gate("default"), task_gate("t")])
async def test_nothing_passes_a_closed_gate(bench: Bench, name: str) -> None:
    await bench.take(make_job("lapsed"))
    bench.clock.advance(LEASE)
    await bench.add(make_job("waiting"))
    record = await gate(bench, name, None)
    assert (await bench.claim()).jobs == []
    assert await bench.store.erase(record)
    assert sorted(ids((await bench.claim()).jobs)) == ["lapsed", "waiting"]


@pytest.mark.parametrize("name", [queue_gate("default"), task_gate("t")])
async def test_a_gate_opens_when_it_expires_and_next_due_says_when(bench: Bench, name: str) -> None:
    await bench.add(make_job("a"))
    await gate(bench, name, NOW + 500)
    claim = await bench.claim()
    assert (claim.jobs, claim.next_due) == ([], NOW + 500)
    bench.clock.advance(499)
    assert (await bench.claim()).jobs == []
    bench.clock.advance(1)
    assert ids((await bench.claim()).jobs) == ["a"]


async def test_a_gate_closes_what_it_names_and_nothing_else(bench: Bench) -> None:
    await gate(bench, task_gate("t"), None)
    await gate(bench, queue_gate("t"), None)
    await gate(bench, task_gate("default"), None)
    await bench.add(
        make_job("t"), make_job("u", task="u"), make_job("tq", queue="other"), make_job("uq", task="u", queue="t")
    )
    assert ids((await bench.claim(["t", "u"])).jobs) == ["u"]
    assert ids((await bench.claim(["t", "u"], queue="other")).jobs) == []
    assert ids((await bench.claim(["t", "u"], queue="t")).jobs) == []


# -- caps -------------------------------------------------------------------------------------------------------


async def running(bench: Bench, task: str) -> int:
    counts = await bench.store.count(Query(states=(State.RUNNING,), task=task))
    return sum(c.jobs for c in counts)


async def test_a_cap_is_passed_by_no_claim(bench: Bench) -> None:
    await bench.add(*(make_job() for _ in range(10)), *(make_job(task="u") for _ in range(10)))
    assert Counter(j.task for j in (await bench.claim({"t": 3, "u": None}, limit=8)).jobs) == {"t": 3, "u": 5}
    assert Counter(j.task for j in (await bench.claim({"t": 3, "u": None}, limit=8)).jobs) == {"u": 5}
    assert (await bench.claim({"t": 0})).jobs == []
    assert len((await bench.claim({"t": 5})).jobs) == 2


async def test_a_cap_counts_in_all_queues(bench: Bench) -> None:
    for queue in ("one", "two"):
        await bench.add(*(make_job(queue=queue) for _ in range(5)))
    assert len((await bench.claim({"t": 3}, queue="one", limit=2)).jobs) == 2
    assert len((await bench.claim({"t": 3}, queue="two")).jobs) == 1
    assert (await bench.claim({"t": 3}, queue="one")).jobs == []


async def test_a_lapsed_lease_does_not_count_until_it_is_taken(bench: Bench) -> None:
    await bench.add(*(make_job() for _ in range(4)))
    assert len((await bench.claim({"t": 2})).jobs) == 2
    bench.clock.advance(LEASE)
    again = (await bench.claim({"t": 2})).jobs
    assert [j.claims for j in again] == [2, 2]
    assert (await bench.claim({"t": 2})).jobs == []


async def test_a_settle_frees_a_place(bench: Bench) -> None:
    await bench.add(*(make_job() for _ in range(3)))
    [job] = (await bench.claim({"t": 1})).jobs
    await bench.store.save([job.evolve(state=State.COMPLETED, expires_at=NOW + 1)])
    assert len((await bench.claim({"t": 1})).jobs) == 1


async def test_the_queue_cap_counts_all_its_tasks(bench: Bench) -> None:
    await bench.add(*(make_job(task=task) for task in "ttuu"), make_job(queue="other"))
    await bench.claim(["t"], queue="other")
    assert len((await bench.claim(["t", "u"], cap=3)).jobs) == 3
    assert (await bench.claim(["t", "u"], cap=3)).jobs == []
    assert len((await bench.claim(["t", "u"], cap=None)).jobs) == 1


async def test_a_cap_holds_against_many_claimers_in_many_queues(bench: Bench, store: Store) -> None:
    queues = ("a", "b", "c")
    for queue in queues:
        await bench.add(*(make_job(queue=queue) for _ in range(20)))
    other = store.clone()
    await other.open()
    stores = (store, other)

    async def claimer(number: int) -> int:
        mine = Bench(stores[number % 2], bench.clock)
        return len((await mine.claim({"t": 3}, queue=queues[number % 3], worker=f"w:{number}")).jobs)

    assert sum(await asyncio.gather(*map(claimer, range(12)))) == 3
    assert await running(bench, "t") == 3
    await other.close()


async def test_a_cap_comes_and_goes_with_1_000_jobs_waiting(bench: Bench) -> None:
    jobs = [make_job() for _ in range(1_000)]
    await bench.add(*jobs)
    assert len((await bench.claim({"t": None}, limit=10)).jobs) == 10
    assert (await bench.claim({"t": 4})).jobs == [], "ten run already"
    bench.clock.advance(LEASE)
    assert len((await bench.claim({"t": 4})).jobs) == 4
    assert len((await bench.claim({"t": None}, limit=500)).jobs) == 500
    untouched = await bench.row(jobs[-1].id)
    assert (untouched.version, untouched.queue, untouched.state) == (1, "default", State.WAITING)


# -- when to look again -----------------------------------------------------------------------------------------


async def test_next_due_of_an_empty_store_is_unknown(bench: Bench) -> None:
    assert (await bench.claim()).next_due is None


async def test_next_due_is_the_next_job_of_the_named_tasks(bench: Bench) -> None:
    await bench.add(
        make_job(due=NOW + 900), make_job(due=NOW + 700, priority=0), make_job(task="u", due=NOW + 5),
        make_job(queue="other", due=NOW + 6), make_job(state=State.PAUSED, due=NOW + 7),
    )  # fmt: skip
    assert (await bench.claim()).next_due == NOW + 700


async def test_next_due_is_the_end_of_a_lease(bench: Bench) -> None:
    await bench.add(make_job(), make_job(due=NOW + 60_000))
    claim = await bench.claim(lease=2_000)
    assert len(claim.jobs) == 1
    assert (await bench.claim()).next_due == NOW + 2_000


async def test_an_answer_cut_by_its_limit_says_at_once(bench: Bench) -> None:
    await bench.add(make_job(), make_job(), make_job(due=NOW + 500))
    claim = await bench.claim(limit=1)
    assert claim.next_due is not None
    assert claim.next_due <= NOW
    rest = await bench.claim(limit=5)
    assert rest.next_due is not None
    assert rest.next_due > NOW


async def test_a_full_task_is_looked_at_again_when_a_lease_ends_in_any_queue(bench: Bench) -> None:
    await bench.add(make_job(queue="other"), make_job())
    await bench.claim({"t": 1}, queue="other", lease=3_000)
    claim = await bench.claim({"t": 1})
    assert (claim.jobs, claim.next_due) == ([], NOW + 3_000)
