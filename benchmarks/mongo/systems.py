"""The systems: ours, the Python queues that run on MongoDB today, and loops of bare operations as a yardstick."""

from __future__ import annotations

from benchmarks.peers.systems import OURS, System

CELERY = ("celery", "pymongo", "packaging")
BARE = ("enqueue", "drain-10", "drain-100", "drain-2")

SYSTEMS = (
    System(OURS, (), "all defaults: results, history of runs, 15 s leases with heartbeats", clients=("pymongo",)),
    System(
        "celery",
        CELERY,
        "no result backend, `acks_late`, threads, prefetch 100 per slot, polling interval 10 ms when it finds nothing"
        " (a hundredth of the default), no remote control, gossip, mingle and heartbeat",
        0.1,
        "celery_mongo",
        "threads,100,0.01",
    ),
    System(
        "celery-default",
        CELERY,
        "the same with its defaults for prefetch (4 per slot), polling (1 s) and pool (prefork up to a concurrency of"
        " 10, threads beyond), remote control, gossip, mingle and heartbeat on",
        0.1,
        "celery_mongo",
        "default,4,1.0",
    ),
    System(
        "taskiq",
        ("taskiq<0.13", "taskiq-mongodb", "pymongo"),
        "`MongoBroker`, no result backend, acknowledged when done, its polling interval",
        0.1,
        "taskiq_mongo",
    ),
    System(
        "bare-sync",
        (),
        "PyMongo; drain: find N, update_many with a token, find by it, bulk_write of N, one after the other",
        module="bare_mongo",
        variant="sync",
        queue=False,
        yardstick=BARE,
        clients=("pymongo",),
    ),
    System(
        "bare-async",
        (),
        "the same by PyMongo's async client",
        module="bare_mongo",
        variant="async",
        queue=False,
        yardstick=BARE,
        clients=("pymongo",),
    ),
)


def named(names: str | None) -> list[System]:
    """Those of a list such as `mainspring,celery`; all without one."""
    if not names:
        return list(SYSTEMS)
    wanted = {name.strip() for name in names.split(",")}
    known = {system.name for system in SYSTEMS}
    if unknown := wanted - known:
        raise SystemExit(f"no such system: {', '.join(sorted(unknown))}. Expected some of {', '.join(sorted(known))}.")
    return [system for system in SYSTEMS if system.name in wanted]
