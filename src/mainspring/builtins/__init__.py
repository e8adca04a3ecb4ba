"""Tasks that come with Mainspring: cleanup-logs, database-stats and webhook. An app has them when it says so.

Their handlers know nothing that a task of anybody else could not know.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from mainspring.builtins import cleanup_logs, database_stats, webhook
from mainspring.core.task import Task
from mainspring.errors import DefinitionError
from mainspring.registry import Define

NAMES = ("cleanup-logs", "database-stats", "webhook")


class Tasks(Protocol):
    """The part of an app that is needed here."""

    @property
    def tasks(self) -> Mapping[str, Task[Any, Any]]: ...

    @property
    def task(self) -> Define: ...


def use_builtins(app: Tasks, *, allow_private: bool = False, only: Sequence[str] | None = None) -> None:
    """Define the built-in tasks, or `only` those named. `allow_private`: webhooks may go to addresses that are not
    public. Twice is once.

    Raises `DefinitionError` for a name that is none of theirs, or that is taken by another task: then none is defined.
    """
    if not isinstance(allow_private, bool):
        raise DefinitionError(f"bad allow_private: {allow_private!r}. Expected True or False.")
    handlers: dict[str, Callable[..., Any]] = {
        "cleanup-logs": cleanup_logs.cleanup_logs,
        "database-stats": database_stats.database_stats,
        "webhook": webhook.webhook(allow_private),
    }
    missing = [name for name in _chosen(only) if not _defined(app, name, handlers[name])]
    for name in missing:
        define = app.task(name=name, retry=webhook.RETRY) if name == "webhook" else app.task(name=name)
        define(handlers[name])


def _chosen(only: Sequence[str] | None) -> Sequence[str]:
    if only is None:
        return NAMES
    if not isinstance(only, list | tuple) or any(name not in NAMES for name in only):
        raise DefinitionError(f"bad only: {only!r}. Expected a list of some of: {', '.join(NAMES)}.")
    return list(dict.fromkeys(only))


def _defined(app: Tasks, name: str, handler: Callable[..., Any]) -> bool:
    """Whether the task is there already. Raises `DefinitionError` where it is another one."""
    task = app.tasks.get(name)
    if task is None or task.function is handler:
        return task is not None
    if task.function in (webhook.webhook(True), webhook.webhook(False)):
        raise DefinitionError(
            "the task 'webhook' is defined already, with another allow_private. Expected one of them."
        )
    raise DefinitionError(
        f"a task named {name!r} exists already ({task.__module__}.{task.__name__}), and is not the built-in one. Give "
        f"it another name, or leave the built-in one out: only=[...] of {', '.join(NAMES)}."
    )
