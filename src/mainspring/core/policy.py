"""Policy: when a failed job is tried again, how bursts are joined, how long rows are kept.

Everything here is checked when it is written down (`DefinitionError`), and decided by pure functions: the time and the
random number are passed in. A new retry strategy is a branch in `Retry.delay` and a test.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from datetime import datetime
from typing import Any, Literal, get_args

from mainspring.core.cron import check_cron, next_cron
from mainspring.core.duration import UNITS, Duration, milliseconds
from mainspring.core.outcome import RetryAfter
from mainspring.errors import DefinitionError

Backoff = Literal["fixed", "linear", "exponential", "series", "cron"]
RetryOn = type[BaseException] | Sequence[type[BaseException]] | Callable[..., bool]
DAY = UNITS["d"]
UNLIMITED = -1


@dataclass(frozen=True, slots=True)
class Retry:
    """When a failed run is tried again.

    max_attempts    total runs, the first included; 1 = no retry, -1 = no limit. Default 5, or no limit where
                    `max_duration` is given.
    backoff         "exponential" (default): initial_delay * factor^(n-1); "linear": initial_delay * n; "fixed";
                    "series": `intervals`, the last one repeats; "cron": the next time of `cron`. n = failures so far.
    initial_delay   default 10 s.   max_delay: default 1 day; it holds after jitter.   factor: default 2.
    jitter          share of the delay added at random, 0-1. Default 0.2; none for cron.
    max_duration    no retry begins later than this after the first failure of the sequence.
    retry_on        exception types, or a predicate `(error, attempt) -> bool`; False = give up at once.

    Raises `DefinitionError` for values that make no sense. Semantics: Oban, mongodash, Concave.
    """

    max_attempts: int | None = None
    backoff: Backoff = "exponential"
    _: KW_ONLY
    initial_delay: Duration = 10
    max_delay: Duration = "1d"
    factor: float = 2.0
    jitter: float = 0.2
    intervals: Sequence[Duration] = ()
    cron: str | None = None
    timezone: str = "UTC"
    max_duration: Duration | None = None
    retry_on: RetryOn | None = None
    _limit: int = field(init=False, repr=False, default=5)
    _window: int | None = field(init=False, repr=False, default=None)
    _initial: int = field(init=False, repr=False, default=0)
    _cap: int = field(init=False, repr=False, default=0)
    _series: tuple[int, ...] = field(init=False, repr=False, default=())

    def __post_init__(self) -> None:
        attempts = self.max_attempts
        if attempts is not None and (
            not isinstance(attempts, int) or isinstance(attempts, bool) or (attempts < 1 and attempts != UNLIMITED)
        ):
            raise DefinitionError(
                f"bad max_attempts: {attempts!r}. Expected total runs of 1 or more, or -1 for no limit."
            )
        if self.backoff not in get_args(Backoff):
            raise DefinitionError(f"unknown backoff: {self.backoff!r}. Expected one of {', '.join(get_args(Backoff))}.")
        if not _number(self.jitter) or not 0 <= self.jitter <= 1:
            raise DefinitionError(f"bad jitter: {self.jitter!r}. Expected a share of the delay, 0 to 1.")
        if not _number(self.factor) or not 1 <= self.factor <= 1000:
            raise DefinitionError(f"bad factor: {self.factor!r}. Expected a number of 1 to 1000.")
        _check_retry_on(self.retry_on)
        window = None if self.max_duration is None else milliseconds(self.max_duration, "max_duration")
        self._set("_window", window)
        self._set("_limit", attempts if attempts is not None else (5 if window is None else UNLIMITED))
        self._set("_initial", milliseconds(self.initial_delay, "initial_delay"))
        self._set("_cap", milliseconds(self.max_delay, "max_delay"))
        if isinstance(self.intervals, str) or not isinstance(self.intervals, Sequence):
            raise DefinitionError(f'bad intervals: {self.intervals!r}. Expected a list such as ["1m", "5m", "15m"].')
        self._set("_series", tuple(milliseconds(i, "interval") for i in self.intervals))
        self._check_backoff()

    def _check_backoff(self) -> None:
        if self.backoff == "series" and not self._series:
            raise DefinitionError('backoff "series" without intervals. Expected intervals=["1m", "5m", "15m"].')
        if self.backoff != "series" and self._series:
            raise DefinitionError(
                f'intervals given with backoff {self.backoff!r}. Expected backoff="series", or no intervals.'
            )
        if (self.backoff == "cron") != (self.cron is not None):
            raise DefinitionError('backoff="cron" and cron= go together: expected both or neither.')
        if self.cron is not None:
            check_cron(self.cron, self.timezone)

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    @staticmethod
    def after(delay: Duration | datetime, reason: str = "") -> RetryAfter:
        """`raise Retry.after("10s")`: fail this attempt and try again then, while attempts are left."""
        return RetryAfter(delay, reason)

    @property
    def attempts(self) -> int | None:
        """How many runs there may be in all; None: no limit."""
        return None if self._limit == UNLIMITED else self._limit

    def retryable(self, error: BaseException, attempt: int) -> bool:
        """What `retry_on` says of `error` in `attempt` (1-based)."""
        on = self.retry_on
        if on is None:
            return True
        if isinstance(on, type):
            return isinstance(error, on)
        if isinstance(on, Sequence):
            return isinstance(error, tuple(on))
        return bool(on(error, attempt))

    def due(self, failures: int, failed_at: int, now: int, random: float, retry_in: int | None = None) -> int | None:
        """When to try again after `failures` attempts, the first of which failed at `failed_at`. None = give up."""
        if self._limit != UNLIMITED and failures >= self._limit:
            return None
        due = now + (self.delay(failures, now, random) if retry_in is None else retry_in)
        if self._window is not None and due > failed_at + self._window:
            return None
        return due

    def delay(self, failures: int, now: int, random: float) -> int:
        """Milliseconds to wait after the `failures`-th failure; `random` is in [0, 1)."""
        match self.backoff:
            case "cron":
                assert self.cron is not None
                return next_cron(self.cron, self.timezone, now) - now
            case "series":
                base: float = self._series[min(failures, len(self._series)) - 1]
            case "fixed":
                base = self._initial
            case "linear":
                base = self._initial * failures
            case "exponential":
                # The exponent is bounded, for 2.0 ** 1100 is an OverflowError; the cap is reached long before.
                base = self._initial * float(self.factor) ** min(failures - 1, 100)
        return int(min(base * (1 + self.jitter * random), self._cap))

    def to_dict(self) -> dict[str, Any]:
        """The policy as JSON values, for a job of its own. `retry_on` stays with the task."""
        plain = {
            "backoff": self.backoff,
            "factor": self.factor,
            "jitter": self.jitter,
            "timezone": self.timezone,
        }
        plain |= {"initial_delay": self._initial / 1000, "max_delay": self._cap / 1000}
        optional: dict[str, Any] = {
            "max_attempts": self.max_attempts,
            "intervals": [i / 1000 for i in self._series] or None,
            "cron": self.cron,
            "max_duration": None if self._window is None else self._window / 1000,
        }
        return plain | {name: value for name, value in optional.items() if value is not None}

    @classmethod
    def from_dict(cls, plain: dict[str, Any], retry_on: RetryOn | None = None) -> Retry:
        """The policy that `to_dict` made. Raises `DefinitionError` where it makes no sense to this version."""
        unknown = plain.keys() - _STORED
        if unknown:
            raise DefinitionError(
                f"unknown retry option: {', '.join(sorted(unknown))}. Expected: {', '.join(_STORED)}."
            )
        return cls(**plain, retry_on=retry_on)


_STORED = (
    "max_attempts", "backoff", "initial_delay", "max_delay", "factor", "jitter", "intervals", "cron", "timezone",
    "max_duration",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Debounce:
    """Join a burst of calls into one run, `window` after the last of them.

    key        a function of the task's arguments, or None: one burst for the whole task.
    max_wait   run at the latest this long after the first call of the burst. Default: no bound.
    """

    window: Duration
    _: KW_ONLY
    key: Callable[..., str] | None = None
    max_wait: Duration | None = None
    window_ms: int = field(init=False, repr=False, default=0)
    max_wait_ms: int | None = field(init=False, repr=False, default=None)

    def __post_init__(self) -> None:
        object.__setattr__(self, "window_ms", milliseconds(self.window, "debounce window"))
        if self.max_wait is not None:
            object.__setattr__(self, "max_wait_ms", milliseconds(self.max_wait, "debounce max_wait"))
            if self.max_wait_ms is not None and self.max_wait_ms < self.window_ms:
                raise DefinitionError(
                    f"bad debounce: max_wait {self.max_wait!r} is shorter than the window {self.window!r}. "
                    "Expected a max_wait of at least the window."
                )
        if self.key is not None and not callable(self.key):
            raise DefinitionError(f"bad debounce key: {self.key!r}. Expected a function of the task's arguments.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What `core.states` must know of a task. Durations in milliseconds."""

    retry: Retry = field(default_factory=Retry)
    max_interruptions: int = 3
    """Runs in a row that may vanish (crash, OOM, kill) before the job is dead; 0 = at most once."""
    retention: int = DAY
    """Of completed and cancelled jobs."""
    dead_retention: int = 90 * DAY
    """Of dead and failed jobs."""
    runs_kept: int = 5

    def retry_of(self, own: dict[str, Any] | None) -> Retry:
        """The retry policy of a job: its own, where it has one, with the task's `retry_on`; or the task's with
        attempts of the job's own, where it has nothing else.

        One that a newer version wrote, and this one cannot read, gives way to the task's: a settle must not fail.
        """
        if own is None:
            return self.retry
        try:
            if own.keys() == {"max_attempts"}:
                return replace(self.retry, max_attempts=own["max_attempts"])
            return Retry.from_dict(own, self.retry.retry_on)
        except DefinitionError:
            return self.retry


def _number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _check_retry_on(on: object) -> None:
    types = on if isinstance(on, Sequence) and not isinstance(on, str) else (on,)
    if on is None or all(isinstance(t, type) and issubclass(t, BaseException) for t in types):
        return
    if isinstance(on, (type, str, Sequence)) or not callable(on):
        raise DefinitionError(
            f"bad retry_on: {on!r}. Expected exception types, or a predicate (error, attempt) -> bool."
        )
