"""What the classes of this folder need of an app."""

from __future__ import annotations

from typing import Protocol

from mainspring.audit import Audit
from mainspring.client import Client


class App(Protocol):
    """Where the client and the audit trail come from. `mainspring.Mainspring` is one."""

    @property
    def audit(self) -> Audit:
        """Where acts are written down."""
        ...

    async def connect(self) -> Client:
        """The client of the running event loop, open."""
        ...
