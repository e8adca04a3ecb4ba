"""The values of a run's dependencies: made before its handler is called, cleaned up when it has ended.

Needs no worker, only somebody who runs plain functions: a child process resolves by an event loop of its own.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, contextmanager
from types import TracebackType
from typing import Any

from mainspring.core.dependencies import Need, Provider
from mainspring.events import emit

RunSync = Callable[[Callable[[], Any]], Awaitable[Any]]
"""Calls a plain function where it may block, and waits for it to the end."""
Call = Callable[..., Any]
NOTHING: frozenset[Call] = frozenset()


class Resolved:
    """`async with Resolved(needs, context, overrides, run_sync) as values`: the values of `needs`, by parameter.

    What the block raises is thrown into the generators, the last one first; they cannot change it, and what their
    clean-up raises then is logged. After a block that went well, the first error of a clean-up is raised.
    """

    def __init__(
        self, needs: Mapping[str, Need], context: object, overrides: Mapping[Call, Provider], run_sync: RunSync
    ) -> None:
        self._needs = needs
        self._context = context
        self._overrides = overrides
        self._run_sync = run_sync
        self._values: dict[Call, Any] = {}
        self._open: list[tuple[Provider, AbstractAsyncContextManager[Any]]] = []

    async def __aenter__(self) -> dict[str, Any]:
        try:
            return {name: await self._value(need, NOTHING) for name, need in self._needs.items()}
        except BaseException as error:
            await self._clean_up(error)
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        failure = await self._clean_up(error)
        if failure is not None:
            raise failure

    async def _value(self, need: Need, inside: frozenset[Call]) -> Any:
        """`inside`: the providers whose overrides are being called. There the real one can be had."""
        provider = need.provider
        if provider.call in self._overrides and provider.call not in inside:
            inside |= {provider.call}
            provider = self._overrides[provider.call]
        if need.use_cache and provider.call in self._values:
            return self._values[provider.call]
        arguments = {name: await self._value(wanted, inside) for name, wanted in provider.needs.items()}
        if provider.context is not None:
            arguments[provider.context] = self._context
        value = await self._call(provider, arguments)
        if need.use_cache:
            self._values[provider.call] = value
        return value

    async def _call(self, provider: Provider, arguments: dict[str, Any]) -> Any:
        match provider.kind:
            case "coroutine":
                return await provider.call(**arguments)
            case "function":
                return await self._run_sync(lambda: provider.call(**arguments))
            case "generator":
                return await self._enter(provider, InThread(contextmanager(provider.call)(**arguments), self._run_sync))
            case "async generator":
                return await self._enter(provider, asynccontextmanager(provider.call)(**arguments))

    async def _enter(self, provider: Provider, manager: AbstractAsyncContextManager[Any]) -> Any:
        value = await manager.__aenter__()
        self._open.append((provider, manager))
        return value

    async def _clean_up(self, error: BaseException | None) -> BaseException | None:
        """End the generators, after `error` if there was one. Answers the first that a clean-up raised without one."""
        failure = None
        while self._open:
            provider, manager = self._open.pop()
            try:
                await manager.__aexit__(type(error) if error else None, error, error.__traceback__ if error else None)
            except BaseException as raised:
                if error is None:
                    error = failure = raised
                elif raised is not error:
                    emit("dependency.clean_up", logging.WARNING, exc_info=raised, provider=provider.name)
        return failure


class InThread(AbstractAsyncContextManager[Any]):
    """A plain context manager, entered and left where it may block."""

    def __init__(self, manager: AbstractContextManager[Any], run_sync: RunSync) -> None:
        self._manager = manager
        self._run_sync = run_sync

    async def __aenter__(self) -> Any:
        return await self._run_sync(self._manager.__enter__)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._run_sync(lambda: self._manager.__exit__(kind, error, trace))
