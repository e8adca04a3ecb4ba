"""The options of a task, checked and worked out where they are written down.

No function of the user's is called here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict, cast

from mainspring.core.duration import Duration, milliseconds
from mainspring.core.job import Rule
from mainspring.core.naming import check_count, check_name, check_priority
from mainspring.core.policy import DAY, Debounce, Policy, Retry
from mainspring.core.request import retry_of, unknown_option
from mainspring.errors import DefinitionError

DeadLetterIf = Callable[[BaseException, int], bool]
"""`(error, attempts) -> bool`: whether a job that failed for good belongs into the dead-letter queue."""


class TaskOptions(TypedDict, total=False):
    """What `@app.task(...)` takes.

    name             default: the function's, with hyphens for underscores.
    aliases          other names whose jobs it runs, too: those that it had before. What is enqueued has its name.
    queue            default "default".     priority: 0-100, higher first, default 50.
    timeout          of one run. Default: none.
    max_concurrency  the most runs at once, over all workers. Default: no cap.
    retry, retries   retries=n is Retry(max_attempts=n+1). Default: Retry(), 5 runs, exponential from 10 s.
    dead_letter      True (default): a job that failed for good is kept as dead; False: as failed; or a predicate.
    idempotency_key  a function of the arguments; one job per key, finished or not, for its retention, a day at least.
    unique           one live job: per input (True), or per key (a function of the arguments).
    debounce         join a burst of calls into one run: Debounce(...) or the window.
    expires          not started this long after it was due: ends as cancelled, "expired".
    retention        how long completed and cancelled jobs are kept. Default 1 day.
    dead_retention   the same for dead and failed jobs. Default 90 days.
    max_interruptions  runs in a row that may vanish with their worker. Default 3; 0: never run twice.
    history          runs kept per job. Default 5.
    capture          what the handler prints and logs becomes lines of the job's log. Default False; the runs that a
                     schedule asks for always do.
    cpu              True: the handler, a plain function, runs in a process of its own, one per slot, which is killed
                     where it is timed out or cancelled. For work that keeps the interpreter busy. Default False.
    """

    name: str
    aliases: Sequence[str]
    queue: str
    priority: int
    timeout: Duration | None
    max_concurrency: int | None
    retry: Retry | None
    retries: int | None
    dead_letter: bool | DeadLetterIf
    idempotency_key: Callable[..., str] | None
    unique: bool | Callable[..., str]
    debounce: Debounce | Duration | None
    expires: Duration | None
    retention: Duration
    dead_retention: Duration
    max_interruptions: int
    history: int
    capture: bool
    cpu: bool
    description: str


TASK_OPTIONS = tuple(TaskOptions.__annotations__)
_ELSEWHERE = {
    "retry_on": "belongs to the policy: retry=Retry(retry_on=...)",
    "max_attempts": "belongs to the policy: retry=Retry(max_attempts=...)",
    "retry_delay": "belongs to the policy: retry=Retry(initial_delay=...)",
    "attempts": "is retries (runs after the first) or retry=Retry(max_attempts=...) (all runs)",
    "backoff": "belongs to the policy: retry=Retry(backoff=...)",
    "max_wait": "belongs to the burst: debounce=Debounce(window, max_wait=...)",
    "unique_key": "belongs to a call: task.options(unique_key=...); for the task give unique",
    "delay": "belongs to a call: task.options(delay=...)",
    "at": "belongs to a call: task.options(at=...)",
    "meta": "belongs to a call: task.options(meta=...)",
    "within": "belongs to a call: task.options(within=...)",
    "session": "belongs to a call: task.options(session=...)",
    "runs_kept": "is history",
    "alias": "is aliases, a list of names",
    "concurrency": "is max_concurrency (of the task) or a setting of the worker",
    "max_retries": "is retries",
    "process": "is cpu=True",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The options of one task, checked. Durations in ms."""

    name: str
    aliases: tuple[str, ...]
    queue: str
    priority: int
    timeout: int | None
    max_concurrency: int | None
    policy: Policy
    dead_letter: bool | DeadLetterIf
    rule: Rule | None
    key: Callable[..., str] | None
    """Of the rule; None with "skip": the digest of the input; with "merge": one burst for the task."""
    debounce: Debounce | None
    expires: int | None
    capture: bool
    cpu: bool
    description: str


def check_options(options: Mapping[str, Any], name: str, description: str) -> Settings:
    """The options of the task that is called `name` unless they say otherwise. Raises `DefinitionError`."""
    unknown = [option for option in options if option not in TASK_OPTIONS]
    if unknown:
        raise unknown_option(unknown[0], TASK_OPTIONS, "a task", _ELSEWHERE)
    given = {option: value for option, value in options.items() if value is not None}
    name = check_name(given.get("name", name), "task")
    try:
        return _settings(given, name, description)
    except DefinitionError as e:
        raise DefinitionError(f"task {name!r}: {e}") from e


def _settings(given: Mapping[str, Any], name: str, description: str) -> Settings:
    rule, key, debounce = _rule(given)
    cap = given.get("max_concurrency")
    timeout = _duration(given, "timeout")
    if timeout == 0:
        raise DefinitionError(f"bad timeout: {given['timeout']!r}. Expected more than 0.")
    return Settings(
        name=name,
        aliases=_aliases(given.get("aliases", ()), name),
        queue=check_name(given.get("queue", "default"), "queue"),
        priority=check_priority(given.get("priority", 50)),
        timeout=timeout,
        max_concurrency=None if cap is None else check_count(cap, "max_concurrency", 1),
        policy=_policy(given),
        dead_letter=_dead_letter(given.get("dead_letter", True)),
        rule=rule,
        key=key,
        debounce=debounce,
        expires=_duration(given, "expires"),
        capture=_flag(given.get("capture", False), "capture"),
        cpu=_flag(given.get("cpu", False), "cpu"),
        description=str(given.get("description", description)),
    )


def _policy(given: Mapping[str, Any]) -> Policy:
    retry = retry_of(given, None)
    return Policy(
        retry=Retry() if retry is None else retry,
        max_interruptions=check_count(given.get("max_interruptions", 3), "max_interruptions", 0),
        retention=_duration(given, "retention", DAY) or 0,
        dead_retention=_duration(given, "dead_retention", 90 * DAY) or 0,
        runs_kept=check_count(given.get("history", 5), "history", 1, 100),
    )


def _duration(given: Mapping[str, Any], name: str, default: int | None = None) -> int | None:
    return milliseconds(given[name], name) if name in given else default


def _aliases(value: Any, name: str) -> tuple[str, ...]:
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise DefinitionError(f"bad aliases: {value!r}. Expected a list of names that the task had before.")
    names = tuple(check_name(alias, "task") for alias in value)
    if len({name, *names}) <= len(names):
        raise DefinitionError(f"bad aliases: {value!r}. Expected each name once, and none that is {name!r}.")
    return names


def _flag(value: Any, what: str) -> bool:
    if not isinstance(value, bool):
        raise DefinitionError(f"bad {what}: {value!r}. Expected True or False.")
    return value


def _dead_letter(value: Any) -> bool | DeadLetterIf:
    if not isinstance(value, bool) and (not callable(value) or isinstance(value, type)):
        raise DefinitionError(f"bad dead_letter: {value!r}. Expected True, False, or (error, attempts) -> bool.")
    return cast("bool | DeadLetterIf", value)


def _rule(given: Mapping[str, Any]) -> tuple[Rule | None, Callable[..., str] | None, Debounce | None]:
    """Which rule a taken key has, who makes the key, and the window."""
    rules = [name for name in ("idempotency_key", "unique", "debounce") if given.get(name) not in (None, False)]
    if len(rules) > 1:
        raise DefinitionError(f"both {' and '.join(rules)}. A job has one key: expected one of them.")
    if "idempotency_key" in rules:
        return "once", _function(given["idempotency_key"], "idempotency_key"), None
    if "unique" in rules:
        return "skip", None if given["unique"] is True else _function(given["unique"], "unique"), None
    if "debounce" in rules:
        value = given["debounce"]
        debounce = value if isinstance(value, Debounce) else Debounce(value)
        return "merge", debounce.key, debounce
    return None, None, None


def _function(value: Any, what: str) -> Callable[..., str]:
    if not callable(value):
        more = " (for a single call: task.options(idempotency_key=...))" if what == "idempotency_key" else ", or True"
        raise DefinitionError(f"bad {what}: {value!r}. Expected a function of the arguments that gives text{more}.")
    return cast("Callable[..., str]", value)
