"""A view per queue, `<queue>_tasks`: what people look for in a job, by the names and states that they know.

Made when a process first adds to a queue, and brought up to date by a newer version. Nothing depends on a view: where
the user may not make one, or the name is taken by something else, there is none.
"""

from __future__ import annotations

import logging
import re

from pymongo.errors import CollectionInvalid, OperationFailure

from mainspring.errors import StoreError
from mainspring.events import emit
from mainspring.stores.mongo.failures import NAMESPACE_EXISTS, code_of
from mainspring.stores.mongo.link import Document, Link
from mainspring.stores.mongo.settings import PREFIX

MOST = 500
"""Views that one process makes at most: queues are few, and names that are made up on the way are no queues."""

PATIENCE = 2.0
"""Seconds that the first enqueue into a queue may wait for its view."""

_STATUS = {
    "$switch": {
        "branches": [
            {"case": {"$ne": ["$state", "waiting"]}, "then": "$state"},
            {"case": {"$gt": ["$attempts", 0]}, "then": "retrying"},
            {"case": {"$gt": ["$due_at", "$$NOW"]}, "then": "scheduled"},
        ],
        "default": "pending",
    }
}
_SHOWN = (
    "task", "key", "priority", "input", "due_at", "scheduled_at", "created_at", "started_at", "finished_at",
    "expires_at", "worker", "progress", "result", "error", "reason", "claims", "runs", "origin", "meta",
)  # fmt: skip
_REFUSED = re.compile(r"[$\0]|^\.|(?<=\.)\.|\.(?=\.)|(?<=^system)\.")
"""A dot may not be the first sign, nor beside another one; and `system.` is the server's own."""
_CODES = {"$": "%24", "\0": "%00", ".": "%2E"}


def pipeline(queue: str) -> list[Document]:
    """What the view of a queue shows."""
    fields: Document = {"status": _STATUS, "attempts": {"$ifNull": ["$attempts", 0]}, **dict.fromkeys(_SHOWN, 1)}
    return [{"$match": {"queue": queue}}, {"$project": fields}]


def view_name(link: Link, queue: str) -> str:
    """`<queue>_tasks`; in a store with a prefix of its own, with that before it. What MongoDB takes in no name of a
    collection stands there as in a URL; a queue's name has no `%`, so each has a name of its own."""
    prefix = "" if link.settings.prefix == PREFIX else link.settings.prefix
    return _REFUSED.sub(lambda found: _CODES[found[0]], f"{prefix}{queue}_tasks")


class Views:
    """The views that one store has seen to."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._seen: set[str] = set()

    async def make(self, queues: set[str]) -> None:
        """See to the views of these queues. Raises nothing."""
        if queues <= self._seen:
            return
        for queue in queues - self._seen if len(self._seen) < MOST else ():
            self._seen.add(queue)
            try:
                with self._link.calls(PATIENCE):
                    await self._make(queue)
            except StoreError as error:
                emit("view.missing", logging.INFO, queue=queue, error=str(error))

    async def _make(self, queue: str) -> None:
        name, jobs = view_name(self._link, queue), self._link["jobs"].name
        try:
            await self._link.database.create_collection(name, viewOn=jobs, pipeline=pipeline(queue), check_exists=False)
            return
        except CollectionInvalid:
            pass
        except OperationFailure as error:
            if code_of(error) != NAMESPACE_EXISTS:
                raise
        found = await self._link.database.list_collections(filter={"name": name})
        for there in await found.to_list():  # none, if it was dropped meanwhile
            options = there.get("options", {})
            if options.get("viewOn") != jobs or _queue_of(options.get("pipeline")) != queue:
                emit("view.missing", logging.WARNING, queue=queue, error=f"{name} is something else")
            elif options["pipeline"] != pipeline(queue):
                await self._link.database.command({"collMod": name, "viewOn": jobs, "pipeline": pipeline(queue)})


def _queue_of(stages: list[Document] | None) -> object:
    """Whose view it is."""
    match = stages[0].get("$match") if stages else None
    return match.get("queue") if isinstance(match, dict) else None
