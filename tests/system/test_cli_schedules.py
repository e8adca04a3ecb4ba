"""`mainspring schedules`: what each command prints in a pipe and as JSON, and how it ends."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from mainspring import Context, JobFailed, Mainspring
from tests.system.cli_shop import Shop, entered, on_terminal

TO = '{"to": "ada"}'


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    return entered(tmp_path, monkeypatch)


@pytest.fixture
def nowhere(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """An empty folder, and no app named."""
    monkeypatch.delenv("MAINSPRING_APP")
    (shop.folder / "shop.py").unlink()
    return shop


def create(shop: Shop, name: str, *args: str, input: str = TO) -> None:
    assert shop.ok("schedules", "create", name, "send", input, *args) == f"created {name}\n"


def view(shop: Shop, name: str) -> dict[str, Any]:
    shown: dict[str, Any] = json.loads(shop.ok("schedules", "show", name, "--json"))
    return shown


def documents(shop: Shop, *args: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in shop.ok("schedules", *args, "--json").splitlines()]


def error(shop: Shop, code: int, *args: str) -> str:
    """The one line with which a command ends that cannot do what it is told."""
    result = shop.run("schedules", *args)
    assert result.exit_code == code, result.output
    assert result.stderr.startswith("error: ")
    [line] = result.stderr.splitlines()
    return line


def work(shop: Shop, *names: str) -> None:
    """Run each of these schedules by hand, and let a worker do it."""

    async def run(app: Mainspring) -> None:
        @app.task(queue="emails", retries=0)
        async def send(ctx: Context, to: str) -> str:
            ctx.log(f"sending to {to}")
            if to == "nobody":
                raise ValueError("no such address")
            return f"sent to {to}"

        async with app.worker():
            for name in names:
                job = await app.schedules.run(name)
                try:
                    await job.result(timeout=60)
                except JobFailed:
                    assert name == "bad"

    shop.call(run)


# -- making and changing -----------------------------------------------------------------------------------------------


def test_a_schedule_is_made_with_all_that_is_said_of_it(shop: Shop) -> None:
    create(
        shop, "greet", "--cron", "30 2 * * *", "--timezone", "America/New_York", "--dst-gap", "skip",
        "--dst-overlap", "both", "--catch-up", "all", "--catch-up-window", "1h", "--catch-up-max", "7",
        "--overlap", "queue", "--jitter", "5", "--max-retries", "3", "--retry-delay", "2m", "--timeout", "10m",
        "--queue", "slow", "--priority", "80", "--history", "9", "--description", "Greets Ada",
    )  # fmt: skip
    made = view(shop, "greet")
    assert made["cron"] == "30 2 * * *"
    assert (made["timezone"], made["dst_gap"], made["dst_overlap"]) == ("America/New_York", "skip", "both")
    assert (made["catch_up"], made["catch_up_window"], made["catch_up_max"]) == ("all", 3600, 7)
    assert (made["overlap"], made["jitter"], made["timeout"]) == ("queue", 5, 600)
    assert (made["max_retries"], made["retry"]["initial_delay"]) == (3, 120)
    assert (made["queue"], made["priority"], made["history"]) == ("slow", 80, 9)
    assert (made["description"], made["input"], made["status"]) == ("Greets Ada", {"to": "ada"}, "active")


def test_an_interval_and_its_start_and_its_delay(shop: Shop) -> None:
    create(shop, "tick", "--every", "90", "--start", "2030-01-31T12:00:00+00:00")
    assert (view(shop, "tick")["every"], view(shop, "tick")["next_run"]) == (90, "2030-01-31T12:00:00.000+00:00")
    create(shop, "pause", "--every", "1h", "--fixed-delay")
    assert view(shop, "pause")["fixed_delay"] is True
    assert len(view(shop, "pause")["upcoming"]) == 1
    create(shop, "first", "--every", "1h", "--once")
    assert view(shop, "first")["recurring"] is False
    create(shop, "text", "--schedule", "every 5m")
    assert view(shop, "text")["every"] == 300


def test_a_time_is_local_or_that_of_the_zone_that_is_named(shop: Shop) -> None:
    create(shop, "local", "--at", "2030-01-31T12:00")
    local = datetime(2030, 1, 31, 12).astimezone(UTC)
    assert view(shop, "local")["at"] == local.isoformat(timespec="milliseconds")
    create(shop, "tokyo", "--at", "2030-01-31T12:00", "--timezone", "Asia/Tokyo")
    assert view(shop, "tokyo")["at"] == "2030-01-31T03:00:00.000+00:00"
    create(shop, "exact", "--at", "2030-01-31T12:00Z", "--timezone", "Asia/Tokyo")
    assert view(shop, "exact")["at"] == "2030-01-31T12:00:00.000+00:00"
    create(shop, "now", "--at", "now")
    assert view(shop, "now")["upcoming"] == [view(shop, "now")["next_run"]]


def test_the_input_comes_from_a_pipe_and_the_answer_is_json(shop: Shop) -> None:
    out = shop.ok("schedules", "create", "p", "send", "-", "--cron", "@daily", "--paused", "--json", input=TO)
    made = json.loads(out)
    assert (made["input"], made["status"], made["next_run"]) == ({"to": "ada"}, "paused", None)


def test_an_update_changes_what_is_given_and_leaves_the_rest(shop: Shop) -> None:
    create(shop, "greet", "--cron", "@daily", "--priority", "80", "--timeout", "5m", "--queue", "slow")
    assert shop.ok("schedules", "update", "greet", "--every", "1h", "--input", '{"to": "bob"}') == "updated greet\n"
    changed = view(shop, "greet")
    assert (changed["cron"], changed["every"], changed["priority"]) == (None, 3600, 80)
    assert changed["input"] == {"to": "bob"}
    given = ("--priority", "none", "--timeout", "none", "--queue", "none")
    [taken_back] = documents(shop, "update", "greet", *given)
    assert (taken_back["priority"], taken_back["timeout"], taken_back["queue"]) == (None, None, None)
    assert "endless" in error(shop, 1, "update", "greet", "--task", "endless"), "its input does not fit"
    assert view(shop, "greet")["task"] == "send"
    assert "nothing to change" in error(shop, 2, "update", "greet")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], "without a time"),
        (["--cron", "@daily", "--every", "5m"], "both cron and every"),
        (["--cron", "0 25 * * *"], "bad cron expression"),
        (["--every", "soon"], "bad --every: 'soon'"),
        (["--every", "10ms"], "bad interval"),
        (["--at", "noon"], "bad --at: 'noon'"),
        (["--at", "2030-01-31", "--timezone", "Mars/Base"], "unknown timezone: 'Mars/Base'"),
        (["--cron", "@daily", "--start", "now"], "start beside cron"),
        (["--cron", "@daily", "--fixed-delay"], "fixed_delay without every"),
        (["--cron", "@daily", "--overlap", "maybe"], "bad overlap: 'maybe'"),
        (["--cron", "@daily", "--dst-gap", "maybe"], "unknown dst_gap: 'maybe'"),
        (["--cron", "@daily", "--priority", "high"], "bad --priority: 'high'"),
        (["--cron", "@daily", "--priority", "101"], "bad priority: 101"),
        (["--cron", "@daily", "--retry-delay", "1m"], "retry_delay without max_retries"),
        (["--cron", "@daily", "--history", "0"], "bad history: 0"),
    ],
)
def test_wrong_options_end_with_2_and_store_nothing(shop: Shop, args: list[str], message: str) -> None:
    assert message in error(shop, 2, "create", "wrong", "send", TO, *args)
    assert shop.ok("schedules", "list") == ""


def test_what_does_not_fit_ends_with_1_and_stores_nothing(shop: Shop) -> None:
    when = ("--cron", "@daily")
    assert "unknown task: 'sned'" in error(shop, 1, "create", "wrong", "sned", TO, *when)
    assert "to: " in error(shop, 1, "create", "wrong", "send", "{}", *when)
    assert shop.ok("schedules", "list") == ""
    create(shop, "greet", *when)
    assert "exists already" in error(shop, 1, "create", "greet", "send", TO, *when)


def test_on_a_bare_store_workers_say_which_names_an_input_has(shop: Shop) -> None:
    create(shop, "greet", "--cron", "@daily")
    on_store = ("--app", shop.url)
    assert "unknown task: 'send'" in error(shop, 1, "create", "more", "send", TO, "--cron", "@daily", *on_store)
    work(shop, "greet")
    assert "x: is not known" in error(shop, 1, "create", "more", "send", '{"x": 1}', "--cron", "@daily", *on_store)
    create(shop, "more", "--cron", "@daily", *on_store)
    assert [row[0] for row in shop.lines("schedules", "list", *on_store)] == ["greet", "more"]


# -- looking -----------------------------------------------------------------------------------------------------------


def test_a_pipe_gets_a_line_a_schedule_with_fields_between_tabs(shop: Shop) -> None:
    create(shop, "greet", "--cron", "30 2 * * *", "--timezone", "America/New_York")
    create(shop, "bad", "--at", "2030-01-31T12:00Z", input='{"to": "nobody"}')
    work(shop, "bad")
    bad, greet = shop.lines("schedules", "list")
    assert greet[:4] == ["greet", "send", "active", "every day at 02:30, America/New_York"]
    assert datetime.fromisoformat(greet[4]) > datetime.now(UTC)
    assert greet[5:] == ["", ""]
    assert bad[:4] == ["bad", "send", "failed", "once, at 2030-01-31 12:00 UTC"]
    assert bad[5]
    assert bad[6] == "failed: ValueError: no such address"
    assert [one["name"] for one in documents(shop, "list")] == ["bad", "greet"]


def test_a_list_is_filtered_sorted_and_cut(shop: Shop) -> None:
    create(shop, "a", "--every", "3h", "--description", "Weekly letter")
    create(shop, "b", "--every", "1h", "--paused")
    create(shop, "c", "--every", "2h")

    def names(*args: str) -> list[str]:
        return [row[0] for row in shop.lines("schedules", "list", *args)]

    assert names("--status", "paused") == ["b"]
    assert names("-s", "paused", "-s", "active") == names("-s", "paused,active") == ["a", "b", "c"]
    assert names("--search", "LETTER") == ["a"]
    assert names("--task", "endless") == []
    assert names("--sort", "next_run") == ["c", "a", "b"]
    assert names("--sort", "created_at", "--descending") == ["c", "b", "a"]
    assert names("--limit", "1", "--offset", "1") == ["b"]
    assert names("--limit", "600", "--offset", "2") == ["c"]
    assert "unknown status: 'gone'" in error(shop, 2, "list", "--status", "gone")
    assert "unknown sort: 'size'" in error(shop, 2, "list", "--sort", "size")


def test_show_says_everything(shop: Shop) -> None:
    create(
        shop, "bad", "--cron", "30 2 * * *", "--timezone", "America/New_York", "--catch-up-window", "1h",
        "--max-retries", "0", "--description", "Fails", input='{"to": "nobody"}',
    )  # fmt: skip
    work(shop, "bad")
    out = shop.ok("schedules", "show", "bad")
    fields = dict(line.split("\t", 1) for line in out.splitlines() if "\t" in line)
    assert (fields["name"], fields["status"], fields["about"]) == ("bad", "failed", "Fails")
    assert fields["when"] == "every day at 02:30, America/New_York"
    assert "does not exist: it runs at 03:00" in fields["daylight saving"]
    assert (fields["catch-up"], fields["max retries"]) == ("one, of the last 1h", "0")
    assert (fields["  error"], fields["  asked for"]) == ("ValueError: no such address", "by hand")
    assert "\n  sending to nobody\n" in out
    times = [line.strip() for line in out.partition("next runs\n")[2].splitlines()[:5]]
    assert [datetime.fromisoformat(time).strftime("%H:%M") for time in times] == ["02:30"] * 5
    shown = view(shop, "bad")
    assert [datetime.fromisoformat(at) for at in shown["upcoming"]] == [datetime.fromisoformat(at) for at in times]
    assert shown["last_execution"]["error"] == "ValueError: no such address"
    assert shown["last_execution"]["output"] == "sending to nobody"


def test_the_next_runs_of_an_interval_are_on_its_beat(shop: Shop) -> None:
    create(shop, "tick", "--every", "30m", "--start", "2030-01-31T12:00Z", "--timezone", "Asia/Tokyo")
    assert [at[11:16] for at in view(shop, "tick")["upcoming"]] == ["21:00", "21:30", "22:00", "22:30", "23:00"]
    shop.ok("schedules", "pause", "tick")
    assert view(shop, "tick")["upcoming"] == []


def test_executions_come_newest_first_with_their_output_below(shop: Shop) -> None:
    create(shop, "bad", "--cron", "@yearly", input='{"to": "nobody"}')
    assert shop.ok("schedules", "executions", "bad") == ""
    work(shop, "bad")
    shop.ok("schedules", "update", "bad", "--input", TO)
    work(shop, "bad")
    good, bad = shop.lines("schedules", "executions", "bad")
    assert good[2:] == ["completed", "1", ""]
    assert bad[2:] == ["failed", "1", "ValueError: no such address"]
    assert datetime.fromisoformat(good[0]) >= datetime.fromisoformat(bad[0])
    assert float(good[1]) >= 0
    lines = shop.ok("schedules", "executions", "bad", "--output").splitlines()
    assert [line for line in lines if line.startswith("  ")] == ["  sending to ada", "  sending to nobody"]
    assert len(shop.lines("schedules", "executions", "bad", "--limit", "1")) == 1
    newest, oldest = documents(shop, "executions", "bad")
    assert (newest["result"], newest["output"]) == ("sent to ada", "sending to ada")
    assert (oldest["status"], oldest["error"]) == ("failed", "ValueError: no such address")


# -- acts --------------------------------------------------------------------------------------------------------------


def test_schedules_are_paused_and_resumed(shop: Shop) -> None:
    create(shop, "a", "--every", "1h")
    create(shop, "b", "--every", "1h")
    assert shop.ok("schedules", "pause", "a", "b", "--reason", "lunch") == "paused a\npaused b\n"
    assert (view(shop, "a")["status"], view(shop, "a")["pause_reason"]) == ("paused", "lunch")
    assert "it is paused" in error(shop, 1, "pause", "a")
    assert shop.ok("schedules", "resume", "a", "b") == "resumed a\nresumed b\n"
    assert "it is not paused" in error(shop, 1, "resume", "a")
    assert "bad reason" in error(shop, 2, "pause", "a", "--reason", "x" * 2_001)


def test_what_is_deleted_must_be_confirmed(shop: Shop) -> None:
    create(shop, "a", "--every", "1h")
    assert "--yes" in error(shop, 2, "delete", "a")
    assert [row[0] for row in shop.lines("schedules", "list")] == ["a"]
    result = shop.run("schedules", "delete", "nobody", "a", "--yes")
    assert (result.exit_code, result.stdout) == (1, "deleted a\n")
    assert "no schedule is named 'nobody'" in result.stderr
    assert shop.ok("schedules", "list") == ""


def test_a_run_by_hand_is_a_job(shop: Shop) -> None:
    create(shop, "greet", "--cron", "@yearly", "--paused")
    id = shop.ok("schedules", "run", "greet").strip()
    job = json.loads(shop.ok("jobs", "get", id, "--json"))
    assert (job["origin"], job["status"], job["input"]) == ("schedule:greet", "pending", {"to": "ada"})
    [answer] = documents(shop, "run", "greet", "--input", '{"to": "bob"}')
    assert (answer["task"], answer["schedule"]) == ("send", "greet")
    assert json.loads(shop.ok("jobs", "get", answer["id"], "--json"))["input"] == {"to": "bob"}
    assert "to: " in error(shop, 1, "run", "greet", "--input", "{}")
    assert "has not ended within" in error(shop, 1, "run", "greet", "--wait", "20ms")
    jobs = shop.ok("jobs", "count")
    assert "bad --wait: 'soon'" in error(shop, 2, "run", "greet", "--wait", "soon")
    assert shop.ok("jobs", "count") == jobs, "it ran all the same"


def test_a_failure_is_forgotten_when_its_retries_are_reset(shop: Shop) -> None:
    create(shop, "bad", "--cron", "@yearly", input='{"to": "nobody"}')
    work(shop, "bad")
    assert view(shop, "bad")["status"] == "failed"
    assert shop.ok("schedules", "reset-retries", "bad") == "reset bad\n"
    assert view(shop, "bad")["status"] == "active"


def test_what_failed_is_shown_while_its_retry_waits(shop: Shop) -> None:
    create(shop, "bad", "--cron", "@yearly", "--max-retries", "1", "--retry-delay", "1h", input='{"to": "nobody"}')
    id = shop.ok("schedules", "run", "bad").strip()

    async def fail_once(app: Mainspring) -> None:
        @app.task(queue="emails")
        async def send(to: str) -> str:
            raise ValueError("no such address")

        async with app.worker():
            async for event in app.events(id):
                if event.status == "retrying":
                    return

    shop.call(fail_once)
    shown = view(shop, "bad")
    assert (shown["status"], shown["retry_count"]) == ("retry-scheduled", 1)
    assert (shown["last_execution"]["status"], shown["last_execution"]["attempt"]) == ("failed", 1)
    assert [row[2:] for row in shop.lines("schedules", "executions", "bad")] == [
        ["retry-scheduled", "2", ""],
        ["failed", "1", "ValueError: no such address"],
    ]


@pytest.mark.parametrize(
    "args",
    [
        ["show"], ["executions"], ["update", "--every", "1h"], ["delete", "--yes"], ["pause"], ["resume"], ["run"],
        ["reset-retries"],
    ],
    ids=lambda args: args[0],
)  # fmt: skip
def test_an_unknown_name_ends_with_1(shop: Shop, args: list[str]) -> None:
    assert "no schedule is named 'nobody'" in error(shop, 1, args[0], "nobody", *args[1:])


# -- times, without a store --------------------------------------------------------------------------------------------


def test_a_preview_needs_neither_app_nor_store(nowhere: Shop) -> None:
    march = ("--timezone", "Europe/Prague", "--start", "2026-03-28", "--count", "3")
    out = nowhere.ok("schedules", "preview", "--cron", "30 2 * * *", *march)
    assert out.splitlines() == ["2026-03-28T02:30:00+01:00", "2026-03-29T03:00:00+02:00", "2026-03-30T02:30:00+02:00"]
    out = nowhere.ok("schedules", "preview", "--cron", "30 2 * * *", "--dst-gap", "skip", *march)
    assert [line[8:10] for line in out.splitlines()] == ["28", "30", "31"]
    october = ("--timezone", "Europe/Prague", "--start", "2026-10-25", "--count", "2", "--dst-overlap", "both")
    out = nowhere.ok("schedules", "preview", "--cron", "30 2 * * *", *october)
    assert out.splitlines() == ["2026-10-25T02:30:00+02:00", "2026-10-25T02:30:00+01:00"]
    assert list(nowhere.folder.iterdir()) == []


def test_a_preview_takes_a_schedule_as_people_type_it(nowhere: Shop) -> None:
    start = ("--start", "2026-03-28T00:00Z", "-n", "2")
    assert nowhere.lines("schedules", "preview", "0 9 * * 1", *start) == [
        ["2026-03-30T09:00:00+00:00"],
        ["2026-04-06T09:00:00+00:00"],
    ]
    shown = documents(nowhere, "preview", "every 90m", "--timezone", "Asia/Tokyo", *start)
    assert shown[0] == {"at": "2026-03-28T10:30:00+09:00", "utc": "2026-03-28T01:30:00+00:00"}
    assert documents(nowhere, "preview", "--every", "90m", "--timezone", "Asia/Tokyo", *start) == shown
    assert len(nowhere.lines("schedules", "preview", "@daily")) == 5


def test_describe_needs_neither_app_nor_store(nowhere: Shop) -> None:
    zone = ("--timezone", "America/New_York")
    assert nowhere.ok("schedules", "describe", "0 9 * * 1", *zone) == "every Monday at 09:00, America/New_York\n"
    assert documents(nowhere, "describe", "--every", "5m") == [{"when": "every 5 minutes"}]
    told = nowhere.ok("schedules", "describe", "--cron", "30 2 * * *", "--dst-gap", "skip", *zone)
    assert 'does not exist: it does not run (dst_gap="skip")' in told
    assert list(nowhere.folder.iterdir()) == []


@pytest.mark.parametrize("command", ["preview", "describe"])
@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], "without a time"),
        (["0 9 * *"], "bad cron expression"),
        (["--every", "soon"], "bad --every"),
        (["@daily", "--cron", "@daily"], "both cron and schedule"),
        (["@daily", "--timezone", "Mars/Base"], "unknown timezone"),
    ],
)
def test_times_that_make_no_sense_end_with_2(nowhere: Shop, command: str, args: list[str], message: str) -> None:
    assert message in error(nowhere, 2, command, *args)


def test_a_preview_has_a_beginning_and_an_end(nowhere: Shop) -> None:
    assert "bad --start: 'soon'" in error(nowhere, 2, "preview", "@daily", "--start", "soon")
    assert "bad count: 0" in error(nowhere, 2, "preview", "@daily", "--count", "0")


# -- a terminal --------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_terminal_gets_tables_words_and_questions(shop: Shop) -> None:
    create(shop, "bad", "--cron", "30 2 * * *", "--timezone", "America/New_York", input='{"to": "nobody"}')
    work(shop, "bad")

    code, seen = on_terminal(shop, "schedules", "list")
    assert code == 0
    assert "next run" in seen, "no header"
    assert "every day at 02:30, America/New_York" in seen
    assert "failed: ValueError: no such address" in seen
    code, seen = on_terminal(shop, "schedules", "show", "bad")
    assert (code, "next runs" in seen, "sending to nobody" in seen) == (0, True, True)
    code, seen = on_terminal(shop, "schedules", "executions", "bad", "--output")
    assert (code, "failed  attempt 1  ValueError" in seen, "sending to nobody" in seen) == (0, True, True)

    code, seen = on_terminal(shop, "schedules", "create", "tick", "send", TO, "--every", "1h")
    assert (code, "created tick" in seen, "every hour. next run" in seen) == (0, True, True)
    code, seen = on_terminal(shop, "schedules", "preview", "every 1h", "-n", "1")
    assert (code, "in 1h" in seen or "in 59m" in seen) == (0, True)
    code, seen = on_terminal(shop, "schedules", "delete", "tick", typed="n\n")
    assert (code, "Delete tick with all history?" in seen) == (1, True)
    code, seen = on_terminal(shop, "schedules", "delete", "tick", typed="y\n")
    assert (code, "deleted tick" in seen) == (0, True)
