"""Retry policies: the delay of each strategy, when they give up, and what they refuse."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainspring.core.policy import DAY, Policy, Retry
from mainspring.errors import DefinitionError
from tests.factory import NOW


@pytest.mark.parametrize(
    ("retry", "delays"),
    [
        (Retry(backoff="fixed", initial_delay=3, jitter=0), [3, 3, 3, 3]),
        (Retry(backoff="linear", initial_delay=3, jitter=0), [3, 6, 9, 12]),
        (Retry(backoff="linear", initial_delay=3, max_delay=8, jitter=0), [3, 6, 8, 8]),
        (Retry(backoff="exponential", initial_delay=3, jitter=0), [3, 6, 12, 24]),
        (Retry(backoff="exponential", initial_delay=1, factor=10, max_delay="2m", jitter=0), [1, 10, 100, 120]),
        (Retry(backoff="exponential", initial_delay=2, factor=1, jitter=0), [2, 2, 2, 2]),
        (Retry(backoff="series", intervals=["1s", 5, "1m"], jitter=0), [1, 5, 60, 60]),
        (Retry(backoff="series", intervals=[100], max_delay=7, jitter=0), [7, 7, 7, 7]),
        (Retry(jitter=0), [10, 20, 40, 80]),
    ],
)
def test_delays(retry: Retry, delays: list[int]) -> None:
    assert [retry.delay(n, NOW, 0.9) for n in (1, 2, 3, 4)] == [1000 * d for d in delays]


def test_jitter_adds_its_share() -> None:
    retry = Retry(backoff="fixed", initial_delay=10, jitter=0.2)
    assert [retry.delay(1, NOW, r) for r in (0.0, 0.5)] == [10_000, 11_000]
    assert 11_990 < retry.delay(1, NOW, 0.9999) <= 12_000


def test_cron_is_the_next_time_of_its_zone() -> None:
    now = int(datetime(2024, 5, 1, 12, tzinfo=UTC).timestamp() * 1000)
    retry = Retry(backoff="cron", cron="0 9 * * *", timezone="Europe/Prague", max_delay=1)
    assert now + retry.delay(1, now, 0.99) == datetime(2024, 5, 2, 7, tzinfo=UTC).timestamp() * 1000


@given(
    backoff=st.sampled_from(["fixed", "linear", "exponential"]),
    initial=st.integers(0, 10_000_000),
    cap=st.integers(0, 10_000_000),
    factor=st.one_of(st.integers(1, 1000), st.floats(1, 1000)),
    jitter=st.floats(0, 1),
    failures=st.integers(1, 10**12),
    random=st.floats(0, 1, exclude_max=True),
)
def test_the_cap_holds_after_jitter_and_nothing_overflows(
    backoff: Any, initial: int, cap: int, factor: float, jitter: float, failures: int, random: float
) -> None:
    retry = Retry(-1, backoff, initial_delay=initial, max_delay=cap, factor=factor, jitter=jitter)
    delay = retry.delay(failures, NOW, random)
    assert 0 <= delay <= cap * 1000
    assert delay >= min(initial, cap) * 1000


def test_the_largest_numbers_do_not_overflow() -> None:
    retry = Retry(-1, initial_delay="36500d", max_delay="36500d", factor=1000, jitter=1)
    assert retry.delay(10**18, NOW, 0.99) == 36500 * DAY


@pytest.mark.parametrize(
    ("retry", "failures", "given_up"),
    [
        (Retry(1), 1, True),
        (Retry(2), 1, False),
        (Retry(2), 2, True),
        (Retry(2), 3, True),
        (Retry(), 4, False),
        (Retry(), 5, True),
        (Retry(-1), 10**9, False),
        (Retry(max_duration="1d", initial_delay=0), 10**9, False),
        (Retry(3, max_duration="1d", initial_delay=0), 3, True),
    ],
)
def test_max_attempts_counts_total_runs(retry: Retry, failures: int, given_up: bool) -> None:
    assert (retry.due(failures, NOW, NOW, 0.0) is None) == given_up


def test_no_retry_begins_later_than_max_duration_after_the_first_failure() -> None:
    retry = Retry(-1, "fixed", initial_delay=10, max_duration=60, jitter=0)
    assert retry.due(3, NOW, NOW + 50_000, 0.0) == NOW + 60_000
    assert retry.due(3, NOW, NOW + 50_001, 0.0) is None
    assert retry.due(1, NOW, NOW, 0.0, retry_in=60_000) == NOW + 60_000
    assert retry.due(1, NOW, NOW, 0.0, retry_in=60_001) is None


def test_retry_after_overrides_the_delay_and_not_the_limit() -> None:
    assert Retry(2).due(1, NOW, NOW, 0.5, retry_in=1) == NOW + 1
    assert Retry(2).due(2, NOW, NOW, 0.5, retry_in=1) is None
    assert Retry.after("10s", "busy").due(0) == 10_000
    with pytest.raises(DefinitionError, match=r"Retry\.after delay"):
        Retry.after(-1)


def test_retry_on() -> None:
    assert Retry().retryable(ValueError(), 1)
    assert Retry(retry_on=OSError).retryable(ConnectionError(), 1)
    assert not Retry(retry_on=OSError).retryable(ValueError(), 1)
    assert Retry(retry_on=(OSError, ValueError)).retryable(ValueError(), 1)
    assert not Retry(retry_on=[OSError]).retryable(ValueError(), 1)
    assert not Retry(retry_on=()).retryable(ValueError(), 1)
    third = Retry(retry_on=lambda error, attempt: "busy" in str(error) and attempt < 3)
    assert third.retryable(ValueError("busy"), 2)
    assert not third.retryable(ValueError("busy"), 3)


@pytest.mark.parametrize(
    "retry",
    [
        Retry(),
        Retry(1),
        Retry(-1, "fixed", initial_delay="1500ms", jitter=0),
        Retry(7, "linear", initial_delay=0.25, max_delay="2h"),
        Retry(max_duration="90s", factor=3),
        Retry(backoff="series", intervals=["1s", 0.5]),
        Retry(backoff="cron", cron="*/5 * * * *", timezone="Asia/Tokyo"),
    ],
)
def test_a_policy_survives_storage(retry: Retry) -> None:
    again = Retry.from_dict(retry.to_dict(), retry_on=OSError)
    assert again.to_dict() == retry.to_dict()
    assert [again.due(n, NOW, NOW, 0.3) for n in (1, 4, 5, 99)] == [retry.due(n, NOW, NOW, 0.3) for n in (1, 4, 5, 99)]
    assert again.retry_on is OSError


def test_a_jobs_own_policy_wins_and_one_that_cannot_be_read_gives_way() -> None:
    policy = Policy(retry=Retry(4, retry_on=OSError))
    assert policy.retry_of(None) is policy.retry
    own = policy.retry_of(Retry(2).to_dict())
    assert (own.max_attempts, own.retry_on) == (2, OSError)
    for newer in ({"max_attempts": 2, "new_option": 1}, {"backoff": "fibonacci"}, {"factor": None}):
        assert policy.retry_of(newer) is policy.retry
    with pytest.raises(DefinitionError, match="unknown retry option: new_option"):
        Retry.from_dict({"new_option": 1})


BAD: list[tuple[dict[str, Any], str]] = [
    ({"max_attempts": 0}, "max_attempts: 0"),
    ({"max_attempts": -2}, "max_attempts: -2"),
    ({"max_attempts": 1.5}, "max_attempts: 1.5"),
    ({"max_attempts": True}, "max_attempts: True"),
    ({"max_attempts": "3"}, "max_attempts: '3'"),
    ({"backoff": "quadratic"}, "backoff: 'quadratic'"),
    ({"backoff": None}, "backoff: None"),
    ({"backoff": []}, "backoff"),
    ({"initial_delay": -1}, "initial_delay: -1"),
    ({"initial_delay": "soon"}, "initial_delay: 'soon'"),
    ({"initial_delay": None}, "initial_delay: None"),
    ({"max_delay": float("nan")}, "max_delay: nan"),
    ({"max_delay": 10**400}, "max_delay"),
    ({"factor": 0.5}, "factor: 0.5"),
    ({"factor": 1001}, "factor: 1001"),
    ({"factor": float("nan")}, "factor: nan"),
    ({"factor": "2"}, "factor: '2'"),
    ({"jitter": -0.1}, "jitter: -0.1"),
    ({"jitter": 1.1}, "jitter: 1.1"),
    ({"jitter": True}, "jitter: True"),
    ({"max_duration": "x"}, "max_duration: 'x'"),
    ({"backoff": "series"}, "without intervals"),
    ({"backoff": "series", "intervals": [1, "x"]}, "interval: 'x'"),
    ({"backoff": "series", "intervals": "1m"}, "intervals: '1m'"),
    ({"backoff": "series", "intervals": 5}, "intervals: 5"),
    ({"backoff": "series", "intervals": None}, "intervals: None"),
    ({"intervals": [1]}, "intervals given with backoff 'exponential'"),
    ({"backoff": "cron"}, "go together"),
    ({"cron": "* * * * *"}, "go together"),
    ({"backoff": "cron", "cron": "61 * * * *"}, "cron expression: '61"),
    ({"backoff": "cron", "cron": 5}, "cron expression: 5"),
    ({"backoff": "cron", "cron": "* * * * *", "timezone": "Mars/Base"}, "timezone: 'Mars/Base'"),
    ({"retry_on": "ValueError"}, "retry_on: 'ValueError'"),
    ({"retry_on": int}, "retry_on: <class 'int'>"),
    ({"retry_on": [ValueError, 5]}, "retry_on"),
    ({"retry_on": 5}, "retry_on: 5"),
]


@pytest.mark.parametrize(("options", "named"), BAD, ids=lambda v: str(v)[:40])
def test_bad_values_are_refused_by_name(options: dict[str, Any], named: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        Retry(**options)
    assert named in str(caught.value)
    assert "xpected" in str(caught.value)
