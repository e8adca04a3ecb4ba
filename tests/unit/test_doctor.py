"""What the doctor makes of facts: a table of values and levels."""

from __future__ import annotations

from typing import Any

import pytest

from mainspring.admin.doctor import Level, redis, sqlite
from mainspring.admin.doctor.finding import Facts, Finding, facts_of, size, unread
from mainspring.stores.base import Fact

GB = 1_000_000_000
GOOD_REDIS: dict[str, str | int | float] = {
    "store": "redis", "server": "valkey 8.1.0", "mode": "standalone", "namespace": "mainspring", "allow-oom": 1,
    "schema": 1, "maxmemory": GB, "maxmemory-policy": "noeviction", "used-memory": GB // 10, "evicted": 0, "aof": 1,
    "last-snapshot": "ok", "last-aof-write": "ok", "role": "master", "replicas": 0, "clients": 10, "maxclients": 10_000,
    "save": "", "appendfsync": "everysec", "min-replicas-to-write": 0, "timeout": 0, "clock-offset": 0, "scripts": 12,
    "ping-ms": 0.1, "ping-worst-ms": 0.3,
}  # fmt: skip
GOOD_SQLITE: dict[str, str | int | float] = {
    "store": "sqlite", "library": "3.45.0", "journal-mode": "wal", "synchronous": "normal", "schema": 1,
    "path": "/var/jobs.db", "writable": 1, "size": 1_000_000, "log-size": 1_000, "free": 50 * GB,
    "file-system": "ext4", "watched": 1,
}  # fmt: skip
CLUSTER = {"mode": "cluster", "replicas": 1, "min-replicas-to-write": 1, "slot": 7, "node": "10.0.0.1:6379"}
OK, NOTE, WARNING, DANGER = Level


def of_redis(**changed: Any) -> list[Finding]:
    """`None` takes a fact away."""
    return list(redis.judge(changed_facts(GOOD_REDIS, changed)))


def of_sqlite(**changed: Any) -> list[Finding]:
    return list(sqlite.judge(changed_facts(GOOD_SQLITE, changed)))


def changed_facts(good: dict[str, str | int | float], changed: dict[str, Any]) -> Facts:
    given = good | {name.replace("_", "-"): value for name, value in changed.items()}
    return facts_of(Fact(name, value) for name, value in given.items())


def told(findings: list[Finding], name: str) -> Finding:
    [finding] = [finding for finding in findings if finding.name == name]
    return finding


def test_a_good_server_and_a_good_file_are_fine() -> None:
    assert {finding.level for finding in of_redis()} == {OK}
    assert {finding.level for finding in of_sqlite()} == {OK}


@pytest.mark.parametrize(
    ("changed", "name", "level", "text"),
    [
        ({"maxmemory_policy": "allkeys-lru"}, "maxmemory-policy", DANGER, "allkeys-lru"),
        ({"maxmemory_policy": "allkeys-lru", "maxmemory": 0}, "maxmemory-policy", DANGER, "as soon as"),
        ({"maxmemory_policy": "allkeys-lfu", "evicted": 12_000}, "maxmemory-policy", DANGER, "12,000 keys"),
        ({"maxmemory_policy": "volatile-ttl"}, "maxmemory-policy", WARNING, "only keys with a TTL"),
        ({"evicted": 3}, "maxmemory-policy", WARNING, "3 keys"),
        ({"maxmemory": 0}, "memory", NOTE, "without limit"),
        ({"used_memory": GB * 9 // 10}, "memory", WARNING, "90%"),
        ({"used_memory": GB}, "memory", DANGER, "refused"),
        ({"aof": 0}, "persistence", WARNING, "loses all jobs"),
        ({"aof": 0, "save": "3600 1"}, "persistence", WARNING, "save 3600 1"),
        ({"aof": 0, "save": None}, "persistence", WARNING, "snapshots at most"),
        ({"appendfsync": "no"}, "persistence", WARNING, "appendfsync no"),
        ({"appendfsync": "always"}, "persistence", OK, "nothing that was answered"),
        ({"appendfsync": None}, "persistence", OK, "AOF"),
        ({"last_snapshot": "err"}, "disk", DANGER, "last-snapshot failed"),
        ({"last_aof_write": "err"}, "disk", DANGER, "last-aof-write failed"),
        ({"mode": "sentinel"}, "replicas", WARNING, "none"),
        ({"replicas": 2}, "replicas", NOTE, "2 connected"),
        ({"replicas": 2, "min_replicas_to_write": 1}, "replicas", OK, "2 connected"),
        ({"replicas": 1, "min_replicas_to_write": 2}, "replicas", DANGER, "refused"),
        ({"server": "redis 6.2.14", "allow_oom": 0}, "version", NOTE, "refuses settles"),
        ({"server": "redis 7.0.15"}, "version", NOTE, "no longer mend"),
        ({"server": "redis 7.4.0"}, "version", OK, "7.4.0"),
        ({"clock_offset": -90_000}, "clock of the server", NOTE, "-90,000 ms"),
        ({"clients": 9_000}, "connections", WARNING, "9000 of 10000"),
        ({"timeout": 300}, "timeout", NOTE, "300 s"),
        ({"ping_ms": 12.5}, "latency", NOTE, "12.5 ms"),
        ({"scripts": None}, "scripts", DANGER, "does not run"),
        (CLUSTER | {"cluster_state": "ok", "slot_moves": 0}, "cluster", OK, "slot 7"),
        (CLUSTER | {"cluster_state": "ok", "slot_moves": 1}, "cluster", WARNING, "on its way"),
        (CLUSTER | {"cluster_state": "fail", "slot_moves": 0}, "cluster", DANGER, "fail"),
    ],
)
def test_redis(changed: dict[str, Any], name: str, level: Level, text: str) -> None:
    finding = told(of_redis(**changed), name)
    assert (finding.level, text in finding.found) == (level, True), finding
    assert finding.level in (OK, NOTE) or (finding.expected and finding.advice)


@pytest.mark.parametrize(
    ("changed", "name", "level", "text"),
    [
        ({"path": ":memory:"}, "file", NOTE, "in memory"),
        ({"writable": 0}, "file", DANGER, "cannot be written"),
        ({"file_system": "nfs4"}, "file-system", DANGER, "nfs4"),
        ({"file_system": "overlay"}, "file-system", NOTE, "container"),
        ({"journal_mode": "delete"}, "journal-mode", DANGER, "delete"),
        ({"synchronous": "off"}, "synchronous", WARNING, "damage"),
        ({"synchronous": "full"}, "synchronous", OK, "nothing"),
        ({"free": GB // 2}, "disk", WARNING, "500 MB"),
        ({"free": 1_000}, "disk", DANGER, "1.0 KB"),
        ({"log_size": GB}, "log", WARNING, "1.0 GB"),
        ({"watched": 0}, "watch", NOTE, "100 times a second"),
    ],
)
def test_sqlite(changed: dict[str, Any], name: str, level: Level, text: str) -> None:
    finding = told(of_sqlite(**changed), name)
    assert (finding.level, text in finding.found) == (level, True), finding
    assert finding.level in (OK, NOTE) or (finding.expected and finding.advice)


@pytest.mark.parametrize("name", sorted(GOOD_REDIS.keys() - {"store", "server", "ping-ms", "ping-worst-ms"}))
def test_a_server_that_hides_something_is_judged_by_the_rest(name: str) -> None:
    findings = of_redis(**{name: None})
    assert {finding.level for finding in findings if finding.name not in ("scripts", "version")} == {OK}


def test_what_could_not_be_read_is_said_once_for_each_reason() -> None:
    facts = [Fact("save", None, "CONFIG is denied"), Fact("timeout", None, "CONFIG is denied"), Fact("a", 1)]
    [finding] = unread([*facts, Fact("role", None, "INFO is denied")])[:1]
    assert finding.level is NOTE
    assert finding.found == "save, timeout: CONFIG is denied"


@pytest.mark.parametrize(
    ("amount", "text"),
    [(0, "0 bytes"), (999, "999 bytes"), (1_500, "1.5 KB"), (250_000_000, "250 MB"), (3 * 10**12, "3.0 TB")],
)
def test_sizes_are_short(amount: int, text: str) -> None:
    assert size(amount) == text
