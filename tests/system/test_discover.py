"""Handler modules: one file per handler, in a package or in a folder."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mainspring import DefinitionError, InputError, JobFailed, Mainspring

Write = Callable[..., Path]


@pytest.fixture
def app() -> Mainspring:
    """It connects to nothing in most tests: modules are found without a store."""
    return Mainspring("sqlite://:memory:")


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(file: str, text: str = "") -> Path:
        path = tmp_path / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path.parent

    return write


@pytest.fixture(autouse=True)
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The test's folder can be imported from, and its modules are forgotten afterwards."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        del sys.modules[name]


SHOP = """
from mainspring import Mainspring
app = Mainspring("sqlite://:memory:")
"""


async def results(app: Mainspring, *calls: tuple[str, dict[str, Any]]) -> list[Any]:
    async with app, app.worker():
        jobs = [await app.enqueue(name, input) for name, input in calls]
        return [await job.result(timeout=60) for job in jobs]


# -- what is a handler ------------------------------------------------------------------------------------------------


async def test_a_folder_of_handlers_becomes_tasks_that_run(app: Mainspring, write: Write) -> None:
    write("tasks/cleanup_logs.py", "def handler(older_than, dry_run=False):\n    return [older_than, dry_run]")
    write("tasks/count.py", "from mainspring import Context\nasync def run(ctx: Context, n: int):\n    return n + 1")
    folder = write("tasks/greet.py", "def greet(name: str) -> str:\n    return 'Hi ' + name\ndef also(x): ...")
    assert app.discover(folder) == ["cleanup-logs", "count", "greet"]
    assert await results(
        app, ("cleanup-logs", {"older_than": 30}), ("count", {"n": 1}), ("greet", {"name": "Ada"})
    ) == [[30, False], 2, "Hi Ada"]


async def test_parameters_are_validated_where_they_are_typed(app: Mainspring, write: Write) -> None:
    app.discover(write("tasks/greet.py", "def greet(times: int): ..."))
    async with app:
        with pytest.raises(InputError, match="times: "):
            await app.enqueue("greet", {"times": "often"})
        with pytest.raises(InputError, match="times: is missing"):
            await app.enqueue("greet", {})


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("def handler(): return 1\ndef run(): return 2\ndef job(): return 3", 1),
        ("def run(): return 2\ndef job(): return 3", 2),
        ("def job(): return 3\ndef other(): return 4", 3),
        ("def only(): return 4\ndef _other(): return 5\nclass Also: ...", 4),
        ("from os.path import join\nfrom subprocess import run\ndef only(): return join('a', 'b')", "a/b"),
        ("from functools import partial\nhandler = partial(lambda x: x, x=6)", 6),
        ("def first(): return 7\nsecond = first", 7),
    ],
)
async def test_which_function_is_the_handler(app: Mainspring, write: Write, text: str, answer: Any) -> None:
    assert app.discover(write("tasks/job.py", text)) == ["job"]
    assert await results(app, ("job", {})) == [answer]


def test_options_of_a_module(app: Mainspring, write: Write) -> None:
    text = "OPTIONS = {'timeout': '5m', 'retries': 2, 'queue': 'reports', 'name': 'monthly'}\ndef handler(): ..."
    assert app.discover(write("tasks/report.py", text)) == ["monthly"]
    task = app.tasks["monthly"]
    assert (task.timeout, task.policy.retry.attempts, task.queue) == (300_000, 3, "reports")


async def test_a_file_with_hyphens_and_files_that_help(app: Mainspring, write: Write) -> None:
    write("tasks/_shared.py", "VALUE = 42")
    write("tasks/node/other.py", "raise RuntimeError('a folder that is no package is not looked into')")
    folder = write("tasks/the-answer.py", "from ._shared import VALUE\ndef the_answer(): return VALUE\ndef f(): ...")
    assert app.discover(str(folder)) == ["the-answer"]
    assert await results(app, ("the-answer", {})) == [42]


# -- packages ---------------------------------------------------------------------------------------------------------


def test_a_package_with_sub_packages_by_its_name(app: Mainspring, write: Write) -> None:
    write("myapp/__init__.py")
    write("myapp/tasks/__init__.py", "def not_a_handler(): ...")
    write("myapp/tasks/b.py", "def handler(): ...")
    write("myapp/tasks/a.py", "def handler(): ...")
    write("myapp/tasks/mail/__init__.py")
    write("myapp/tasks/mail/send_all.py", "def handler(): ...")
    write("myapp/tasks/_drafts/__init__.py", "raise RuntimeError")
    write("myapp/tasks/__main__.py", "raise RuntimeError")
    assert app.discover("myapp.tasks") == ["a", "b", "send-all"]
    assert "myapp.tasks.mail.send_all" in sys.modules
    assert app.discover("myapp.tasks.mail") == []


def test_a_module_that_defines_tasks_of_this_app_counts_as_it_is(write: Write) -> None:
    write("shop_app.py", SHOP)
    write("bazaar/__init__.py", "from shop_app import app\n@app.task\ndef in_the_package(): ...")
    write("bazaar/orders.py", "from shop_app import app\n@app.task\ndef confirm(): ...\n@app.task\ndef ship(): ...")
    write("bazaar/run_it.py", "from bazaar.orders import ship\ndef handler(): ...")
    write("bazaar/wrap.py", "import os.path\nfrom shop_app import app\ntask = app.task(name='there')(os.path.exists)")
    import shop_app  # type: ignore[import-not-found]  # written above

    app: Mainspring = shop_app.app
    assert app.discover("bazaar") == ["in-the-package", "confirm", "ship", "run-it", "there"]
    assert app.discover("bazaar") == []


def test_a_single_module_by_its_name(app: Mainspring, write: Write) -> None:
    write("nightly.py", "def nightly(): ...")
    assert app.discover("nightly") == ["nightly"]


def test_a_package_whose_tasks_are_its_own(write: Write) -> None:
    write("whole/__init__.py", SHOP + "\n@app.task\ndef one(): ...")
    import whole  # type: ignore[import-not-found]  # written above

    assert whole.app.discover("whole") == []
    assert list(whole.app.tasks) == ["one"]


def test_twice_is_once_and_a_new_file_is_found(app: Mainspring, write: Write) -> None:
    folder = write("tasks/a.py", "from posixpath import basename as handler")
    write("tasks/b.py", "COUNT = []\nCOUNT.append(1)\ndef handler(): ...")
    assert app.discover(folder) == ["a", "b"]
    assert app.discover(folder) == []
    write("tasks/c.py", "def handler(): ...")
    assert app.discover(Path("tasks")) == ["c"]
    [counts] = [module.COUNT for name, module in sys.modules.items() if name.endswith("tasks.b")]
    assert counts == [1]


def test_two_folders_may_have_files_of_the_same_name(app: Mainspring, write: Write) -> None:
    first = write("one/tasks/job.py", "OPTIONS = {'name': 'first'}\ndef handler(): return 1")
    second = write("two/tasks/job.py", "OPTIONS = {'name': 'second'}\ndef handler(): return 2")
    assert app.discover(first) + app.discover(second) == ["first", "second"]
    assert app.tasks["second"]() == 2


def test_two_modules_may_export_the_same_function(app: Mainspring, write: Write) -> None:
    write("tasks/a.py", "from posixpath import basename as handler")
    folder = write("tasks/b.py", "from posixpath import basename as handler")
    assert app.discover(folder) == ["a", "b"]
    assert app.discover(folder) == []


def test_two_apps_may_find_the_same_folder(app: Mainspring, write: Write) -> None:
    folder = write("tasks/job.py", "def handler(): return 1")
    assert app.discover(folder) == Mainspring("sqlite://:memory:").discover(folder) == ["job"]


def test_a_folder_may_have_an_init(app: Mainspring, write: Write) -> None:
    write("tasks/__init__.py", "VALUE = 5")
    folder = write("tasks/job.py", "from . import VALUE\ndef handler(): return VALUE")
    assert app.discover(folder) == ["job"]
    assert app.tasks["job"]() == 5


# -- errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no handler in .*job.py. Expected a function called handler, run or job"),
        ("class Job: ...", "no handler in .*job.py"),
        ("from os.path import join", "no handler in .*job.py"),
        ("handler = 5", "no handler in .*job.py"),
        ("def one(): ...\ndef two(): ...", "several functions in .*job.py: one, two. Expected a function called"),
        ("def handler(*args): ...", r"bad handler module .*job.py: .*\*args cannot be stored"),
        ("OPTIONS = {'timeouts': 5}\ndef handler(): ...", "bad handler module .*job.py: 'timeouts' is no option"),
        ("OPTIONS = [1]\ndef handler(): ...", r"bad handler module .*job.py: bad OPTIONS: \[1\]. Expected a dict"),
        ("OPTIONS = {'name': []}\ndef handler(): ...", "bad handler module .*job.py: bad task name"),
        ("from there import gone", "cannot import .*job.py: ModuleNotFoundError: No module named 'there'"),
        ("def f(:", "cannot import .*job.py: SyntaxError"),
        ("raise RuntimeError('out of order')", "cannot import .*job.py: RuntimeError: out of order. Expected"),
        ("raise SystemExit", "cannot import .*job.py: SystemExit. Expected"),
        (SHOP + "\n@app.task\ndef f(): ...", "tasks of another app in .*job.py: f"),
    ],
)
def test_a_module_that_is_no_handler(app: Mainspring, write: Write, text: str, said: str) -> None:
    write("tasks/a.py", "def handler(): ...")
    folder = write("tasks/job.py", text)
    with pytest.raises(DefinitionError, match=said):
        app.discover(folder)
    assert list(app.tasks) == ["a"]


def test_what_was_raised_is_the_cause(app: Mainspring, write: Write) -> None:
    with pytest.raises(DefinitionError) as raised:
        app.discover(write("tasks/job.py", "1 / 0"))
    assert isinstance(raised.value.__cause__, ZeroDivisionError)


def test_a_name_that_is_taken(app: Mainspring, write: Write) -> None:
    @app.task
    def job() -> None: ...

    with pytest.raises(DefinitionError, match=r"bad handler module .*job.py: a task named 'job' exists already"):
        app.discover(write("tasks/job.py", "def handler(): ..."))


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("nowhere.tasks", "no package 'nowhere.tasks': No module named 'nowhere'"),
        ("./nowhere", "no folder '.*nowhere': there is nothing. Expected a package"),
        (Path("tasks/empty.txt"), "no folder '.*empty.txt': it is a file"),
        (Path("tasks"), "no modules in tasks: it is empty"),
        ("tasks.deeper", "no package 'tasks.deeper'"),
        ("", "cannot look for handlers in ''"),
        (5, "cannot look for handlers in 5"),
    ],
)
def test_nothing_there(app: Mainspring, write: Write, target: Any, said: str) -> None:
    write("tasks/empty.txt")
    with pytest.raises(DefinitionError, match=said):
        app.discover(target)


def test_a_folder_where_a_package_was_asked_for_is_told(
    app: Mainspring, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("here/tasks/job.py", "def handler(): ...")
    monkeypatch.chdir("here")
    with pytest.raises(DefinitionError, match=r'There is a folder of that name: Path\("tasks"\) means it'):
        app.discover("tasks")


@pytest.mark.parametrize("broken", ["import there_is_no_such", "raise RuntimeError('broken')"])
def test_a_package_that_is_broken_itself(app: Mainspring, write: Write, broken: str) -> None:
    write("torn/__init__.py", broken)
    write("torn/inner/__init__.py")
    write("torn/inner/job.py", "def handler(): ...")
    with pytest.raises(DefinitionError, match=r"cannot import .*torn"):
        app.discover("torn.inner")
    with pytest.raises(DefinitionError, match=r"cannot import .*torn/__init__.py"):
        app.discover(Path("torn"))


async def test_a_failure_of_a_handler_is_a_failure_of_its_job(app: Mainspring, write: Write) -> None:
    text = "OPTIONS = {'retries': 0}\ndef handler(): raise ValueError('no')"
    app.discover(write("tasks/job.py", text))
    with pytest.raises(JobFailed, match="ValueError: no"):
        await results(app, ("job", {}))
