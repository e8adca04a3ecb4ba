"""The quickstart, followed to the letter: its files written, its commands typed, its worker killed."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, Block, blocks

pytestmark = pytest.mark.slow
PAGE = ROOT / "docs" / "quickstart.md"
SET_UP = ("python3 -m venv", "pip install", "export ")
"""Lines that have been done for this test."""


class Reader:
    """Somebody with two terminals, who reads the page from its beginning and does what it says."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.id = ""
        self.worker: subprocess.Popen[str] | None = None
        self.watch: subprocess.Popen[str] | None = None
        self.pid = 0
        paths = os.pathsep.join([str(ROOT / "src"), str(folder)])
        self.env = {**os.environ, "PYTHONPATH": paths, "MAINSPRING_APP": "app:app", "PYTHONUNBUFFERED": "1"}

    def follow(self, block: Block) -> None:
        if block.file:
            (self.folder / block.file).write_text(block.code)
            if self.worker is not None:  # "Mend app.py, restart the worker"
                self.stop()
                self.start()
        elif block.language == "console":
            lines = block.code.splitlines()
            for number, line in enumerate(lines):
                if line.startswith("$ ") and not line[2:].startswith(SET_UP):
                    shown = lines[number + 1] if number + 1 < len(lines) else "$ "
                    self.type(line[2:], "" if shown.startswith("$ ") else shown)

    def type(self, line: str, shown: str) -> None:
        """Type a command, and compare its answer with the page, but for ids."""
        words = shlex.split(re.sub(r"\bID\b|[0-9a-f]{8}-[0-9a-f-]{27}", self.id, line).replace('"to": 20', '"to": 5'))
        if words[0] == "kill":
            os.kill(self.pid, signal.SIGKILL)
            self.look_away()
        elif words[1] == "worker":
            self.start()
        elif words[1] == "watch":
            self.watch_a_little()
        else:
            self.compare(words, self.run(words), shown)

    def compare(self, words: list[str], answer: str, shown: str) -> None:
        if words[1] == "enqueue" and "--wait" not in words:
            self.id = answer.strip()
        elif shown:
            assert answer.strip() == shown
        if words[1:3] == ["dead", "retry"] or (words[1] == "enqueue" and words[2] == "charge"):
            self.run(["mainspring", "watch", self.id], check=False)
        if words[1:3] == ["jobs", "history"]:
            assert "Interrupted" in answer
        if words[1:3] == ["dead", "list"]:
            assert self.id in answer
        if words[1:3] == ["jobs", "get"]:
            assert "completed" in answer

    def run(self, words: list[str], check: bool = True) -> str:
        command = self.command(words)
        if words[1:3] == ["jobs", "history"]:  # "When it has ended, look"
            self.run(["mainspring", "watch", self.id])
        return subprocess.run(
            command, cwd=self.folder, env=self.env, check=check, stdout=subprocess.PIPE, text=True, timeout=60
        ).stdout

    def command(self, words: list[str]) -> list[str]:
        return [sys.executable, *(["-m", "mainspring"] if words[0] == "mainspring" else []), *words[1:]]

    def start(self) -> None:
        command = self.command(["mainspring", "worker"])
        self.worker = subprocess.Popen(command, cwd=self.folder, env=self.env, stderr=subprocess.PIPE, text=True)
        assert self.worker.stderr is not None
        for line in self.worker.stderr:
            if found := re.search(r"child\.started .*pid=(\d+)", line):
                self.pid = int(found[1])
            if "worker.started" in line:
                break

    def stop(self) -> None:
        if self.worker is not None:
            self.worker.send_signal(signal.SIGINT)
            self.worker.communicate(timeout=30)
            assert self.worker.returncode == 0

    def watch_a_little(self) -> None:
        command = self.command(["mainspring", "watch", self.id])
        self.watch = subprocess.Popen(command, cwd=self.folder, env=self.env, stdout=subprocess.PIPE, text=True)
        assert self.watch.stdout is not None
        for line in self.watch.stdout:
            if "counted 1" in line:
                break

    def look_away(self) -> None:
        if self.watch is not None:
            self.watch.kill()
            self.watch.communicate()
            self.watch = None


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    reader = Reader(tmp_path)
    yield reader
    reader.look_away()
    if reader.worker is not None and reader.worker.poll() is None:
        reader.worker.kill()
        reader.worker.communicate()


def test_the_quickstart_can_be_followed(reader: Reader) -> None:
    followed = [block for block in blocks(PAGE) if block.file or block.language == "console"]
    assert len(followed) > 10
    for block in followed:
        reader.follow(block)
    reader.stop()
