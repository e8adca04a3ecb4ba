"""What the command line answers to acts with `--json`: a document for each target, or one for all that filters name."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from mainspring import Mainspring
from mainspring.core.job import State
from mainspring.core.records import WORKER, Record
from mainspring.stores.sqlite.store import SQLiteStore
from tests.docs.commands_page import commands
from tests.factory import make_job
from tests.system.cli_shop import Shop, entered, fail_second_save


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    return entered(tmp_path, monkeypatch)


def add(shop: Shop, number: int = 1, state: State = State.DEAD) -> list[str]:
    """So many jobs; answers their ids."""

    async def command(app: Mainspring) -> list[str]:
        now = app.clock.now()
        ended: dict[str, Any] = {"finished_at": now, "expires_at": None} if state.terminal else {}
        given: dict[str, Any] = {"task": "send", "queue": "emails", "created_at": now, "due": now} | ended
        jobs = [make_job(state=state, **given) for _ in range(number)]
        for first in range(0, number, 500):
            await (await app.connect()).store.add(jobs[first : first + 500])
        return [job.id for job in jobs]

    return shop.call(command)


def answers(shop: Shop, *args: str, code: int = 0) -> list[dict[str, Any]]:
    """The documents that a command prints, each in a line, when it ends with `code`."""
    result = shop.run(*args, "--json")
    assert result.exit_code == code, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_every_command_with_a_reason_answers_in_json() -> None:
    acts = {name: {option for parameter in command.params for option in parameter.opts} for name, command in commands()}
    acts = {name: options for name, options in acts.items() if "--reason" in options or "--yes" in options}
    assert len(acts) >= 22, "commands are no more found"
    assert not {name for name, options in acts.items() if not {"--json", "--reason"} <= options}


# -- by id -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "args", "done"),
    [
        (State.DEAD, ["jobs", "retry"], "retried"),
        (State.WAITING, ["jobs", "cancel"], "cancelled"),
        (State.COMPLETED, ["jobs", "delete"], "deleted"),
        (State.WAITING, ["jobs", "pause"], "paused"),
        (State.PAUSED, ["jobs", "resume"], "resumed"),
        (State.DEAD, ["dead", "retry"], "retried"),
    ],
)
def test_an_act_by_id_answers_for_each_of_them(shop: Shop, state: State, args: list[str], done: str) -> None:
    first, second = add(shop, 2, state)
    result = shop.run(*args, first, "nobody", second, "--json")
    good, bad, better = [json.loads(line) for line in result.stdout.splitlines()]
    assert result.exit_code == 1
    assert (good, better) == ({"id": first, "done": done}, {"id": second, "done": done})
    assert (bad["id"], list(bad)) == ("nobody", ["id", "error"])
    assert result.stderr == f"error: {bad['error']}\n"


def test_what_came_too_late_is_an_error(shop: Shop) -> None:
    [id] = add(shop, 1, State.COMPLETED)
    [bad] = answers(shop, "jobs", "cancel", id, code=1)
    assert bad == {"id": id, "error": f"job {id} was not cancelled: it had ended already, or is gone."}


# -- by filters --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "done"),
    [
        (["jobs", "retry", "--task", "send"], "retried"),
        (["jobs", "delete", "--task", "send"], "deleted"),
        (["dead", "retry-all"], "retried"),
        (["dead", "purge"], "erased"),
    ],
)
def test_an_act_by_filters_answers_once(shop: Shop, args: list[str], done: str) -> None:
    assert answers(shop, *args, "--yes") == [{"done": done, "jobs": 0}]
    add(shop, 3)
    assert answers(shop, *args, "--yes") == [{"done": done, "jobs": 3}]


def test_what_goes_wrong_before_anything_is_done_is_told_too(shop: Shop) -> None:
    add(shop)
    for args in (["jobs", "retry"], ["dead", "retry-all"], ["dead", "purge"]):
        [bad] = answers(shop, *args, "--task", "sennd", "--yes", code=1)
        assert bad["jobs"] == 0
        assert "Did you mean 'send'?" in bad["error"]
    assert answers(shop, "dead", "purge", code=2) == [], "nobody has confirmed it"
    assert shop.ok("dead", "count") == "1\n"


def test_a_store_that_fails_half_way_is_answered_with_what_was_done(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(shop, 700)
    fail_second_save(monkeypatch)
    result = shop.run("dead", "retry-all", "--yes", "--json")
    assert result.exit_code == 1
    document = json.loads(result.stdout)
    assert (document["done"], document["jobs"]) == ("retried", 500)
    assert "the disk is away" in document["error"]
    assert "500 retried before it went wrong" in result.stderr


def test_ctrl_c_is_answered_with_what_was_done(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    add(shop, 1_200)
    save, calls = SQLiteStore.save, 0

    async def interrupted(self: Any, *args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 2:
            signal.raise_signal(signal.SIGINT)
        return await save(self, *args, **kwargs)

    monkeypatch.setattr(SQLiteStore, "save", interrupted)
    result = shop.run("dead", "retry-all", "--yes", "--json")
    monkeypatch.undo()
    assert result.exit_code == 130
    document = json.loads(result.stdout)
    left = shop.call(lambda app: app.dead_letters.count())
    assert 0 < left < 1_200
    assert document == {"done": "retried", "jobs": 1_200 - left, "error": "interrupted"}
    assert f"interrupted: {1_200 - left} retried" in result.stderr


# -- queues, workers, locks --------------------------------------------------------------------------------------------


def test_queues_and_tasks_are_answered_by_name(shop: Shop) -> None:
    assert answers(shop, "queues", "pause", "emails") == [{"queue": "emails", "done": "paused"}]
    assert answers(shop, "queues", "resume", "emails") == [{"queue": "emails", "done": "resumed"}]
    assert answers(shop, "queues", "resume", "emails") == [{"queue": "emails", "done": "unchanged"}]
    assert answers(shop, "queues", "throttle", "send", "5m") == [{"task": "send", "done": "throttled"}]
    assert answers(shop, "queues", "throttle", "send") == [{"task": "send", "done": "throttled"}]
    assert answers(shop, "queues", "unthrottle", "send") == [{"task": "send", "done": "unthrottled"}]
    assert answers(shop, "queues", "unthrottle", "send") == [{"task": "send", "done": "unchanged"}]
    [bad] = answers(shop, "queues", "pause", "e mails", code=2)
    assert bad["queue"] == "e mails"
    assert "e mails" in bad["error"]
    assert answers(shop, "queues", "throttle", "send", "soon", code=2) == []


def test_workers_are_answered_by_id(shop: Shop) -> None:
    async def start(app: Mainspring) -> None:
        now = app.clock.now()
        value = {"queues": ["emails"], "tasks": ["send"]}
        record = Record(kind=WORKER, name="host:1", written_at=now, expires_at=now + 60_000, value=value)
        await (await app.connect()).store.write([record])

    shop.call(start)
    assert answers(shop, "workers", "pause", "host:1") == [{"id": "host:1", "done": "asked to pause"}]
    assert answers(shop, "workers", "resume", "host:1") == [{"id": "host:1", "done": "asked to resume"}]
    [bad] = answers(shop, "workers", "pause", "nobody", code=1)
    assert bad["id"] == "nobody"
    assert "no worker 'nobody'" in bad["error"]


def test_locks_are_answered_by_name(shop: Shop) -> None:
    shop.call(lambda app: app.locks.acquire("report", "me", ttl="1h"))
    assert answers(shop, "locks", "release", "report", code=2) == [], "nobody has confirmed it"
    assert answers(shop, "locks", "release", "report", "--yes") == [{"name": "report", "done": "released"}]
    [bad] = answers(shop, "locks", "release", "report", "--yes", code=1)
    assert bad == {"name": "report", "error": "nobody holds the lock 'report'."}
