"""The workloads. Each runs one system once on a flushed server and answers what it measured, by the names of rows."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.peers.bench import Stand, Usage
from benchmarks.peers.observed import delays_ms, logged, percentile, since_last_begin
from benchmarks.peers.processes import Failed, cpu_of, kill, memory_mb, wait_for
from benchmarks.processes import family

Measured = dict[str, float | None]
SETTLE = 0.4
"""Seconds after the last handler in which results and acknowledgements reach the server."""

IN_THE_MIDDLE = 0.25
"""Seconds after a wave of half-second jobs has begun at which the worker is killed: none is being acknowledged."""


@dataclass(frozen=True)
class Sizes:
    single: int = 2_000
    bulk: int = 20_000
    concurrent: int = 5_000
    drain: int = 20_000
    drain_seconds: float = 5.0
    """A drain ends after so long, and its rate is that of what ran."""
    naps: int = 2_000
    stamps: int = 100
    load_seconds: float = 3.0
    idle_seconds: float = 10.0
    stored: int = 10_000
    halves: int = 200
    recovery_seconds: float = 120.0


QUICK = Sizes(600, 4_000, 1_500, 6_000, 4.0, 600, 40, 2.0, 5.0, 2_000)
MOST_LOAD = 1_000.0
"""Jobs per second at half load, at most: one process of each client can send that."""

Workload = Callable[[Stand, Sizes, Measured], Measured]
"""It is given what the same system showed before in this run, for half load is half of its own drain."""


def enqueue(stand: Stand, sizes: Sizes, _: Measured) -> Measured:
    found: Measured = {}
    for row, jobs in (("single", sizes.single), ("concurrent", sizes.concurrent), ("bulk", sizes.bulk)):
        stand.bench.flush()
        taken = stand.client(f"enqueue-{row}", jobs)
        found[row] = None if taken["seconds"] is None else jobs / taken["seconds"]
        found[f"{row}-cpu"] = None if taken["cpu"] is None else taken["cpu"] / jobs * 1e6
    return found


def drain_10(stand: Stand, sizes: Sizes, _: Measured) -> Measured:
    return drain(stand, sizes, "drain-10", 10, 1)


def drain_100(stand: Stand, sizes: Sizes, _: Measured) -> Measured:
    return drain(stand, sizes, "drain-100", 100, 1)


def drain_2(stand: Stand, sizes: Sizes, _: Measured) -> Measured:
    return drain(stand, sizes, "drain-2", 10, 2)


def drain(stand: Stand, sizes: Sizes, row: str, concurrency: int, processes: int) -> Measured:
    jobs = max(200, int(sizes.drain * stand.system.share))
    stand.fill(jobs)
    before = stand.bench.usage()
    with stand.worker(concurrency, processes) as worker:
        stand.wait_for_jobs(1, worker)
        cpu, begun = cpu_of(worker), stand.ticks().jobs
        wait_for(lambda: stand.ticks().jobs >= jobs, sizes.drain_seconds, worker, look=0.02)
        cpu, ran = cpu_of(worker) - cpu, stand.ticks()
        time.sleep(SETTLE)
        after = stand.bench.usage()
    if ran.jobs < 2:
        raise Failed(f"{ran.jobs} of {jobs} jobs ran in {sizes.drain_seconds:.0f} s")
    costs = _costs(row, before, after, stand.ticks().jobs)
    return {row: ran.rate, f"{row}-cpu": cpu / max(1, ran.jobs - begun) * 1e6, **costs}


def _costs(row: str, before: Usage, after: Usage, jobs: int) -> Measured:
    return {
        f"{row}-commands": (after.commands - before.commands) / jobs,
        f"{row}-requests": (after.requests - before.requests) / jobs,
        f"{row}-server": (after.cpu - before.cpu) / jobs * 1e6,
    }


def io(stand: Stand, sizes: Sizes, _: Measured) -> Measured:
    """Jobs that wait for 10 ms, 100 at once: seconds for 2,000, of which 0.2 are waiting."""
    jobs = max(100, int(sizes.naps * min(1.0, 5 * stand.system.share)))
    stand.fill(jobs, "nap")
    with stand.worker(100) as worker:
        stand.wait_for_jobs(1, worker)
        wait_for(lambda: stand.ticks().jobs >= jobs, sizes.drain_seconds, worker, look=0.02)
        ran = stand.ticks()
    if ran.jobs < 2:
        raise Failed(f"{ran.jobs} of {jobs} jobs ran in {sizes.drain_seconds:.0f} s")
    return {"io": 2_000 / ran.rate}


def latency(stand: Stand, sizes: Sizes, before: Measured) -> Measured:
    with stand.worker(10) as worker:
        stand.fill(1)
        stand.wait_for_jobs(1, worker)
        idle = _delays(stand, worker, sizes.stamps, "--gap", 0.05)
        for path in stand.folder.glob("delays.*"):
            path.write_bytes(b"")
        rate = min(MOST_LOAD, (before.get("drain-10") or 400.0) / 2)
        busy = _delays(stand, worker, max(40, int(rate * sizes.load_seconds)), "--rate", rate)
    return {
        "pick-up-p50": percentile(idle, 50),
        "pick-up-p99": percentile(idle, 99),
        "load": rate,
        "load-p50": percentile(busy, 50),
        "load-p99": percentile(busy, 99),
    }


def _delays(stand: Stand, worker: subprocess.Popen[bytes], jobs: int, *options: object) -> list[float]:
    stand.client("latency", jobs, *options)
    wait_for(lambda: len(delays_ms(stand.folder)) >= jobs, 10, worker, look=0.05)
    found = delays_ms(stand.folder)
    if len(found) < jobs:
        raise Failed(f"{len(found)} of {jobs} jobs began within 10 s")
    return found


def idle(stand: Stand, sizes: Sizes, _: Measured) -> Measured:
    """A worker that has nothing to do: what its clients send, its CPU, its memory. After one job and three seconds."""
    with stand.worker(10) as worker:
        stand.fill(1)
        stand.wait_for_jobs(1, worker)
        time.sleep(3)
        cpu, began = cpu_of(worker), time.monotonic()
        before = stand.bench.usage().requests
        time.sleep(sizes.idle_seconds)
        sent = stand.bench.usage().requests - before - 1
        seconds = time.monotonic() - began
        return {
            "idle-requests": sent / seconds,
            "idle-cpu": (cpu_of(worker) - cpu) / seconds * 100,
            "idle-memory": memory_mb(family(worker.pid)),
        }


def memory(stand: Stand, sizes: Sizes, _: Measured) -> Measured:
    """Bytes that a queued job with 100 bytes of input adds to the server."""
    jobs = max(500, int(sizes.stored * min(1.0, 5 * stand.system.share)))
    stand.fill(500, payload=100)
    before = stand.bench.usage().memory
    stand.fill(jobs, payload=100)
    return {"bytes": (stand.bench.usage().memory - before) / jobs}


def recovery(stand: Stand, sizes: Sizes, _: Measured) -> Measured:
    """SIGKILL in the middle of half-second jobs, 20 in flight, and a new worker at once."""
    jobs = sizes.halves
    stand.fill(jobs, "half")

    def ended() -> int:
        return len(logged(stand.folder, "end"))

    def running() -> int:
        return len(logged(stand.folder, "begin")) - ended()

    with stand.worker(20) as worker:
        if not wait_for(lambda: ended() >= jobs * 0.3, 60, worker):
            raise Failed(f"{ended()} of {jobs} jobs ended in 60 s")
        wait_for(lambda: running() and since_last_begin(stand.folder) >= IN_THE_MIDDLE, 5, worker)
        kill(worker)
    lost = running()
    begun = time.monotonic()
    with stand.worker(20) as second:
        wait_for(lambda: ended() >= jobs, sizes.recovery_seconds, second, look=0.1)
        taken = time.monotonic() - begun
        time.sleep(2)
    ends = logged(stand.folder, "end")
    return {
        "recovery": taken if len(ends) >= jobs else None,
        "recovery-running": float(lost),
        "recovery-lost": float(jobs - len(ends)),
        "recovery-doubled": float(sum(1 for times in ends.values() if times > 1)),
    }


WORKLOADS: dict[str, Workload] = {
    "enqueue": enqueue,
    "drain-10": drain_10,
    "drain-100": drain_100,
    "drain-2": drain_2,
    "io": io,
    "latency": latency,
    "idle": idle,
    "memory": memory,
    "recovery": recovery,
}
FAR = ("enqueue", "drain-10", "drain-100", "drain-2", "latency")
"""Those that are measured over the proxy as well."""
SLOW = ("recovery",)
