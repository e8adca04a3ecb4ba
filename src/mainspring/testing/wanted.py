"""What a test expects of a job: conditions, checked against the task when they are written down.

A condition that could never hold, such as an argument that the task does not have, is an error: `refute_enqueued` would
be satisfied by any misspelling.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from mainspring.core.codec import decode_value
from mainspring.core.duration import Duration, humanize, instant, milliseconds
from mainspring.core.task import Task
from mainspring.errors import DefinitionError, UnknownTask

if TYPE_CHECKING:
    from mainspring.app import Mainspring
    from mainspring.testing.assertions import Enqueued

OF_THE_JOB = ("queue", "priority", "key", "origin")
CONDITIONS = (*OF_THE_JOB, "status", "at", "within", "meta", "input")
STATUSES = ("scheduled", "pending", "retrying", "running", "paused", "completed", "failed", "dead", "cancelled")
ANY = "any"


class Wanted(NamedTuple):
    """What a job must be like."""

    task: str | None
    status: str | None
    """None: it waits or runs. "any": whatever."""
    plain: Mapping[str, Any]
    """Conditions on queue, priority, key, origin."""
    at: int | None
    within: int
    meta: Mapping[str, Any]
    input: Mapping[str, Any]

    def misses(self, job: Enqueued) -> list[str]:
        """What is not as expected, a line each."""
        found: list[str] = []
        if self.task is not None and job.task != self.task:
            found.append(f"task: {job.task!r}, expected {self.task!r}")
        found += [line for name, value in self.plain.items() for line in _miss(name, value, getattr(job, name))]
        off = None if self.at is None else round(job.due.timestamp() * 1000) - self.at
        if off is not None and abs(off) > self.within:
            found.append(
                f"at: {job.due}, which is {humanize(abs(off))} {'later' if off > 0 else 'earlier'} than expected"
            )
        found += [line for name, value in self.meta.items() for line in _miss(f"meta {name}", value, job.meta, name)]
        stored = decode_value(job.job.input or "{}")
        for name, value in self.input.items():
            # Either as the handler gets it, or as JSON: what is written down is a matter of taste.
            if name not in stored or not _same(value, stored[name]):
                found += _miss(name, value, job.input, name)
        return found

    def __str__(self) -> str:
        what = "job" if self.task is None else f"job of {self.task!r}"
        given = [f"{name}={_shown(value)}" for part in (self.input, self.plain) for name, value in part.items()]
        given += [f"meta {name}={_shown(value)}" for name, value in self.meta.items()]
        given += [] if self.at is None else [f"at={datetime.fromtimestamp(self.at / 1000, UTC)}"]
        given += [] if self.status in (None, ANY) else [f"status={self.status!r}"]
        return f"{what} with {', '.join(given)}" if given else what


def wanted(app: Mainspring, task: Task[Any, Any] | str | None, conditions: Mapping[str, Any]) -> Wanted:
    """The conditions, checked. Raises `UnknownTask`, `DefinitionError`."""
    known = _task(app, task)
    given = {name: value for name, value in conditions.items() if name in CONDITIONS}
    arguments = {name: value for name, value in conditions.items() if name not in CONDITIONS}
    input = {**_object(given, "input"), **arguments}
    if known is not None:
        _check_arguments(known, input)
    at, within = given.get("at"), milliseconds(given.get("within", 0), "within")
    for name in OF_THE_JOB:
        _check_plain(given, name)
    status = given.get("status")
    if status not in (None, ANY, *STATUSES):
        raise DefinitionError(f"unknown status: {status!r}. Expected one of {', '.join(STATUSES)}, or {ANY!r}.")
    return Wanted(
        task=task.name if isinstance(task, Task) else task,
        status=status,
        plain={name: given[name] for name in OF_THE_JOB if name in given},
        at=None if at is None else _instant(at, app.clock.now()),
        within=within,
        meta=_object(given, "meta"),
        input=input,
    )


def _task(app: Mainspring, task: Task[Any, Any] | str | None) -> Task[Any, Any] | None:
    name = task.name if isinstance(task, Task) else task
    if name is None:
        return None
    if not isinstance(name, str):
        raise DefinitionError(f"a job of {task!r}. Expected a task, or the name of one.")
    known = app.tasks.get(name)
    if isinstance(task, Task) and known is not task:
        raise DefinitionError(
            f"task {name!r} belongs to another app than the one in this kit, whose tasks are "
            f"{', '.join(sorted(app.tasks)) or 'none'}. Expected a task of that app; or put the other app into the kit "
            "(the fixtures take the one that mainspring_app of pytest, MAINSPRING_APP or pyproject.toml names)."
        )
    if known is None:
        raise UnknownTask(name, list(app.tasks))
    return known


def _check_arguments(task: Task[Any, Any], input: Mapping[str, Any]) -> None:
    snapshot = task.snapshot()
    strange = [name for name in input if name not in snapshot["parameters"]]
    if strange and not snapshot["open"]:
        raise DefinitionError(
            f"task {task.name!r} has no argument {strange[0]!r}, so no job has it. Expected one of "
            f"{', '.join(snapshot['parameters']) or 'none'}; or a condition: {', '.join(CONDITIONS)}."
        )


def _check_plain(given: Mapping[str, Any], name: str) -> None:
    """A value of Python's own that is of another kind than the job's can never be equal to it. What has an `==` of its
    own, or is a function, says so itself."""
    value = given.get(name, "")
    right = (int, float) if name == "priority" else str
    own = type(value).__module__ != "builtins" or (callable(value) and not isinstance(value, type))
    if name not in given or own or isinstance(value, right) or (name == "key" and value is None):
        return
    what = "a number" if name == "priority" else "text"
    raise DefinitionError(f"bad {name}: {value!r}, so no job has it. Expected {what}, or a function that judges it.")


def _object(given: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = given.get(name, {})
    if not isinstance(value, Mapping):
        raise DefinitionError(f"bad {name}: {value!r}. Expected an object, of what it must have at least.")
    return value


def _instant(at: datetime | Duration, now: int) -> int:
    return instant(at, "at") if isinstance(at, datetime) else now + milliseconds(at, "at")


def subset(part: Mapping[str, Any]) -> Any:
    """An object that has at least these entries, with any others: `order=subset({"id": 7})`. May be nested."""
    return _Subset(part)


class _Subset:
    def __init__(self, part: Mapping[str, Any]) -> None:
        self._part = part

    def __eq__(self, other: object) -> bool:
        read = dict(other) if isinstance(other, Mapping) else getattr(other, "__dict__", None)
        if read is None:
            return False
        return all(name in read and _same(value, read[name]) for name, value in self._part.items())

    __hash__ = None  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]

    def __repr__(self) -> str:
        return f"subset({dict(self._part)!r})"


def _same(expected: Any, value: Any) -> bool:
    """A function says so itself; all else is compared."""
    if callable(expected) and not isinstance(expected, type):
        return bool(expected(value))
    return bool(expected == value)


_MISSING = object()


def _miss(name: str, expected: Any, value: Any, key: str | None = None) -> list[str]:
    actual = value if key is None else value.get(key, _MISSING)
    if actual is _MISSING:
        return [f"{name}: is not given, expected {_shown(expected)}"]
    return [] if _same(expected, actual) else [f"{name}: {actual!r}, expected {_shown(expected)}"]


def _shown(expected: Any) -> str:
    name = getattr(expected, "__qualname__", None) if callable(expected) else None
    return f"what {name}() accepts" if name else repr(expected)
