"""The MongoDB servers that the tests start: they come back with their data, freeze, fail when told, and elect."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pymongo import CursorType, WriteConcern
from pymongo.errors import AutoReconnect, NetworkTimeout, OperationFailure, PyMongoError, WriteError

from tests.servers import databases, memory
from tests.servers.binaries import KINDS, needs
from tests.servers.mongo import Client, MongoServer, client, with_database
from tests.servers.proxy import Proxy
from tests.servers.shared import MONGO_URL, OutsideMongo, SharedMongo, shared_mongo
from tests.servers.waiting import until

pytestmark = needs("mongo6")


def test_the_shared_server_takes_transactions(mongo_server: SharedMongo, mongo_database: str) -> None:
    jobs = mongo_server.client[mongo_database].jobs
    with mongo_server.client.start_session() as session, session.start_transaction():
        jobs.insert_one({"_id": 1}, session=session)
        assert jobs.count_documents({}) == 0
    assert jobs.count_documents({}) == 1


def test_the_shared_server_is_what_its_kind_says(mongo_server: SharedMongo) -> None:
    major, minor = mongo_server.client.server_info()["versionArray"][:2]
    assert KINDS["mongo6"].fits((major, minor))


def test_its_url_is_that_of_a_store(mongo_server: SharedMongo, mongo_database: str) -> None:
    with client(mongo_server.url_of(mongo_database)) as connection:
        connection.get_default_database().jobs.insert_one({"_id": 1})
    assert mongo_server.client[mongo_database].jobs.count_documents({}) == 1


def test_a_server_that_runs_already_may_be_named(mongo_server: SharedMongo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MONGO_URL, mongo_server.url)
    named = shared_mongo.__wrapped__()
    assert isinstance(named, OutsideMongo)
    assert (named.url, named.url_of("a")) == (mongo_server.url, mongo_server.url_of("a"))
    assert named.client.admin.command("ping")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("mongodb://a:1,b:2/?replicaSet=r", "mongodb://a:1,b:2/jobs?replicaSet=r"),
        ("mongodb://a:1/other?w=1", "mongodb://a:1/jobs?w=1"),
        ("mongodb+srv://me:secret@a", "mongodb+srv://me:secret@a/jobs"),
    ],
)
def test_a_url_gets_its_database(url: str, expected: str) -> None:
    assert with_database(url, "jobs") == expected


# -- one database of a shared server -----------------------------------------------------------------------------------


def test_a_folder_has_a_name_of_its_own(tmp_path: Path) -> None:
    long = tmp_path / ("ä" * 100)
    assert databases.name_for(long) == databases.name_for(long)
    assert databases.name_for(long) != databases.name_for(tmp_path / ("ä" * 99))
    assert len(databases.name_for(long).encode()) <= 63


def test_a_copy_puts_back_what_was_there(mongo_server: SharedMongo, mongo_database: str) -> None:
    database = mongo_server.client[mongo_database]
    database.create_collection("signals", capped=True, size=65_536).insert_one({"_id": 1})
    database.create_collection("tasks", viewOn="jobs", pipeline=[])
    database.jobs.create_index("due")
    database.jobs.insert_many([{"_id": 1, "due": 1.5}, {"_id": 2, "due": None}])
    followed = database.signals.find(cursor_type=CursorType.TAILABLE)
    next(followed)
    restore = databases.copy(mongo_server.url, mongo_database)
    database.jobs.delete_one({"_id": 1})
    database.jobs.insert_one({"_id": 3})
    database.later.insert_one({"_id": 1})
    database.signals.insert_one({"_id": 2})
    restore()
    assert list(database.jobs.find(sort=[("_id", 1)])) == [{"_id": 1, "due": 1.5}, {"_id": 2, "due": None}]
    assert database.later.count_documents({}) == 0
    assert next(followed) == {"_id": 2}, "who follows goes on"
    assert set(database.jobs.index_information()) == {"_id_", "due_1"}
    assert database.tasks.count_documents({}) == 2
    followed.close()


def test_a_dropped_database_is_gone_and_no_other(mongo_server: SharedMongo, mongo_database: str) -> None:
    other = f"{mongo_database}-b"
    for name in (mongo_database, other):
        mongo_server.client[name].jobs.insert_one({})
    databases.drop(mongo_server.url, other)
    left = mongo_server.client.list_database_names()
    assert other not in left
    assert mongo_database in left


# -- one server --------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("replica_set", [True, False])
def test_a_killed_server_comes_back_on_its_port_with_its_data(replica_set: bool) -> None:
    with MongoServer.started(replica_set=replica_set) as server:
        port = server.port
        server.client.test.jobs.with_options(write_concern=WriteConcern(j=True)).insert_one({"_id": 1})
        server.kill()
        with pytest.raises(PyMongoError), client(server.url, serverSelectionTimeoutMS=50) as connection:
            connection.test.jobs.find_one()
        server.start()
        assert server.client.test.jobs.find_one() == {"_id": 1}
        server.stop()
        assert not server.running
        server.start()
        assert (server.port, server.is_primary()) == (port, True)


@pytest.mark.slow
def test_what_it_acknowledged_outlives_a_kill() -> None:
    with MongoServer.started() as server:
        server.client.test.jobs.insert_many([{"_id": number} for number in range(100)])
        server.kill()
        server.start()
        assert server.client.test.jobs.count_documents({}) == 100


@pytest.mark.slow
def test_a_frozen_server_answers_when_it_thaws() -> None:
    with MongoServer.started() as server, client(server.url, socketTimeoutMS=1_000) as connection:
        assert connection.test.jobs.find_one() is None
        server.freeze()
        assert not server.is_primary()
        with pytest.raises(NetworkTimeout):
            connection.test.jobs.find_one()
        server.thaw()
        assert server.client.test.jobs.find_one() is None


@pytest.mark.slow
def test_a_server_fails_when_told() -> None:
    with MongoServer.started() as server:
        jobs = server.client.test.jobs
        with server.fail("insert", times=1, errorCode=112, errorLabels=["TransientTransactionError"]):
            with pytest.raises((OperationFailure, WriteError)) as caught:
                jobs.insert_one({"_id": 1})
            assert caught.value.has_error_label("TransientTransactionError")
            jobs.insert_one({"_id": 2})
        with server.fail("find", closeConnection=True), pytest.raises(AutoReconnect):
            jobs.find_one()
        assert [each["_id"] for each in jobs.find()] == [2]


@pytest.mark.slow
def test_it_takes_any_parameter_and_need_be_no_replica_set() -> None:
    with MongoServer.started(replica_set=False, transactionLifetimeLimitSeconds=2) as server:
        assert "setName" not in server.hello()
        assert "replicaSet" not in server.url
        found = server.command("getParameter", transactionLifetimeLimitSeconds=1)
        assert found["transactionLifetimeLimitSeconds"] == 2


def test_a_server_that_cannot_start_says_why() -> None:
    with pytest.raises(AssertionError, match="noSuchThing"):
        MongoServer.started(noSuchThing=1)


@pytest.mark.slow
def test_a_proxy_before_it_is_not_gone_past() -> None:
    with MongoServer.started() as server, Proxy(server.port) as proxy:
        options: dict[str, Any] = {"serverSelectionTimeoutMS": 1_000}
        with client(proxy.mongo_url("test"), **options) as connection:
            connection.test.jobs.insert_one({"_id": 1})
            with connection.start_session() as session, session.start_transaction():
                connection.test.jobs.insert_one({"_id": 2}, session=session)
            proxy.refuse()
            proxy.cut()
            with pytest.raises(AutoReconnect):
                connection.test.jobs.find_one()
            proxy.resume()
            until(lambda: answers(connection), "the client to come back")


def answers(connection: Client) -> bool:
    try:
        return connection.test.jobs.count_documents({}) == 2
    except AutoReconnect:
        return False


# -- folders in memory -------------------------------------------------------------------------------------------------


def test_what_a_dead_process_left_in_memory_is_cleared_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "PLACE", tmp_path)
    monkeypatch.setattr(memory, "_YOUNG", -60)
    monkeypatch.setattr(memory, "ENOUGH", 0)
    used, left = memory.new_folder("used"), tmp_path / f"{memory.PREFIX}left"
    left.mkdir()
    (tmp_path / "foreign").mkdir()
    another = memory.new_folder("another")
    assert used is not None
    assert another is not None
    assert used.exists()
    assert not left.exists()
    assert (tmp_path / "foreign").exists()
    for folder in (used, another):
        memory.release(folder)


def test_there_is_no_folder_where_memory_has_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "PLACE", tmp_path)
    monkeypatch.setattr(memory, "ENOUGH", 1 << 62)
    assert memory.new_folder("a") is None
    monkeypatch.setattr(memory, "PLACE", tmp_path / "nowhere")
    assert memory.new_folder("a") is None
