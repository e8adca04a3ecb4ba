"""`add`: insert unless the id exists; answer what is stored."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest

from mainspring.core import states
from mainspring.core.ids import key_id, new_id
from mainspring.core.job import State
from mainspring.core.outcome import Success
from mainspring.core.policy import Policy
from mainspring.errors import DefinitionError
from mainspring.stores.base import BATCH_ROWS, Query, Store
from tests.conformance.bench import Bench
from tests.conformance.subjects import Subject, having_transactions, on_real_stores
from tests.factory import BOOM, NOW, make_ask, make_job

EVERYTHING = make_job(
    "all", state=State.FAILED, queue="q", task="send-email", priority=7, due=NOW + 5, claims=3, settled=2, token="tok",
    worker="w:1", started_at=NOW - 9, last_worker="w:0", last_started_at=NOW - 99, expires_at=NOW + 77,
    origin="nightly", keyed=True, progress='{"percent":5}', input='{"to":"☃"}', result="[1]", key="k", rule="merge",
    ask="a", first_asked_at=NOW, fingerprint="f", order=2**53, start_by=NOW, attempts=2, failed_at=NOW, error=BOOM,
    reason="r",
    has_result=True, again=make_ask("x"), retry={"max_attempts": 3}, timeout=5, retention=9, meta={"tenant": "é"},
)  # fmt: skip


async def test_every_field_is_stored(bench: Bench) -> None:
    [added] = await bench.add(EVERYTHING)
    assert added == EVERYTHING.evolve(version=1, input=None, result=None)
    assert await bench.row("all") == EVERYTHING.evolve(version=1)


async def test_a_new_row_gets_version_1_whatever_the_job_says(bench: Bench) -> None:
    [added] = await bench.add(make_job("a", version=9))
    assert added.version == 1


async def test_a_taken_id_answers_the_holder_and_changes_nothing(bench: Bench) -> None:
    await bench.add(make_job("a", input='{"first":1}'))
    [held] = (await bench.claim()).jobs
    [answer] = await bench.add(make_job("a", input='{"second":2}', priority=99, due=NOW + 9))
    assert answer == held.evolve(input=None)
    assert await bench.row("a") == held


async def test_twice_is_once(bench: Bench) -> None:
    jobs = [make_job("b"), make_job("a"), make_job("c")]
    first = await bench.add(*jobs)
    assert await bench.add(*jobs) == first
    assert [c.jobs for c in await bench.store.count(Query())] == [3]


async def test_the_answer_is_in_order_also_where_some_existed(bench: Bench) -> None:
    await bench.add(make_job("b", priority=1))
    rows = await bench.add(make_job("c"), make_job("b"), make_job("a"))
    assert [(r.id, r.priority) for r in rows] == [("c", 50), ("b", 1), ("a", 50)]


async def test_the_same_id_twice_in_one_batch_is_one_row(bench: Bench) -> None:
    rows = await bench.add(make_job("a", priority=1), make_job("b"), make_job("a", priority=2))
    assert [(r.id, r.priority, r.version) for r in rows] == [("a", 1, 1), ("b", 50, 1), ("a", 1, 1)]
    assert (await bench.row("a")).priority == 1
    assert [c.jobs for c in await bench.store.count(Query())] == [2]


async def test_nothing_is_nothing(bench: Bench) -> None:
    assert await bench.store.add([]) == []


async def test_a_bulk_keeps_its_order(bench: Bench) -> None:
    ids = [new_id() for _ in range(1_000)]
    await bench.add(*(make_job(id) for id in ids))
    taken: list[str] = []
    while claim := (await bench.claim(limit=300)).jobs:
        taken += [job.id for job in claim]
    assert taken == ids


async def test_a_full_batch_of_large_texts(bench: Bench) -> None:
    text = '{"x":"' + "é" * 900 + '"}'
    rows = await bench.store.add([make_job(input=text) for _ in range(BATCH_ROWS)])
    assert len({r.id for r in rows}) == BATCH_ROWS
    assert (await bench.row(rows[-1].id)).input == text


async def test_two_tasks_with_the_same_key_text_do_not_meet(bench: Bench) -> None:
    one, other = (make_job(key_id(task, "call", "k"), task=task, keyed=True) for task in ("t", "u"))
    rows = await bench.add(one, other)
    assert [r.task for r in rows] == ["t", "u"]


@on_real_stores
@pytest.mark.slow
async def test_a_key_holds_against_30_000_later_jobs(bench: Bench) -> None:
    """A count cap, or any trimming, never touches a keyed job."""
    key = key_id("t", "call", "payment-1")
    [job] = await bench.take(make_job(key, keyed=True, rule="once"))
    await bench.store.save([states.settle(job, Success(), NOW, Policy())])
    await bench.add(*(make_job(state=State.COMPLETED, task="u") for _ in range(30_000)))
    await bench.store.purge(NOW, 500)
    [answer] = await bench.add(make_job(key, keyed=True, rule="once"))
    assert (answer.state, answer.claims) == (State.COMPLETED, 1)


@having_transactions
async def test_within_a_callers_transaction_rows_exist_when_it_commits(
    store: Store, bench: Bench, tmp_path: Path, subject: Subject
) -> None:
    assert subject.transaction is not None
    with subject.transaction(tmp_path) as transaction:
        [row] = await store.add([make_job("a")], within=transaction)
        assert row.version == 1
        assert await bench.gone("a")
    assert (await bench.row("a")).version == 1
    assert [job.id for job in (await bench.claim()).jobs] == ["a"]


@having_transactions
async def test_within_a_transaction_that_is_rolled_back_nothing_happened(
    store: Store, bench: Bench, tmp_path: Path, subject: Subject
) -> None:
    assert subject.transaction is not None
    [held] = await bench.take(make_job("held"))
    with suppress(KeyError), subject.transaction(tmp_path) as transaction:
        await store.add([make_job("a")], within=transaction)
        await store.save([held.evolve(state=State.WAITING)], within=transaction)
        raise KeyError("the caller's own trouble")
    assert await bench.gone("a")
    assert await bench.row("held") == held
    assert [c.jobs for c in await store.count(Query())] == [1]


async def test_a_transaction_that_is_not_of_this_store_is_refused(bench: Bench) -> None:
    with pytest.raises(DefinitionError):
        await bench.store.add([make_job("a")], within=object())
    with pytest.raises(DefinitionError):
        await bench.store.save([make_job("a")], within=object())
    assert await bench.gone("a")
