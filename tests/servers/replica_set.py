"""Real replica sets of several members: they elect, and a member that dies or freezes is replaced."""

from __future__ import annotations

from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self

from pymongo.errors import OperationFailure, PyMongoError

from tests.servers.mongo import Client, MongoServer, client, with_database
from tests.servers.process import free_port
from tests.servers.proxy import Proxy
from tests.servers.waiting import PATIENCE, until

SETTINGS = {"electionTimeoutMillis": 1_000, "heartbeatIntervalMillis": 200, "heartbeatTimeoutSecs": 1}
"""A dead or frozen primary has a successor after 1 to 2 s; with the defaults it takes 10 to 12."""

PARAMETERS = {
    "oplogNetworkTimeoutBufferSeconds": 1,
    "oplogInitialFindMaxSeconds": 1,
    "oplogRetriedFindMaxSeconds": 1,
}
"""How soon a secondary stops asking a frozen primary. Until then the new one has no majority: with the defaults, in
two elections of three the next majority write took 4 to 5 s; with these 0.2 to 0.6 s. Where the secondary was about
to choose whom to copy from it still takes up to half a minute (19 s were seen): that limit is no parameter."""


class MongoReplicaSet:
    """Members with equal rights; which of them is the primary is for them to find out, at the start too.

    What has been written by the majority is never lost by an election; what only the old primary has is rolled back
    when it returns.
    """

    def __init__(self, members: int = 3, kind: str = "mongo6", *, proxied: bool = False, **parameters: Any) -> None:
        """`proxied`: clients, and the members themselves, know each member by the address of a proxy in front of it."""
        self.name = f"set-{free_port()}"
        options = PARAMETERS | parameters
        self.members = [MongoServer(kind, replica_set=self.name, **options) for _ in range(members)]
        self.proxies = [Proxy(member.port) for member in self.members] if proxied else []
        self._running = ExitStack()
        self._client: Client | None = None

    @classmethod
    def started(cls, members: int = 3, kind: str = "mongo6", *, proxied: bool = False, **parameters: Any) -> Self:
        """A set with a primary, and secondaries that are in step: after four seconds on two cores."""
        group = cls(members, kind, proxied=proxied, **parameters)
        try:
            return group._start()
        except BaseException:
            group.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def url(self) -> str:
        return f"mongodb://{','.join(self.address_of(member) for member in self.members)}/?replicaSet={self.name}"

    def url_of(self, database: str) -> str:
        """The URL of a store in that database."""
        return with_database(self.url, database)

    def address_of(self, member: MongoServer) -> str:
        """By which the set and its clients know a member."""
        return f"127.0.0.1:{self.proxy_of(member).port}" if self.proxies else member.address

    def proxy_of(self, member: MongoServer) -> Proxy:
        """The proxy in front of a member of a set that was started with `proxied`."""
        return self.proxies[self.members.index(member)]

    @property
    def client(self) -> Client:
        """Finds the primary by itself, and repeats nothing."""
        if self._client is None:
            # It is told of an election by the members, a moment late: what it sends to a frozen primary until then is
            # never answered.
            self._client = client(self.url, serverMonitoringMode="stream", socketTimeoutMS=2_000)
        return self._client

    @property
    def living(self) -> list[MongoServer]:
        return [member for member in self.members if member.running and not member.frozen]

    def primary(self) -> MongoServer:
        """The member that takes writes now. Raises `AssertionError` while an election is under way."""
        found = self._primary()
        assert found is not None, "no member is primary now; `wait_for_primary` waits for one"
        return found

    def secondaries(self) -> list[MongoServer]:
        """The living members but for the primary."""
        primary = self.primary()
        return [member for member in self.living if member is not primary]

    # -- what goes wrong -----------------------------------------------------------------------------------------------

    def step_down(self, seconds: int = 5) -> MongoServer:
        """Ask the primary to let another one be it, as in an upgrade; for so long it does not come back. Answers it.

        It keeps its connections open, and answers on them that it is not the primary. Its successor is elected at once.
        """
        lost = self.primary()

        def stepped_down() -> bool:
            try:
                lost.command("replSetStepDown", seconds, secondaryCatchUpPeriodSecs=seconds // 2)
            except OperationFailure:  # nobody had all that it has, in that time
                return False
            return True

        until(stepped_down, f"the primary of the set {self.name} to step down")
        return lost

    def kill_primary(self) -> MongoServer:
        """SIGKILL for the primary, which is answered; `start_again` brings it back as a secondary."""
        lost = self.primary()
        lost.kill()
        return lost

    def freeze_primary(self) -> MongoServer:
        """SIGSTOP for the primary, which is answered. Thawed, it takes writes for a moment: none by a majority."""
        lost = self.primary()
        lost.freeze()
        return lost

    def start_again(self, member: MongoServer) -> None:
        """Start a member that has ended, and wait until the set has it in step again."""
        member.answering()
        self.wait_in_step()

    def heal(self) -> None:
        """Bring back whoever is away, and wait until all are in step."""
        for member in self.members:
            if member.frozen:
                member.thaw()
            elif not member.running:
                member.answering()
        self.wait_in_step()

    # -- waiting -------------------------------------------------------------------------------------------------------

    def wait_for_primary(self, other_than: MongoServer | None = None, seconds: float = PATIENCE) -> MongoServer:
        """Until a member takes writes: one that is not `other_than`, the one that was lost."""

        def elected() -> MongoServer | None:
            found = self._primary()
            return None if found is other_than else found

        found = until(elected, f"a primary of the set {self.name}", seconds)
        assert found is not None
        return found

    def wait_in_step(self, seconds: float = PATIENCE) -> None:
        """Until there is a primary, and every living member has all that it has."""
        self.wait_for_primary(seconds=seconds)
        until(self._in_step, f"the members of the set {self.name} to be in step", seconds)

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
        self._running.close()
        for member in self.members:
            member.close()

    # -- making it -----------------------------------------------------------------------------------------------------

    def _start(self) -> Self:
        for member in self.members:
            member.launch()
        for member in self.members:
            member.wait_listening()
        for proxy in self.proxies:
            self._running.enter_context(proxy)
        members = [{"_id": number, "host": self.address_of(member)} for number, member in enumerate(self.members)]
        self.members[0].command("replSetInitiate", {"_id": self.name, "members": members, "settings": SETTINGS})
        self.wait_in_step()
        return self

    def _primary(self) -> MongoServer | None:
        """The primary of the newest election: one that was frozen may still believe to be it."""
        found = [(reply["electionId"], member) for member in self.living if (reply := _hello(member))]
        return max(found, key=lambda pair: pair[0])[1] if found else None

    def _in_step(self) -> bool:
        primary = self._primary()
        if primary is None:
            return False
        reported = primary.command("replSetGetStatus")["members"]
        states = {each["name"]: each for each in reported}
        ours = [states[self.address_of(member)] for member in self.living]
        own = states[self.address_of(primary)]["optime"]
        return all(each["state"] in (1, 2) and each["optime"] == own for each in ours)


def _hello(member: MongoServer) -> dict[str, Any] | None:
    """What a member says that takes writes."""
    try:
        found = member.hello()
    except PyMongoError:
        return None
    return found if found["isWritablePrimary"] else None
