"""The options of a schedule: what each becomes, what is refused and how, and the digest of what the code says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mainspring import Retry
from mainspring.core.schedule import Schedule, decode_schedule, encode_schedule
from mainspring.core.schedule_acts import new_schedule
from mainspring.core.schedule_options import OPTIONS, definition_of, schedule_fields
from mainspring.errors import DefinitionError, UnknownOption
from tests.unit.ticking import HOUR, MINUTE, START

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


def made(**options: Any) -> Schedule:
    return new_schedule("s", "t", "{}", options, START)


# -- what each becomes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "fields"),
    [
        ({"cron": "0 3 * * *"}, {"cron": "0 3 * * *", "next": START + 3 * HOUR, "recurring": True}),
        ({"cron": "*/10 * * * * *"}, {"next": START + 10_000}),
        ({"cron": "@hourly", "timezone": "Asia/Kolkata"}, {"next": START + 30 * MINUTE}),
        ({"every": "5m"}, {"every": 5 * MINUTE, "start": START + 5 * MINUTE, "next": START + 5 * MINUTE}),
        ({"every": timedelta(hours=1)}, {"every": HOUR}),
        ({"every": 90}, {"every": 90_000}),
        ({"every": "1h", "start": "now"}, {"start": START, "next": START}),
        ({"every": "5h", "start": NOON}, {"start": START + 12 * HOUR, "next": START + 12 * HOUR}),
        ({"every": "5h", "start": NOON - timedelta(days=1)}, {"next": START + 3 * HOUR}),
        ({"every": "5m", "fixed_delay": True}, {"fixed_delay": True, "next": START + 5 * MINUTE}),
        ({"at": NOON}, {"at": START + 12 * HOUR, "recurring": False, "next": START + 12 * HOUR}),
        ({"at": "now"}, {"at": START, "next": START}),
        ({"at": NOON - timedelta(days=9)}, {"next": START - 9 * 24 * HOUR + 12 * HOUR}),
        ({"schedule": "0 3 * * *"}, {"cron": "0 3 * * *"}),
        ({"schedule": "@daily"}, {"cron": "@daily"}),
        ({"schedule": "every 5m"}, {"every": 5 * MINUTE}),
        ({"schedule": " Every 1h 30m "}, {"every": 90 * MINUTE}),
        ({"schedule": "now"}, {"at": START, "recurring": False}),
        ({"schedule": " NOW "}, {"at": START}),
        ({"schedule": "now", "recurring": False}, {"at": START}),
        ({"cron": "@daily", "recurring": False}, {"recurring": False, "next": START + 24 * HOUR}),
        ({"cron": "@daily", "every": None, "at": None, "schedule": None}, {"cron": "@daily"}),
    ],
)
def test_when(options: dict[str, Any], fields: dict[str, Any]) -> None:
    schedule = made(**options)
    assert {name: getattr(schedule, name) for name in fields} == fields


RUNNING: list[tuple[str, Any, Any]] = [
    ("catch_up", "all", "all"),
    ("catch_up", "skip", "skip"),
    ("catch_up_window", "1h", HOUR),
    ("catch_up_window", None, None),
    ("catch_up_max", 500, 500),
    ("overlap", "queue", "queue"),
    ("overlap", "allow", "allow"),
    ("jitter", "30s", 30_000),
    ("jitter", None, 0),
    ("timeout", 5, 5_000),
    ("timeout", None, None),
    ("queue", "slow", "slow"),
    ("queue", None, None),
    ("priority", 0, 0),
    ("history", 1, 1),
    ("description", "for people", "for people"),
    ("dst_gap", "skip", "skip"),
    ("dst_overlap", "both", "both"),
    ("timezone", "Europe/Berlin", "Europe/Berlin"),
    ("retry", None, None),
]


@pytest.mark.parametrize(("name", "value", "stored"), RUNNING)
def test_how(name: str, value: Any, stored: Any) -> None:
    assert getattr(made(cron="@daily", **{name: value}), name) == stored


def test_what_is_not_said() -> None:
    schedule = made(cron="@daily")
    assert (schedule.catch_up, schedule.catch_up_window, schedule.catch_up_max) == ("one", None, 100)
    assert (schedule.overlap, schedule.jitter, schedule.history) == ("skip", 0, 50)
    assert (schedule.timezone, schedule.dst_gap, schedule.dst_overlap) == ("UTC", "run_after", "first")
    assert (schedule.retry, schedule.timeout, schedule.queue, schedule.priority) == (None, None, None, None)


@pytest.mark.parametrize(
    ("options", "attempts", "delay"),
    [
        ({"max_retries": 3}, 4, 60_000),
        ({"max_retries": 0}, 1, 60_000),
        ({"max_retries": 3, "retry_delay": "5m"}, 4, 5 * MINUTE),
        ({"max_retries": 3, "retry_delay": 0}, 4, 0),
        ({"max_retries": 1, "retry_delay": "2d"}, 2, 48 * HOUR),
        ({"retry": Retry(max_attempts=2, backoff="fixed", initial_delay=7, jitter=0)}, 2, 7_000),
    ],
)
def test_retries(options: dict[str, Any], attempts: int, delay: int) -> None:
    policy = made(cron="@daily", **options).retry
    assert policy is not None
    retry = Retry.from_dict(policy)
    assert retry.attempts == attempts
    assert {retry.delay(failures, START, 0.9) for failures in (1, 2, 3)} == {delay}


def test_every_option_is_tested_here() -> None:
    said = {name for name, _, _ in RUNNING} | {"cron", "every", "at", "schedule", "start", "fixed_delay", "recurring"}
    assert said | {"max_retries", "retry_delay"} == set(OPTIONS)


# -- what is refused -------------------------------------------------------------------------------------------------

BAD: list[tuple[dict[str, Any], str]] = [
    ({}, "a schedule without a time. Expected one of cron=, every= and at=."),
    ({"cron": "@daily", "every": "5m"}, "both cron and every. A schedule has one"),
    ({"cron": "@daily", "schedule": "now"}, "both cron and schedule."),
    ({"cron": "0 25 * * *"}, "0 25 * * *"),
    ({"cron": 5}, "bad cron: 5. Expected text such as"),
    ({"cron": "0 0 30 2 *"}, "0 0 30 2 *"),
    ({"cron": "@daily", "timezone": "Mars/Olympus"}, "Mars/Olympus"),
    ({"every": "5m", "timezone": "Mars/Olympus"}, "Mars/Olympus"),
    ({"every": "5m", "dst_gap": "no"}, "dst_gap"),
    ({"cron": "@daily", "dst_overlap": "no"}, "dst_overlap"),
    ({"cron": "@daily", "dst_overlap": ["first"]}, "dst_overlap"),
    ({"every": "900ms"}, "bad interval: 900 ms. Expected from 1 second to 100 years"),
    ({"every": "soon"}, "bad every: 'soon'. Expected a number of seconds"),
    ({"every": "5m", "start": "soon"}, "bad start: 'soon'. Expected an aware datetime, or \"now\"."),
    ({"every": "5m", "start": datetime(2030, 1, 1)}, "bad start: .*Expected a datetime with a zone"),
    ({"at": datetime(2030, 1, 1)}, "bad at: .*Expected a datetime with a zone"),
    ({"at": "tomorrow"}, "bad at: 'tomorrow'"),
    ({"at": datetime(9999, 1, 1, tzinfo=UTC), "timezone": "Asia/Tokyo"}, "bad at: .*a time in the years 1970 to 9998."),
    ({"at": datetime(1969, 12, 31, tzinfo=UTC)}, "bad at: .*a time in the years 1970 to 9998."),
    ({"every": "5m", "start": datetime.max.replace(tzinfo=UTC)}, "bad start: .*a time in the years 1970 to 9998."),
    ({"at": NOON, "start": "now"}, "start beside at. Expected it beside every alone."),
    ({"start": "now"}, "start without every. Expected the interval beside it"),
    ({"schedule": 5}, "bad schedule: 5. Expected text"),
    ({"schedule": "every"}, "bad every: ''"),
    ({"cron": "@daily", "fixed_delay": True}, "fixed_delay without every. Expected an interval"),
    ({"every": "5m", "fixed_delay": 1}, "bad fixed_delay: 1. Expected True or False."),
    ({"every": "5m", "jitter": "6m"}, "bad jitter: 6m. Expected no more than the interval, which is 5m."),
    ({"at": "now", "recurring": True}, "recurring=True with at. A time comes once"),
    ({"every": "5m", "recurring": "yes"}, "bad recurring: 'yes'. Expected True or False."),
    ({"every": "5m", "fixed_delay": True, "recurring": False}, "fixed_delay with recurring=False. Expected one"),
    ({"every": "5m", "fixed_delay": True, "overlap": "queue"}, "fixed_delay with overlap='queue'."),
    ({"cron": "@daily", "catch_up": "two"}, "bad catch_up: 'two'. Expected one of: skip, one, all."),
    ({"cron": "@daily", "catch_up_window": "x"}, "bad catch_up_window: 'x'"),
    ({"cron": "@daily", "catch_up_max": 501}, "bad catch_up_max: 501. Expected a whole number from 1 to 500."),
    ({"cron": "@daily", "overlap": None}, "bad overlap: None. Expected one of: skip, queue, allow."),
    ({"cron": "@daily", "jitter": -1}, "bad jitter: -1"),
    ({"cron": "@daily", "timeout": 0}, "bad timeout: 0. Expected more than 0."),
    ({"cron": "@daily", "queue": "a b"}, "bad queue name: 'a b'"),
    ({"cron": "@daily", "priority": 101}, "bad priority: 101"),
    ({"cron": "@daily", "history": 0}, "bad history: 0. Expected a whole number from 1 to 500."),
    ({"cron": "@daily", "description": 5}, "bad description: 5. Expected text of at most 2,000 characters."),
    ({"cron": "@daily", "description": "x" * 2_001}, "bad description"),
    ({"cron": "@daily", "description": "\ud800"}, "bad description"),
    ({"cron": "@daily", "max_retries": -1}, "bad max_retries: -1. Expected a whole number of 0 or more."),
    ({"cron": "@daily", "max_retries": True}, "bad max_retries: True"),
    ({"cron": "@daily", "retry_delay": "5m"}, "retry_delay without max_retries. Expected both"),
    ({"cron": "@daily", "max_retries": 1, "retry_delay": "x"}, "bad retry_delay: 'x'"),
    ({"cron": "@daily", "max_retries": 1, "retry": Retry()}, "both retry and max_retries or retry_delay."),
    ({"cron": "@daily", "retry": 3}, "retry"),
    ({"cron": "@daily", "retry": Retry(retry_on=OSError)}, "retry_on in the retry of a schedule: it cannot be stored"),
]


@pytest.mark.parametrize(("options", "message"), BAD, ids=[str(number) for number in range(len(BAD))])
def test_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(DefinitionError, match=_pattern(message)):
        made(**options)


def _pattern(message: str) -> str:
    return message if ".*" in message else re.escape(message)


@pytest.mark.parametrize("name", ["", "a b", "a/b", "x" * 101, 5])
def test_a_bad_name(name: Any) -> None:
    with pytest.raises(DefinitionError, match="bad schedule name"):
        new_schedule(name, "t", "{}", {"cron": "@daily"}, START)


@pytest.mark.parametrize(
    ("option", "hint"),
    [
        ("catchup", "catch_up"),
        ("interval", "is every"),
        ("tz", "is timezone"),
        ("handler", "is the task"),
        ("params", "is the input"),
        ("retries", "is max_retries"),
        ("retention", "is history"),
        ("misfire_grace_time", "is catch_up_window"),
        ("coalesce", 'is catch_up="one"'),
        ("max_instances", "is overlap"),
    ],
)
def test_an_unknown_option(option: str, hint: str) -> None:
    with pytest.raises(UnknownOption, match=hint) as raised:
        schedule_fields({option: 1}, START)
    assert option in str(raised.value)


# -- stored ----------------------------------------------------------------------------------------------------------


def test_stored_and_read_it_is_the_same() -> None:
    schedule = made(cron="@daily", catch_up_window="1h", max_retries=2, timezone="Asia/Tokyo", jitter="5s")
    assert decode_schedule(encode_schedule(schedule, {})) == schedule


def test_what_a_newer_version_says_is_kept() -> None:
    value = encode_schedule(made(cron="@daily"), {"colour": "red", "cron": "old"})
    assert (value["colour"], value["cron"]) == ("red", "@daily")
    assert decode_schedule(value).cron == "@daily"


@pytest.mark.parametrize("value", [{}, {"id": "i", "name": 5, "task": "t"}, {"id": "i", "name": "n", "task": "t",
                                                                             "every": "often"}])  # fmt: skip
def test_what_cannot_be_read(value: dict[str, Any]) -> None:
    with pytest.raises(DefinitionError, match=r"the stored schedule .* cannot be read: .* Delete it\."):
        decode_schedule(value)


# -- the digest of what the code says --------------------------------------------------------------------------------

SAID: dict[str, Any] = {
    "every": timedelta(minutes=5), "start": NOON, "retry": Retry(max_attempts=3, intervals=["1m"], backoff="series"),
    "overlap": "skip", "queue": "q", "history": 5, "timezone": "Europe/Berlin",
}  # fmt: skip
PROGRAM = """
from datetime import UTC, datetime, timedelta
from mainspring import Retry
from mainspring.core.schedule_options import definition_of
options = {"every": timedelta(minutes=5), "start": datetime(2030, 1, 1, 12, tzinfo=UTC),
    "retry": Retry(max_attempts=3, intervals=["1m"], backoff="series"), "overlap": "skip", "queue": "q", "history": 5,
    "timezone": "Europe/Berlin"}
print(definition_of("s", "t", "{}", options))
"""


@pytest.mark.parametrize("seed", ["1", "2"])
@pytest.mark.slow
def test_the_digest_is_the_same_in_every_process(seed: str) -> None:
    environment = os.environ | {"PYTHONHASHSEED": seed}
    ran = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == definition_of("s", "t", "{}", SAID)


def test_the_digest_knows_no_order() -> None:
    assert definition_of("s", "t", "{}", dict(reversed(SAID.items()))) == definition_of("s", "t", "{}", SAID)


def test_whatever_the_code_says_changes_the_digest() -> None:
    digests = [definition_of("s", "t", "{}", {name: value}) for name, value, _ in RUNNING]
    digests += [definition_of("s", "t", "{}", {"cron": cron}) for cron in ("@daily", "@hourly")]
    digests += [definition_of("s", "t", "{}", {"retry": Retry(max_attempts=n)}) for n in (1, 2)]
    digests += [definition_of("s", "t", '{"a":1}', {}), definition_of("s", "u", "{}", {})]
    digests += [definition_of("r", "t", "{}", {}), definition_of("s", "t", "{}", {})]
    assert len(set(digests)) == len(digests)
