"""Lines and links that end with the test, and a way to be sure that the server has got a command."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from mainspring.errors import StoreError
from mainspring.stores.redis.connecting import connect
from mainspring.stores.redis.line import Line
from mainspring.stores.redis.link import Link
from mainspring.stores.redis.settings import parse
from tests.servers.shared import Shared

SHORT = "?timeout=300ms"
PROMPT = 60.0
"""Seconds within which what is waited for must have come."""


@asynccontextmanager
async def line_to(url: str) -> AsyncIterator[Line]:
    settings = parse(url)
    line = await connect(settings.seeds[0], settings)
    try:
        yield line
    finally:
        await line.close()


@asynccontextmanager
async def link_to(url: str) -> AsyncIterator[Link]:
    link = Link(parse(url))
    await link.open()
    try:
        yield link
    finally:
        await link.close()


async def refused(url: str, error: type[StoreError], said: str = "") -> str:
    """The message with which opening is refused."""
    with pytest.raises(error, match=said) as caught:
        await Link(parse(url)).open()
    return str(caught.value)


async def blocked(server: Shared, line: Line) -> None:
    """Until the server says that this connection waits in a blocking command."""
    async with asyncio.timeout(PROMPT):
        while f"id={line.id} " not in clients(server) or "flags=b" not in client(server, line.id):
            await asyncio.sleep(0)


def client(server: Shared, id: int) -> str:
    return next(each for each in clients(server).splitlines() if each.startswith(f"id={id} "))


def clients(server: Shared) -> str:
    """CLIENT LIST as text, one connection a line."""
    found: Any = server.command("CLIENT", "LIST")
    if isinstance(found, list):  # redis-py takes it apart
        return "\n".join(" ".join(f"{key}={value}" for key, value in each.items()) for each in found)
    return str(found)
