"""The demo does what it says, cleans up, and its checks can fail."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from mainspring import Job, JobHandle, State
from mainspring.core.job import Run
from mainspring.demo.checks import Books, check
from mainspring.demo.fleet import Kill
from mainspring.demo.plan import CALLS, Plan
from mainspring.demo.tasks import app
from tests.factory import BOOM, NOW, make_job

SOURCE = Path(__file__).parents[2] / "src"
CHECKS = 9
LONGEST = 100


@contextmanager
def demo(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """The demo, running; whatever happens, it is told to end, and ends its workers."""
    env = {**os.environ, "PYTHONPATH": str(SOURCE), "TMPDIR": str(folder), "COLUMNS": "200"}
    process = subprocess.Popen(
        [sys.executable, "-m", "mainspring.demo"], cwd=folder, env=env, stdout=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
        process.communicate(timeout=LONGEST)


def workers_of(folder: Path) -> list[int]:
    """The process ids of all workers that the demo ever started."""
    [log] = folder.glob("mainspring-demo-*/workers.log")
    return [int(pid) for pid in re.findall(r"child\.started worker=\S+ pid=(\d+)", log.read_text())]


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.slow
def test_demo_loses_nothing_and_leaves_no_process(tmp_path: Path) -> None:
    with demo(tmp_path) as process:
        output, _ = process.communicate(timeout=LONGEST)
    assert process.returncode == 0, output
    assert len(re.findall(r"^  ok   ", output, re.MULTILINE)) == CHECKS, output
    assert "FAIL" not in output
    assert "Nothing was lost." in output
    accepted = re.search(r"([\d,]+) accepted, ([\d,]+) ended", output)
    assert accepted is not None
    assert int(accepted[1].replace(",", "")) >= 1_000
    workers = workers_of(tmp_path)
    assert len(workers) == 3, "two, and one in the place of the killed one"
    assert not [pid for pid in workers if is_alive(pid)]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_demo_leaves_no_process(tmp_path: Path, number: signal.Signals) -> None:
    with demo(tmp_path) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "kill -9" in line:
                break
        process.send_signal(number)
        rest = process.stdout.read()
        process.wait(timeout=LONGEST)
    assert process.returncode == 130, rest
    assert "interrupted" in rest
    assert not [pid for pid in workers_of(tmp_path) if is_alive(pid)]


# -- the checks -----------------------------------------------------------------------------------------------------


def a_run(claim: int, outcome: str, at: int = NOW) -> Run:
    return Run(claim=claim, attempt=1, outcome=outcome, started_at=at, ended_at=at + 5)


def a_job(id: str, *outcomes: str, state: State = State.COMPLETED, **fields: Any) -> Job:
    runs = tuple(a_run(n, outcome, NOW + n) for n, outcome in enumerate(outcomes, 1))
    return make_job(id, state=state, claims=len(runs), runs=runs, **fields)


def handle(id: str) -> JobHandle[Any]:
    return app.job(id)


def sound_books() -> Books:
    jobs = [
        a_job("plain", "succeeded"),
        a_job("unlucky", "failed", "succeeded"),
        a_job("killed", "interrupted", "succeeded"),
        a_job("late", "succeeded", due=NOW),
        a_job("burst", "succeeded"),
        a_job("hopeless", "failed", "failed", "failed", state=State.DEAD, attempts=3, error=BOOM),
    ]
    plan = Plan(
        work={id: (handle(id), len, "") for id in ("plain", "unlucky", "killed")},
        unlucky={"unlucky"},
        burst=[handle("burst")] * CALLS,
        delayed=handle("late"),
        hopeless=handle("hopeless"),
    )
    return Books(plan, Kill("w:1", 1, NOW + 2, frozenset({"killed"})), {job.id: job for job in jobs}, [])


def failing(books: Books) -> set[str]:
    return {made.name for made in check(books) if not made.holds}


def test_sound_books_pass() -> None:
    assert failing(sound_books()) == set()
    assert len(list(check(sound_books()))) == CHECKS


@pytest.mark.parametrize(
    ("job", "name"),
    [
        (a_job("plain", state=State.WAITING), "every accepted job has ended"),
        (a_job("stranger", "succeeded"), "every accepted job has ended"),
        (a_job("plain", "succeeded", "succeeded"), "the runs add up"),
        (a_job("plain", "failed"), "the runs add up"),
        (a_job("killed", "succeeded"), "the killed worker's runs are known"),
        (a_job("plain", "interrupted", "succeeded"), "the killed worker's runs are known"),
        (a_job("killed", "interrupted", state=State.WAITING), "its jobs were taken over"),
        (a_job("unlucky", "succeeded"), "what failed was retried"),
        (a_job("hopeless", "succeeded"), "the hopeless job is the one dead letter"),
        (a_job("plain", "failed", state=State.DEAD), "the hopeless job is the one dead letter"),
        (a_job("burst", "succeeded", "succeeded"), "the burst became one run"),
        (a_job("late", "succeeded", due=NOW + 60_000), "the delayed job ran on time"),
        (a_job("late", "succeeded", due=NOW - 60_000), "the delayed job ran on time"),
    ],
)
def test_what_is_wrong_is_noticed(job: Job, name: str) -> None:
    books = sound_books()
    books.jobs[job.id] = job
    assert name in failing(books)


def test_lost_job_and_wrong_result_are_noticed() -> None:
    books = sound_books()
    del books.jobs["plain"]
    books.wrong.append("plain")
    assert failing(books) >= {"every accepted job has ended", "every result is right"}
