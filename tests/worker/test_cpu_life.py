"""cpu=True: what a worker's settings, start and stop mean for the processes of its handlers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mainspring import Context, DefinitionError, Mainspring, UnknownOption
from mainspring.core.job import State
from mainspring.testing import kit
from mainspring.worker.settings import WorkerSettings
from tests.chaos.fleet import ROOT
from tests.worker import cpu_shop as shop
from tests.worker.conftest import wait_until
from tests.worker.test_cpu import begun, gone, parent_of

pytestmark = pytest.mark.slow


async def test_a_stop_gives_back_what_does_not_end_and_leaves_nobody_behind(tmp_path: Path) -> None:
    async with kit(shop.app):
        async with shop.app.worker(cpu_processes=2, grace=0.2) as worker:
            job = await shop.loops.enqueue(str(tmp_path))
            await wait_until(lambda: begun(tmp_path), "it to begin")
            [child] = begun(tmp_path)
            nursery = parent_of(child)
        row = await shop.app.get(job.id)
        assert (row.state, row.interruptions, row.attempts) == (State.WAITING, 0, 0)
        assert [run.outcome for run in row.runs] == ["released"]
        assert (gone(child), gone(nursery), worker.exit_code) == (True, True, 0)


def test_an_event_loop_that_ends_without_a_stop_leaves_nobody_behind(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "error", "-m", "tests.worker.cpu_left", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr
    assert [gone(int(pid)) for pid in done.stdout.split()] == [True, True]


async def test_others_run_in_the_worker_s_own_process() -> None:
    async with kit(shop.app), shop.app.worker():
        assert await (await shop.in_thread.enqueue()).result(timeout=60) == os.getpid()


# -- recycling ---------------------------------------------------------------------------------------------------------


async def test_a_process_ends_after_so_many_jobs() -> None:
    async with kit(shop.app), shop.app.worker(cpu_processes=1, cpu_max_jobs=3):
        pids = [(await (await shop.add_up.enqueue([n])).result(timeout=60)).pid for n in range(7)]
    assert [pids.index(pid) for pid in pids] == [0, 0, 0, 3, 3, 3, 6]


async def test_a_process_ends_above_so_much_memory() -> None:
    async with kit(shop.app), shop.app.worker(cpu_processes=1, cpu_max_memory="200MB"):
        pids = [await (await shop.leaks.enqueue(20_000_000)).result(timeout=60) for _ in range(12)]
    assert 1 < len(set(pids)) < 7


# -- definition --------------------------------------------------------------------------------------------------------


def test_an_async_handler_is_refused() -> None:
    app = Mainspring("sqlite://:memory:")
    with pytest.raises(DefinitionError, match=r"a cpu handler that is async\. Expected a plain function"):

        @app.task(cpu=True)
        async def waits(ctx: Context) -> None: ...


def test_cpu_is_true_or_false() -> None:
    app = Mainspring("sqlite://:memory:")
    with pytest.raises(DefinitionError, match="bad cpu: 2"):
        app.task(cpu=2)(shop.nothing.function)  # type: ignore[call-overload]
    with pytest.raises(UnknownOption, match="is cpu=True"):
        app.task(process=True)(shop.nothing.function)  # type: ignore[call-overload]


async def test_a_handler_that_no_other_process_could_find_is_refused_at_the_start() -> None:
    app = Mainspring("sqlite://:memory:")

    @app.task(cpu=True)
    def hidden() -> None: ...

    with pytest.raises(DefinitionError, match="cannot be found by another process"):
        async with app.worker():
            pass
    await app.close()


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("cpu_processes", 0),
        ("cpu_max_jobs", -1),
        ("cpu_max_memory", "much"),
        ("cpu_max_memory", 0),
        ("cpu_max_jobs", True),
    ],
)
def test_settings_that_make_no_sense_are_refused(setting: str, value: Any) -> None:
    with pytest.raises(DefinitionError, match=f"bad {setting}: {value!r}"):
        WorkerSettings(**{setting: value})
