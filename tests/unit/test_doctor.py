"""What the doctor makes of facts: a table of values and levels."""

from __future__ import annotations

from typing import Any

import pytest

from mainspring.admin.doctor import Level, mongo, redis, settings, sqlite
from mainspring.admin.doctor.finding import Facts, Finding, facts_of, size, unread
from mainspring.stores.base import Fact
from mainspring.worker.settings import WorkerSettings

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
GOOD_MONGO: dict[str, str | int | float] = {
    "store": "mongodb", "server": "8.0.4", "mode": "replica set", "database": "shop", "prefix": "mainspring_",
    "schema": 1, "clock-offset": 0, "write-concern": "majority", "journal": "as the write concern says",
    "retry-writes": 1, "replica-set": "rs0", "members": 3, "majority-journal": 1, "healthy-members": 3,
    "election-timeout-ms": 5_000,
    "furthest-behind-seconds": 0.0, "disk-free": 50 * GB, "data-size": GB, "index-size": GB // 4, "oplog-hours": 0.5,
    "oplog-used": 0.01, "missing-indexes": "none", "ping-ms": 0.2, "ping-worst-ms": 0.4, "write-ms": 3.1,
}  # fmt: skip
ALONE = {"mode": "standalone", "members": 1, "healthy_members": None, "majority_journal": None, "oplog_hours": None}
CLUSTER = {"mode": "cluster", "replicas": 1, "min-replicas-to-write": 1, "slot": 7, "node": "10.0.0.1:6379"}
OK, NOTE, WARNING, DANGER = Level


def of_redis(**changed: Any) -> list[Finding]:
    """`None` takes a fact away."""
    return list(redis.judge(changed_facts(GOOD_REDIS, changed)))


def of_mongo(**changed: Any) -> list[Finding]:
    return list(mongo.judge(changed_facts(GOOD_MONGO, changed)))


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
    assert {finding.level for finding in of_mongo()} == {OK}


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


@pytest.mark.parametrize(
    ("changed", "name", "level", "text"),
    [
        ({"missing_indexes": "jobs.claim"}, "indexes", DANGER, "jobs.claim"),
        (ALONE, "mode", WARNING, "no transactions"),
        (ALONE, "journal", NOTE, "100 ms"),
        (ALONE | {"journal": "True"}, "journal", OK, "wait"),
        (ALONE | {"write_concern": "1"}, "write concern", OK, "1"),
        ({"mode": "sharded", "healthy_members": None}, "mode", OK, "sharded"),
        ({"members": 1, "healthy_members": 1}, "members", NOTE, "with its disk"),
        ({"healthy_members": 2}, "members", WARNING, "2 of 3"),
        ({"healthy_members": 1}, "members", DANGER, "no majority"),
        ({"furthest_behind_seconds": 95.0}, "replication", WARNING, "95 s"),
        ({"write_concern": "1"}, "write concern", WARNING, "w=1 of 3"),
        ({"write_concern": "2"}, "write concern", OK, "2"),
        ({"write_concern": "two-regions"}, "write concern", NOTE, "two-regions"),
        ({"journal": "False"}, "journal", WARNING, "journal=false"),
        ({"majority_journal": 0}, "journal", WARNING, "MajorityJournalDefault"),
        ({"election_timeout_ms": 10_000}, "elections", NOTE, "after 10 s"),
        ({"retry_writes": 0}, "retryWrites", WARNING, "off"),
        ({"disk_free": GB // 2}, "disk", WARNING, "500 MB"),
        ({"disk_free": 1_000}, "disk", DANGER, "1.0 KB"),
        ({"oplog_hours": 2.5, "oplog_used": 0.99}, "oplog", WARNING, "2.5 hours"),
        ({"oplog_hours": 25.0, "oplog_used": 1.0}, "oplog", OK, "25 hours"),
        ({"clock_offset": -90_000}, "clock of the server", NOTE, "-90,000 ms"),
        ({"server": "6.0.5"}, "version", NOTE, "6.0.5"),
        ({"server": "8.1.0-rc2"}, "version", OK, "8.1.0"),
        ({"ping_ms": 12.5}, "latency", NOTE, "12.5 ms"),
        ({"write_ms": 80.0}, "latency", NOTE, "80 ms"),
    ],
)
def test_mongo(changed: dict[str, Any], name: str, level: Level, text: str) -> None:
    finding = told(of_mongo(**changed), name)
    assert (finding.level, text in finding.found) == (level, True), finding
    assert finding.level in (OK, NOTE) or (finding.expected and finding.advice)


ALWAYS_TOLD = {"store", "server", "mode", "database", "prefix", "write-concern", "ping-ms", "ping-worst-ms", "write-ms"}


@pytest.mark.parametrize("name", sorted(GOOD_MONGO.keys() - ALWAYS_TOLD - {"members"}))
def test_a_deployment_that_hides_something_is_judged_by_the_rest(name: str) -> None:
    assert {finding.level for finding in of_mongo(**{name: None})} == {OK}


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


# -- settings of a worker ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "store", "name", "level"),
    [
        ({}, "sqlite", "settings", OK),
        ({}, "redis", "settings", OK),
        ({"lease": 4.9, "beat": 1}, "sqlite", "lease", WARNING),
        ({"lease": 5, "beat": 1}, "sqlite", "settings", OK),
        ({"lease": 14}, "mongodb", "lease", NOTE),
        ({"lease": "6m"}, "sqlite", "lease", NOTE),
        ({"lease": 15, "beat": 6}, "sqlite", "settings", OK),
        ({"lease": 15, "beat": 6.1}, "sqlite", "beat", WARNING),
        ({"grace": 28}, "redis", "grace", NOTE),
        ({"grace": 29}, "redis", "grace", NOTE),
        ({"grace": 0.5}, "redis", "grace", NOTE),
        ({"poll": 0.1}, "redis", "poll", NOTE),
        ({"poll": 61}, "redis", "poll", NOTE),
        ({"stall_limit": 10}, "redis", "stall_limit", WARNING),
        ({"concurrency": 501}, "sqlite", "concurrency", NOTE),
        ({"concurrency": 501}, "redis", "settings", OK),
    ],
)
def test_settings_that_hurt(given: dict[str, Any], store: str, name: str, level: Level) -> None:
    found = list(settings.judge(WorkerSettings(**given), 1, store))
    assert [(finding.name, finding.level) for finding in found] == [(name, level)]
    assert level is OK or (found[0].expected and found[0].advice)


def test_many_processes_on_a_file() -> None:
    found = {finding.name: finding.level for finding in settings.judge(WorkerSettings(), 26, "sqlite")}
    assert found == {"processes": NOTE, "concurrency": NOTE}
    assert [finding.name for finding in settings.judge(WorkerSettings(), 26, "redis")] == ["settings"]


def test_a_long_grace_names_who_kills_first() -> None:
    [docker] = settings.judge(WorkerSettings(grace=20), 1, "redis")
    [kubernetes] = settings.judge(WorkerSettings(grace=29), 1, "redis")
    assert "docker stop" in docker.found
    assert "Kubernetes" in kubernetes.found
