"""The command line on an app with a file database: what it prints, and how it ends."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from mainspring import Mainspring, __version__
from mainspring.core.job import Error, State
from tests.factory import make_job
from tests.system.cli_shop import Shop, claim_all, entered

BOOM = Error(type="ValueError", message="no such [red]address[/red]\x1b[31m", traceback="Traceback: here\n")


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    return entered(tmp_path, monkeypatch)


def dead(shop: Shop, number: int = 1) -> list[str]:
    """So many dead letters; answers their ids."""

    async def add(app: Mainspring) -> list[str]:
        now = app.clock.now()
        fields: dict[str, Any] = {
            "task": "send",
            "queue": "emails",
            "reason": "exhausted",
            "error": BOOM,
            "attempts": 1,
        }
        jobs = [
            make_job(state=State.DEAD, due=now, created_at=now, finished_at=now, expires_at=None, **fields)
            for _ in range(number)
        ]
        await (await app.connect()).store.add(jobs)
        return [job.id for job in jobs]

    return shop.call(add)


def enqueue(shop: Shop, *args: str) -> str:
    return shop.ok("enqueue", "send", '{"to": "a@b.c"}', *args).strip()


# -- the whole ---------------------------------------------------------------------------------------------------------


def test_it_says_its_version(shop: Shop) -> None:
    assert shop.ok("--version") == f"mainspring {__version__}\n"


def test_help_names_every_command(shop: Shop) -> None:
    told = shop.run("--help").stdout
    for command in ("worker", "jobs", "dead", "queues", "enqueue", "doctor", "demo"):
        assert re.search(rf"^  {command} +\w", told, re.MULTILINE), command


@pytest.mark.parametrize(
    "args",
    [
        ["jobs"],
        ["bogus"],
        ["jobs", "bogus"],
        ["jobs", "get"],
        ["jobs", "list", "--status", "gone"],
        ["jobs", "list", "--created-after", "yesterday"],
        ["jobs", "list", "--limit", "0"],
        ["jobs", "list", "--app", "shop:nothing"],
        ["jobs", "list", "--app", "nowhere"],
        ["jobs", "list", "--app", "other://store"],
        ["jobs", "list", "--app", "sqlite:///typo.db"],
        ["jobs", "cancel"],
        ["jobs", "cancel", "some-id", "--task", "send"],
        ["dead", "purge", "--older-than", "long", "--yes"],
        ["queues", "pause", "a:b"],
        ["queues", "throttle", "send", "soon"],
        ["enqueue", "send", '{"to": "a"}', "--priority", "101"],
        ["enqueue", "send", '{"to": "a"}', "--at", "noon"],
        ["worker", "shop:app", "--grace", "long"],
        ["worker", "shop:app", "--concurrency", "0"],
        ["worker", "shop:app", "--processes", "0"],
        ["worker", "shop:app", "--tasks", "send,nothing"],
        ["worker", "shop:app", "--queues", "a,,b"],
        ["worker", "shop:app", "--log-level", "loud"],
        ["worker", "sqlite:///shop.db"],
    ],
)
def test_wrong_use_ends_with_2_and_says_why(shop: Shop, args: list[str]) -> None:
    result = shop.run(*args)
    assert result.exit_code == 2
    assert "Traceback" not in result.output
    assert result.stderr or args == ["jobs"]
    assert not (shop.folder / "typo.db").exists()


def test_no_app_is_said(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MAINSPRING_APP")
    result = shop.run("jobs", "list")
    assert result.exit_code == 2
    assert "MAINSPRING_APP" in result.stderr


def test_the_url_of_a_store_serves_for_an_app(shop: Shop) -> None:
    id = enqueue(shop)
    assert [row[0] for row in shop.lines("jobs", "list", "--app", shop.url)] == [id]


def test_a_store_that_cannot_be_used_is_one_line(shop: Shop) -> None:
    (shop.folder / "shop.db").write_bytes(b"not a database, but text " * 100)
    result = shop.run("jobs", "list")
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1
    assert "Traceback" not in result.output


def test_the_entry_point_is_the_command_line() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    assert project["scripts"]["mainspring"] == "mainspring.__main__:main"


# -- enqueue -----------------------------------------------------------------------------------------------------------


def test_enqueue_stores_a_call_with_its_options(shop: Shop) -> None:
    id = enqueue(shop, "--delay", "5m", "--priority", "80", "--queue", "slow", "--idempotency-key", "k")
    job = json.loads(shop.ok("jobs", "get", id, "--json"))
    assert (job["task"], job["queue"], job["status"], job["priority"]) == ("send", "slow", "scheduled", 80)
    assert job["input"] == {"to": "a@b.c"}
    again = json.loads(shop.ok("enqueue", "send", '{"to": "a@b.c"}', "--idempotency-key", "k", "--json"))
    assert again == {"id": id, "task": "send", "created": False}


def test_enqueue_reads_its_input_from_a_pipe(shop: Shop) -> None:
    id = shop.ok("enqueue", "send", "-", input='{"to": "x"}').strip()
    assert json.loads(shop.ok("jobs", "get", id, "--json"))["input"] == {"to": "x"}


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (["nothing"], 1, "unknown task: 'nothing'"),
        (["send", '{"t": 1}'], 1, "to: "),
        (["send", "[1]"], 2, "Expected a JSON object"),
        (["send", "{"], 2, """is not JSON: Expecting property name enclosed in double quotes"""),
        (["send", "to=a@b.c"], 2, """Expected an object, such as '{"to": "a@b.c"}'"""),
        (["send", "n=3"], 2, """Expected an object, such as '{"n": 3}'"""),
        (["send", '{"to": NaN}'], 2, "is not JSON: it has no NaN"),
        (["send", "[" * 100_000], 2, "is not JSON: maximum recursion depth exceeded"),
        (["nothing", "{"], 2, "is not JSON"),
    ],
)
def test_a_call_that_does_not_fit_is_refused(shop: Shop, args: list[str], code: int, message: str) -> None:
    result = shop.run("enqueue", *args)
    assert result.exit_code == code
    assert message in result.stderr
    assert shop.ok("jobs", "count") == "0\n"


def test_a_bare_number_is_seconds(shop: Shop) -> None:
    enqueue(shop, "--delay", "90.5")
    job = json.loads(shop.ok("jobs", "list", "--json"))
    made, due = (datetime.fromisoformat(job[name]) for name in ("created_at", "due_at"))
    assert (due - made).total_seconds() == 90.5
    assert shop.ok("queues", "throttle", "send", "90") == "throttled send for 1m 30s\n"
    assert shop.ok("dead", "purge", "--older-than", "5", "--yes") == "0 erased\n"
    assert "bad --delay: '-5'" in shop.run("enqueue", "send", '{"to": "a"}', "--delay=-5").stderr


def test_what_is_wrong_with_the_wait_shows_before_the_call_is_stored(shop: Shop) -> None:
    result = shop.run("enqueue", "send", '{"to": "a@b.c"}', "--wait", "soon")
    assert result.exit_code == 2
    assert "bad --wait: 'soon'" in result.stderr
    assert shop.ok("jobs", "count") == "0\n"


def test_enqueue_does_not_wait_for_ever(shop: Shop) -> None:
    result = shop.run("enqueue", "endless", "--wait", "20ms")
    assert result.exit_code == 1
    assert "has not ended within" in result.stderr


# -- jobs --------------------------------------------------------------------------------------------------------------


def test_a_pipe_gets_a_line_a_job_with_fields_between_tabs(shop: Shop) -> None:
    first, second = enqueue(shop), enqueue(shop, "--delay", "1h")
    rows = shop.lines("jobs", "list")
    assert [row[:5] for row in rows] == [
        [second, "send", "emails", "scheduled", "0"],
        [first, "send", "emails", "pending", "0"],
    ]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+[+-]\d\d:\d\d", rows[0][5])


def test_json_of_a_list_is_a_document_a_line(shop: Shop) -> None:
    ids = [enqueue(shop), enqueue(shop)]
    documents = [json.loads(line) for line in shop.ok("jobs", "list", "--json").splitlines()]
    assert [document["id"] for document in documents] == ids[::-1]
    assert documents[0]["status"] == "pending"


def test_a_list_is_filtered_and_limited(shop: Shop) -> None:
    id = enqueue(shop)
    later = enqueue(shop, "--delay", "1h")
    [letter] = dead(shop)
    assert [row[0] for row in shop.lines("jobs", "list", "--status", "scheduled,dead")] == [letter, later]
    assert [row[0] for row in shop.lines("jobs", "list", "-s", "scheduled", "-s", "pending")] == [later, id]
    assert [row[0] for row in shop.lines("jobs", "list", "--error", "ADDRESS")] == [letter]
    assert [row[0] for row in shop.lines("jobs", "list", "--oldest-first", "--limit", "1")] == [id]
    assert shop.lines("jobs", "list", "--task", "endless") == []
    assert shop.lines("jobs", "list", "--created-before", "1h") == []
    assert len(shop.lines("jobs", "list", "--created-after", "1h")) == 3


def test_a_list_goes_on_past_a_page(shop: Shop) -> None:
    ids = dead(shop, 700)
    assert [row[0] for row in shop.lines("dead", "list", "--limit", "1000")] == ids[::-1]
    assert [row[0] for row in shop.lines("dead", "list", "--limit", "600")] == ids[:99:-1]


def test_a_line_stays_a_line_whatever_an_error_says(shop: Shop) -> None:
    dead(shop)
    out = shop.ok("jobs", "list") + shop.ok("dead", "list")
    assert "no such [red]address[/red]" in out
    assert "\x1b" not in out


def test_get_shows_a_job_in_full(shop: Shop) -> None:
    [id] = dead(shop)
    fields = dict(line.split("\t", 1) for line in shop.ok("jobs", "get", id).splitlines() if "\t" in line)
    assert (fields["id"], fields["status"], fields["reason"]) == (id, "dead", "exhausted")
    assert fields["input"] == '{"a":1}'
    assert "Traceback: here" in shop.ok("dead", "get", id)


def test_what_is_not_there_ends_with_1(shop: Shop) -> None:
    id = enqueue(shop)
    for args in (
        ["jobs", "get", "nobody"],
        ["jobs", "logs", "nobody"],
        ["jobs", "retry", "nobody"],
        ["jobs", "cancel", "nobody"],
        ["jobs", "delete", "nobody"],
        ["dead", "get", id],
        ["dead", "retry", id],
    ):
        result = shop.run(*args)
        assert result.exit_code == 1, args
        assert result.stderr.startswith("error: "), args


def test_count_counts(shop: Shop) -> None:
    enqueue(shop)
    dead(shop, 2)
    assert shop.ok("jobs", "count") == "3\n"
    assert shop.ok("jobs", "count", "--status", "pending") == "1\n"
    assert json.loads(shop.ok("jobs", "count", "--json")) == {"jobs": 3}
    counts = dict(shop.lines("jobs", "count", "--by-status"))
    assert (counts["pending"], counts["dead"], counts["running"]) == ("1", "2", "0")
    assert json.loads(shop.ok("jobs", "count", "--by-status", "--json"))["dead"] == 2


def test_jobs_are_retried_cancelled_paused_resumed_and_deleted_by_id(shop: Shop) -> None:
    id = enqueue(shop, "--delay", "1h")

    def status() -> str:
        return str(json.loads(shop.ok("jobs", "get", id, "--json"))["status"])

    for act, after in (("pause", "paused"), ("resume", "scheduled"), ("retry", "pending"), ("cancel", "cancelled")):
        assert id in shop.ok("jobs", act, id)
        assert status() == after
    shop.ok("jobs", "delete", id)
    assert shop.run("jobs", "get", id).exit_code == 1


def test_one_bad_id_among_good_ones_ends_with_1_and_stops_nothing(shop: Shop) -> None:
    first, second = enqueue(shop), enqueue(shop)
    result = shop.run("jobs", "cancel", first, "nobody", second, "--reason", "spring cleaning")
    assert result.exit_code == 1
    assert "nobody" in result.stderr
    assert [row[6] for row in shop.lines("jobs", "list", "--status", "cancelled")] == ["spring cleaning"] * 2
    assert shop.run("jobs", "cancel", first).exit_code == 1, "it has ended already"


def test_acts_by_filter_ask_and_are_refused_where_nobody_can_answer(shop: Shop) -> None:
    enqueue(shop)
    dead(shop, 3)
    for args in (
        ["jobs", "cancel", "--task", "send"],
        ["jobs", "retry", "--status", "dead"],
        ["jobs", "delete", "--queue", "emails"],
        ["dead", "retry-all"],
        ["dead", "purge"],
    ):
        result = shop.run(*args)
        assert result.exit_code == 2, args
        assert "--yes" in result.stderr, args
    assert dict(shop.lines("jobs", "count", "--by-status"))["dead"] == "3"

    assert shop.ok("jobs", "cancel", "--task", "send", "--yes") == "1 cancelled\n"
    assert shop.ok("jobs", "retry", "--task", "send", "--yes") == "3 retried\n"


def test_a_running_job_is_asked_to_end(shop: Shop) -> None:
    id = enqueue(shop)
    shop.call(lambda app: claim_all(app, "emails", "send"))
    shop.ok("jobs", "cancel", id, "--reason", "too slow")
    [row] = shop.lines("jobs", "list")
    assert (row[3], row[6]) == ("running", "is asked to end: too slow")


# -- dead letters ------------------------------------------------------------------------------------------------------


def test_dead_letters_are_listed_counted_retried_and_purged(shop: Shop) -> None:
    ids = dead(shop, 3)
    enqueue(shop)
    assert [row[0] for row in shop.lines("dead", "list")] == ids[::-1]
    assert shop.ok("dead", "count") == "3\n"
    assert shop.ok("dead", "retry", ids[0]) == f"retried {ids[0]}\n"
    assert shop.ok("dead", "purge", "--older-than", "1d", "--yes") == "0 erased\n"
    assert shop.ok("dead", "retry-all", "--queue", "default", "--yes") == "0 retried\n"
    assert shop.ok("dead", "purge", "--yes") == "2 erased\n"
    assert shop.ok("dead", "count") == "0\n"
    assert shop.ok("jobs", "count") == "2\n"


# -- queues ------------------------------------------------------------------------------------------------------------


def test_queues_are_listed_with_what_holds_them(shop: Shop) -> None:
    enqueue(shop)
    dead(shop, 2)
    assert shop.lines("queues", "list") == [
        ["default", "0", "0", "0", "0", "0", "0", "open"],
        ["emails", "1", "0", "0", "0", "2", "0", "no worker"],
    ]
    shop.ok("queues", "pause", "emails", "--reason", "release")
    shop.ok("queues", "throttle", "endless")
    assert [row[7] for row in shop.lines("queues", "list")] == ["endless is held", "paused (release); no worker"]


def test_a_queue_is_paused_and_resumed(shop: Shop) -> None:
    assert shop.ok("queues", "pause", "emails") == "paused emails\n"
    [stats] = [json.loads(line) for line in shop.ok("queues", "stats", "emails", "--json").splitlines()]
    assert (stats["is_paused"], stats["pending"]) == (True, 0)
    assert shop.ok("queues", "resume", "emails") == "resumed emails\n"
    assert shop.ok("queues", "resume", "emails") == "emails was not paused\n"


def test_a_task_is_throttled_and_let_go(shop: Shop) -> None:
    shop.ok("queues", "throttle", "send", "5m", "--reason", "too many requests")
    assert "send is held, ends 2" in shop.ok("queues", "stats", "emails")
    assert shop.ok("queues", "unthrottle", "send") == "unthrottled send\n"
    assert shop.ok("queues", "unthrottle", "send") == "send was not throttled\n"


def test_stats_name_every_number(shop: Shop) -> None:
    enqueue(shop)
    fields = dict(shop.lines("queues", "stats", "emails"))
    assert {name.strip() for name in fields} >= {"queue", "state", "waiting", "scheduled", "pending", "running", "dead"}
    assert fields["  pending"] == "1"


@pytest.mark.slow
def test_the_package_runs_as_a_module() -> None:
    """For where the script `mainspring` is not on PATH."""
    command = [sys.executable, "-m", "mainspring", "--version"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    assert __version__ in shown.stdout
