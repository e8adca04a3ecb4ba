"""`purge`: the only eraser, and what it never touches."""

from __future__ import annotations

import pytest

from mainspring.core import states
from mainspring.core.job import State
from mainspring.core.outcome import Success
from mainspring.core.policy import DAY, Policy
from mainspring.core.records import GATE, Record
from mainspring.stores.base import Query
from tests.conformance.bench import Bench
from tests.factory import NOW, make_ask, make_job


@pytest.mark.parametrize("state", list(State))
async def test_only_terminal_jobs_that_expired_go(bench: Bench, state: State) -> None:
    await bench.add(
        make_job("past", state=state, expires_at=NOW - 1), make_job("now", state=state, expires_at=NOW),
        make_job("later", state=state, expires_at=NOW + 1), make_job("never", state=state, expires_at=None),
    )  # fmt: skip
    assert await bench.store.purge(NOW, 100) == (2 if state.terminal else 0)
    left = {job.id for job in (await bench.store.find(Query())).jobs}
    assert left == ({"later", "never"} if state.terminal else {"past", "now", "later", "never"})
    assert sum(c.jobs for c in await bench.store.count(Query())) == len(left)


async def test_at_most_limit_at_once(bench: Bench) -> None:
    await bench.add(*(make_job(state=State.DEAD, expires_at=NOW - 1) for _ in range(25)))
    assert [await bench.store.purge(NOW, 10) for _ in range(4)] == [10, 10, 5, 0]


async def test_records_that_expired_go_too(bench: Bench) -> None:
    for name, expires in (("past", NOW - 1), ("now", NOW), ("later", NOW + 1), ("never", None)):
        await bench.store.write([Record(kind=GATE, name=name, written_at=NOW, expires_at=expires)])
    assert await bench.store.purge(NOW, 1) == 1
    assert await bench.store.purge(NOW, 10) == 1
    assert [r.name for r in await bench.store.scan(GATE)] == ["later", "never"]


async def test_a_row_that_was_revived_stays(bench: Bench) -> None:
    await bench.add(make_job("a", rule="skip"))
    [held] = (await bench.claim()).jobs
    await bench.store.save([states.settle(held, Success(), NOW, Policy())])
    later = bench.clock.advance(2 * DAY)
    revived = states.join(await bench.row("a"), make_ask("again", due=later), later)
    assert revived is not None
    assert await bench.store.save([revived]) != [None]
    assert await bench.store.purge(later, 100) == 0
    assert (await bench.row("a")).state is State.WAITING


async def test_a_revive_that_comes_too_late_is_told_so_and_the_key_is_free(bench: Bench) -> None:
    await bench.add(make_job("a", state=State.COMPLETED, rule="skip", expires_at=NOW))
    old = await bench.row("a")
    revived = states.join(old, make_ask("again"), NOW)
    assert revived is not None
    assert await bench.store.purge(NOW, 100) == 1
    assert await bench.store.save([revived]) == [None]
    [fresh] = await bench.add(make_job("a"))
    assert (fresh.version, fresh.state) == (1, State.WAITING)
