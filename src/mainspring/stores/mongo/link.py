"""The connection to MongoDB: one PyMongo client, which pools, finds the primary and logs in by itself.

Every call has a deadline. What fails is raised as an error of ours; what is worth repeating is repeated by PyMongo, for
what it knows to be safe to repeat, or by whoever knows how to tell what has happened.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import pymongo
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.errors import InvalidDocument
from pymongo import AsyncMongoClient, ReadPreference, WriteConcern
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.driver_info import DriverInfo
from pymongo.errors import PyMongoError
from pymongo.read_concern import ReadConcern

from mainspring.errors import StoreUnusable
from mainspring.stores.mongo.failures import not_open, translate
from mainspring.stores.mongo.settings import Settings

Document = dict[str, Any]
Client = AsyncMongoClient[Document]
Collection = AsyncCollection[Document]
Kind = Literal["replica set", "sharded", "standalone"]

OLDEST = (5, 0)
CODEC: CodecOptions[Document] = CodecOptions(datetime_conversion=DatetimeConversion.DATETIME_MS)
"""Times as the numbers they are: 3 us a document less than `datetime`, and none out of range."""
HINTS = ("signals", "events")
NAMES = ("jobs", "records", "logs", "lanes", "meta", *HINTS)


class Link:
    """Open between `open` and `close`, in one event loop."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.kind: Kind = "replica set"
        self.version = ""
        self._client: Client | None = None
        self._collections: dict[str, Collection] = {}

    # -- life --------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Connect and look what is there. Raises `StoreUnavailable`, `StoreUnusable`."""
        if self._client is not None:
            return
        client = self._make(retry_writes=self.settings.retry_writes)
        try:
            hello = await self._look(client)
            if self.kind == "standalone" and self.settings.retry_writes:
                # It has no transaction numbers, and refuses what carries one.
                await client.close()
                client = self._make(retry_writes=False)
                hello = await self._look(client)
        except BaseException:
            await client.close()
            raise
        self._client = client
        self._collections = collections_of(client, self.settings)
        if hello.get("arbiterOnly") or (hello.get("secondary") and not hello.get("isWritablePrimary")):
            await self.close()
            raise StoreUnusable(
                f"{self.settings.shown}: this member is no primary. Name the whole set: ?replicaSet=name."
            )

    def _make(self, *, retry_writes: bool) -> Client:
        with self._raising():
            return AsyncMongoClient(
                self.settings.uri,
                retryWrites=retry_writes,
                driver=DriverInfo("Mainspring"),
                connect=False,
            )

    async def _look(self, client: Client) -> Document:
        with self._raising(), self.deadline():
            hello: Document = await client.admin.command("hello")
            self.version = str((await client.server_info())["version"])
        self.kind = (
            "sharded" if hello.get("msg") == "isdbgrid" else "replica set" if "setName" in hello else "standalone"
        )
        if tuple(int(part) for part in self.version.split(".")[:2]) < OLDEST:
            raise StoreUnusable(
                f"{self.settings.shown}: MongoDB {self.version} is too old. "
                f"Expected {'.'.join(map(str, OLDEST))} or newer; upgrade the server."
            )
        return hello

    async def close(self) -> None:
        client, self._client = self._client, None
        self._collections = {}
        if client is not None:
            await client.close()

    @property
    def client(self) -> Client:
        self.check_open()
        assert self._client is not None
        return self._client

    def check_open(self) -> None:
        """Raises `StoreUnavailable` where it is not."""
        if self._client is None:
            raise not_open(self.settings)

    # -- calls -------------------------------------------------------------------------------------------------

    @contextmanager
    def calls(self, seconds: float | None = None) -> Iterator[None]:
        """What is awaited inside has a deadline, raises our errors, and lets no cancellation be lost."""
        self.check_open()
        with self._raising(), self.deadline(seconds):
            yield

    @contextmanager
    def deadline(self, seconds: float | None = None) -> Iterator[None]:
        """The same, with the driver's own errors."""
        with heard(), pymongo.timeout(self.settings.timeout if seconds is None else seconds):
            yield

    @contextmanager
    def _raising(self) -> Iterator[None]:
        try:
            yield
        except (PyMongoError, InvalidDocument, OverflowError) as error:
            raised = translate(error, self.settings)
            if raised is error:
                raise
            raise raised from error

    def __getitem__(self, name: str) -> Collection:
        """One of our collections, by its name without the prefix."""
        self.check_open()
        return self._collections[name]

    def sure(self, name: str) -> Collection:
        """The same, for a look at what became of a write whose answer is not known: what it shows will not be rolled
        back by an election."""
        if self.kind == "standalone" or not self.settings.majority:
            return self[name]
        return self[name].with_options(read_concern=ReadConcern("linearizable"))

    def at_one_moment(self, name: str) -> Collection:
        """The same, for a query that would miss what moves while it reads."""
        if self.kind == "standalone" or not self.settings.majority:
            return self[name]
        return self[name].with_options(read_concern=ReadConcern("snapshot"))

    @property
    def database(self) -> AsyncDatabase[Document]:
        return self.client.get_database(self.settings.database, codec_options=CODEC)


@contextmanager
def heard() -> Iterator[None]:
    """A cancellation that comes inside comes out. PyMongo loses one that arrives as it begins to wait for an answer: it
    ends its own waiting, and goes on as if nothing had been said."""
    task = asyncio.current_task()
    if task is None:
        yield
        return
    before, coming = task.cancelling(), _is_coming(task)

    def lost() -> bool:
        return not _is_coming(task) and (coming or task.cancelling() > before)

    try:
        yield
    except Exception as error:
        if lost():
            raise asyncio.CancelledError from error
        raise
    if lost():
        raise asyncio.CancelledError


def _is_coming(task: asyncio.Task[Any]) -> bool:
    """Whether the task is to be cancelled as soon as it waits for anything."""
    return bool(getattr(task, "_must_cancel", False))


def collections_of(client: Any, settings: Settings) -> dict[str, Any]:
    """Our collections through any client, a caller's own too."""
    database = client.get_database(
        settings.database,
        codec_options=CODEC,
        read_preference=ReadPreference.PRIMARY,
        read_concern=ReadConcern("local"),
        write_concern=WriteConcern("majority", j=settings.journal) if settings.majority else None,
    )
    found = {name: database[settings.prefix + name] for name in NAMES}
    for name in HINTS:  # they may be lost: nobody waits for a majority
        found[name] = found[name].with_options(write_concern=WriteConcern(1))
    return found
