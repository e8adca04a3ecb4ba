"""A caller's own transaction: a session of PyMongo's, of any client that is connected to this very database.

What is written goes through the caller's client, as MongoDB demands. Nothing is committed or aborted here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, cast
from weakref import WeakSet

from bson.errors import InvalidDocument
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.client_session import ClientSession
from pymongo.errors import PyMongoError

from mainspring.errors import DefinitionError
from mainspring.stores.mongo.failures import TRANSIENT, conflict, translate
from mainspring.stores.mongo.link import Link, collections_of
from mainspring.stores.mongo.schema import identity

FIRST_LOOK, LAST_LOOK = 0.005, 1.0
"""Seconds between two looks whether a transaction is over."""
LONGEST = 120.0
"""Seconds after which nobody looks any more: the server ends a transaction after 60."""


class Within:
    """One session that a caller gave, checked."""

    def __init__(self, link: Link, session: Any) -> None:
        """Raises `DefinitionError` for what is no session, or has no open transaction."""
        if not isinstance(session, AsyncClientSession | ClientSession):
            raise DefinitionError(
                f"within: {type(session).__name__} is not a transaction of this store. Expected a session of PyMongo "
                "with an open transaction: session = client.start_session(); session.start_transaction()."
            )
        if not session.in_transaction:
            raise DefinitionError("within: the session has no open transaction. Call start_transaction() first.")
        self.session = session
        self._link = link
        self._hurried = asyncio.Event()
        self._collections = collections_of(session.client, link.settings)

    def __getitem__(self, name: str) -> Any:
        collection = self._collections[name]
        return collection if isinstance(self.session, AsyncClientSession) else _Threaded(collection)

    async def check(self, known: WeakSet[Any]) -> None:
        """Raises `DefinitionError` where the session is of another database."""
        if self.session.client in known:
            return
        ours = await identity(self._link)
        with self.calls():
            found = await self["meta"].find_one({"_id": "schema"})
        if found is None or found.get("identity") != ours:
            raise DefinitionError(
                f"within: the session is of another deployment than {self._link.settings.shown}. "
                "Expected a client that is connected to the store's own database."
            )
        known.add(self.session.client)

    @contextmanager
    def calls(self) -> Iterator[None]:
        """What is awaited inside has a deadline, and raises our errors; one that ends the caller's transaction, and is
        over when it is run again, is a `TransactionConflict`."""
        try:
            with self._link.deadline():
                yield
        except (PyMongoError, InvalidDocument, OverflowError) as error:
            if isinstance(error, PyMongoError) and error.has_error_label(TRANSIENT):
                raise conflict(error) from error
            raised = translate(error, self._link.settings)
            if raised is error:
                raise
            raise raised from error

    @property
    def is_over(self) -> bool:
        """Whether the transaction was committed or rolled back."""
        return not self.session.in_transaction or self.session.has_ended

    async def over(self) -> None:
        """Wait until the transaction is over: PyMongo tells nobody."""
        delay, waited = FIRST_LOOK, 0.0
        while not self.is_over and waited < LONGEST:
            with suppress(TimeoutError):
                async with asyncio.timeout(delay):
                    await self._hurried.wait()
            self._hurried.clear()
            waited += delay
            delay = min(delay * 1.5, LAST_LOOK)

    def hurry(self) -> None:
        """Let who waits in `over` look now."""
        self._hurried.set()


class _Threaded:
    """A collection of PyMongo's synchronous client, its calls in a thread."""

    def __init__(self, collection: Any) -> None:
        self._collection = collection

    async def update_many(self, *args: Any, **options: Any) -> Any:
        return await asyncio.to_thread(self._collection.update_many, *args, **options)

    async def bulk_write(self, *args: Any, **options: Any) -> Any:
        return await asyncio.to_thread(self._collection.bulk_write, *args, **options)

    async def find_one(self, *args: Any, **options: Any) -> Any:
        return await asyncio.to_thread(self._collection.find_one, *args, **options)

    def find(self, *args: Any, **options: Any) -> _Found:
        return _Found(lambda: list(self._collection.find(*args, **options)))


class _Found:
    def __init__(self, read: Callable[[], list[Any]]) -> None:
        self._read = read

    async def to_list(self) -> list[Any]:
        return cast(list[Any], await asyncio.to_thread(self._read))
