"""The workloads: those of `peers`, with what a mongod counts in the place of what a Redis counts."""

from __future__ import annotations

import time

from benchmarks.mongo.bench import MongoBench
from benchmarks.peers.bench import Stand
from benchmarks.peers.processes import cpu_of, memory_mb
from benchmarks.peers.workloads import Measured, Sizes, Workload, drain, latency, memory
from benchmarks.processes import family

SIZES = Sizes(
    single=600,
    bulk=10_000,
    concurrent=3_000,
    drain=10_000,
    drain_seconds=6.0,
    stamps=100,
    idle_seconds=15.0,
    stored=2_000,
)
QUICK = Sizes(
    single=300, bulk=4_000, concurrent=1_000, drain=4_000, drain_seconds=4.0, stamps=40, idle_seconds=11.0, stored=1_000
)
SETTLED = 4.0
"""Seconds after its first job in which a worker has become idle."""


def enqueue(stand: Stand, sizes: Sizes, _: Measured) -> Measured:
    found: Measured = {}
    for row, jobs in (("single", sizes.single), ("concurrent", sizes.concurrent), ("bulk", sizes.bulk)):
        stand.bench.flush()
        before = stand.bench.usage().cpu
        taken = stand.client(f"enqueue-{row}", jobs)
        if taken["seconds"] is None:
            found |= dict.fromkeys((row, f"{row}-cpu", f"{row}-server"))
            continue
        found[row] = jobs / taken["seconds"]
        found[f"{row}-cpu"] = taken["cpu"] / jobs * 1e6
        found[f"{row}-server"] = (stand.bench.usage().cpu - before) / jobs * 1e6
    return found


def drain_10(stand: Stand, sizes: Sizes, _: Measured) -> Measured:
    return drain(stand, sizes, "drain-10", 10, 1)


def drain_100(stand: Stand, sizes: Sizes, _: Measured) -> Measured:
    return drain(stand, sizes, "drain-100", 100, 1)


def drain_2(stand: Stand, sizes: Sizes, _: Measured) -> Measured:
    return drain(stand, sizes, "drain-2", 100, 2)


def idle(stand: Stand, sizes: Sizes, _: Measured) -> Measured:
    """A worker that has nothing to do; what the server does by itself is subtracted."""
    bench = stand.bench
    assert isinstance(bench, MongoBench)
    alone = bench.alone
    with stand.worker(10) as worker:
        stand.fill(1)
        stand.wait_for_jobs(1, worker)
        time.sleep(SETTLED)
        cpu, begun = cpu_of(worker), time.monotonic()
        busy = bench.rates(sizes.idle_seconds)
        seconds = time.monotonic() - begun
        return {
            "idle-requests": busy.requests - alone.requests,
            "idle-operations": busy.operations - alone.operations,
            "idle-server": busy.cpu - alone.cpu,
            "idle-cpu": (cpu_of(worker) - cpu) / seconds * 100,
            "idle-memory": memory_mb(family(worker.pid)),
        }


WORKLOADS: dict[str, Workload] = {
    "enqueue": enqueue,
    "drain-10": drain_10,
    "drain-100": drain_100,
    "drain-2": drain_2,
    "latency": latency,
    "idle": idle,
    "memory": memory,
}
