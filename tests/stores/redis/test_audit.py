"""No key without an owner or an end: what is over goes, with all that was its own. And the check itself sees faults."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from mainspring.core.ids import new_token
from mainspring.core.records import GATE, LEASE, WORKER, Record, queue_gate, task_gate
from mainspring.stores.base import Beat, Event, LogLine
from mainspring.stores.redis import RedisStore
from tests.conformance.subjects import SERVERS, Subject
from tests.conformance.world import KEYS, QUEUES, TASKS, World
from tests.factory import NOW, OUTCOMES, FakeClock, make_job
from tests.servers import namespaces
from tests.servers.binaries import needs
from tests.servers.shared import Shared, shared
from tests.stores.redis.audit import audit

DAY = 86_400_000
STAYS = {"meta": 1, "seq": 1}
"""All that an emptied namespace holds."""
BY_ITSELF = {"hint", "followed", "events"}
subjects = pytest.mark.parametrize(
    "subject", [pytest.param(subject, id=subject.name, marks=subject.marks) for subject in SERVERS]
)


# -- everything goes ---------------------------------------------------------------------------------------------------


@subjects
def test_after_a_mixed_life_and_a_purge_only_what_is_fixed_stays(subject: Subject, tmp_path: Path) -> None:
    world = World(subject, tmp_path)
    try:
        live(world, random.Random(11), 400)
        assert subject.audit(tmp_path)
        world.drain()
        world.clock.advance(100 * DAY)
        while world.run(world.real.purge(world.now, 100)):
            subject.audit(tmp_path)
        for record in world.run(world.real.scan("kept")):
            assert world.run(world.real.erase(record))
        left: Any = subject.audit(tmp_path)
        assert {family: keys for family, keys in left.items() if family not in BY_ITSELF} == STAYS
    finally:
        world.close()
        subject.drop(tmp_path)


def live(world: World, chance: random.Random, steps: int) -> None:
    """Jobs of all kinds of lives, with logs, locks, gates, events and records."""
    store, numbers = world.real, itertools.count()

    def log() -> None:
        ids = [row.id for row in world.model.data.rows.values()] or ["gone"]
        lines = [LogLine(chance.choice([*ids, "gone"]), 1, world.now, "info", f"line {n}") for n in range(20)]
        world.run(store.append(lines, 5))

    def record() -> None:
        n = next(numbers)
        kind, name = chance.choice([(LEASE, "lock"), (WORKER, f"w:{n}"), ("schedule", f"s{n}"), ("kept", f"k{n}")])
        old = world.run(store.read(kind, name)) or Record(kind=kind, name=name)
        ends = None if kind == "kept" else world.now + chance.randrange(1, 50_000)
        due = world.now + chance.randrange(50_000) if chance.random() < 0.7 else None
        world.run(store.write([old.evolve(written_at=world.now, due_at=due, expires_at=ends, value={"n": n})]))

    def gate() -> None:
        name = chance.choice([queue_gate(QUEUES[1]), task_gate(TASKS[1])])
        old = world.run(store.read(GATE, name)) or Record(kind=GATE, name=name)
        [new] = world.run(store.write([old.evolve(written_at=world.now, expires_at=world.now + 1_000)]))
        assert world.run(store.erase(new))

    def tell() -> None:
        event = Event(job_id="j", task="t", queue="q", kind="state", status="completed", at=world.now)
        world.run(store.publish([event]))

    workers = ("w:1", "w:2")
    actions: list[Callable[[], object]] = [
        log, record, gate, tell,
        lambda: world.ask(chance.choice(KEYS), chance.choice("AB"), chance.choice([0, 0, 2_000])),
        lambda: world.add_plain(chance.choice(TASKS), chance.choice([0, 50, 100])),
        lambda: world.claim(chance.choice(workers), chance.choice(QUEUES), 3, chance.choice([None, 1])),
        lambda: world.settle(chance.choice(workers), 0, chance.choice([*OUTCOMES, "release", "doom"])),
        lambda: world.beat(chance.choice(workers), "50"),
        lambda: world.read(chance.choice(KEYS)),
        lambda: world.act(0, chance.choice(["cancel", "rerun", "pause", "lapse"])),
        lambda: world.crash(chance.choice(workers)),
        lambda: world.clock.advance(chance.choice([1, 1_000, 20_000])),
        lambda: world.run(store.wake(chance.choice(QUEUES))),
    ]  # fmt: skip
    for _ in range(steps):
        chance.choice(actions)()


# -- the check sees ----------------------------------------------------------------------------------------------------


@pytest.fixture
async def filled(tmp_path: Path) -> AsyncIterator[tuple[str, str]]:
    """A namespace with jobs in several states: the address of its server, and its prefix."""
    namespace, url = namespaces.name_for(tmp_path), shared("valkey8").url
    store = RedisStore(f"{url}?namespace={namespace}", FakeClock())
    await store.open()
    await store.add([make_job(f"j{n}") for n in range(5)] + [make_job("later", due=NOW + 1)])
    claim = await store.claim("default", {"t": None}, "w:1", new_token(), NOW, NOW + 9, 2)
    await store.renew([Beat(claim.jobs[0].id, claim.jobs[0].token)], NOW + 10)
    await store.append([LogLine("j0", 1, NOW, "info", "a"), LogLine("j0", 1, NOW, "info", "b")], 10)
    await store.write([Record(kind="k", name="r", written_at=NOW, due_at=NOW, expires_at=NOW + 5)])
    await store.wake("w:1")
    await store.close()
    audit(url, namespace)
    yield url, namespace
    namespaces.drop(url, namespace)


FAULTS = {
    "a job that is in no lane": ("ZREM", "due:default:t:50", "j4"),
    "a job with another due time": ("ZADD", "due:default:t:50", "5", "j4"),
    "a job that is gone": ("DEL", "job:j4"),
    "a lane that is not ready": ("ZREM", "ready:default:50", "t"),
    "a lane that is ready too late": ("ZADD", "ready:default:50", str(NOW + 1), "t"),
    "a priority too many": ("ZADD", "priorities:default", "7", "7"),
    "a lease that nobody sees": ("ZREM", "run:default", "j0"),
    "a lease that does not count": ("ZREM", "held:t", "j0"),
    "a count that is off": ("HINCRBY", "counts", "waiting\x1fdefault\x1ft\x1f0\x1fcall", "1"),
    "a job that nobody finds": ("ZREM", "idx:default:t:live", "j0"),
    "an expiry of what lives": ("ZADD", "expiry", "1", "j4"),
    "a log of nobody": ("RPUSH", "log:none", "\0" * 7 + "\1"),
    "a log with a gap": ("LSET", "log:j0", "0", "\0" * 7 + "\7"),
    "a record out of order": ("ZREM", "rec-names:k", "r"),
    "a record that is never due": ("ZREM", "rec-due:k", "r"),
    "a record that does not expire": ("DEL", "rec-expiry"),
    "a record that is gone": ("HDEL", "rec:k", "r"),
    "a hint for ever": ("PERSIST", "hint:w:1"),
    "two hints": ("RPUSH", "hint:w:1", "1"),
    "a key of nobody": ("SET", "thing", "1"),
    "a place that is given again": ("SET", "seq", "3"),
    "a field of nobody": ("HSET", "job:j4", "x", "1"),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("server", [pytest.param("valkey8", marks=needs("valkey8"))])
async def test_the_check_sees_what_is_wrong(fault: str, server: str, filled: tuple[str, str]) -> None:
    url, namespace = filled
    command, key, *args = FAULTS[fault]
    changed = await asyncio.to_thread(shared(server).command, command, f"{{{namespace}}}:{key}", *args)
    assert changed is not None
    with pytest.raises(AssertionError, match="faults in"):
        audit(url, namespace)


# -- bounded -----------------------------------------------------------------------------------------------------------


async def test_the_stream_of_events_is_bounded(redis_server: Shared, tmp_path: Path) -> None:
    namespace = namespaces.name_for(tmp_path)
    store = RedisStore(f"{redis_server.url}?namespace={namespace}")
    await store.open()
    following = store.subscribe()
    assert await anext(following) == []
    event = Event(job_id="j", task="t", queue="q", kind="state", status="completed", at=NOW)
    for _ in range(60):
        await asyncio.gather(*(store.publish([event]) for _ in range(50)))
    assert 1_500 < redis_server.command("XLEN", f"{{{namespace}}}:events") < 2_200
    audit(redis_server.url, namespace)
    await following.aclose()
    await store.close()
    namespaces.drop(redis_server.url, namespace)
