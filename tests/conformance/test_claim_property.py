"""Random rows, caps and gates: every claim is judged, and what it says about when to look again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mainspring.core.job import State
from mainspring.core.records import GATE, Record, queue_gate, task_gate
from mainspring.stores.base import Store
from tests.conformance.model import ModelStore
from tests.conformance.oracle import Asked, judge
from tests.factory import NOW, FakeClock, make_job

times = st.sampled_from([NOW - 20, NOW - 10, NOW, NOW + 10, NOW + 20, NOW + 30])
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "state": st.sampled_from([State.WAITING, State.WAITING, State.RUNNING, State.RUNNING, State.PAUSED]),
            "task": st.sampled_from("tuv"),
            "queue": st.sampled_from(["default", "default", "q"]),
            "priority": st.sampled_from([0, 50, 100]),
            "due": times,
        }
    ),
    max_size=12,
)
caps = st.sampled_from([None, None, 0, 1, 2])
CLAIM = st.fixed_dictionaries(
    {
        "tasks": st.dictionaries(st.sampled_from("tu"), caps, max_size=2),
        "cap": caps,
        "limit": st.integers(1, 4),
        "now": st.sampled_from([NOW, NOW + 10]),
        "gates": st.dictionaries(
            st.sampled_from([queue_gate("default"), task_gate("t"), task_gate("u")]),
            st.sampled_from([None, NOW, NOW + 5, NOW + 25]),
            max_size=2,
        ),
    }
)
Case = tuple[list[dict[str, Any]], dict[str, Any]]


@pytest.mark.slow
async def test_any_claim_is_right_and_nothing_is_claimable_before_next_due(
    store: Store, clock: FakeClock, tmp_path: Path
) -> None:
    cases: list[Case] = []

    @settings(max_examples=max(150, settings().max_examples), database=None)
    @given(ROWS, CLAIM)
    def draw(rows: list[dict[str, Any]], claim: dict[str, Any]) -> None:
        cases.append((rows, claim))

    draw()
    for number, (rows, claim) in enumerate(cases):
        await try_case(store, clock, number, rows, claim)


async def try_case(
    store: Store, clock: FakeClock, number: int, rows: list[dict[str, Any]], claim: dict[str, Any]
) -> None:
    model = ModelStore(clock)
    await model.open()
    # The rows of one case are erased before the next; ids tell them apart all the same.
    jobs = [make_job(f"{number:04}-{n:02}", created_at=NOW, **row) for n, row in enumerate(rows)]
    gates = [Record(kind=GATE, name=name, written_at=NOW, expires_at=at) for name, at in claim["gates"].items()]
    for each in (store, model):
        await each.add(jobs)
        await each.write(gates)
    now = claim["now"]
    asked = Asked("default", claim["tasks"], "w:1", f"token-{number}", now, now + 15, claim["limit"], claim["cap"])
    try:
        judge(model, asked, await store.claim(*asked))
    except AssertionError as e:
        raise AssertionError(f"{e}\nrows: {rows}\nclaim: {claim}") from e
    left = await store.get([job.id for job in jobs])
    await store.save([job.evolve(state=State.CANCELLED, expires_at=0) for job in left if job is not None])
    for name in claim["gates"]:
        gate = await store.read(GATE, name)
        assert gate is not None
        await store.erase(gate)
