"""`get`, `find`, `count`: looking changes nothing and misses nothing."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mainspring.core.job import Error, Job, State
from mainspring.stores.base import BATCH_ROWS, Query, Store
from tests.conformance.bench import Bench
from tests.conformance.model import bare, matches
from tests.conformance.subjects import Subject
from tests.factory import BOOM, NOW, FakeClock, make_job


async def test_get_answers_in_order_with_payload_and_none_for_what_is_not_there(bench: Bench) -> None:
    a, b = make_job("a", input='{"x":1}'), make_job("b", result="[2]")
    await bench.add(a, b)
    found = await bench.store.get(["b", "nobody", "a", "b"])
    assert found == [b.evolve(version=1), None, a.evolve(version=1), b.evolve(version=1)]
    assert await bench.store.get([]) == []


async def test_a_thousand_ids_at_once(bench: Bench) -> None:
    jobs = [make_job() for _ in range(BATCH_ROWS)]
    await bench.add(*jobs)
    found = await bench.store.get([job.id for job in reversed(jobs)])
    assert [job and job.id for job in found] == [job.id for job in reversed(jobs)]


SAMPLE = [
    make_job("a", queue="q", task="t", origin="nightly"),
    make_job("b", queue="q", task="u", keyed=True, created_at=NOW + 10),
    make_job("c", state=State.DEAD, error=Error(type="KeyError", message="The Left Hand"), created_at=NOW + 20),
    make_job("d", state=State.FAILED, error=BOOM, worker="w:9"),
    make_job("e", state=State.PAUSED, error=Error(type="E", message="100% of _it_ ☃"), worker="w:9"),
    make_job("f", state=State.COMPLETED, task="u"),
]
QUERIES: list[tuple[dict[str, Any], str]] = [
    ({}, "abcdef"),
    ({"states": (State.WAITING,)}, "ab"),
    ({"states": (State.DEAD, State.FAILED)}, "cd"),
    ({"queue": "q"}, "ab"),
    ({"queue": "Q"}, ""),
    ({"task": "u"}, "bf"),
    ({"task": "u", "queue": "q"}, "b"),
    ({"task": "u", "states": (State.COMPLETED,)}, "f"),
    ({"worker": "w:9"}, "de"),
    ({"worker": "w:9", "states": (State.PAUSED,)}, "e"),
    ({"origin": "nightly"}, "a"),
    ({"origin": "call", "queue": "q"}, "b"),
    ({"keyed": True}, "b"),
    ({"keyed": False, "queue": "q"}, "a"),
    ({"created_after": NOW + 10}, "bc"),
    ({"created_before": NOW + 10}, "adef"),
    ({"created_after": NOW + 1, "created_before": NOW + 20}, "b"),
    ({"error": "left hand"}, "c"),
    ({"error": "KEYERROR"}, "c"),
    ({"error": "boom"}, "d"),
    ({"error": "0% of _IT"}, "e"),
    ({"error": "☃"}, "e"),
    ({"error": "0_of"}, ""),
    ({"error": "b%m"}, ""),
    ({"error": "'"}, ""),
]


@pytest.mark.parametrize(("given_", "expected"), QUERIES, ids=lambda v: str(v)[:50])
async def test_everything_given_must_hold(bench: Bench, given_: dict[str, Any], expected: str) -> None:
    await bench.add(*SAMPLE)
    query = Query(oldest_first=True, **given_)
    page = await bench.store.find(query)
    assert "".join(job.id for job in page.jobs) == expected
    assert page.jobs == [bare(j).evolve(version=1) for j in SAMPLE if j.id in expected]
    assert page.cursor is None
    assert sum(c.jobs for c in await bench.store.count(query)) == len(expected)


async def test_newest_first_by_insertion_unless_told_otherwise(bench: Bench) -> None:
    for id, created in (("b", 3), ("c", 1), ("a", 2)):
        await bench.add(make_job(id, created_at=created))
    assert [j.id for j in (await bench.store.find(Query())).jobs] == ["a", "c", "b"]
    assert [j.id for j in (await bench.store.find(Query(oldest_first=True))).jobs] == ["b", "c", "a"]


@pytest.mark.parametrize("oldest_first", [False, True])
@pytest.mark.parametrize("more", [{}, {"task": "t"}, {"states": (State.WAITING,)}])
async def test_pages_lose_and_repeat_nothing(bench: Bench, oldest_first: bool, more: dict[str, Any]) -> None:
    ids = [f"{n:03}" for n in range(25)]
    await bench.add(*(make_job(id) for id in ids))
    pages, query = [], Query(limit=10, oldest_first=oldest_first, **more)
    while True:
        page = await bench.store.find(query)
        pages.append([job.id for job in page.jobs])
        if page.cursor is None:
            break
        query = query.evolve(after=page.cursor)
    assert [len(p) for p in pages] == [10, 10, 5]
    assert [id for p in pages for id in p] == (ids if oldest_first else ids[::-1])


async def test_a_page_survives_what_is_added_meanwhile(bench: Bench) -> None:
    await bench.add(*(make_job(f"{n}") for n in range(4)))
    first = await bench.store.find(Query(limit=2))
    await bench.add(make_job("new"))
    second = await bench.store.find(Query(limit=2, after=first.cursor))
    assert [j.id for j in first.jobs + second.jobs][:3] == ["3", "2", "1"]


async def test_the_last_page_that_is_full_says_that_it_is_the_last(bench: Bench) -> None:
    await bench.add(make_job(), make_job())
    page = await bench.store.find(Query(limit=2))
    if page.cursor is not None:
        assert await bench.store.find(Query(limit=2, after=page.cursor)) == ([], None)


async def test_counts_per_queue_task_and_state(bench: Bench) -> None:
    assert await bench.store.count(Query()) == []
    await bench.add(*SAMPLE)
    counts = {(c.queue, c.task, c.state): c.jobs for c in await bench.store.count(Query())}
    assert counts == Counter((j.queue, j.task, j.state) for j in SAMPLE)
    [held] = (await bench.claim(queue="q", limit=1)).jobs
    counts = {(c.queue, c.task, c.state): c.jobs for c in await bench.store.count(Query(queue="q"))}
    assert counts == {("q", "t", State.RUNNING): 1, ("q", "u", State.WAITING): 1}
    await bench.store.save([held.evolve(state=State.COMPLETED, expires_at=0)])
    assert [c.task for c in await bench.store.count(Query(queue="q"))] == ["u"]


JOBS = st.lists(
    st.builds(
        lambda **f: make_job(**f),
        state=st.sampled_from(State), task=st.sampled_from("tu"), queue=st.sampled_from(["q", "default"]),
        origin=st.sampled_from(["call", "nightly"]), keyed=st.booleans(), worker=st.sampled_from(["", "w:1"]),
        created_at=st.integers(NOW, NOW + 3), error=st.sampled_from([None, BOOM]),
    ),
    max_size=8,
)  # fmt: skip
ASKED = st.builds(
    Query,
    states=st.sampled_from([(), (State.WAITING,), (State.RUNNING, State.DEAD)]),
    queue=st.sampled_from([None, "q"]), task=st.sampled_from([None, "t"]), worker=st.sampled_from([None, "w:1"]),
    origin=st.sampled_from([None, "call"]), keyed=st.sampled_from([None, True, False]),
    created_after=st.sampled_from([None, NOW + 2]), created_before=st.sampled_from([None, NOW + 2]),
    error=st.sampled_from([None, "BOOM"]), oldest_first=st.booleans(), limit=st.sampled_from([1, 3, 500]),
)  # fmt: skip


@pytest.mark.slow
async def test_count_equals_what_find_lists_always(store: Store) -> None:
    held: list[Job] = []

    async def check(jobs: list[Job], query: Query) -> None:
        await store.add(jobs)
        held.extend(jobs)
        listed, page_of = list[Job](), query
        while True:
            page = await store.find(page_of)
            listed += page.jobs
            if page.cursor is None:
                break
            page_of = query.evolve(after=page.cursor)
        expected = [j.id for j in held if matches(j, query)]
        assert [j.id for j in listed] == (expected if query.oldest_first else expected[::-1])
        counts = {(c.queue, c.task, c.state): c.jobs for c in await store.count(query)}
        assert counts == Counter((j.queue, j.task, j.state) for j in listed)

    cases: list[tuple[list[Job], Query]] = []

    @settings(max_examples=40, database=None)
    @given(JOBS, ASKED)
    def draw(jobs: list[Job], query: Query) -> None:
        cases.append((jobs, query))

    draw()
    for jobs, query in cases:
        await check([job.evolve(id=f"{len(held):05}-{n}") for n, job in enumerate(jobs)], query)


async def test_another_clone_sees_the_same(store: Store, subject: Subject, clock: FakeClock) -> None:
    await store.add([make_job("a")])
    other = store.clone()
    await other.open()
    [row] = await other.get(["a"])
    await other.close()
    assert row is not None
    assert await store.get(["a"]) == [row]
