"""Log lines that say which run wrote them.

A context variable tells: it follows the tasks that a handler starts and is carried into its thread. So a line that a
library writes while a handler runs belongs to the run too. This module imports nothing of Mainspring.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Protocol


class Running(Protocol):
    """A run, as far as a log line names it."""

    @property
    def job_id(self) -> str: ...

    @property
    def task(self) -> str: ...

    @property
    def queue(self) -> str: ...

    @property
    def attempt(self) -> int: ...


running: ContextVar[Running | None] = ContextVar("mainspring_run", default=None)
"""The run that the code under way belongs to. Set by whoever calls a handler."""
