"""`save`: replace the row where version and token are still the job's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mainspring.core import states
from mainspring.core.job import State
from mainspring.core.outcome import Failure, Success
from mainspring.core.policy import Policy
from mainspring.stores.base import Beat, LogLine, Query, Store
from tests.conformance.bench import Bench
from tests.conformance.subjects import having_transactions
from tests.conformance.test_add import EVERYTHING
from tests.factory import BOOM, LEASE, NOW, make_ask, make_job

POLICY = Policy()


async def test_all_header_and_body_fields_are_written(bench: Bench) -> None:
    [row] = await bench.add(make_job("all"))
    [saved] = await bench.store.save([EVERYTHING.evolve(version=1, token="")])
    kept: dict[str, Any] = {
        name: getattr(row, name)
        for name in ("token", "claims", "worker", "started_at", "last_worker", "last_started_at")
    }
    assert saved == EVERYTHING.evolve(version=2, **kept)
    assert await bench.row("all") == EVERYTHING.evolve(version=2, **kept)


async def test_the_fields_of_the_claim_stay_as_stored(bench: Bench) -> None:
    [held] = await bench.take(make_job("a"))
    await bench.store.save(
        [held.evolve(claims=9, worker="w:9", started_at=1, last_worker="w:8", last_started_at=2, due_at=NOW + 1)]
    )
    assert await bench.row("a") == held.evolve(version=3, due_at=NOW + 1)


@pytest.mark.parametrize("version", [0, 1, 3])
async def test_another_version_changes_nothing(bench: Bench, version: int) -> None:
    [held] = await bench.take(make_job("a"))
    assert await bench.store.save([held.evolve(version=version, state=State.COMPLETED)]) == [None]
    assert await bench.row("a") == held


async def test_another_token_changes_nothing(bench: Bench) -> None:
    [held] = await bench.take(make_job("a"))
    for token in ("", "x", held.token + " "):
        assert await bench.store.save([held.evolve(token=token, state=State.COMPLETED)]) == [None]
    assert await bench.row("a") == held


async def test_what_does_not_exist_is_not_saved(bench: Bench) -> None:
    for version in (0, 1):
        assert await bench.store.save([make_job("a", version=version)]) == [None]
    assert await bench.gone("a")


async def test_a_beat_in_between_makes_a_swap_fail_and_a_fresh_row_succeeds(bench: Bench) -> None:
    [held] = await bench.take(make_job("a"))
    [fresh] = await bench.store.renew([Beat("a", held.token, "100")], NOW + LEASE)
    assert await bench.store.save([states.settle(held, Success(), NOW, POLICY)]) == [None]
    [saved] = await bench.store.save([states.settle(fresh, Success(result="1"), NOW, POLICY)])
    assert saved is not None
    row = await bench.row("a")
    assert (row.state, row.progress, row.result, row.input) == (State.COMPLETED, "100", "1", held.input)


async def test_payload_is_written_only_where_carried(bench: Bench) -> None:
    await bench.add(make_job("a", input='{"v":1}', result="[1]"))
    [bare] = (await bench.store.find(Query())).jobs
    steps: list[tuple[dict[str, str], tuple[str, str]]] = [
        ({}, ('{"v":1}', "[1]")),
        ({"result": "[2]"}, ('{"v":1}', "[2]")),
        ({"input": '{"v":2}'}, ('{"v":2}', "[2]")),
        ({"input": '{"v":3}', "result": "null"}, ('{"v":3}', "null")),
    ]
    for carried, stored in steps:
        [saved] = await bench.store.save([bare.evolve(**carried)])
        assert saved is not None
        bare = saved.evolve(input=None, result=None)
        row = await bench.row("a")
        assert (row.input, row.result) == stored


async def test_one_lost_swap_does_not_hinder_the_others(bench: Bench) -> None:
    a, b, c = await bench.take(make_job("a"), make_job("b"), make_job("c"))
    done = [job.evolve(state=State.COMPLETED, expires_at=NOW + 1) for job in (a, b.evolve(version=1), c)]
    saved = await bench.store.save(done)
    assert [job and job.id for job in saved] == ["a", None, "c"]
    assert [(await bench.row(id)).state for id in "abc"] == ["completed", "running", "completed"]
    assert await bench.store.save([]) == []


async def test_the_same_row_twice_in_one_batch_is_swapped_once(bench: Bench) -> None:
    [held] = await bench.take(make_job("a"))
    saved = await bench.store.save([held.evolve(progress="1"), held.evolve(progress="2")])
    assert [job is not None for job in saved] == [True, False]
    assert (await bench.row("a")).progress == "1"


@pytest.mark.parametrize("state", [s for s in State if s.terminal])
async def test_a_terminal_job_with_expiry_0_is_erased_and_answered(bench: Bench, state: State) -> None:
    [held] = await bench.take(make_job("a"))
    await bench.store.append([LogLine("a", 1, NOW, "info", "x")], keep=9)
    [saved] = await bench.store.save([held.evolve(state=state, expires_at=0)])
    assert saved is not None
    assert (saved.id, saved.state) == ("a", state)
    assert await bench.gone("a")
    assert await bench.store.count(Query()) == []
    await bench.add(make_job("a"))
    assert await bench.store.tail("a") == [], "a new life begins with an empty log"


async def test_a_live_job_with_expiry_0_stays(bench: Bench) -> None:
    [held] = await bench.take(make_job("a"))
    await bench.store.save([held.evolve(state=State.WAITING, expires_at=0)])
    assert (await bench.row("a")).state is State.WAITING


async def test_erasing_under_another_version_or_token_erases_nothing(bench: Bench) -> None:
    [held] = await bench.take(make_job("a"))
    gone = held.evolve(state=State.COMPLETED, expires_at=0)
    assert await bench.store.save([gone.evolve(version=1), gone.evolve(token="x")]) == [None, None]
    assert await bench.row("a") == held


async def test_a_saved_job_is_claimed_as_it_was_saved(bench: Bench) -> None:
    [held] = await bench.take(make_job("a"))
    later = states.settle(held, Failure(error=BOOM, retry_in=500), NOW, POLICY).evolve(
        queue="other", task="u", priority=9
    )
    await bench.store.save([later])
    bench.clock.advance(499)
    assert (await bench.claim(["t", "u"], queue="other")).jobs == []
    bench.clock.advance(1)
    assert (await bench.claim(["t", "u"])).jobs == []
    [job] = (await bench.claim(["u"], queue="other")).jobs
    assert (job.attempts, job.error, job.priority) == (1, BOOM, 9)


async def test_a_waiting_row_is_swapped_under_the_token_of_its_last_claim(bench: Bench) -> None:
    [row] = await bench.add(make_job("a"))
    merged = states.join(row.evolve(rule="merge"), make_ask("new", due=NOW + 5), NOW)
    assert merged is not None
    assert await bench.store.save([merged]) != [None]
    bench.clock.advance(5)
    [held] = (await bench.claim()).jobs
    assert held.input == '{"value":"new"}'
    released = states.release(held, NOW, NOW, POLICY)
    [waiting] = await bench.store.save([released])
    assert waiting is not None
    [paused] = await bench.store.save([states.pause(waiting)])
    assert paused is not None
    assert (paused.state, paused.token) == (State.PAUSED, held.token)


@having_transactions
async def test_within_a_callers_transaction(store: Store, bench: Bench, subject: Any, tmp_path: Path) -> None:
    [held] = await bench.take(make_job("a"))
    with subject.transaction(tmp_path) as transaction:
        [saved] = await store.save([states.settle(held, Success(), NOW, POLICY)], within=transaction)
        assert saved is not None
        assert (await bench.row("a")).state is State.RUNNING
    assert (await bench.row("a")).state is State.COMPLETED
