"""`mainspring dev` as a real process: it is saved, broken, mended, killed; nothing is left running, nothing is lost."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from mainspring import Mainspring
from mainspring.process.reload import code_filter
from tests.system.cli_shop import SOURCE, Shop

pytestmark = pytest.mark.slow

MORE = '\n@app.task\nasync def later() -> str:\n    return "new"\n'


class Dev:
    """A running `mainspring dev`, and what it says."""

    def __init__(self, shop: Shop, *args: str) -> None:
        self.shop = shop
        self.said = ""
        self.process = shop.start("dev", *args, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)

    def until(self, pattern: str) -> re.Match[str]:
        """Read on until a line says this."""
        assert self.process.stderr is not None
        while line := self.process.stderr.readline():
            self.said += line
            if found := re.search(pattern, line):
                return found
        raise AssertionError(f"no {pattern!r} in:\n{self.said}")

    def child(self) -> int:
        """The process of the worker that starts next, once it works."""
        pid = int(self.until(r"child\.started .*pid=(\d+)")[1])
        self.until("worker.started")
        return pid

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        assert self.process.stderr is not None
        self.said += self.process.stderr.read()
        return self.process.wait(timeout=60)


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


@pytest.fixture
def dev(shop: Shop) -> Iterator[Dev]:
    running = Dev(shop)
    try:
        yield running
    finally:
        running.process.kill()
        running.process.communicate()


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except FileNotFoundError:
        return False


def until_gone(pid: int) -> None:
    gone = threading.Event()
    while lives(pid):
        gone.wait(0.02)


def save(shop: Shop, text: str) -> None:
    (shop.folder / "shop.py").write_text(text)


def result(shop: Shop, task: str, input: dict[str, str] | None = None) -> object:
    async def ask(app: Mainspring) -> object:
        return await (await app.enqueue(task, input or {})).result(timeout=60)

    return shop.call(ask)


def test_saved_code_is_run_by_a_new_worker(shop: Shop, dev: Dev) -> None:
    first = dev.child()
    assert result(shop, "send", {"to": "Ada"}) == "sent to Ada"
    save(shop, SOURCE.replace("sent to", "delivered to") + MORE)
    assert dev.until(r"dev\.changed files=(.*)")[1] == "shop.py"
    second = dev.child()
    assert not lives(first)
    assert result(shop, "send", {"to": "Ada"}) == "delivered to Ada"
    assert result(shop, "later") == "new"
    assert dev.stop() == 0
    assert not lives(second)
    assert "Traceback" not in dev.said


def test_an_error_in_the_code_is_shown_and_waited_out(shop: Shop, dev: Dev) -> None:
    dev.child()
    save(shop, SOURCE + "\ndef broken(:\n")
    dev.until("SyntaxError")
    dev.until(r"dev\.waiting")
    save(shop, SOURCE + "\nundefined_name\n")
    dev.until("NameError")
    dev.until(r"dev\.waiting")
    save(shop, "import sys\nsys.exit()\n")
    dev.until(r"^mainspring: .*ended the program by sys\.exit\(None\), in .*shop\.py, line 2\.")
    dev.until(r"dev\.waiting")
    save(shop, SOURCE)
    dev.child()
    assert result(shop, "send", {"to": "Ada"}) == "sent to Ada"
    assert dev.stop(signal.SIGINT) == 0


def test_wrong_settings_in_the_project_are_waited_out(shop: Shop, dev: Dev) -> None:
    dev.child()
    project = shop.folder / "pyproject.toml"
    project.write_text("[tool.mainspring]\nconcurrency = 0\n")
    assert "concurrency of [tool.mainspring]" in dev.until(r"dev\.waiting (.*)")[1]
    project.write_text("[tool.mainspring]\nconcurrency = 2\n")
    dev.child()
    assert dev.stop() == 0


def test_a_handler_that_is_interrupted_by_a_save_runs_again(shop: Shop) -> None:
    dev = Dev(shop, "--grace", "100ms")
    try:
        dev.child()

        async def begin(app: Mainspring) -> str:
            job = await app.enqueue("endless")
            async for event in job.events():
                if event.status == "running":
                    break
            return job.id

        id = shop.call(begin)
        save(shop, SOURCE.replace("await asyncio.Event().wait()", "return None"))

        async def end(app: Mainspring) -> list[str]:
            job = await app.ended(id, timeout=60)
            return [run.outcome for run in job.runs]

        assert shop.call(end) == ["released", "succeeded"]
        assert dev.stop() == 0
    finally:
        dev.process.kill()
        dev.process.communicate()


def test_a_killed_worker_is_replaced_and_its_job_runs_at_once(shop: Shop, dev: Dev) -> None:
    first = dev.child()

    async def begin(app: Mainspring) -> str:
        job = await app.enqueue("endless")
        async for event in job.events():
            if event.status == "running":
                break
        return job.id

    id = shop.call(begin)
    os.kill(first, signal.SIGKILL)
    dev.until(r"child\.died .*exit_code=-9")
    second = dev.child()
    dev.until(r"lapsed .*jobs=1")

    async def claimed_again(app: Mainspring) -> None:
        async for _ in app.events(id):
            if (await app.get(id)).claims == 2:
                return

    shop.call(claimed_again)
    assert dev.stop() == 0
    assert not lives(second)


def test_a_killed_dev_leaves_no_worker(shop: Shop, dev: Dev) -> None:
    child = dev.child()
    dev.process.kill()
    dev.process.wait()
    until_gone(child)


def test_a_killed_dev_leaves_no_worker_that_still_imports(shop: Shop) -> None:
    save(shop, SOURCE + "\nprint('importing', flush=True)\nimport threading\nthreading.Event().wait()\n")
    dev = shop.start("dev", stdout=subprocess.PIPE)
    try:
        assert dev.stdout is not None
        assert dev.stdout.readline() == "importing\n"
        [child] = children_of(dev.pid)
    finally:
        dev.kill()
        dev.communicate()
    until_gone(child)


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_one_ctrl_c_on_a_terminal_ends_it(shop: Shop) -> None:
    ours, theirs = pty.openpty()
    dev = shop.start(
        "dev", stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True, preexec_fn=_own_terminal
    )
    os.close(theirs)
    seen = b""
    try:
        while b"worker.started" not in seen:
            seen += os.read(ours, 4096)
        [child] = children_of(dev.pid)
        os.write(ours, b"\x03")
        assert dev.wait(timeout=60) == 0
        assert not lives(child)
        assert b"\x1b[32mINFO" in seen, "in colours"
    finally:
        dev.kill()
        dev.wait()
        os.close(ours)


def _own_terminal() -> None:
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def test_without_watchfiles_it_says_what_to_install(shop: Shop) -> None:
    (shop.folder / "watchfiles.py").write_text("raise ModuleNotFoundError('no', name='watchfiles')\n")
    dev = shop.start("dev")
    _, told = dev.communicate(timeout=60)
    assert dev.returncode == 2
    assert "pip install 'mainspring[dev]'" in told
    assert "Traceback" not in told


@pytest.mark.parametrize("args", [["sqlite:///shop.db"], ["--concurrency", "0"], ["--reload-dir", "nowhere"]])
def test_wrong_use_is_2(shop: Shop, args: list[str]) -> None:
    dev = shop.start("dev", *args)
    _, told = dev.communicate(timeout=60)
    assert dev.returncode == 2
    assert told


@pytest.mark.parametrize(
    ("path", "counts"),
    [
        ("app.py", True),
        ("deep/er/app.py", True),
        ("pyproject.toml", True),
        ("jobs.db", False),
        ("notes.txt", False),
        ("__pycache__/app.py", False),
        (".venv/lib/app.py", False),
        ("node_modules/thing/pyproject.toml", False),
    ],
)
def test_only_code_counts_as_a_change(tmp_path: Path, path: str, counts: bool) -> None:
    from watchfiles import Change

    assert code_filter()(Change.modified, str(tmp_path / path)) is counts
