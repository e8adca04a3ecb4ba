"""The pytest plugin, in projects of its own: with each plugin for coroutines and none, in parallel, and unused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parents[2]
SHOP = """
from mainspring import Mainspring, Retry

app = Mainspring("sqlite:///never.db")
failing = []

@app.task(retry=Retry(max_attempts=2, initial_delay=60))
async def greet(name: str) -> str:
    if failing:
        raise ValueError(failing.pop())
    return f"Hello {name}!"
"""
INI = """
[pytest]
mainspring_app = shop:app
asyncio_mode = {mode}
asyncio_default_fixture_loop_scope = function
addopts = --strict-markers --strict-config
filterwarnings = error
"""
BARE = """
[pytest]
asyncio_default_fixture_loop_scope = function
filterwarnings = error
"""
ASYNC = """
import pytest
from pathlib import Path
from shop import app, failing, greet

@pytest.mark.asyncio
@pytest.mark.parametrize("n", range(4))
async def test_each_has_a_store_of_its_own(mainspring_kit, n):
    job = await greet.enqueue(f"Ada {n}")
    await mainspring_kit.assert_enqueued(greet, name=f"Ada {n}", count=1)
    assert (await mainspring_kit.drain()).completed == 1
    assert await job.result() == f"Hello Ada {n}!"
    assert not Path("never.db").exists()

@pytest.mark.asyncio
async def test_a_retry(mainspring_kit, mainspring_clock):
    failing.append("no")
    job = await greet.enqueue("Ada")
    await mainspring_kit.drain()
    assert await job.status() == "retrying"
    async with app.worker():
        await mainspring_clock.advance("2m")
    assert await job.status() == "completed"

@pytest.mark.asyncio
@pytest.mark.mainspring(inline=True)
async def test_inline(mainspring_kit):
    assert await (await greet.enqueue("Ada")).result() == "Hello Ada!"

@pytest.mark.asyncio
async def test_a_worker_is_left(mainspring_kit):
    await app.worker().start()
    await greet.enqueue("Ada")
"""
SYNC = """
import sys
from shop import app, greet

def test_without_an_event_loop(mainspring_kit):
    job = app.sync(greet.enqueue, "Ada")
    mainspring_kit.sync.assert_enqueued(greet, name="Ada")
    assert mainspring_kit.sync.drain().completed == 1
    assert app.sync(job.result) == "Hello Ada!"
"""


class Project:
    """A project of a user, and his pytest in a process of its own."""

    def __init__(self, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
        self._pytester = pytester
        path = os.environ.get("PYTHONPATH", "")
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join(part for part in (str(ROOT / "src"), path) if part))
        monkeypatch.delenv("MAINSPRING_APP", raising=False)
        monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
        pytester.makepyfile(shop=SHOP)
        self.ini()

    def ini(self, text: str = INI.format(mode="strict")) -> None:
        self._pytester.makefile(".ini", pytest=text)

    def run(self, test: str, *options: str) -> pytest.RunResult:
        self._pytester.makepyfile(test_shop=test)
        return self._pytester.runpytest_subprocess("-p", "pytest_mainspring", "-p", "no:cacheprovider", *options)


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Project:
    return Project(pytester, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["strict", "auto"])
def test_with_pytest_asyncio(project: Project, mode: str) -> None:
    project.ini(INI.format(mode=mode))
    project.run(ASYNC).assert_outcomes(passed=7)


@pytest.mark.slow
def test_with_one_event_loop_for_all_tests(project: Project) -> None:
    project.ini(INI.format(mode="auto") + "asyncio_default_test_loop_scope = session\n")
    project.run(ASYNC).assert_outcomes(passed=7)


@pytest.mark.slow
def test_with_the_plugin_of_anyio(project: Project) -> None:
    backend = "\n\n@pytest.fixture\ndef anyio_backend():\n    return 'asyncio'\n"
    test = ASYNC.replace("mark.asyncio", "mark.anyio") + backend
    project.run(test).assert_outcomes(passed=7)


LEFT = """
import pytest
from shop import app

left = []

@pytest.fixture
def anyio_backend():
    return "asyncio"

@pytest.mark.PLUGIN
@pytest.mark.mainspring(inline=True)
async def test_it(mainspring_kit):
    worker = app.worker()
    await worker.start()
    left.append(worker)

def test_after_it():
    assert left[0].stats().status == "stopped"
    assert left[0].loop.is_closed()
"""


@pytest.mark.slow
@pytest.mark.parametrize("plugin", ["asyncio", "anyio"])
def test_what_is_left_is_stopped_before_its_event_loop_is(project: Project, plugin: str) -> None:
    project.run(LEFT.replace("PLUGIN", plugin), "-p", "no:randomly").assert_outcomes(passed=2)


@pytest.mark.slow
def test_in_parallel_and_in_random_order(project: Project) -> None:
    project.run(ASYNC, "-n", "2", "-p", "randomly").assert_outcomes(passed=7)


@pytest.mark.slow
def test_without_any_plugin_for_coroutines(project: Project) -> None:
    project.ini("[pytest]\nmainspring_app = shop:app\nfilterwarnings = error\n")
    project.run(SYNC, "-p", "no:asyncio", "-p", "no:anyio").assert_outcomes(passed=1)


@pytest.mark.slow
def test_unused_it_imports_nothing_of_mainspring(project: Project) -> None:
    project.ini(BARE)
    test = "import sys\ndef test_it():\n    assert 'pytest_mainspring' in sys.modules\n    assert {} == {\n"
    test += "        n: m for n, m in sys.modules.items() if n == 'mainspring'}\n"
    project.run(test).assert_outcomes(passed=1)


@pytest.mark.slow
def test_the_app_may_be_a_fixture_or_be_named_in_pyproject(project: Project, pytester: pytest.Pytester) -> None:
    project.ini(BARE)
    fixture = "import pytest, shop\n\n@pytest.fixture\ndef mainspring_app():\n    return shop.app\n"
    project.run(fixture + SYNC).assert_outcomes(passed=1)
    pytester.makefile(".toml", pyproject='[tool.mainspring]\napp = "shop:app"\n')
    project.run(SYNC).assert_outcomes(passed=1)


@pytest.mark.slow
def test_without_an_app_it_says_how_to_name_one(project: Project) -> None:
    project.ini(BARE)
    result = project.run(SYNC)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*no app for the fixtures of Mainspring*mainspring_app*"])


@pytest.mark.slow
def test_a_wrong_name_is_told(project: Project) -> None:
    project.ini("[pytest]\nmainspring_app = shop:ap\n")
    project.run(SYNC).stdout.fnmatch_lines(["*no Mainspring app named 'ap' in 'shop'. It has: app.*"])


@pytest.mark.slow
def test_a_wrong_name_in_the_environment_is_told_as_such(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    project.ini(BARE)
    monkeypatch.setenv("MAINSPRING_APP", "shop:ap")
    project.run(SYNC).stdout.fnmatch_lines(["*MAINSPRING_APP in the environment*no Mainspring app named 'ap'*"])


@pytest.mark.slow
def test_a_wrong_option_of_the_marker_is_told(project: Project) -> None:
    test = "import pytest\n\n@pytest.mark.mainspring(inlin=True)\ndef test_it(mainspring_kit):\n    pass\n"
    project.run(test).stdout.fnmatch_lines(["*inlin is no option of it. Expected some of store, clock, inline,*"])
    told = project.run(test.replace("inlin=True", "clock=5")).stdout
    told.fnmatch_lines(["*@pytest.mark.mainspring: bad clock of a kit: 5. Expected a FakeClock*"])


FAILING = """
from shop import app, failing, greet

def test_it(mainspring_kit):
    failing[:] = ["one", "two"]
    app.sync(greet.enqueue, "Ada")
    mainspring_kit.sync.drain(with_scheduled=True)
"""


@pytest.mark.slow
def test_failures_that_nobody_looked_at_can_fail_a_test(project: Project) -> None:
    project.run(FAILING).assert_outcomes(passed=1)
    project.ini(INI.format(mode="auto") + "mainspring_check = true\n")
    result = project.run(FAILING)
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*AssertionError: expected no job to fail, and 1 did:", "*ValueError: one"])
