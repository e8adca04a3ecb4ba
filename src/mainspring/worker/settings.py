"""The settings of a worker, checked when it is made."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import TypedDict

from mainspring.core.duration import Duration, milliseconds
from mainspring.core.naming import check_name
from mainspring.errors import DefinitionError


class WorkerOptions(TypedDict, total=False):
    """The settings of `WorkerSettings`, as `app.worker(...)` takes them; so type checkers know them."""

    concurrency: int
    queues: Sequence[str] | None
    tasks: Sequence[str] | None
    grace: Duration
    lease: Duration
    beat: Duration
    poll: Duration
    stall_limit: Duration
    log_lines: int
    cpu_processes: int | None
    cpu_max_jobs: int | None
    cpu_max_memory: int | str | None
    id: str | None
    owns_process: bool


WORKER_OPTIONS = tuple(WorkerOptions.__annotations__)


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """How a worker works. Durations as everywhere: seconds, timedelta or text.

    concurrency   handlers that run at once in this process. Default 20.
    queues        the queues it serves, in rotation; default: those of its tasks.
    tasks         names of the only tasks it runs; default: all that the app knows.
    grace         how long handlers may go on after a stop, a timeout or a cancel. Default 10 s.
    lease, beat   a held job is promised to this worker for `lease` (15 s), renewed every `beat` (5 s).
    poll          an idle worker looks again after this long at the latest. Default 5 s.
    stall_limit   the event loop may stand still this long before the worker gives its jobs up. Default 60 s.
    log_lines     lines of a job's log that wait to be stored; the oldest go first. Default 1,000.
    cpu_processes  cpu handlers that run at once, each in a process of its own. Default: the number of processors, and
                  never more than `concurrency`.
    cpu_max_jobs  a process of cpu handlers ends after so many jobs, and another one takes its place. Default 1,000;
                  None: never.
    cpu_max_memory  the same after a job that leaves it with more resident memory than this: bytes, or text such as
                  "500MB". Default None: no limit.
    owns_process  True where the process belongs to the worker alone (`mainspring worker`): then a handler that will
                  not end, or a loop that does not turn, ends the process. Embedded workers never do that.
    """

    concurrency: int = 20
    _: KW_ONLY
    queues: Sequence[str] | None = None
    tasks: Sequence[str] | None = None
    grace: Duration = 10
    lease: Duration = 15
    beat: Duration = 5
    poll: Duration = 5
    stall_limit: Duration = 60
    log_lines: int = 1_000
    cpu_processes: int | None = None
    cpu_max_jobs: int | None = 1_000
    cpu_max_memory: int | str | None = None
    id: str | None = None
    owns_process: bool = False
    grace_ms: int = field(init=False, repr=False, default=0)
    lease_ms: int = field(init=False, repr=False, default=0)
    beat_ms: int = field(init=False, repr=False, default=0)
    poll_ms: int = field(init=False, repr=False, default=0)
    stall_limit_ms: int = field(init=False, repr=False, default=0)
    cpu_max_memory_bytes: int = field(init=False, repr=False, default=0)

    def __post_init__(self) -> None:
        if not isinstance(self.concurrency, int) or isinstance(self.concurrency, bool) or self.concurrency < 1:
            raise DefinitionError(f"bad concurrency: {self.concurrency!r}. Expected a whole number of 1 or more.")
        if not isinstance(self.log_lines, int) or self.log_lines < 0:
            raise DefinitionError(f"bad log_lines: {self.log_lines!r}. Expected a whole number of 0 or more.")
        self._check_cpu()
        for name, what in (("queues", "queue"), ("tasks", "task")):
            _check_names(getattr(self, name), name, what)
        if self.id is not None and (not isinstance(self.id, str) or ":" not in self.id or not self.id.isprintable()):
            raise DefinitionError(
                f'bad worker id: {self.id!r}. Expected printable text with a ":", as no queue has in its name.'
            )
        for name in ("grace", "lease", "beat", "poll", "stall_limit"):
            object.__setattr__(self, f"{name}_ms", milliseconds(getattr(self, name), name))
        if not 0 < self.beat_ms * 2 <= self.lease_ms:
            raise DefinitionError(
                f"bad lease and beat: {self.lease!r} and {self.beat!r}. Expected a lease of at least two beats, "
                "so that one lost beat loses nothing."
            )
        if self.poll_ms < 10:
            raise DefinitionError(f"bad poll: {self.poll!r}. Expected 10 ms or more.")

    def _check_cpu(self) -> None:
        for name in ("cpu_processes", "cpu_max_jobs"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
                raise DefinitionError(f"bad {name}: {value!r}. Expected a whole number of 1 or more, or None.")
        if self.cpu_max_memory is not None:
            object.__setattr__(self, "cpu_max_memory_bytes", byte_count(self.cpu_max_memory, "cpu_max_memory"))

    @property
    def cpu_slots(self) -> int:
        """How many cpu handlers may run at once."""
        return min(self.cpu_processes or os.cpu_count() or 1, self.concurrency)


def _check_names(names: Sequence[str] | None, option: str, what: str) -> None:
    if names is None:
        return
    if isinstance(names, str) or not isinstance(names, Sequence) or not names:
        raise DefinitionError(f"bad {option}: {names!r}. Expected a list of names, or None for all.")
    for name in names:
        check_name(name, what)
    if len(set(names)) < len(names):
        raise DefinitionError(f"bad {option}: {names!r}. Expected each name once.")


_UNITS = {"": 1, "B": 1, "KB": 1024, "MB": 1024**2, "GB": 1024**3}


def byte_count(value: int | str, what: str) -> int:
    """A number of bytes, or text such as "500MB" (KB, MB, GB: powers of 1,024). Raises `DefinitionError`."""
    if isinstance(value, str) and (found := re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMG]?B?)", value.strip().upper())):
        unit = found[2] if found[2] in _UNITS else f"{found[2]}B"
        number = round(float(found[1]) * _UNITS[unit])
    else:
        number = value if isinstance(value, int) and not isinstance(value, bool) else 0
    if number < 1:
        raise DefinitionError(f'bad {what}: {value!r}. Expected a number of bytes, or text such as "500MB".')
    return number
