"""How commands end where a stream is gone, or a signal comes: as real processes, for each has its own streams."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mainspring import Mainspring
from mainspring.core.job import State
from tests.factory import make_job
from tests.system.cli_shop import SOURCE, Shop, asked

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


def said(command: subprocess.Popen[str]) -> tuple[int, str, str]:
    """How a command has ended, and what it has said."""
    out, told = command.communicate(timeout=60)
    return command.returncode, out, told


def shell(shop: Shop, redirection: str, *args: str) -> tuple[int, str, str]:
    """How a command ends with its streams as the shell redirects them, and what it has said."""
    line = ["sh", "-c", f'exec "$0" -m mainspring.cli "$@" {redirection}', sys.executable, *args]
    ended = subprocess.run(line, cwd=shop.folder, env=shop.environment(), capture_output=True, text=True, timeout=60)
    return ended.returncode, ended.stdout, ended.stderr


# -- signals -----------------------------------------------------------------------------------------------------------

SIGNALLED = """
import signal
from mainspring.stores.sqlite.store import SQLiteStore

save, calls = SQLiteStore.save, 0

async def signalled(self, *args, **kwargs):
    global calls
    calls += 1
    if calls == 2:
        signal.raise_signal(signal.{name})
    return await save(self, *args, **kwargs)

SQLiteStore.save = signalled
"""
"""In a module of an app: a signal comes in the middle of an act on many jobs."""


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGHUP", 129)])
def test_a_signal_ends_an_act_on_many_with_a_word_and_an_entry(shop: Shop, name: str, code: int) -> None:
    add(shop, 1_700, state=State.WAITING)
    (shop.folder / "shop.py").write_text(SOURCE + SIGNALLED.format(name=name))
    ended, out, told = said(shop.start("jobs", "pause", "--task", "send", "--yes", "--json"))
    done = shop.call(lambda app: app.jobs.count(status="paused"))
    assert 0 < done < 1_700
    assert (ended, json.loads(out)) == (code, {"done": "paused", "jobs": done, "error": f"interrupted by {name}"})
    assert told.startswith(f"error: interrupted by {name}: {done} paused. That stays so;")
    [entry] = shop.call(lambda app: app.audit.list())
    assert (entry.action, entry.outcome, entry.changed) == ("jobs.pause", "interrupted", done)


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGHUP", 129)])
def test_a_signal_ends_a_question(shop: Shop, name: str, code: int) -> None:
    with asked(shop, "dead", "purge") as (command, _):
        command.send_signal(signal.Signals[name])
        assert command.wait(timeout=60) == code


@pytest.mark.parametrize("entry", [["-m", "mainspring"], ["-c", "from mainspring.__main__ import main; main()"]])
def test_ctrl_c_ends_a_command_that_is_still_imported(shop: Shop, entry: list[str]) -> None:
    """The script of the package does what the second one does."""
    (shop.folder / "typer.py").write_text("import signal\nsignal.raise_signal(signal.SIGINT)\n")
    source = str(shop.folder) + os.pathsep + shop.environment()["PYTHONPATH"]
    env = shop.environment() | {"PYTHONPATH": source}
    ended = subprocess.run(
        [sys.executable, *entry, "jobs", "list"], env=env, capture_output=True, text=True, timeout=60
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "")


def test_a_signal_that_is_ignored_stays_so(shop: Shop) -> None:
    add(shop, 1_700, state=State.WAITING)
    (shop.folder / "shop.py").write_text(SOURCE + SIGNALLED.format(name="SIGHUP"))
    command = ["nohup", sys.executable, "-m", "mainspring.cli", "jobs", "pause", "--task", "send", "--yes"]
    ended = subprocess.run(command, cwd=shop.folder, env=shop.environment(), capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stdout) == (0, "1700 paused\n")


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


@pytest.mark.parametrize("args", [["jobs", "count"], ["jobs", "list", "--json"], ["config"], ["--help"]])
def test_a_full_disk_is_one_line(shop: Shop, args: list[str]) -> None:
    add(shop, 1, input=json.dumps({"to": "x" * 200_000}))
    with open("/dev/full", "w") as full:
        code, _, told = said(shop.start(*args, stdout=full))
    assert code == 1
    assert told.startswith("error: standard output cannot be written: No space left on device.")
    assert len(told.splitlines()) == 1


def test_errors_keep_their_code_where_they_cannot_be_told(shop: Shop) -> None:
    for stream in ("/dev/full", "&-"):
        assert shell(shop, f"2>{stream}", "jobs", "get", "nobody")[0] == 1
        assert shell(shop, f"2>{stream} </dev/null", "dead", "purge")[0] == 2


# -- closed streams ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stdin", ["</dev/null", "<&-"])
def test_a_closed_standard_input_is_an_empty_one(shop: Shop, stdin: str) -> None:
    code, out, told = shell(shop, stdin, "dead", "purge")
    assert (code, out) == (2, "")
    assert told.endswith("There is no terminal to ask on: repeat the command with --yes.\n")
    code, out, told = shell(shop, stdin, "enqueue", "send", "-")
    assert (code, out, len(told.splitlines())) == (2, "", 1)
    assert told.startswith("error: the input is not JSON:")


def test_a_closed_standard_output_takes_everything(shop: Shop) -> None:
    assert shell(shop, ">&-", "jobs", "list") == (0, "", "")
