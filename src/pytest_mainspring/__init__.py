"""The pytest plugin: fixtures for an app in a test. It stands beside `mainspring`, not in it, because pytest imports it
in every run of every project that has Mainspring installed: until a fixture is used it costs a millisecond, where
importing `mainspring` takes 300. It may import nothing of Mainspring outside of a fixture.

The fixtures are synchronous, so they are the same with pytest-asyncio in any mode, with anyio's plugin, and without.
"""

from __future__ import annotations

import functools
import inspect
import os
import sys
from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from mainspring import Mainspring
    from mainspring.testing import FakeClock, Kit

MARKER = "mainspring"
OPTIONS = ("store", "clock", "inline", "raise_errors", "check")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addini("mainspring_app", "The app of the fixtures of Mainspring: module:app.")
    parser.addini("mainspring_check", "Whether a test with mainspring_kit fails where a job has failed.", "bool", False)


def pytest_configure(config: pytest.Config) -> None:
    text = "mainspring({}): options of the fixture mainspring_kit.".format(", ".join(f"{name}=..." for name in OPTIONS))
    config.addinivalue_line("markers", text)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> None:
    """What a test leaves running ends with it, in its own event loop: some plugins close that before fixtures end."""
    kit = getattr(item, "funcargs", {}).get("mainspring_kit")
    if kit is not None and isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.obj):
        item.obj = _and_close(item.obj, kit)


def _and_close(test: Callable[..., Awaitable[None]], kit: Kit) -> Callable[..., Awaitable[None]]:
    @functools.wraps(test)
    async def run(*args: Any, **kwargs: Any) -> None:
        try:
            await test(*args, **kwargs)
        finally:
            await kit.close()

    return run


@pytest.fixture
def mainspring_app(request: pytest.FixtureRequest) -> Mainspring:
    """The app under test: that of the ini option `mainspring_app`, or the command line's. Write a fixture of this name
    to give another one."""
    from mainspring.cli.settings import find_name
    from mainspring.errors import MainspringError
    from mainspring.process.locate import locate_app

    root = str(request.config.rootpath)
    if root not in sys.path:
        sys.path.insert(0, root)
    own = request.config.getini("mainspring_app")
    try:
        name = own or find_name(None)[0]
        if name and "://" not in name:
            return locate_app(name)
    except MainspringError as error:
        variable = not own and os.environ.get("MAINSPRING_APP")
        place = "MAINSPRING_APP in the environment, which goes before pyproject.toml" if variable else "mainspring_app"
        raise pytest.UsageError(f"{place}: {error}") from None
    raise pytest.UsageError(
        f"no app for the fixtures of Mainspring{f': {name!r} is no module:app' if name else ''}. Expected "
        'mainspring_app = "module:app" in the settings of pytest, app = "module:app" in [tool.mainspring] of '
        "pyproject.toml, or a fixture of yours called mainspring_app that answers the app."
    )


@pytest.fixture
def mainspring_kit(request: pytest.FixtureRequest, mainspring_app: Mainspring) -> Iterator[Kit]:
    """The app on a store in memory and a clock that stands still, for one test; see `mainspring.testing.Kit`."""
    from mainspring.errors import DefinitionError
    from mainspring.testing import Kit

    options: dict[str, Any] = {"check": request.config.getini("mainspring_check")}
    for marker in reversed(list(request.node.iter_markers(MARKER))):
        options |= _checked(marker)
    try:
        made = Kit(mainspring_app, **options)
    except DefinitionError as error:
        raise pytest.UsageError(f"@pytest.mark.{MARKER}: {error}") from None
    with made as kit:
        yield kit


@pytest.fixture
def mainspring_clock(mainspring_kit: Kit) -> FakeClock:
    """The clock of `mainspring_kit`."""
    return mainspring_kit.clock


def _checked(marker: pytest.Mark) -> dict[str, Any]:
    strange = [repr(value) for value in marker.args] + [name for name in marker.kwargs if name not in OPTIONS]
    if strange:
        raise pytest.UsageError(
            f"@pytest.mark.{MARKER}: {strange[0]} is no option of it. Expected some of {', '.join(OPTIONS)}, by name."
        )
    return dict(marker.kwargs)
