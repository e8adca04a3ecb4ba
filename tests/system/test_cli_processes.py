"""The command line as real processes: a worker from start to SIGTERM, a terminal, a pipe that is closed early."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from mainspring import JobFailed, Mainspring
from tests.factory import make_job
from tests.system.cli_shop import Shop, asked, on_terminal

pytestmark = pytest.mark.slow


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


async def enqueue(app: Mainspring, *names: str) -> list[str]:
    """Store calls by name; the worker has told the store of its tasks."""
    return [(await app.enqueue("send", {"to": name})).id for name in names]


@pytest.mark.parametrize(("processes", "stop"), [(1, signal.SIGTERM), (2, signal.SIGINT)])
def test_a_worker_runs_jobs_until_it_is_told_to_stop(shop: Shop, processes: int, stop: signal.Signals) -> None:
    enqueued = shop.start("enqueue", "send", '{"to": "the first"}')
    first = enqueued.communicate(timeout=60)[0].strip()
    worker = shop.start("worker", "shop:app", "--processes", str(processes), "--grace", "2s")
    try:

        async def use(app: Mainspring) -> None:
            assert await app.job(first).result(timeout=60) == "sent to the first"
            good, bad = await enqueue(app, "Ada", "nobody")
            assert await app.job(good).result(timeout=60) == "sent to Ada"
            with pytest.raises(JobFailed, match="no such"):
                await app.job(bad).result(timeout=60)
            assert [line.text for line in await app.jobs.logs(good)] == ["sending to Ada"]
            while (stats := await app.queues.stats("emails")).workers < processes:
                pass  # the others are still starting
            assert stats.no_handler == ()

        shop.call(use)
        worker.send_signal(stop)
        _, told = worker.communicate(timeout=60)
    finally:
        worker.kill()
        worker.communicate()

    assert worker.returncode == 0, told
    assert told.count("worker.stopped") == processes, told
    assert "Traceback" not in told


def test_a_stop_ends_a_handler_that_would_go_on_and_its_job_goes_back(shop: Shop) -> None:
    enqueued = shop.start("enqueue", "endless")
    id = enqueued.communicate(timeout=60)[0].strip()
    worker = shop.start("worker", "--grace", "100ms", "--log-level", "warning")
    try:

        async def until_running(app: Mainspring) -> None:
            async for event in app.events(id):
                if event.status == "running":
                    return

        shop.call(until_running)
        worker.send_signal(signal.SIGTERM)
        _, told = worker.communicate(timeout=60)
    finally:
        worker.kill()
        worker.communicate()

    assert (worker.returncode, told) == (0, "")

    async def look(app: Mainspring) -> tuple[str, list[str]]:
        job = await app.get(id)
        return await app.status(id), [run.outcome for run in job.runs]

    assert shop.call(look) == ("pending", ["released"])


def test_log_lines_are_json_on_request(shop: Shop) -> None:
    worker = shop.start("worker", "--log-format", "json")
    try:
        assert worker.stderr is not None
        events = []
        while "worker.started" not in events:
            line = json.loads(worker.stderr.readline())
            events.append(line["event"])
        worker.terminate()
        told = [json.loads(line) for line in worker.stderr.read().splitlines()]
        assert worker.wait(timeout=60) == 0
    finally:
        worker.kill()
        worker.communicate()
    assert "worker.stopped" in [line["event"] for line in told]


def test_a_worker_that_cannot_start_says_why_and_starts_no_child(shop: Shop) -> None:
    worker = shop.start("worker", "shop:app", "--tasks", "nothing")
    out, told = worker.communicate(timeout=60)
    assert (worker.returncode, out) == (2, "")
    assert told.startswith("error: unknown task: 'nothing'")
    assert not (shop.folder / "shop.db").exists()


def test_a_module_that_fails_shows_where(shop: Shop) -> None:
    (shop.folder / "broken.py").write_text("1 / 0\n")
    command = shop.start("jobs", "list", "--app", "broken:app")
    _, told = command.communicate(timeout=60)
    assert command.returncode == 1
    assert 'broken.py", line 1' in told
    assert "ZeroDivisionError" in told
    assert told.count("  File ") == 1, "only frames of the app are shown"
    assert told.endswith(
        "error: the app broken:app cannot be imported: ZeroDivisionError. Its code failed, see above.\n"
    )


@pytest.mark.parametrize("args", [["worker"], ["jobs", "list"], ["doctor"]])
def test_a_module_that_ends_the_program_is_an_error(shop: Shop, args: list[str]) -> None:
    (shop.folder / "ending.py").write_text("import sys\n\nsys.exit(0)\n")
    command = shop.start(*args, "--app", "ending:app")
    out, told = command.communicate(timeout=60)
    assert (command.returncode, out) == (1, "")
    assert told == (
        "error: the app ending:app cannot be imported: its module ended the program by sys.exit(0), in "
        f"{shop.folder / 'ending.py'}, line 3. "
        'Expected one that only defines things: put the rest under if __name__ == "__main__".\n'
    )


@pytest.mark.parametrize("path", ["shop.py", "./shop.py", "./shop.py:app"])
def test_a_path_is_answered_with_the_name_of_the_module(shop: Shop, path: str) -> None:
    result = shop.run("jobs", "list", "--app", path)
    assert result.exit_code == 2
    assert "is a path. Expected module:app" in result.stderr
    assert "such as shop:app." in result.stderr


@pytest.mark.parametrize("name", [":", ":app", ".shop:app"])
def test_an_app_without_a_module_is_wrong_use(shop: Shop, name: str) -> None:
    result = shop.run("jobs", "list", "--app", name)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == f"error: bad app: {name!r} names no module. Expected module:app, such as shop.tasks:app.\n"


def test_an_empty_file_is_no_database_by_its_url(shop: Shop) -> None:
    empty = shop.folder / "empty.db"
    empty.touch()
    result = shop.run("jobs", "list", "--app", f"sqlite:///{empty}")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "empty.db': the file is empty. Expected one that an app has made." in result.stderr
    assert empty.stat().st_size == 0


def test_a_terminal_gets_tables_and_questions(shop: Shop) -> None:
    async def add(app: Mainspring) -> str:
        now = app.clock.now()
        job = make_job(task="send", queue="emails", due=now + 3_600_500, created_at=now)
        await (await app.connect()).store.add([job])
        return job.id

    id = shop.call(add)

    code, seen = on_terminal(shop, "jobs", "list")
    assert code == 0
    assert "status" in seen, "no header"
    assert id in seen, "the id is cut"
    assert "due in 1h" in seen or "due in 59m" in seen
    narrow = on_terminal(shop, "jobs", "list", columns=80)[1]
    assert "queue" in seen
    assert "queue" not in narrow
    assert narrow.splitlines()[1].startswith(f"{id}  send  "), "they are folded"
    assert "scheduled" in narrow
    assert "no jobs" in on_terminal(shop, "dead", "list")[1]

    code, seen = on_terminal(shop, "jobs", "cancel", "--task", "send", typed="n\n")
    assert (code, "jobs whose task is send?" in seen) == (1, True)
    code, seen = on_terminal(shop, "jobs", "cancel", "--task", "send", typed="y\n")
    assert (code, "1 cancelled" in seen) == (0, True)


def test_one_ctrl_c_ends_a_question(shop: Shop) -> None:
    with asked(shop, "jobs", "cancel", "--task", "send") as (command, terminal):
        command.send_signal(signal.SIGINT)
        assert command.wait(timeout=60) == 130
        assert b"nothing was done" in os.read(terminal, 4096)


def test_a_reader_that_has_seen_enough_is_not_complained_of(shop: Shop) -> None:
    async def add(app: Mainspring) -> None:
        store = (await app.connect()).store
        for _ in range(4):
            await store.add([make_job(created_at=1) for _ in range(500)])

    shop.call(add)
    command = shop.start("jobs", "list", "--limit", "2000", stdout=subprocess.PIPE)
    assert command.stdout is not None
    assert command.stdout.readline()
    command.stdout.close()
    assert command.stderr is not None
    assert command.stderr.read() == ""
    command.stderr.close()
    assert command.wait(timeout=60) == 0
