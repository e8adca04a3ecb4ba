"""What the classes of this folder need of an app."""

from __future__ import annotations

from typing import Protocol

from mainspring.client import Client


class App(Protocol):
    """Where the client comes from. `mainspring.Mainspring` is one."""

    async def connect(self) -> Client:
        """The client of the running event loop, open."""
        ...
