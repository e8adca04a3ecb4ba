"""Replica sets of several members: real elections, over which what the majority has is never lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from pymongo.errors import PyMongoError

from tests.servers.binaries import needs
from tests.servers.mongo import Client, MongoServer, client
from tests.servers.replica_set import MongoReplicaSet
from tests.servers.waiting import until

pytestmark = [*needs("mongo6"), pytest.mark.slow]


@pytest.fixture(scope="module")
def group() -> Iterator[MongoReplicaSet]:
    with MongoReplicaSet.started() as group:
        yield group


@pytest.fixture(autouse=True)
def whole(group: MongoReplicaSet) -> None:
    group.wait_in_step()
    assert len(group.secondaries()) == 2


def written(group: MongoReplicaSet) -> bool:
    try:
        return group.client.test.jobs.insert_one({}).acknowledged
    except PyMongoError:  # of an election
        return False


def test_a_set_is_found_by_its_url(group: MongoReplicaSet) -> None:
    with client(group.url_of("test")) as connection:
        assert connection.get_default_database().name == "test"
        until(lambda: len(connection.nodes) == 3, "the client to see all members")
        assert connection.primary == ("127.0.0.1", group.primary().port)


LOSSES: dict[str, Callable[[MongoReplicaSet], MongoServer]] = {
    "step down": MongoReplicaSet.step_down,
    "kill": MongoReplicaSet.kill_primary,
    "freeze": MongoReplicaSet.freeze_primary,
}


@pytest.mark.parametrize("loss", LOSSES)
def test_another_takes_over_with_what_the_majority_has(group: MongoReplicaSet, loss: str) -> None:
    until(lambda: written(group), "a write")
    before = group.client.test.jobs.count_documents({})
    lost = LOSSES[loss](group)
    successor = group.wait_for_primary(other_than=lost)
    assert successor.client.test.jobs.count_documents({}) >= before
    # First it comes back: a member that copies from one that is frozen may not ask another for more than a minute, and
    # until then nothing is a majority's.
    if lost.frozen:
        lost.thaw()
    elif not lost.running:
        group.start_again(lost)
    until(lambda: written(group), "a write after the election")
    group.wait_in_step()
    assert lost in group.members
    assert lost.is_primary() is (lost is group.primary())
    assert lost.client.test.jobs.count_documents({}) > before


def test_without_a_majority_nobody_is_primary(group: MongoReplicaSet) -> None:
    for member in group.secondaries():
        member.kill()
    until(lambda: not any(member.is_primary() for member in group.living), "the primary to give up")
    with pytest.raises(AssertionError, match="no member is primary"):
        group.primary()
    for member in group.members:
        if not member.running:
            member.answering()


def test_a_set_lies_behind_its_proxies() -> None:
    with (
        MongoReplicaSet.started(1, proxied=True) as lone,
        client(lone.url, serverSelectionTimeoutMS=1_000) as connection,
    ):
        connection.test.jobs.insert_one({"_id": 1})
        proxy = lone.proxy_of(lone.primary())
        assert proxy.open
        proxy.refuse()
        proxy.cut()
        with pytest.raises(PyMongoError):
            connection.test.jobs.find_one()
        proxy.resume()
        until(lambda: found(connection), "the client to come back")


def found(connection: Client) -> bool:
    try:
        return connection.test.jobs.find_one() == {"_id": 1}
    except PyMongoError:
        return False
