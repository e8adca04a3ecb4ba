"""`renew`: leases that are still owned grow; nothing else happens."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from mainspring.core import states
from mainspring.core.job import Job, State
from mainspring.core.outcome import Success
from mainspring.core.policy import Policy
from mainspring.stores.base import Beat
from tests.conformance.bench import Bench
from tests.factory import LEASE, NOW, make_job


async def test_a_lease_grows(bench: Bench) -> None:
    [job] = await bench.take(make_job("a", input='{"x":1}'))
    renewed = await bench.store.renew([Beat("a", job.token)], NOW + 3 * LEASE)
    assert renewed == [job.evolve(due_at=NOW + 3 * LEASE, version=3, input=None)]
    assert await bench.row("a") == renewed[0].evolve(input='{"x":1}')


async def test_a_lease_is_never_shortened(bench: Bench) -> None:
    [job] = await bench.take(make_job("a"))
    [renewed] = await bench.store.renew([Beat("a", job.token)], NOW + 1)
    assert (renewed.due_at, renewed.version) == (NOW + LEASE, 3)


async def test_progress_is_stored_where_given(bench: Bench) -> None:
    [job] = await bench.take(make_job("a"))
    for given, stored in (("40", "40"), (None, "40"), ('{"x":"☃"}', '{"x":"☃"}')):
        [renewed] = await bench.store.renew([Beat("a", job.token, given)], NOW)
        assert renewed.progress == stored
    assert (await bench.row("a")).progress == '{"x":"☃"}'


async def test_a_lapsed_lease_that_nobody_took_is_still_owned(bench: Bench) -> None:
    [job] = await bench.take(make_job("a"))
    now = bench.clock.advance(10 * LEASE)
    assert len(await bench.store.renew([Beat("a", job.token)], now + LEASE)) == 1
    assert (await bench.claim()).jobs == []


Loss = Callable[[Bench, Job], object]


async def by_a_newer_claim(bench: Bench, job: Job) -> None:
    bench.clock.advance(LEASE)
    assert len((await bench.claim(worker="w:2")).jobs) == 1


async def by_a_newer_claim_of_the_same_worker(bench: Bench, job: Job) -> None:
    bench.clock.advance(LEASE)
    assert len((await bench.claim(worker=job.worker)).jobs) == 1


async def by_its_settle(bench: Bench, job: Job) -> None:
    await bench.store.save([states.settle(job, Success(), NOW, Policy())])


async def by_its_release(bench: Bench, job: Job) -> None:
    await bench.store.save([states.release(job, NOW, NOW, Policy())])


async def by_erasure(bench: Bench, job: Job) -> None:
    await bench.store.save([job.evolve(state=State.COMPLETED, expires_at=0)])


async def by_erasure_and_rebirth(bench: Bench, job: Job) -> None:
    await by_erasure(bench, job)
    assert [j.claims for j in await bench.take(make_job("a"))] == [1]


@pytest.mark.parametrize(
    "loss",
    [
        by_a_newer_claim, by_a_newer_claim_of_the_same_worker, by_its_settle, by_its_release, by_erasure,
        by_erasure_and_rebirth,
    ],
)  # fmt: skip
async def test_a_beat_without_answer_has_lost_its_job_and_changes_nothing(bench: Bench, loss: Loss) -> None:
    [job] = await bench.take(make_job("a"))
    lost = loss(bench, job)
    await lost  # type: ignore[misc]
    before = await bench.store.get(["a"])
    assert await bench.store.renew([Beat("a", job.token, "99")], NOW + 10**9) == []
    assert await bench.store.get(["a"]) == before


async def test_one_lost_beat_does_not_hinder_the_others(bench: Bench) -> None:
    a, b = await bench.take(make_job("a"), make_job("b"))
    beats = [Beat("nobody", "x"), Beat("a", "wrong"), Beat("b", b.token), Beat("a", ""), Beat("a", a.token)]
    renewed = await bench.store.renew(beats, NOW + 2 * LEASE)
    assert [j.id for j in renewed] == ["b", "a"], "in the order of the beats"
    assert await bench.store.renew([], NOW) == []


async def test_an_unclaimed_job_is_nobodys(bench: Bench) -> None:
    await bench.add(make_job("a"))
    assert await bench.store.renew([Beat("a", "")], NOW + LEASE) == []
    assert (await bench.row("a")).due_at == NOW
