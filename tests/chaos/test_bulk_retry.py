"""Many dead jobs are retried by filter from one process while two others run them: none doubled, none skipped."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from mainspring import Mainspring
from mainspring.core.job import State
from mainspring.stores.base import Query
from tests.chaos.fleet import ROOT, Fleet
from tests.chaos.places import Place, places
from tests.factory import make_job

pytestmark = pytest.mark.slow

DIES = 100
"""Each so many-th job dies again when it runs."""
MOST_GROWN = 16 * 1024
"""KB by which the memory of the retrying process may grow: a few pages of jobs. It was 2,500; all 50,000 are 62,600."""


class BulkFleet(Fleet):
    driver = "tests.chaos.bulk_app"


@pytest.fixture
def fleet(place: Place, tmp_path: Path) -> BulkFleet:
    return BulkFleet(tmp_path, place.url, concurrency=20, log_level="ERROR")


async def fill(fleet: Fleet, number: int) -> tuple[set[str], set[str]]:
    """So many dead jobs, and a few that are not meant. Answers the ids of those that will succeed, and die again."""
    store, now = fleet.store, await fleet.store.time()
    fields: dict[str, Any] = {"created_at": now, "due": now, "finished_at": now, "attempts": 5, "reason": "exhausted"}
    jobs = [
        make_job(state=State.DEAD, task="again", input=json.dumps({"dies": n % DIES == 0}), expires_at=None, **fields)
        for n in range(number)
    ]
    for first in range(0, number, 500):
        await store.add(jobs[first : first + 500])
    await store.add([make_job(state=State.DEAD, task="other", expires_at=None, **fields) for _ in range(10)])
    ids = [job.id for job in jobs]
    dying = set(ids[::DIES])
    return set(ids) - dying, dying


def retrying(fleet: Fleet) -> subprocess.Popen[str]:
    """The process that retries; it has begun."""
    process = subprocess.Popen(
        [sys.executable, "-m", BulkFleet.driver, "retry"],
        cwd=ROOT, env=fleet.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    return process


def told(process: subprocess.Popen[str], *codes: int) -> dict[str, Any]:
    out, err = process.communicate(timeout=200)
    assert process.returncode in codes, err
    answer: dict[str, Any] = json.loads(out)
    return answer


def runs(fleet: Fleet) -> Counter[str]:
    """How often each job has run."""
    lines = fleet.trace_file.read_text().splitlines() if fleet.trace_file.exists() else []
    return Counter(line.split()[0] for line in lines)


async def until_all_ended(fleet: Fleet) -> None:
    async def ended() -> bool:
        live = await fleet.store.count(Query(states=(State.WAITING, State.RUNNING, State.PAUSED)))
        return not any(row.jobs for row in live)

    await fleet.until(ended, "all to end", 200)


async def dead(fleet: Fleet) -> dict[str, int]:
    return {row.task: row.jobs for row in await fleet.store.count(Query(states=(State.DEAD,)))}


async def working(fleet: Fleet) -> None:
    """Both workers have begun."""

    async def both() -> bool:
        return len(await fleet.store.scan("worker")) == fleet.processes

    await fleet.until(both, "the workers to begin")


async def test_fifty_thousand_in_bounded_memory(fleet: BulkFleet, place: Place) -> None:
    number = 50_000
    async with fleet:
        succeeding, dying = await fill(fleet, number)
        await working(fleet)
        answer = told(retrying(fleet), 0)
        print(f"{answer}; {number / answer['seconds']:.0f} jobs/s beside {runs(fleet).total()} runs")
        await until_all_ended(fleet)

        assert answer["changed"] == number
        assert answer["grown_kb"] < MOST_GROWN
        assert runs(fleet) == Counter(succeeding | dying), "each ran once"
        assert await dead(fleet) == {"again": len(dying), "other": 10}, "those that died again are left"
        assert await fleet.end() == 0
    place.check()


@places("sqlite", "redis7", "mongo")
async def test_interrupted_and_done_again(fleet: BulkFleet, place: Place) -> None:
    number = 5_000
    async with fleet:
        succeeding, dying = await fill(fleet, number)
        await working(fleet)
        first = retrying(fleet)

        async def some() -> bool:
            return (await dead(fleet))["again"] < number

        await fleet.until(some, "the first page")
        first.send_signal(signal.SIGINT)
        interrupted = told(first, -signal.SIGINT, 130, 1)
        await until_all_ended(fleet)
        ran = runs(fleet)
        assert ran.total() == interrupted["changed"], "what it said it had done is what it had done"
        assert set(ran.values()) == {1}

        rest = told(retrying(fleet), 0)
        print(f"{interrupted}, {rest}; {rest['changed'] / rest['seconds']:.0f} jobs/s")
        await until_all_ended(fleet)
        ran = runs(fleet)
        died_before = sum(ran[id] - 1 for id in dying)
        assert {ran[id] for id in succeeding} == {1}
        assert {ran[id] for id in dying} <= {1, 2}
        assert interrupted["changed"] + rest["changed"] == number + died_before
        assert await dead(fleet) == {"again": len(dying), "other": 10}
        assert await audited(place) == [("done", rest["changed"]), ("interrupted", interrupted["changed"])]
        assert await fleet.end() == 0
    place.check()


async def audited(place: Place) -> list[tuple[str, int]]:
    app = Mainspring(place.url)
    entries = [(entry.outcome, entry.changed) for entry in await app.audit.list()]
    await app.close()
    return entries
