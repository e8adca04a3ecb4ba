"""How commands end where a stream is gone, or a signal comes: as real processes, for each has its own streams."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from mainspring import Mainspring
from mainspring.core.job import State
from tests.factory import make_job
from tests.system.cli_shop import Shop

pytestmark = pytest.mark.slow


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


def add(shop: Shop, number: int, **fields: Any) -> list[str]:
    """So many jobs that are dead; answers their ids."""

    async def command(app: Mainspring) -> list[str]:
        now = app.clock.now()
        given: dict[str, Any] = {"task": "send", "queue": "emails", "created_at": now, "due": now} | fields
        if given.setdefault("state", State.DEAD).terminal:
            given |= {"finished_at": now, "expires_at": None}
        jobs = [make_job(**given) for _ in range(number)]
        for first in range(0, number, 500):
            await (await app.connect()).store.add(jobs[first : first + 500])
        return [job.id for job in jobs]

    return shop.call(command)


def unread(shop: Shop, *args: str) -> tuple[int, str]:
    """How a command ends whose output goes to a reader that is gone, and what it says on standard error."""
    ours, theirs = os.pipe()
    os.close(ours)
    command = shop.start(*args, stdout=theirs, stderr=subprocess.PIPE)
    os.close(theirs)
    _, told = command.communicate(timeout=60)
    return command.returncode, told


# -- standard output ---------------------------------------------------------------------------------------------------


def test_a_row_larger_than_any_buffer_is_no_error_to_a_reader_that_is_gone(shop: Shop) -> None:
    [id] = add(shop, 1, input=json.dumps({"to": "x" * 200_000}))
    assert unread(shop, "jobs", "get", id, "--json") == (0, "")


def test_acts_go_on_and_tell_their_code_where_nobody_reads(shop: Shop) -> None:
    ids = add(shop, 3)
    code, told = unread(shop, "jobs", "retry", ids[0], "nobody", *ids[1:], "--json")
    assert (code, len(told.splitlines())) == (1, 1)
    assert "no job has the id 'nobody'" in told
    assert shop.call(lambda app: app.jobs.count(status="pending")) == 3
    assert unread(shop, "jobs", "retry", "--task", "sennd", "--yes", "--json")[0] == 1
    assert unread(shop, "jobs", "pause", "--task", "send", "--yes") == (0, "")
    assert shop.call(lambda app: app.jobs.count(status="paused")) == 3
