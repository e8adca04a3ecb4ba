"""Administration on the command line: filters, acts on many jobs, workers, locks, the audit trail."""

from __future__ import annotations

import json
import re
import signal
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from mainspring import Mainspring
from mainspring.core.job import State
from mainspring.core.records import WORKER, Record
from tests.factory import make_job
from tests.system.cli_shop import Shop, entered, fail_second_save, on_terminal

HOUR = 3_600_000


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    return entered(tmp_path, monkeypatch)


def add(shop: Shop, number: int = 1, state: State = State.DEAD, ago: int = 0, **fields: Any) -> list[str]:
    """So many jobs; answers their ids."""

    async def command(app: Mainspring) -> list[str]:
        now = app.clock.now() - ago
        given: dict[str, Any] = {"task": "send", "queue": "emails", "created_at": now, "due": now} | fields
        given |= {"finished_at": now, "expires_at": None} if state.terminal else {}
        store = (await app.connect()).store
        jobs = [make_job(state=state, **given) for _ in range(number)]
        for first in range(0, number, 500):
            await store.add(jobs[first : first + 500])
        return [job.id for job in jobs]

    return shop.call(command)


def ids(shop: Shop, *args: str) -> list[str]:
    return [row[0] for row in shop.lines(*args)]


# -- filters -----------------------------------------------------------------------------------------------------------


def test_every_filter_is_an_option(shop: Shop) -> None:
    [old] = add(shop, ago=3 * HOUR)
    [new] = add(shop)
    [late] = add(shop, state=State.WAITING, ago=2 * HOUR)
    soon = shop.ok("enqueue", "send", '{"to": "x"}', "--delay", "2h", "--idempotency-key", "k").strip()
    [other] = add(shop, task="endless", queue="default")

    assert ids(shop, "jobs", "list", "--ended-before", "1h") == [old]
    assert ids(shop, "jobs", "list", "--ended-after", "1h", "--task", "send") == [new]
    assert ids(shop, "jobs", "list", "--due-before", "1h") == [late]
    assert ids(shop, "jobs", "list", "--due-after", "in 1h") == [soon]
    assert ids(shop, "jobs", "list", "--key", "k") == [soon]
    assert ids(shop, "jobs", "list", "--has-error") == []
    assert len(ids(shop, "jobs", "list", "--no-error")) == 5
    assert ids(shop, "jobs", "list", "--task", "endless,send", "--status", "dead", "--oldest-first") == [
        old,
        new,
        other,
    ]
    assert ids(shop, "jobs", "list", "-t", "endless", "-t", "send", "-q", "default") == [other]
    assert ids(shop, "dead", "list", "--ended-before", "1h") == [old]
    assert ids(shop, "dead", "list", "--oldest-first") == [old, new, other]
    assert shop.ok("dead", "retry-all", "--ended-before", "1h", "--yes") == "1 retried\n"
    assert shop.ok("jobs", "cancel", "--due-after", "in 1h", "--yes") == "1 cancelled\n"


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (["jobs", "list", "--task", "sennd"], 1, "Did you mean 'send'?"),
        (["jobs", "retry", "--task", "sennd", "--yes"], 1, "unknown task"),
        (["dead", "purge", "--task", "sennd", "--yes"], 1, "unknown task"),
        (["jobs", "cancel", "--status", "", "--yes"], 2, "bad filter status"),
        (["jobs", "delete", "--status", "dead,,failed", "--yes"], 2, "bad filter status"),
        (["jobs", "delete", "--yes"], 2, "no job to delete"),
        (["jobs", "delete", "nobody"], 1, "error: no job has the id 'nobody'"),
        (["jobs", "retry", "--due-before", "1h", "--yes"], 2, "times that none of these can have"),
        (["jobs", "list", "--due-before", "in a while"], 2, "bad due-before"),
        (["queues", "throttle", "sennd"], 1, "Did you mean 'send'?"),
        (["queues", "throttle", "sennd", "5m"], 1, "unknown task: 'sennd'"),
        (["audit", "--action", "bogus"], 2, "unknown action"),
        (["audit", "--since", "once"], 2, "bad --since"),
        (["locks", "holder", "x"], 1, "nobody holds the lock 'x'"),
        (["locks", "release", "x", "--yes"], 1, "nobody holds the lock 'x'"),
        (["workers", "get", "x"], 1, "no worker 'x'"),
        (["workers", "pause", "x"], 1, "no worker 'x'"),
    ],
)
def test_wrong_use_says_why(shop: Shop, args: list[str], code: int, message: str) -> None:
    add(shop)
    result = shop.run(*args)
    assert (result.exit_code, result.stdout) == (code, "")
    assert message in result.stderr
    assert shop.ok("dead", "count") == "1\n"


@pytest.mark.slow
@pytest.mark.parametrize("columns", [20, 40, 60])
def test_a_narrow_terminal_cuts_no_id(shop: Shop, columns: int) -> None:
    known = add(shop, 2)
    code, seen = on_terminal(shop, "jobs", "list", columns=columns)
    assert code == 0
    header, *rows = re.sub(r"\x1b\[[\d;]*m", "", seen).splitlines()
    assert header.split() == ["id", "task", "status", "detail"]
    assert sorted(row.split()[:3] for row in rows) == sorted([id, "send", "dead"] for id in known)


def test_a_queue_that_nobody_knows_is_paused_with_a_word(shop: Shop) -> None:
    add(shop)
    result = shop.run("queues", "pause", "emials")
    assert (result.exit_code, result.stdout) == (0, "paused emials\n")
    wanted = "note: no task, job or worker has had the queue 'emials'; there are: default, emails."
    assert result.stderr == f"{wanted}\n"
    assert shop.run("queues", "pause", "emails") == (0, "paused emails\n", "")
    assert shop.run("queues", "pause", "emials") == (0, "paused emials\n", "")


# -- acts on many ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_an_act_on_many_asks_with_their_number_and_shows_how_far_it_is(shop: Shop) -> None:
    add(shop, 1_200)
    code, seen = on_terminal(shop, "jobs", "retry", "--task", "send", "--reason", "fixed", typed="y\n")
    assert code == 0
    assert "Retry 1,200 jobs whose task is send? [y/N]" in seen
    assert re.search(r"retry .*1200/1200", seen)
    assert seen.rstrip().endswith("1200 retried")
    [entry] = [json.loads(line) for line in shop.ok("audit", "--json").splitlines()]
    assert (entry["reason"], entry["changed"]) == ("fixed", 1_200)


@pytest.mark.slow
def test_a_no_leaves_all_as_it_was(shop: Shop) -> None:
    add(shop, 3)
    code, seen = on_terminal(shop, "dead", "purge", typed="n\n")
    assert code == 1
    assert "Erase dead letters for good: 3? [y/N]" in seen
    assert shop.ok("dead", "count") == "3\n"
    assert shop.lines("audit") == []


def test_a_question_names_the_filters(shop: Shop) -> None:
    add(shop, 2)
    code, seen = on_terminal(shop, "jobs", "delete", "--error", "x", "--ended-before", "1h", "--no-error", typed="n\n")
    assert code == 1
    flat = " ".join(seen.split())
    assert "Delete all jobs whose error is x and has error is false and ended time is before 20" in flat


def test_no_bar_in_a_pipe(shop: Shop) -> None:
    add(shop, 3)
    result = shop.run("dead", "retry-all", "--yes")
    assert (result.stdout, result.stderr) == ("3 retried\n", "")


@pytest.mark.slow
def test_ctrl_c_says_how_many_were_done_and_the_same_command_goes_on(shop: Shop) -> None:
    total = 20_000
    add(shop, total)
    command = shop.start("dead", "retry-all", "--yes")

    async def dead(app: Mainspring) -> int:
        return await app.dead_letters.count()

    while shop.call(dead) == total:
        assert command.poll() is None
    command.send_signal(signal.SIGINT)
    out, err = command.communicate(timeout=60)
    left = shop.call(dead)
    assert command.returncode == 130, err
    assert out == ""
    assert 0 < left < total
    assert err.strip() == (
        f"error: interrupted: {total - left} retried. That stays so; the same command goes on with the rest."
    )
    assert shop.ok("dead", "retry-all", "--yes") == f"{left} retried\n"
    rest, first = [json.loads(line) for line in shop.ok("audit", "--json").splitlines()]
    assert (first["outcome"], first["changed"]) == ("interrupted", total - left)
    assert (rest["outcome"], rest["changed"]) == ("done", left)


def test_a_store_that_fails_half_way_says_how_many_were_done(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    add(shop, 700)
    fail_second_save(monkeypatch)
    result = shop.run("dead", "retry-all", "--yes")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "500 retried before it went wrong" in result.stderr
    assert "the disk is away" in result.stderr


# -- workers -----------------------------------------------------------------------------------------------------------


def a_worker(shop: Shop, id: str = "host-7:99:abc") -> str:
    async def command(app: Mainspring) -> None:
        now = app.clock.now()
        value = {
            "status": "running", "active": 3, "concurrency": 20, "processed": 1_000, "failed": 7, "uptime": 125.4,
            "loop_lag": 2, "queues": ["emails", "default"], "tasks": ["send"], "host": "host-7", "pid": 99,
        }  # fmt: skip
        record = Record(kind=WORKER, name=id, written_at=now, expires_at=now + 60_000, value=value)
        await (await app.connect()).store.write([record])

    shop.call(command)
    return id


def test_workers_are_listed_and_shown(shop: Shop) -> None:
    assert shop.lines("workers", "list") == []
    id = a_worker(shop)
    [row] = shop.lines("workers", "list")
    assert row[:7] == [id, "running", "3/20", "1000", "7", "2m 5s", "emails,default"]
    document = json.loads(shop.ok("workers", "list", "--json"))
    assert (document["id"], document["pid"], document["queues"]) == (id, 99, ["emails", "default"])
    assert datetime.fromisoformat(document["last_seen"]).tzinfo is not None
    assert json.loads(shop.ok("workers", "get", id, "--json")) == document
    fields = dict(line.split("\t", 1) for line in shop.ok("workers", "get", id).splitlines())
    assert (fields["running"], fields["host"], fields["tasks"]) == ("3 of 20", "host-7", "send")


def test_a_worker_is_asked_to_pause_and_to_resume(shop: Shop) -> None:
    id = a_worker(shop)
    assert shop.ok("workers", "pause", id, "--reason", "a look") == f"asked {id} to pause\n"
    assert shop.ok("workers", "resume", id) == f"asked {id} to resume\n"
    assert [row[2:] for row in shop.lines("audit")] == [
        ["workers.resume", id, "1", ""],
        ["workers.pause", id, "1", "a look"],
    ]


# -- locks -------------------------------------------------------------------------------------------------------------


def test_locks_are_listed_shown_and_taken_away(shop: Shop) -> None:
    assert shop.lines("locks", "list") == []
    for name in ("report", "billing"):
        shop.call(lambda app, name=name: app.locks.acquire(name, "me", ttl="1h"))  # type: ignore[misc]
    rows = shop.lines("locks", "list")
    assert [row[:2] for row in rows] == [["billing", "me"], ["report", "me"]]
    assert [row[0] for row in shop.lines("locks", "list", "--limit", "1")] == ["billing"]
    first, second = [json.loads(line) for line in shop.ok("locks", "list", "--json").splitlines()]
    assert (first["name"], first["owner"], str(first["fence"])) == ("billing", "me", rows[0][4])
    assert json.loads(shop.ok("locks", "holder", "report", "--json")) == second
    fields = dict(line.split("\t", 1) for line in shop.ok("locks", "holder", "report").splitlines())
    assert (fields["owner"], fields["fence"]) == ("me", rows[1][4])

    refused = shop.run("locks", "release", "report")
    assert refused.exit_code == 2
    assert "--yes" in refused.stderr
    assert shop.ok("locks", "release", "report", "--yes", "--reason", "stuck") == "released report\n"
    assert [row[0] for row in shop.lines("locks", "list")] == ["billing"]
    assert shop.lines("audit")[0][2:] == ["locks.force_release", "report", "1", "stuck"]


# -- the audit trail ---------------------------------------------------------------------------------------------------


def test_the_audit_trail_is_listed_and_filtered(shop: Shop) -> None:
    assert shop.lines("audit") == []
    add(shop, 2)
    shop.ok("queues", "pause", "emails", "--reason", "a\tfault")
    shop.ok("jobs", "retry", "--task", "send", "--status", "failed,dead", "--yes")
    newest, oldest = shop.lines("audit")
    assert newest[2:] == ["jobs.retry", "task=send status=failed,dead", "2", ""]
    assert oldest[2:] == ["queues.pause", "emails", "1", "a fault"]
    assert "@" in newest[1]
    assert len(shop.lines("audit", "--limit", "1")) == 1
    assert [row[2] for row in shop.lines("audit", "--action", "queues")] == ["queues.pause"]
    assert shop.lines("audit", "--actor", "nobody") == []
    assert len(shop.lines("audit", "--since", "1h", "--actor", newest[1])) == 2
    document = json.loads(shop.ok("audit", "--json", "--action", "jobs.retry"))
    assert document["filters"] == {"task": "send", "status": ["failed", "dead"]}
    assert (document["changed"], document["outcome"]) == (2, "done")


def test_an_act_that_says_no_reason_of_its_own_takes_the_one_of_the_command(shop: Shop) -> None:
    [id] = add(shop)
    for args in (
        ["queues", "pause", "emails"],
        ["queues", "resume", "emails"],
        ["queues", "throttle", "send"],
        ["queues", "unthrottle", "send"],
        ["dead", "retry", id],
        ["jobs", "pause", id],
        ["jobs", "resume", id],
        ["jobs", "delete", id],
        ["dead", "purge", "--yes"],
    ):
        shop.ok(*args, "--reason", f"why {args[1]}")
        assert shop.lines("audit")[0][5] == f"why {args[1]}", args
    too_long = shop.run("dead", "purge", "--yes", "--reason", "x" * 3_000)
    assert too_long.exit_code == 2
    assert "bad reason" in too_long.stderr


def test_the_audit_trail_goes_on_past_a_page(shop: Shop) -> None:
    async def command(app: Mainspring) -> None:
        for n in range(520):
            await app.queues.pause(f"q{n}")

    shop.call(command)
    assert [row[3] for row in shop.lines("audit", "--limit", "510")] == [f"q{n}" for n in range(519, 9, -1)]


@pytest.mark.slow
def test_on_a_terminal_there_are_tables(shop: Shop) -> None:
    a_worker(shop)
    shop.call(lambda app: app.locks.acquire("report", "me", ttl="1h"))
    shop.ok("queues", "pause", "emails")
    for args, columns in (
        (["workers", "list"], ["id", "status", "running", "processed", "last seen"]),
        (["locks", "list"], ["lock", "owner", "since", "until", "fence"]),
        (["audit"], ["when", "who", "what", "on", "changed", "why"]),
    ):
        code, seen = on_terminal(shop, *args)
        assert code == 0
        head = seen.splitlines()[0]
        assert all(column in head for column in columns), head
