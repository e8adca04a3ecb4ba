"""Settings of a worker that are allowed, and hurt: what they cost shows when something else fails, too late."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from mainspring.admin.doctor.finding import Finding, note, ok, warning
from mainspring.core.duration import humanize

SHORT_LEASE, LONG_LEASE = 5_000, 300_000
FAILOVER = 15_000
"""ms that the servers of a group may need to agree on another master: an election of MongoDB takes up to 12 s."""
BEATS = 2.5
"""Beats in a lease below which a single one that is late decides."""
DOCKER, KUBERNETES = 10_000, 30_000
"""ms after a SIGTERM at which these kill, unless they are told otherwise."""
LEAVE = 2_000
"""ms that a worker needs after the grace to give back what it holds."""
HARDLY_ANY = 1_000
HASTY_POLL, LAZY_POLL = 500, 60_000
SHORT_STALL = 15_000
WRITERS = 8
"""Processes beyond which a file, which has one writer at a time, gains nothing."""
MANY = 500
"""Jobs at once of which the result of each is a row that the one writer has to write."""


class Settings(Protocol):
    """A worker's settings, as far as they are judged. `mainspring.worker.settings.WorkerSettings` is one."""

    @property
    def concurrency(self) -> int: ...
    @property
    def grace_ms(self) -> int: ...
    @property
    def lease_ms(self) -> int: ...
    @property
    def beat_ms(self) -> int: ...
    @property
    def poll_ms(self) -> int: ...
    @property
    def stall_limit_ms(self) -> int: ...


def judge(settings: Settings, processes: int, store: str) -> Iterator[Finding]:
    """Findings about what a worker would work with. `store`: the kind of store."""
    found = [*_lease(settings, store), *_grace(settings), *_rhythm(settings), *_size(settings, processes, store)]
    yield from found
    if not found:
        yield ok("settings", "nothing that hurts; mainspring config shows them")


def _lease(settings: Settings, store: str) -> Iterator[Finding]:
    lease = humanize(settings.lease_ms)
    if settings.lease_ms < SHORT_LEASE:
        found = f"{lease}: a machine that stands still for as long has its jobs run twice"
        yield warning(
            "lease", found, "15s", "take lease out, or set it to 15s; lapsed jobs of a dead worker wait for it"
        )
    elif settings.lease_ms < FAILOVER and store != "sqlite":
        found = f"{lease}: servers that choose a new master need up to as long, and running jobs are lost meanwhile"
        yield note("lease", found, "15s or more", "set lease to 15s, or longer than the failover of your servers takes")
    elif settings.lease_ms > LONG_LEASE:
        found = f"{lease}: when a machine is gone, its jobs wait as long until another worker takes them"
        yield note("lease", found, "15s", "set lease to less; beats renew it for as long as a job runs")
    if settings.lease_ms < settings.beat_ms * BEATS:
        found = f"{settings.beat_ms:,} ms at a lease of {settings.lease_ms:,} ms: one late renewal loses a job"
        advice = f"set beat to {settings.lease_ms // 3}ms"
        yield warning("beat", found, "a third of the lease", advice)


def _grace(settings: Settings) -> Iterator[Finding]:
    grace = humanize(settings.grace_ms)
    if settings.grace_ms + LEAVE > KUBERNETES:
        found = f"{grace}: Kubernetes kills after 30s unless told otherwise, systemd after 90s"
        advice = (
            "give the process manager more than that: terminationGracePeriodSeconds, TimeoutStopSec, --stop-timeout"
        )
        yield note("grace", found, "less than the process manager's own", advice)
    elif settings.grace_ms > DOCKER:
        found = f"{grace}: docker stop kills after 10s unless told otherwise"
        yield note(
            "grace", found, "less than the process manager's own", "give it more: --stop-timeout, stop_grace_period"
        )
    elif settings.grace_ms < HARDLY_ANY:
        found = f"{grace}: each deploy interrupts nearly all that runs"
        yield note("grace", found, "as long as most jobs take", "set grace to 10s, and let handlers be safe to repeat")


def _rhythm(settings: Settings) -> Iterator[Finding]:
    poll = humanize(settings.poll_ms)
    if settings.poll_ms < HASTY_POLL:
        found = f"{poll}: an idle worker asks the store {1_000 // settings.poll_ms} times a second"
        yield note("poll", found, "5s", "take poll out: news of a job comes by itself")
    elif settings.poll_ms > LAZY_POLL:
        found = f"{poll}: a job whose wake-up is lost starts that late"
        yield note("poll", found, "5s", "take poll out: an idle worker costs next to nothing")
    if settings.stall_limit_ms < SHORT_STALL:
        found = f"{humanize(settings.stall_limit_ms)}: a slow import or a large document in a handler ends the process"
        yield warning("stall_limit", found, "1m", "take stall_limit out")


def _size(settings: Settings, processes: int, store: str) -> Iterator[Finding]:
    if store != "sqlite":
        return
    if processes > WRITERS:
        found = f"{processes}: a file has one writer at a time, and they wait for each other"
        yield note(
            "processes", found, f"{WRITERS} at most", "use fewer with more concurrency, or a Redis or MongoDB store"
        )
    if (jobs := settings.concurrency * processes) > MANY:
        found = f"{jobs:,} jobs at once, in {processes} processes, on one file"
        advice = "lower concurrency, unless handlers wait nearly all the time; or use a Redis or MongoDB store"
        yield note("concurrency", found, f"up to {MANY}", advice)
