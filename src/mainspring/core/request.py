"""Requests: calls that are validated and not stored yet, and what a call may say beside its arguments.

A request knows nothing of the store it goes to. Each time it is enqueued it is a new call, with an id of its own.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Generic, TypedDict, TypeVar

import msgspec

from mainspring.core.codec import encode_value
from mainspring.core.duration import Duration, instant, milliseconds
from mainspring.core.ids import key_id, new_id
from mainspring.core.inputs import check_key
from mainspring.core.job import Ask, Frozen, Job, Rule
from mainspring.core.naming import check_name, check_priority
from mainspring.core.policy import Retry
from mainspring.errors import DefinitionError, InputError, UnknownOption

Result = TypeVar("Result", covariant=True)

META_LIMIT = 16 * 1024
KINDS: dict[Rule, str] = {"once": "call.once", "skip": "call.skip", "merge": "call.merge"}
"""Each rule has ids of its own, so that one key text under two rules is two keys."""


class CallOptions(TypedDict, total=False):
    """What a single call may say. Everything else belongs to the task.

    delay, at           when to run: in that time, or at an aware datetime. Default: now.
    priority, queue     instead of the task's.
    idempotency_key     one job for this key, finished or not, for its retention, at least a day (ONCE).
    unique_key          one live job for this key; a finished one runs again (SKIP).
    expires             not started this long after it was due: it ends as cancelled, "expired".
    retry               instead of the task's policy.
    retries             the task's policy with n retries, which is max_attempts=n+1.
    timeout, retention  instead of the task's.
    meta                texts that travel with the job: trace ids, tenant, user.
    within              your own open transaction (for SQLite: the connection): the job exists when it commits.
    session             the same, as MongoDB's users call it.
    """

    delay: Duration
    at: datetime
    priority: int
    queue: str
    idempotency_key: str
    unique_key: str
    expires: Duration
    retry: Retry
    retries: int
    timeout: Duration
    retention: Duration
    meta: Mapping[str, str]
    within: Any
    session: Any


CALL_OPTIONS = tuple(CallOptions.__annotations__)
_ELSEWHERE = {
    "debounce": "belongs to the task: @app.task(debounce=...)",
    "unique": "belongs to the task: @app.task(unique=True); for one call give unique_key",
    "retry_on": "belongs to the task: @app.task(retry=Retry(retry_on=...))",
    "should_retry": "belongs to the task: @app.task(retry=Retry(retry_on=...))",
    "dead_letter": "belongs to the task: @app.task(dead_letter=...)",
    "max_concurrency": "belongs to the task: @app.task(max_concurrency=...)",
    "attempts": "is retries (runs after the first) or retry=Retry(max_attempts=...) (all runs)",
    "max_attempts": "belongs to the policy: retry=Retry(max_attempts=...)",
    "delay_until": "is at",
    "countdown": "is delay",
    "eta": "is at",
}


class Request(Frozen, Generic[Result], frozen=True, kw_only=True):
    """A validated call of a task that is not stored yet. Made by `task.job(...)`. Durations in ms."""

    task: str
    queue: str
    input: str
    priority: int = 50
    rule: Rule | None = None
    key: str | None = None
    delay: int = 0
    at: int | None = None
    max_wait: int | None = None
    expires: int | None = None
    retry: dict[str, Any] | None = None
    timeout: int | None = None
    retention: int | None = None
    meta: dict[str, str] = msgspec.field(default_factory=dict)
    origin: str = "call"
    within: Any = None
    decode: Callable[[str | None], Result] | None = None
    """Reads a result; None where the task is not known here."""

    @property
    def id(self) -> str | None:
        """The id of the job that holds the key; None without a key, for then each call has its own."""
        return None if self.rule is None else key_id(self.task, KINDS[self.rule], self.key or "")

    def to_job(self, now: int) -> Job:
        """A new job of this call, made at `now`. Each has an ask of its own."""
        ask = new_id()
        due = now + self.delay if self.at is None else self.at
        return Job(
            id=self.id or ask, task=self.task, queue=self.queue, priority=self.priority, due_at=due, created_at=now,
            origin=self.origin, keyed=self.rule is not None, input=self.input, key=self.key, rule=self.rule, ask=ask,
            asked_at=now, first_asked_at=now if self.rule == "merge" else None, scheduled_at=due,
            start_by=None if self.expires is None else max(due, now) + self.expires, retry=self.retry,
            timeout=self.timeout, retention=self.retention, meta=self.meta,
        )  # fmt: skip

    def ask(self, now: int) -> Ask:
        """A new ask of this call, for a job that holds its key."""
        return ask_of(self.to_job(now))

    def with_options(self, options: CallOptions) -> Request[Result]:
        """This request with what a call says. Raises `DefinitionError`, `UnknownOption`, `InputError`."""
        return self.evolve(**call_fields(options)) if options else self


def ask_of(job: Job) -> Ask:
    """What a job that is not stored yet asks for."""
    return Ask(
        id=job.ask, input=job.input or "{}", due_at=job.due_at, asked_at=job.asked_at,
        first_asked_at=job.first_asked_at, priority=job.priority, fingerprint=job.fingerprint, order=job.order,
        start_by=job.start_by, retry=job.retry, timeout=job.timeout, retention=job.retention, meta=job.meta,
    )  # fmt: skip


def call_fields(options: CallOptions) -> dict[str, Any]:
    """The fields of a `Request` that the options of a call give. Raises where one of them is wrong."""
    unknown = [name for name in options if name not in CALL_OPTIONS]
    if unknown:
        raise unknown_option(unknown[0], CALL_OPTIONS, "a call", _ELSEWHERE)
    given = {name: value for name, value in options.items() if value is not None}
    return {
        name: value
        for part in (_times(given), _plain_fields(given), _key_fields(given))
        for name, value in part.items()
    }


def _times(given: Mapping[str, Any]) -> dict[str, Any]:
    if "at" in given and "delay" in given:
        raise DefinitionError(f"both at={given['at']!r} and delay={given['delay']!r}. Expected one of them.")
    fields: dict[str, Any] = {}
    if "at" in given:
        fields["at"] = instant(given["at"], "at")
    for name in ("delay", "expires", "timeout", "retention"):
        if name in given:
            fields[name] = milliseconds(given[name], name)
    if fields.get("timeout") == 0:
        raise DefinitionError(f"bad timeout: {given['timeout']!r}. Expected more than 0.")
    return fields


def _plain_fields(given: Mapping[str, Any]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    if "priority" in given:
        fields["priority"] = check_priority(given["priority"])
    if "queue" in given:
        fields["queue"] = check_name(given["queue"], "queue")
    if "within" in given or "session" in given:
        fields["within"] = transaction_of(given.get("within"), given.get("session"))
    if "meta" in given:
        fields["meta"] = _check_meta(given["meta"])
    retry = retry_of(given, None)
    if retry is not None:
        if retry.retry_on is not None:
            raise DefinitionError("retry_on in the retry of a call: it cannot be stored. It " + _ELSEWHERE["retry_on"])
        # With nothing but a count, the rest of the policy is the task's, whatever that is when the run fails.
        fields["retry"] = {"max_attempts": retry.max_attempts} if "retries" in given else retry.to_dict()
    return fields


def transaction_of(within: Any, session: Any) -> Any:
    """The caller's transaction, under either of its names. Raises `DefinitionError` for both."""
    if within is not None and session is not None:
        raise DefinitionError(
            "both within= and session=. They are two names of your transaction; expected one of them."
        )
    return session if within is None else within


def _key_fields(given: Mapping[str, Any]) -> dict[str, Any]:
    """A key of the call's own replaces the task's rule, window and all."""
    if "idempotency_key" in given and "unique_key" in given:
        raise DefinitionError("both idempotency_key and unique_key. Expected one of them.")
    for name, rule in (("idempotency_key", "once"), ("unique_key", "skip")):
        if name in given:
            fields = {"rule": rule, "key": check_key(given[name], name), "max_wait": None}
            return fields if "delay" in given else fields | {"delay": 0}
    return {}


def retry_of(given: Mapping[str, Any], default: Retry | None) -> Retry | None:
    """The policy that retry= or retries= give. Raises `DefinitionError` for both, or a bad one."""
    retry, retries = given.get("retry"), given.get("retries")
    if retry is not None and retries is not None:
        raise DefinitionError(f"both retry={retry!r} and retries={retries!r}. Expected one of them.")
    if retries is not None:
        if not isinstance(retries, int) or isinstance(retries, bool) or retries < 0:
            raise DefinitionError(f"bad retries: {retries!r}. Expected a whole number of 0 or more.")
        return Retry(max_attempts=retries + 1)
    if retry is not None and not isinstance(retry, Retry):
        raise DefinitionError(f"bad retry: {retry!r}. Expected Retry(...), or retries=3.")
    return retry if retry is not None else default


def unknown_option(
    name: str, known: tuple[str, ...], of: str, elsewhere: Mapping[str, str] | None = None
) -> UnknownOption:
    """The error for an option that is not known: where it belongs, or the nearest right one, and the list."""
    if elsewhere and name in elsewhere:
        return UnknownOption(f"{name!r} is no option of {of}: it {elsewhere[name]}.")
    near = difflib.get_close_matches(name, known, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return UnknownOption(f"{name!r} is no option of {of}.{hint} Known options: {', '.join(known)}.")


def _check_meta(meta: Any) -> dict[str, str]:
    if not isinstance(meta, Mapping) or not all(isinstance(t, str) for pair in meta.items() for t in pair):
        raise InputError(f"bad meta: {meta!r}. Expected texts by name; nothing was stored.")
    encode_value(dict(meta), "meta", META_LIMIT)
    return dict(meta)
