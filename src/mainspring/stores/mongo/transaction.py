"""A transaction of a caller's on the store's own client: begun, and committed or aborted at the end of a block."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from time import monotonic

from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import PyMongoError
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from mainspring.errors import StoreError
from mainspring.stores.mongo.failures import TRANSIENT, TransactionConflict, conflict, translate
from mainspring.stores.mongo.link import Link

UNKNOWN = "UnknownTransactionCommitResult"
AGAIN = 0.1


@asynccontextmanager
async def transaction(link: Link) -> AsyncGenerator[AsyncClientSession, None]:
    """The session, with its transaction open. What it lost against another writer is raised as `StoreUnavailable`."""
    async with link.client.start_session() as session:
        await session.start_transaction(read_concern=ReadConcern("snapshot"), write_concern=WriteConcern("majority"))
        try:
            yield session
            if session.in_transaction:  # else the caller has ended it by hand
                await _commit(link, session)
        except TransactionConflict:
            raise
        except PyMongoError as error:
            if error.has_error_label(TRANSIENT):
                raise conflict(error) from error
            raise
        finally:
            if session.in_transaction:
                with link.deadline():
                    await session.abort_transaction()


async def _commit(link: Link, session: AsyncClientSession) -> None:
    """Commit, and ask again where the answer was lost: a commit may be repeated."""
    end = monotonic() + link.settings.timeout
    while True:
        try:
            with link.deadline():
                await session.commit_transaction()
            return
        except PyMongoError as error:
            if not error.has_error_label(UNKNOWN):
                if error.has_error_label(TRANSIENT):
                    raise
                raise translate(error, link.settings) from error
            if monotonic() > end:
                raise StoreError(
                    f"{link.settings.shown}: it is not known whether the transaction was committed ({error}). "
                    "Look at what it wrote before you run it again."
                ) from error
        await asyncio.sleep(AGAIN)
