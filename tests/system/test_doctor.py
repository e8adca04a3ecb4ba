"""`mainspring doctor`, against files and against real servers that are set up badly."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from mainspring import Mainspring
from mainspring.admin import doctor
from mainspring.admin.doctor import Finding
from mainspring.core.job import State
from mainspring.core.records import SCHEDULE, WORKER, Record
from tests.servers.binaries import needs
from tests.servers.cluster import RedisCluster
from tests.servers.mongo import MongoServer
from tests.servers.redis import RedisServer
from tests.servers.replica_set import MongoReplicaSet
from tests.servers.sentinel import RedisSentinel
from tests.servers.shared import Shared, SharedMongo, shared_cluster
from tests.servers.waiting import until
from tests.system.cli_shop import Shop, claim_all, entered

on_redis7 = pytest.mark.parametrize("kind", [pytest.param("redis7", marks=needs("redis7"))])


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    return entered(tmp_path, monkeypatch, named=False)


def examine(shop: Shop, app: str, code: int = 0) -> dict[str, dict[str, Any]]:
    """The findings by name, of a doctor that ends with `code`."""
    result = shop.run("doctor", app, "--json")
    assert result.exit_code == code, result.output
    found = [json.loads(line) for line in result.stdout.splitlines()]
    assert result.stderr == ""
    return {finding["name"]: finding for finding in found}


def levels(findings: dict[str, dict[str, Any]]) -> dict[str, str]:
    return {name: finding["level"] for name, finding in findings.items()}


# -- what jobs stand on ------------------------------------------------------------------------------------------------


def test_a_file_in_a_folder_is_fine(shop: Shop) -> None:
    found = examine(shop, "shop:app")
    assert levels(found)["file"] == "ok"
    assert str(shop.folder / "shop.db") in found["file"]["found"]
    assert (levels(found)["schema"], levels(found)["disk"], levels(found)["clock"]) == ("ok", "ok", "ok")
    assert not {"danger", "warning"} & set(levels(found).values())


def test_a_file_that_may_be_damaged_is_a_warning(shop: Shop) -> None:
    shop.ok("enqueue", "send", '{"to": "a"}', "--app", "shop:app")
    assert levels(examine(shop, f"{shop.url}?synchronous=off"))["synchronous"] == "warning"


def test_a_foreign_file_is_a_danger(shop: Shop) -> None:
    (shop.folder / "shop.db").write_text("this is no database, but it is long enough to be looked at" * 10)
    found = examine(shop, "shop:app", code=1)
    assert levels(found) == {"store": "danger"}
    assert found["store"]["found"]


def test_rows_say_level_name_value_expectation_and_advice(shop: Shop) -> None:
    result = shop.run("doctor", "--app", "shop:app")
    rows = [line.split("\t") for line in result.stdout.splitlines()]
    assert {len(row) for row in rows} == {5}
    ranks = ["danger", "warning", "note", "ok"]
    assert [row[0] for row in rows] == sorted((row[0] for row in rows), key=ranks.index)


def test_no_app_is_wrong_use(shop: Shop) -> None:
    assert shop.run("doctor").exit_code == 2
    assert shop.run("doctor", "sqlite:///typo.db").exit_code == 2


def test_every_server_is_understood(shop: Shop, redis_server: Shared) -> None:
    found = examine(shop, redis_server.url)
    assert "not read" not in found
    assert levels(found)["scripts"] == "ok"
    assert levels(found)["clock"] == "ok"
    assert {"version", "latency", "persistence", "memory"} <= found.keys()


@on_redis7
def test_a_server_that_evicts_jobs_is_a_danger(shop: Shop, kind: str) -> None:
    with RedisServer.started(kind, maxmemory="50mb", maxmemory_policy="allkeys-lru") as server:
        found = examine(shop, server.url, code=1)
        assert levels(found)["maxmemory-policy"] == "danger"
        assert "allkeys-lru" in found["maxmemory-policy"]["found"]
        assert found["maxmemory-policy"]["expected"] == "noeviction"
        server.command("CONFIG", "SET", "maxmemory-policy", "noeviction")
        assert levels(examine(shop, server.url))["maxmemory-policy"] == "ok"


@on_redis7
def test_a_server_that_keeps_nothing_is_a_warning(shop: Shop, kind: str) -> None:
    with RedisServer.started(kind) as server:
        found = examine(shop, server.url)
        assert levels(found)["persistence"] == "warning"
        assert "loses all jobs" in found["persistence"]["found"]
        server.command("CONFIG", "SET", "save", "3600 1")
        assert "save 3600 1" in examine(shop, server.url)["persistence"]["found"]
        server.command("CONFIG", "SET", "appendonly", "yes")
        assert levels(examine(shop, server.url))["persistence"] == "ok"


@on_redis7
def test_a_server_that_hides_its_settings_is_judged_by_what_it_tells(shop: Shop, kind: str) -> None:
    with RedisServer.started(kind, rename_command='CONFIG ""', maxmemory_policy="allkeys-lru") as server:
        found = examine(shop, server.url, code=1)
        assert levels(found)["not read"] == "note"
        assert "appendfsync" in found["not read"]["found"]
        assert levels(found)["maxmemory-policy"] == "danger"


@on_redis7
def test_a_user_who_may_run_no_scripts_is_a_danger(shop: Shop, kind: str) -> None:
    with RedisServer.started(kind) as server:
        server.command("ACL", "SETUSER", "guest", "on", ">secret", "~*", "&*", "+@all", "-@scripting")
        url = server.url.replace("redis://", "redis://guest:secret@")
        found = examine(shop, url, code=1)
        assert levels(found)["scripts"] == "danger"
        assert "secret" not in json.dumps(found)


@on_redis7
def test_a_full_server_is_a_danger(shop: Shop, kind: str) -> None:
    with RedisServer.started(kind) as server:
        examine(shop, server.url)
        server.command("CONFIG", "SET", "maxmemory", "1mb")
        assert levels(examine(shop, server.url, code=1))["memory"] == "danger"


@on_redis7
def test_a_server_that_is_gone_is_a_danger(shop: Shop, kind: str) -> None:
    with RedisServer.started(kind) as server:
        server.stop()
        found = examine(shop, f"{server.url}?timeout=200ms", code=1)
    assert levels(found) == {"store": "danger"}


@on_redis7
@pytest.mark.slow
def test_a_master_that_a_failover_would_forget_is_told(shop: Shop, kind: str) -> None:
    with RedisSentinel.started(kind) as group:
        assert levels(examine(shop, group.url))["replicas"] == "note"
        group.master.command("CONFIG", "SET", "min-replicas-to-write", "1")
        assert levels(examine(shop, group.url))["replicas"] == "ok"


@pytest.mark.parametrize("cluster", [pytest.param("valkey8", marks=needs("valkey8"))])
@pytest.mark.slow
def test_a_slot_that_moves_is_told(shop: Shop, cluster: str) -> None:
    group: RedisCluster = shared_cluster()
    url = f"{cluster_url(group)}?namespace=doctor"
    found = examine(shop, url)
    assert levels(found)["cluster"] == "ok"
    node, other, slot = moving(group, found["cluster"]["found"])
    node.command("CLUSTER", "SETSLOT", slot, "MIGRATING", other.command("CLUSTER", "MYID"))
    try:
        found = examine(shop, f"{url}&timeout=200ms", code=1)
        assert (levels(found)["cluster"], levels(found)["scripts"]) == ("warning", "danger")
        assert "on its way" in found["cluster"]["found"]
    finally:
        node.command("CLUSTER", "SETSLOT", slot, "STABLE")


def cluster_url(group: RedisCluster) -> str:
    return f"redis+cluster://127.0.0.1:{group.masters[0].port}"


def moving(group: RedisCluster, told: str) -> tuple[RedisServer, RedisServer, int]:
    """The node that a finding names, another one, and the slot."""
    [node] = [each for each in group.masters if told.endswith(f":{each.port}")]
    return node, next(each for each in group.masters if each is not node), int(told.split()[1])


# -- whether anything moves --------------------------------------------------------------------------------------------


def test_jobs_without_a_worker_are_a_warning(shop: Shop) -> None:
    shop.ok("enqueue", "send", '{"to": "a"}', "--app", "shop:app")
    found = examine(shop, "shop:app")
    assert (levels(found)["workers"], levels(found)["queue emails"]) == ("warning", "warning")
    assert "send" in found["queue emails"]["found"]
    assert found["jobs"]["found"] == "1 waiting"


def test_schedules_that_are_late_unreadable_or_failing_are_told(shop: Shop) -> None:
    def send(to: str) -> None: ...

    async def prepare(app: Mainspring) -> None:
        app.task(name="send")(send)
        now = (await app.connect()).clock.now()
        await app.schedules.create("late", "send", {"to": "a"}, at=datetime.fromtimestamp(now / 1000 - 600, UTC))
        await app.schedules.create("failing", "send", {"to": "a"}, cron="@daily")
        run = await app.schedules.run("failing")
        await app.client.change(run.id, lambda job: job.evolve(state=State.DEAD))
        broken = Record(kind=SCHEDULE, name="broken", written_at=now, value={"name": 5})
        await app.client.store.write([broken])

    shop.call(prepare)
    found = examine(shop, "shop:app")
    assert levels(found)["schedules"] == "ok"
    assert levels(found)["late schedules"] == levels(found)["unreadable schedules"] == "warning"
    assert "late" in found["late schedules"]["found"]
    assert "broken" in found["unreadable schedules"]["found"]
    assert found["schedules failing"]["found"].endswith(": failing")


def test_a_living_worker_is_named_and_its_lag_too(shop: Shop) -> None:
    async def live(app: Mainspring) -> None:
        client = await app.connect()
        now = app.clock.now()
        value = {"queues": ["emails"], "tasks": ["send"], "loop_lag": 2_500}
        record = Record(kind=WORKER, name="host:1", written_at=now, expires_at=now + 60_000, value=value)
        await client.store.write([record])

    shop.ok("enqueue", "send", '{"to": "a"}', "--app", "shop:app")
    shop.call(live)
    found = examine(shop, "shop:app")
    assert levels(found)["workers"] == "ok"
    assert "host:1" in found["workers"]["found"]
    assert "host:1 2500 ms" in found["loop lag"]["found"]
    assert "queue emails" not in found


def test_a_paused_queue_is_told_with_its_reason(shop: Shop) -> None:
    shop.ok("queues", "pause", "emails", "--reason", "the provider is down", "--app", "shop:app")
    found = examine(shop, "shop:app")["queue emails"]
    assert found["level"] == "note"
    assert "the provider is down" in found["found"]


def test_a_lease_that_ended_long_ago_is_a_warning(shop: Shop) -> None:
    id = shop.ok("enqueue", "send", '{"to": "a"}', "--app", "shop:app").strip()

    async def lapse(app: Mainspring) -> None:
        await claim_all(app, "emails", "send")
        client = await app.connect()
        [job] = await client.store.get([id])
        assert job is not None
        long_ago = app.clock.now() - int(timedelta(minutes=10).total_seconds() * 1_000)
        await client.store.save([job.evolve(due_at=long_ago, input=None)])

    shop.call(lapse)
    found = examine(shop, "shop:app")["leases"]
    assert found["level"] == "warning"
    assert id in found["found"]
    assert "10m" in found["found"]


# -- settings, and code of another version -----------------------------------------------------------------------------


def test_settings_that_hurt_are_told_from_where_they_stand(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    assert levels(examine(shop, "shop:app"))["settings"] == "ok"
    monkeypatch.setenv("MAINSPRING_LEASE", "4s")
    monkeypatch.setenv("MAINSPRING_BEAT", "1s")
    (shop.folder / "pyproject.toml").write_text("[tool.mainspring]\nprocesses = 9\n")
    found = examine(shop, "shop:app")
    assert (levels(found)["lease"], levels(found)["processes"]) == ("warning", "note")
    monkeypatch.setenv("MAINSPRING_BEAT", "3s")
    found = examine(shop, "shop:app", code=1)
    assert levels(found)["settings"] == "danger"
    assert "MAINSPRING_LEASE" in found["settings"]["found"]
    assert "file" in found, "the rest is looked at all the same"


def test_a_warning_counts_if_that_is_asked_for(shop: Shop) -> None:
    assert shop.run("doctor", "shop:app", "--strict").exit_code == 0
    shop.ok("enqueue", "send", '{"to": "a"}', "--app", "shop:app")
    assert shop.run("doctor", "shop:app").exit_code == 0
    assert shop.run("doctor", "shop:app", "--strict").exit_code == 1


def worker_of(shop: Shop, tasks: list[str], queues: list[str], ahead: int = 0) -> None:
    """The record of a worker that lives."""

    async def live(app: Mainspring) -> None:
        client = await app.connect()
        now = app.clock.now() + ahead
        value = {"queues": queues, "tasks": tasks, "loop_lag": 0}
        await client.store.write(
            [Record(kind=WORKER, name="host:1", written_at=now, expires_at=now + 60_000, value=value)]
        )

    shop.call(live)


def test_queues_and_schedules_that_no_worker_serves_are_told(shop: Shop) -> None:
    async def schedule(app: Mainspring) -> None:
        app.task(name="report")(_nothing)
        await app.schedules.create("nightly", "report", cron="@daily")

    shop.call(schedule)
    worker_of(shop, ["send"], ["emails"])
    found = examine(shop, "shop:app")
    assert (found["queues"]["level"], found["schedules without handler"]["level"]) == ("note", "warning")
    assert "default" in found["queues"]["found"]
    assert "nightly" in found["schedules without handler"]["found"]
    worker_of(shop, ["send", "report"], ["emails", "default"])


def _nothing() -> None: ...


def test_a_worker_with_another_clock_is_told(shop: Shop) -> None:
    worker_of(shop, ["send"], ["emails", "default"], ahead=10_000)
    found = examine(shop, "shop:app")["worker clocks"]
    assert found["level"] == "warning"
    assert "host:1" in found["found"]


def test_code_that_differs_from_that_of_the_workers_is_told(shop: Shop) -> None:
    async def publish(app: Mainspring) -> None:
        app.task(name="send", queue="elsewhere")(_nothing)
        await (await app.connect()).publish_tasks(list(app.tasks.values()))

    shop.call(publish)
    found = examine(shop, "shop:app")["tasks"]
    assert found["level"] == "note"
    assert "send (queue, parameters)" in found["found"]


def test_results_that_nobody_can_read_are_told(shop: Shop) -> None:
    path = shop.folder / "shop.py"
    path.write_text(path.read_text().replace("retries=0", "retries=0, retention=0"))
    found = examine(shop, "shop:app")["retention"]
    assert (found["level"], "send" in found["found"]) == ("note", True)


# -- MongoDB -----------------------------------------------------------------------------------------------------------


def test_a_replica_set_is_understood(shop: Shop, mongo_server: SharedMongo, mongo_database: str) -> None:
    found = examine(shop, mongo_server.url_of(mongo_database))
    assert "not read" not in found
    told = levels(found)
    assert (told["mode"], told["indexes"], told["write concern"], told["journal"]) == ("ok", "ok", "ok", "ok")
    assert (told["members"], told["clock"]) == ("note", "ok"), "one member is for development"
    assert mongo_database in found["mode"]["found"]


def test_what_a_url_gives_away_is_a_warning(shop: Shop, mongo_server: SharedMongo, mongo_database: str) -> None:
    found = examine(shop, f"{mongo_server.url_of(mongo_database)}&retryWrites=false&w=1&journal=false")
    assert (levels(found)["retryWrites"], levels(found)["journal"]) == ("warning", "warning")


def test_an_index_that_was_dropped_is_a_danger(shop: Shop, mongo_server: SharedMongo, mongo_database: str) -> None:
    url = mongo_server.url_of(mongo_database)
    examine(shop, url)

    async def drop_and_ask() -> list[Finding]:
        async with Mainspring(url) as app:
            await app.connect()
            mongo_server.client[mongo_database]["mainspring_jobs"].drop_index("claim")
            return await doctor.examine(app)

    [finding] = [finding for finding in asyncio.run(drop_and_ask()) if finding.name == "indexes"]
    assert (finding.level, "jobs.claim" in finding.found) == ("danger", True)
    assert levels(examine(shop, url))["indexes"] == "ok", "who opens the store makes it again, as the advice says"


@pytest.mark.parametrize("kind", [pytest.param("mongo6", marks=needs("mongo6"))])
@pytest.mark.slow
def test_a_single_server_is_a_warning(shop: Shop, kind: str) -> None:
    with MongoServer.started(kind, replica_set=False) as server:
        found = examine(shop, server.url_of("shop"))
        assert (levels(found)["mode"], levels(found)["journal"]) == ("warning", "note")
        assert "no transactions" in found["mode"]["found"]
        assert levels(examine(shop, server.url_of("shop") + "?journal=true"))["journal"] == "ok"


@pytest.mark.parametrize("kind", [pytest.param("mongo6", marks=needs("mongo6"))])
@pytest.mark.slow
def test_members_that_are_away_are_a_warning(shop: Shop, kind: str) -> None:
    with MongoReplicaSet.started(kind=kind) as group:
        assert levels(examine(shop, group.url_of("shop")))["members"] == "ok"
        group.secondaries()[0].kill()
        until(lambda: levels(examine(shop, group.url_of("shop")))["members"] == "warning", "a member to be missed")
