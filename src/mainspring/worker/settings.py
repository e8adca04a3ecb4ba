"""The settings of a worker, checked when it is made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, field

from mainspring.core.duration import Duration, milliseconds
from mainspring.core.naming import check_name
from mainspring.errors import DefinitionError


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
    id: str | None = None
    owns_process: bool = False
    grace_ms: int = field(init=False, repr=False, default=0)
    lease_ms: int = field(init=False, repr=False, default=0)
    beat_ms: int = field(init=False, repr=False, default=0)
    poll_ms: int = field(init=False, repr=False, default=0)
    stall_limit_ms: int = field(init=False, repr=False, default=0)

    def __post_init__(self) -> None:
        if not isinstance(self.concurrency, int) or isinstance(self.concurrency, bool) or self.concurrency < 1:
            raise DefinitionError(f"bad concurrency: {self.concurrency!r}. Expected a whole number of 1 or more.")
        if not isinstance(self.log_lines, int) or self.log_lines < 0:
            raise DefinitionError(f"bad log_lines: {self.log_lines!r}. Expected a whole number of 0 or more.")
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


def _check_names(names: Sequence[str] | None, option: str, what: str) -> None:
    if names is None:
        return
    if isinstance(names, str) or not isinstance(names, Sequence) or not names:
        raise DefinitionError(f"bad {option}: {names!r}. Expected a list of names, or None for all.")
    for name in names:
        check_name(name, what)
    if len(set(names)) < len(names):
        raise DefinitionError(f"bad {option}: {names!r}. Expected each name once.")
