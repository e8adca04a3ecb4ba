"""`mainspring watch` and `enqueue --watch`: what is shown of a job, and how the watching ends."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from mainspring import Mainspring
from mainspring.cli import watch
from mainspring.core.handle import JobEvent
from mainspring.core.job import Error, State
from mainspring.errors import StoreUnavailable
from tests.factory import make_job
from tests.system.cli_shop import SOURCE, Shop, entered, on_terminal

STEPS = """
@app.task
async def steps(ctx: Context) -> str:
    ctx.log("first\\x1b[31m")
    ctx.progress(50, {"at": "half"})
    return "all done"
"""


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    made = entered(tmp_path, monkeypatch)
    (tmp_path / "shop.py").write_text(SOURCE + STEPS)
    return made


def ended(shop: Shop, state: State, **fields: Any) -> str:
    """A job that ended so, before anybody looked."""

    async def add(app: Mainspring) -> str:
        now = app.clock.now()
        job = make_job(state=state, due=now, created_at=now, finished_at=now, expires_at=now + 60_000, **fields)
        await (await app.connect()).store.add([job])
        return job.id

    return shop.call(add)


def run_to_its_end(shop: Shop, task: str) -> str:
    """Enqueue a job and run it, in this process."""
    id = shop.ok("enqueue", task).strip()

    async def work() -> None:
        from shop import app  # type: ignore[import-not-found]

        async with app, app.worker():
            await app.ended(id, timeout=60)

    asyncio.run(work())
    return id


@pytest.mark.parametrize(
    ("state", "code"), [(State.COMPLETED, 0), (State.DEAD, 1), (State.FAILED, 1), (State.CANCELLED, 1)]
)
def test_a_job_that_has_ended_is_told_and_judged_at_once(shop: Shop, state: State, code: int) -> None:
    error = None if state is State.COMPLETED else Error(type="ValueError", message="no\x1b[31m", traceback="")
    id = ended(shop, state, error=error, reason="exhausted" if error else "")
    result = shop.run("watch", id)
    assert (result.exit_code, result.stderr) == (code, "")
    at, kind, told = result.stdout.rstrip("\n").split("\t")
    assert kind == "state"
    assert told.startswith(state.value)
    assert ("exhausted: ValueError: no" in told) == bool(code)
    assert "\x1b" not in told
    assert at.count(":") >= 2


def test_a_job_that_is_not_there_is_one_line(shop: Shop) -> None:
    result = shop.run("watch", "nix")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("error: no job has the id 'nix'")
    assert len(result.stderr.splitlines()) == 1


def test_lines_of_a_pipe_are_log_progress_and_state(shop: Shop) -> None:
    id = run_to_its_end(shop, "steps")
    rows = [line.split("\t")[1:] for line in shop.ok("watch", id).splitlines()]
    assert rows == [["info", "first [31m"], ["progress", "50% at=half"], ["state", "completed"]]


def test_json_is_an_event_a_line(shop: Shop) -> None:
    id = run_to_its_end(shop, "steps")
    events = [json.loads(line) for line in shop.ok("watch", id, "--json").splitlines()]
    assert [event["kind"] for event in events] == ["log", "progress", "state"]
    assert {event["id"] for event in events} == {id}
    assert events[0]["data"]["text"] == "first\x1b[31m", "JSON escapes it; nothing is lost"
    assert events[-1]["status"] == "completed"


def test_a_store_that_is_away_for_a_while_ends_no_watching(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    id = run_to_its_end(shop, "steps")
    events = Mainspring.events
    times = 0

    async def away(self: Mainspring, id: str) -> AsyncIterator[JobEvent]:
        nonlocal times
        times += 1
        async for event in events(self, id):
            yield event
            if times <= 2:
                raise StoreUnavailable("the store is away.")

    monkeypatch.setattr(Mainspring, "events", away)
    monkeypatch.setattr(watch, "AWAY", 0)
    kinds = [line.split("\t")[1] for line in shop.ok("watch", id).splitlines()]
    assert times == 3
    assert kinds == ["info", "progress", "state"], "nothing is left out, and no log line comes twice"


def test_enqueue_takes_one_of_wait_and_watch(shop: Shop) -> None:
    result = shop.run("enqueue", "send", '{"to": "Ada"}', "--wait", "5s", "--watch")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "--watch" in result.stderr
    assert shop.lines("jobs", "list") == []


# -- live, with a worker in a process of its own -----------------------------------------------------------------------


@pytest.fixture
def worker(shop: Shop) -> Iterator[subprocess.Popen[str]]:
    running = shop.start("worker", "--grace", "100ms")
    assert running.stderr is not None
    while "worker.started" not in running.stderr.readline():
        pass
    yield running
    running.terminate()
    running.communicate(timeout=60)


@pytest.mark.slow
@pytest.mark.usefixtures("worker")
def test_enqueue_and_watch_see_a_job_to_its_end(shop: Shop) -> None:
    result = shop.run("enqueue", "steps", "--watch")
    assert result.exit_code == 0
    id, *events = result.stdout.splitlines()
    assert [row[0] for row in shop.lines("jobs", "list")] == [id]
    assert events[-1].endswith("state\tcompleted")
    assert shop.run("enqueue", "send", '{"to": "nobody"}', "--watch", "--json").exit_code == 1


@pytest.mark.slow
@pytest.mark.usefixtures("worker")
def test_a_terminal_sees_log_bar_and_result(shop: Shop) -> None:
    code, seen = on_terminal(shop, "enqueue", "steps", "--watch")
    assert code == 0
    for part in ("first", "completed", "100%", 'result: "all done"'):
        assert part in seen
    code, seen = on_terminal(shop, "enqueue", "send", '{"to": "nobody"}', "--watch")
    assert code == 1
    assert "exhausted: ValueError" in seen


@pytest.mark.slow
def test_a_terminal_is_told_that_nobody_runs_the_job_and_ctrl_c_ends_only_the_watching(shop: Shop) -> None:
    id = shop.ok("enqueue", "endless").strip()
    ours, theirs = pty.openpty()
    watching = shop.start("watch", id, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    seen = b""
    try:
        while not (b"no living worker runs endless" in seen and b"pending" in seen):
            seen += os.read(ours, 4096)
        watching.send_signal(signal.SIGINT)
        while True:
            try:
                seen += os.read(ours, 4096)
            except OSError:
                break
        assert watching.wait(timeout=60) == 130
    finally:
        watching.kill()
        watching.wait()
        os.close(ours)
    assert b"Traceback" not in seen
    assert shop.lines("jobs", "list")[0][3] == "pending"


@pytest.mark.slow
def test_colours_are_left_out_on_request(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    id = ended(shop, State.DEAD, reason="exhausted")
    coloured = on_terminal(shop, "jobs", "list")[1]
    monkeypatch.setenv("NO_COLOR", "1")
    plain = on_terminal(shop, "jobs", "list")[1]
    assert id in coloured
    assert id in plain
    assert "\x1b[1;31m" in coloured
    assert "\x1b[1;31m" not in plain
    assert "31m" not in on_terminal(shop, "watch", id)[1]
