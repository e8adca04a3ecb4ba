"""The way in for synchronous code, from any thread."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mainspring import InputError, JobHandle, Mainspring, MainspringError
from tests.system.conftest import run_one


@pytest.fixture
def app(url: str) -> Iterator[Mainspring]:
    app = Mainspring(url)

    @app.task
    def work(n: int) -> str:
        return "done"

    yield app
    app.sync.close()


def test_enqueue_look_and_wait(app: Mainspring) -> None:
    work = app.tasks["work"]
    handle = app.sync(work.enqueue, n=1)
    assert isinstance(handle, JobHandle)
    assert app.sync(handle.status) == "pending"
    app.sync(run_one, app)
    assert app.sync(handle.result, timeout=10) == "done"


def test_everything_of_the_app_by_attribute(app: Mainspring) -> None:
    handle = app.sync.enqueue("work", {"n": 1})
    assert app.sync.status(handle.id) == "pending"
    assert [job.id for job in app.sync.jobs.list().jobs] == [handle.id]
    assert app.sync.locks.acquire("x", "me") is True
    assert app.sync.locks.holder("x") == "me"
    assert app.sync.cancel(handle.id) is True
    assert app.sync.url == app.url
    with pytest.raises(AttributeError):
        _ = app.sync.no_such_thing


def test_errors_come_through(app: Mainspring) -> None:
    with pytest.raises(InputError, match="n: input should be a valid integer"):
        app.sync(app.tasks["work"].enqueue, n="x")


def test_many_threads_share_one_loop(app: Mainspring) -> None:
    work = app.tasks["work"]
    with ThreadPoolExecutor(8) as pool:
        ids = list(pool.map(lambda n: app.sync(work.enqueue, n=n).id, range(200)))
    assert len(set(ids)) == 200
    loops = [thread for thread in threading.enumerate() if thread.name == "mainspring-sync"]
    assert len(loops) == 1


def test_a_handle_of_one_loop_works_in_another(app: Mainspring) -> None:
    work = app.tasks["work"]
    handle = app.sync(work.enqueue, n=1)

    async def elsewhere() -> tuple[str, JobHandle[str]]:
        status = await handle.status()
        await run_one(app)
        assert await handle.result(timeout=60) == "done"
        return status, await work.enqueue(n=2)

    status, other = asyncio.run(elsewhere())
    assert status == "pending"
    assert app.sync(other.status) == "pending"
    assert app.sync(handle.status) == "completed"


async def test_inside_a_running_loop_it_says_what_to_do(app: Mainspring) -> None:
    with pytest.raises(MainspringError, match=r"from inside a running event loop \(for Task\.enqueue\)"):
        app.sync(app.tasks["work"].enqueue, n=1)
    with pytest.raises(MainspringError, match="Await the function itself"):
        app.sync.enqueue("work", {"n": 1})


def test_without_a_loop_the_app_points_here(app: Mainspring) -> None:
    with pytest.raises(MainspringError, match=r"no event loop is running here.*app\.sync"):
        _ = app.client


def test_it_ends_and_begins_again(app: Mainspring) -> None:
    work = app.tasks["work"]
    app.sync(work.enqueue, n=1)
    app.sync.close()
    app.sync.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "mainspring-sync"]
    app.sync(work.enqueue, n=2)
    assert app.sync.jobs.count() == 2


SCRIPT = """
import sys
from mainspring import Mainspring

app = Mainspring(sys.argv[1])

@app.task
def work(n: int) -> None: ...

print(app.sync(work.enqueue, n=1).created)
print(app.sync.enqueue("work", {"n": 2}).created)
"""


@pytest.mark.slow
@pytest.mark.parametrize("where", ["sqlite://:memory:", "file"])
def test_a_script_ends_cleanly(tmp_path: Path, where: str) -> None:
    url = f"sqlite:///{tmp_path}/jobs.db" if where == "file" else where
    done = subprocess.run(
        [sys.executable, "-W", "error", "-X", "dev", "-c", SCRIPT, url],
        capture_output=True,
        text=True,
        timeout=30,
        env=os.environ,
    )
    said = [line for line in done.stderr.splitlines() if "Executing" not in line]  # a slow machine, says -X dev
    assert (done.returncode, done.stdout, said) == (0, "True\nTrue\n", [])
