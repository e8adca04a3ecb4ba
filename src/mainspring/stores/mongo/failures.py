"""What PyMongo raises, as the errors of Mainspring."""

from __future__ import annotations

import re

from bson.errors import InvalidDocument
from pymongo.errors import (
    AutoReconnect,
    BulkWriteError,
    ConfigurationError,
    ConnectionFailure,
    DocumentTooLarge,
    ExecutionTimeout,
    InvalidOperation,
    NetworkTimeout,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
    WaitQueueTimeoutError,
    WTimeoutError,
)

from mainspring.errors import DefinitionError, StoreError, StoreFull, StoreReadOnly, StoreUnavailable, StoreUnusable
from mainspring.stores.mongo.settings import Settings

TRANSIENT = "TransientTransactionError"
DUPLICATE = 11000
BLOCKED = 50
"""MaxTimeMSExpired: what a call was waiting for did not come in time."""
NAMESPACE_NOT_FOUND = 26
NAMESPACE_EXISTS = 48
NO_SUCH_TRANSACTION = 251
_NOT_LET_IN = (18, 33, 334)
_FORBIDDEN = (13, 31, 8000)
_FULL = (14031, 12501)
_NO_SUCH_CONCERN = (79, 100)
"""UnknownReplWriteConcern, UnsatisfiableWriteConcern: the members that `w` speaks of are not in the set."""
_TOO_LARGE = (10334, 17280, 17419, 17420)
# Shutdowns, elections, lost connections, stepped-down primaries, interrupted work, a database that is being
# dropped: all over in a moment.
_PASSING = frozenset(
    {6, 7, 24, 43, 46, 50, 63, 64, 89, 91, 112, 133, 150, 189, 202, 215, 225, 234, 237, 244, 251, 262, 290,
     317, 358, 9001, 10058, 10107, 11600, 11601, 11602, 13388, 13435, 13436}
)  # fmt: skip
_COMMAND = re.compile(r"(execute command \{ [^,}]*).*", re.DOTALL)


class TransactionConflict(StoreUnavailable, PyMongoError):
    """A caller's transaction lost against another writer: roll it back, and run it again.

    PyMongo's `with_transaction` does so by itself, for this is a `PyMongoError` with the label it looks for.
    """

    def __init__(self, message: str) -> None:
        StoreUnavailable.__init__(self, message)
        self._message = message
        self._error_labels = {TRANSIENT}


def conflict(why: Exception | str) -> TransactionConflict:
    said = _short(why) if isinstance(why, Exception) else why
    if isinstance(why, Exception) and code_of(why) == NO_SUCH_TRANSACTION:
        return TransactionConflict(
            f"the server has ended the transaction ({said}): a statement in it failed, another writer was faster, or "
            "it was open for too long. Roll it back, and run it again; let nothing catch what a statement raises."
        )
    return TransactionConflict(
        f"the transaction was hindered by another writer ({said}). Roll it back, and run it again."
    )


def code_of(error: BaseException | None) -> int | None:
    """The server's number for what went wrong, wherever in the error it stands."""
    if isinstance(error, BulkWriteError):
        details = error.details or {}
        codes = [
            int(found.get("code") or 0)
            for found in (*details.get("writeErrors", ()), *details.get("writeConcernErrors", ()))
        ]  # a taken id is no failure: what else went wrong is
        return next((code for code in codes if code != DUPLICATE), codes[0] if codes else None)
    return error.code if isinstance(error, OperationFailure) else None


def blocked(error: BaseException) -> bool:
    """Whether the server was still waiting for another writer's transaction, or for its own work, at the end."""
    return isinstance(error, ExecutionTimeout | NetworkTimeout) or code_of(error) == BLOCKED


def in_doubt(error: BaseException) -> bool:
    """Whether what was sent may have been done all the same."""
    return isinstance(error, AutoReconnect | ConnectionFailure) or code_of(error) in _PASSING


def translate(error: Exception, settings: Settings) -> Exception:
    """The error to raise in its place."""
    if isinstance(error, StoreError | DefinitionError):
        return error
    if isinstance(error, DocumentTooLarge):  # of a batch each part may fit: whoever sent it can send them one by one
        return DefinitionError(
            f"{settings.shown}: what was to be written is over MongoDB's 16 MB ({_short(error)}). "
            "Keep fewer runs, or less input."
        )
    if isinstance(error, InvalidDocument | OverflowError):
        return DefinitionError(
            f"a job or a record cannot be stored in MongoDB ({error}). "
            "Expected whole numbers of at most 64 bits, and text."
        )
    if isinstance(error, WaitQueueTimeoutError):
        return StoreUnavailable(
            f"{settings.shown}: all connections of the pool were in use for {settings.timeout:g} s ({_short(error)}). "
            "Expected one to be free; raise maxPoolSize in the URL, or make fewer calls at once."
        )
    if isinstance(error, ServerSelectionTimeoutError):
        return _unavailable(settings, f"no server took the call within {settings.timeout:g} s ({_short(error)})")
    if isinstance(error, ExecutionTimeout | NetworkTimeout | WTimeoutError) or getattr(error, "timeout", False):
        return _unavailable(settings, f"no answer within {settings.timeout:g} s ({_short(error)})")
    if isinstance(error, ConnectionFailure):
        return _unavailable(settings, _short(error))
    if isinstance(error, ConfigurationError):
        return StoreUnusable(f"{settings.shown}: {_short(error)}. Correct the URL or the server.")
    if isinstance(error, InvalidOperation):
        return _unavailable(settings, _short(error))
    if isinstance(error, OperationFailure):
        return _refused(error, settings)
    return StoreError(f"{settings.shown}: {_short(error)}")


def _refused(error: OperationFailure, settings: Settings) -> StoreError:
    code, where, text = code_of(error), settings.shown, _short(error)
    if code in _PASSING or error.has_error_label("RetryableWriteError") or error.has_error_label(TRANSIENT):
        return _unavailable(settings, text)
    if code in _NOT_LET_IN:
        return StoreUnusable(
            f"{where}: the server refused the login ({text}). Correct the user, the password or authSource."
        )
    if code in _FORBIDDEN:
        return StoreReadOnly(
            f"{where}: this user may not do that ({text}). Expected the role readWrite on the "
            f"database {settings.database!r}; ask whoever runs the server."
        )
    if code in _NO_SUCH_CONCERN:
        return StoreUnusable(
            f"{where}: w= in the URL names members that the set does not have ({text}). "
            "Leave w= out for a majority, or name what the set has; a write may have been made all the same."
        )
    if code in _FULL:
        return StoreFull(f"{where}: the server has no space left ({text}). Nothing was written; give it more disk.")
    if code in _TOO_LARGE:
        return StoreError(f"{where}: a document is over 16 MB ({text}). Keep fewer runs, or less input.")
    return StoreError(f"{where}: the server refused a command ({text}).")


def _unavailable(settings: Settings, why: str) -> StoreUnavailable:
    return StoreUnavailable(f"{settings.shown}: {why}. Try again later; see that a primary is up and can be reached.")


def not_open(settings: Settings) -> StoreUnavailable:
    return StoreUnavailable(f"{settings.shown}: the store is not open. Expected open() before any call; it was closed?")


def _short(error: Exception) -> str:
    """The first part of a message, without what PyMongo adds of the whole topology, and the server of the command."""
    text = str(error)
    if isinstance(error, BulkWriteError):
        details = error.details or {}
        found = [*details.get("writeErrors", ()), *details.get("writeConcernErrors", ())]
        text = str(found[0].get("errmsg", error)) if found else text
    text = text.partition(", Timeout: ")[0].partition(", full error: ")[0]
    return _COMMAND.sub(r"\1, ... }", text)[:300]
