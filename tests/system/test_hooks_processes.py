"""A worker process with a lifespan: its state and its log, one that hangs at its end, one that fails at its start."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mainspring import Mainspring

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]

APP = """
import asyncio
import logging
from contextlib import asynccontextmanager

from mainspring import Context, Mainspring

@asynccontextmanager
async def lifespan(app):
    {start}
    yield {{"word": "hello"}}
    {end}

app = Mainspring("sqlite:///jobs.db", lifespan=lifespan)

@app.task
def greet(ctx: Context) -> str:
    logging.getLogger("a.library").info(ctx.state["word"])
    return ctx.state["word"]
"""


def child(folder: Path, start: str = "pass", end: str = "pass", **settings: object) -> subprocess.Popen[str]:
    """A worker process, as its parent starts it."""
    (folder / "hooked.py").write_text(APP.format(start=start, end=end))
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(folder)])}
    command = [sys.executable, "-m", "mainspring.process.child", "hooked:app", json.dumps(settings)]
    return subprocess.Popen(
        command, cwd=folder, env=env, stdin=subprocess.PIPE, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def ended(worker: subprocess.Popen[str]) -> str:
    """What it has said, when it has ended. Its input stays open until then, or it would think that we were gone."""
    try:
        worker.wait(timeout=60)
    finally:
        worker.kill()
        _, told = worker.communicate()
    return told


async def enqueued(folder: Path) -> Any:
    app = Mainspring(f"sqlite:///{folder}/jobs.db")

    @app.task
    def greet() -> str: ...  # type: ignore[empty-body]

    async with app:
        job = await greet.enqueue()
        return job.id, await job.result(timeout=60)


async def test_the_log_is_json_with_the_run_in_it_and_a_lifespan_that_hangs_does_not_hold_the_process(
    tmp_path: Path,
) -> None:
    worker = child(tmp_path, end="await asyncio.Event().wait()", log_format="json", grace=0.1)
    try:
        id, word = await enqueued(tmp_path)
        worker.send_signal(signal.SIGTERM)
    finally:
        told = ended(worker)
    assert word == "hello"
    assert worker.returncode == 0
    lines = [json.loads(line) for line in told.splitlines()]
    [said] = [line for line in lines if line["logger"] == "a.library"]
    assert (said["message"], said["job_id"], said["task"], said["attempt"]) == ("hello", id, "greet", 1)
    assert [line["event"] for line in lines if line["level"] == "error"] == ["lifespan.stuck"]


async def test_a_lifespan_that_fails_at_the_start_ends_the_process_with_1_and_says_why(tmp_path: Path) -> None:
    worker = child(tmp_path, start="raise OSError('no database')")
    told = ended(worker)
    assert worker.returncode == 1
    assert "OSError: no database" in told
    assert "Raised by the lifespan lifespan of the app: the worker did not start." in told


@pytest.mark.parametrize("again", [False, True])
def test_one_that_hangs_at_its_start_has_the_grace_to_end_and_none_the_second_time(tmp_path: Path, again: bool) -> None:
    start = "print('entered', flush=True); await asyncio.sleep(3600)"
    worker = child(tmp_path, start=start, grace=3600 if again else 0.5)
    assert worker.stdout is not None
    assert worker.stdout.readline() == "entered\n"
    worker.send_signal(signal.SIGTERM)
    while again and worker.poll() is None:  # two that come at once are one
        worker.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            worker.wait(0.1)
    ended(worker)
    assert worker.returncode in ((0, -signal.SIGTERM) if again else (0,))
