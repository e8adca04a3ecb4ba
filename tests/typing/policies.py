"""What a type checker must see of policies, and of what handlers raise. Checked by tests/system/test_typing.py; never
run."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from mainspring import Cancel, DeadLetter, Debounce, JobFailed, Mainspring, Retry, Skip, Snooze, State

app = Mainspring("sqlite://:memory:")


def temporary(error: BaseException, attempt: int) -> bool:
    return attempt < 3


def right() -> None:
    Retry()
    Retry(5, "linear", initial_delay=timedelta(seconds=1), max_delay="10m", jitter=0)
    Retry(max_attempts=-1, max_duration="1d", factor=1.5)
    Retry(backoff="series", intervals=["1m", 5, timedelta(hours=1)])
    Retry(backoff="cron", cron="0 * * * *", timezone="Europe/Berlin")
    Retry(retry_on=OSError)
    Retry(retry_on=(OSError, TimeoutError))
    Retry(retry_on=temporary)
    Debounce("2s")
    Debounce(2, max_wait=timedelta(minutes=1), key=str)


def wrong() -> None:
    Retry("5")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Retry(5, "quadratic")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Retry(5, "linear", 10)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    Retry(attempts=5)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    Retry(jitter="some")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Retry(initial_delay=None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Retry(retry_on="OSError")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Retry(backoff="series", intervals=[object()])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
    Debounce()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    Debounce(None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Debounce("2s", wait="1m")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def in_a_handler(n: int) -> None:
    match n:
        case 1:
            raise Snooze("30s", "not yet")
        case 2:
            raise Snooze(until=datetime.now(UTC))
        case 3:
            raise Cancel("no longer wanted")
        case 4:
            raise DeadLetter("nobody can do this")
        case 5:
            raise Skip
        case _:
            raise Retry.after("10s", "busy")


def wrong_in_a_handler(n: int) -> None:
    match n:
        case 1:
            raise Snooze(until="30s")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        case 2:
            raise Cancel(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        case 3:
            raise DeadLetter(reasons="no")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
        case 4:
            raise Retry()  # type: ignore[misc]  # pyright: ignore[reportGeneralTypeIssues]
        case _:
            raise Retry.after()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def of_states(state: State, failed: JobFailed) -> str:
    if state is State.DEAD:
        return failed.reason
    return state.valu  # type: ignore[no-any-return, union-attr]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType, reportUnknownVariableType]
