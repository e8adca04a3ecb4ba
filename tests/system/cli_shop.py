"""The app that the command line is tried on: a module in a folder of its own, found as users' apps are found."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import pty
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import pytest
import typer.main

import mainspring
from mainspring import Mainspring
from mainspring.cli import app as commands
from mainspring.core.ids import new_token
from mainspring.errors import StoreUnavailable
from mainspring.stores.sqlite.store import SQLiteStore

T = TypeVar("T")
COMMAND = typer.main.get_command(commands)

SOURCE = """
import asyncio
from mainspring import Context, Mainspring

app = Mainspring("sqlite:///shop.db")

@app.task(queue="emails", retries=0)
async def send(ctx: Context, to: str) -> str:
    ctx.log(f"sending to {to}")
    if to == "nobody":
        raise ValueError("no such [red]address[/red]\\x1b[31m")
    return f"sent to {to}"

@app.task
async def endless() -> None:
    await asyncio.Event().wait()
"""


class Ended(NamedTuple):
    """How a command ended, and what it printed."""

    exit_code: int
    stdout: str
    stderr: str

    @property
    def output(self) -> str:
        return self.stdout + self.stderr


class Shop:
    """A folder with `shop.py`, and ways to talk to it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = f"sqlite:///{folder}/shop.db"
        (folder / "shop.py").write_text(SOURCE)

    def run(self, *args: str, input: str | None = None) -> Ended:
        """A command, in this process. `CliRunner` would build all commands anew each time: 0.1 s."""
        out, err, stdin = io.StringIO(), io.StringIO(), sys.stdin
        sys.stdin = io.StringIO(input or "")
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as ended:
                COMMAND(args=list(args), prog_name="mainspring")
        finally:
            sys.stdin = stdin
        code = ended.value.code
        assert code is None or isinstance(code, int)
        return Ended(code or 0, out.getvalue(), err.getvalue())

    def ok(self, *args: str, input: str | None = None) -> str:
        """What a command prints that does what it is told."""
        result = self.run(*args, input=input)
        assert result.exit_code == 0, result.output
        return result.stdout

    def lines(self, *args: str) -> list[list[str]]:
        """The rows that a command prints, by field."""
        return [line.split("\t") for line in self.ok(*args).splitlines()]

    def start(self, *args: str, **options: Any) -> subprocess.Popen[str]:
        """A command, in a process of its own."""
        return subprocess.Popen([sys.executable, "-m", "mainspring.cli", *args], **self._settings() | options)

    def environment(self) -> dict[str, str]:
        """The variables of its commands."""
        source = str(Path(mainspring.__file__).parents[1])
        return os.environ | {"PYTHONPATH": source, "MAINSPRING_APP": "shop:app", "COLUMNS": "160"}

    def _settings(self) -> dict[str, Any]:
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL}
        return {"cwd": self.folder, "env": self.environment(), "text": True, **pipes}

    def call(self, command: Callable[[Mainspring], Awaitable[T]]) -> T:
        """Do something to the same store through the library."""

        async def session() -> T:
            async with Mainspring(self.url) as app:
                return await command(app)

        return asyncio.run(session())


def entered(folder: Path, monkeypatch: pytest.MonkeyPatch, *, named: bool = True) -> Shop:
    """A shop in this folder, which is the working directory. `named`: its app is in the environment."""
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, "shop", raising=False)
    if named:
        monkeypatch.setenv("MAINSPRING_APP", "shop:app")
    else:
        monkeypatch.delenv("MAINSPRING_APP", raising=False)
    return Shop(folder)


def fail_second_save(monkeypatch: pytest.MonkeyPatch) -> None:
    """The store goes away in the middle of an act on more than one batch."""
    save, calls = SQLiteStore.save, 0

    async def failing(self: Any, *args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise StoreUnavailable("the disk is away")
        return await save(self, *args, **kwargs)

    monkeypatch.setattr(SQLiteStore, "save", failing)


async def claim_all(app: Mainspring, queue: str, task: str) -> None:
    """Take all due jobs of a task, as a worker does that then says nothing more."""
    client = await app.connect()
    now = app.clock.now()
    await client.store.claim(queue, {task: None}, "w:1", new_token(), now, now + 60_000, 100)


def on_terminal(shop: Shop, *args: str, typed: str = "", columns: int = 160) -> tuple[int, str]:
    """A command on a terminal of so many columns, and what is seen there."""
    ours, theirs = pty.openpty()
    env = shop.environment() | {"COLUMNS": str(columns)}
    command = shop.start(*args, stdin=theirs, stdout=theirs, stderr=theirs, env=env)
    os.close(theirs)
    os.write(ours, typed.encode())
    seen = b""
    try:
        while chunk := os.read(ours, 4096):
            seen += chunk
    except OSError:
        pass  # the terminal is closed: the command has ended
    finally:
        os.close(ours)
    return command.wait(timeout=60), seen.decode()


@contextlib.contextmanager
def asked(shop: Shop, *args: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A command that waits on a terminal for the answer to a question; and the terminal."""
    ours, theirs = pty.openpty()
    command = shop.start(*args, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    seen = b""
    try:
        while b"[y/N]: " not in seen:
            seen += os.read(ours, 4096)
        while Path(f"/proc/{command.pid}/stat").read_text().rpartition(") ")[2][0] != "S":
            pass  # it has asked, and does not read yet
        yield command, ours
    finally:
        command.kill()
        command.wait()
        os.close(ours)
