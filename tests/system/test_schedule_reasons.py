"""Why somebody did something to a schedule: every act takes a reason, and the audit trail keeps it."""

from __future__ import annotations

from typing import Any

import pytest

from mainspring import DefinitionError, Mainspring, ScheduleNotFound

ACTS = ("create", "update", "delete", "pause", "resume", "run", "reset_retries")


@pytest.fixture
def app(app: Mainspring) -> Mainspring:
    @app.task
    async def t(a: int = 0) -> None:
        raise NotImplementedError

    return app


async def do(app: Mainspring, act: str, **reason: Any) -> None:
    """Do this to the schedule `s`, in the state that it takes."""
    if act == "create":
        await app.schedules.create("s", "t", every="1h", **reason)
        return
    await app.schedules.create("s", "t", every="1h", paused=act == "resume")
    more = {"every": "2h"} if act == "update" else {}
    await getattr(app.schedules, act)("s", **more, **reason)


@pytest.mark.parametrize("act", ACTS)
async def test_the_reason_of_an_act_is_in_the_audit_trail(app: Mainspring, act: str) -> None:
    with app.acting("alice", reason="of the block"):
        await do(app, act, reason="ticket 12")
    [entry, *_] = await app.audit.list()
    assert (entry.action, entry.actor, entry.reason) == (f"schedules.{act}", "alice", "ticket 12")


@pytest.mark.parametrize("act", ACTS)
async def test_an_act_without_a_reason_takes_that_of_the_block(app: Mainspring, act: str) -> None:
    with app.acting(reason="of the block"):
        await do(app, act)
    [entry, *_] = await app.audit.list()
    assert (entry.action, entry.reason) == (f"schedules.{act}", "of the block")


@pytest.mark.parametrize("act", ACTS)
async def test_a_reason_that_no_record_can_carry_is_refused_and_nothing_is_done(app: Mainspring, act: str) -> None:
    with pytest.raises(DefinitionError, match="bad reason"):
        await do(app, act, reason="x" * 2_001)
    if act == "create":
        assert await app.schedules.get("s") is None
        return
    info = await app.schedules.get("s")
    assert info is not None
    assert (info.when, info.status) == ("every hour", "paused" if act == "resume" else "active")
    assert await app.jobs.count() == 0
    assert [entry.action for entry in await app.audit.list()] == ["schedules.create"]


async def test_a_reason_is_no_part_of_the_schedule(app: Mainspring) -> None:
    made = await app.schedules.create("s", "t", every="1h", paused=True, reason="ticket 12")
    assert made.pause_reason == ""
    assert (await app.schedules.resume("s", "ticket 13")).pause_reason == ""
    assert (await app.schedules.pause("s", "ticket 14")).pause_reason == "ticket 14"
    await app.schedules.run("s", None, "ticket 15")
    assert await app.schedules.delete("s", "ticket 16")
    reasons = [entry.reason for entry in await app.audit.list()]
    assert reasons == [f"ticket {n}" for n in (16, 15, 14, 13, 12)]


async def test_the_reason_of_what_cannot_be_done_is_no_entry(app: Mainspring) -> None:
    with pytest.raises(ScheduleNotFound):
        await app.schedules.resume("nobody", reason="ticket 12")
    assert len(await app.audit.list()) == 0
