"""For all tests: how much Hypothesis tries, and a check that nothing is left running."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from typing import TextIO

import pytest
from hypothesis import HealthCheck, settings

from tests.hanging import real_stderr, told_where_it_hangs
from tests.servers.fixtures import mongo_database, mongo_server, redis_server  # noqa: F401  for all tests

_QUIET = [HealthCheck.too_slow, HealthCheck.data_too_large]
settings.register_profile("quick", max_examples=30, deadline=None, derandomize=True, suppress_health_check=_QUIET)
settings.register_profile("deep", max_examples=1_000, deadline=None, suppress_health_check=_QUIET)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))


STDERR = pytest.StashKey[TextIO]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[STDERR] = real_stderr()


def pytest_unconfigure(config: pytest.Config) -> None:
    config.stash[STDERR].close()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """What fails is told at once: a long run may be cut off before its end, where pytest tells it."""
    if report.failed and "PYTEST_XDIST_WORKER" not in os.environ:
        print(
            f"\nFAILED {report.nodeid} ({report.when})\n{report.longreprtext[-3_000:]}", file=sys.__stderr__, flush=True
        )


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if terminalreporter.stats.get("failed") or terminalreporter.stats.get("error"):
        terminalreporter.write_line(
            f"the same order once more: --randomly-seed={config.getoption('randomly_seed', '')}"
        )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    with told_where_it_hangs(item.nodeid, item.config.stash[STDERR]):
        return (yield)


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    """A test ends the threads that it starts; a daemon thread would hide a store or a worker left open."""
    before = set(threading.enumerate())
    yield
    left = [thread for thread in threading.enumerate() if thread not in before and not _pooled(thread)]
    for thread in left:
        thread.join(timeout=5)
    left = [thread for thread in left if thread.is_alive()]
    assert not left, f"threads left behind: {left}"


def _pooled(thread: threading.Thread) -> bool:
    # asyncio's own pool ends with its loop, which pytest-asyncio closes after the fixtures. The threads of the clients
    # with which tests look at a MongoDB end half a second after them; the store's client is asynchronous and has none.
    return thread.name.startswith(("asyncio_", "pymongo_")) or "pytest_timeout" in thread.name


if threading.current_thread() is threading.main_thread():
    # Where the tests run in the background SIGINT is ignored, and under nohup SIGHUP: the programs that they start
    # would inherit it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
