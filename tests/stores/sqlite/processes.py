"""Other processes: small programs that open the store for themselves, told what to do by a line on their input."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]


class Child:
    """`python -m tests.stores.sqlite.child ACTION PATH ...`, which says `ready`, waits for a line, acts, and ends."""

    def __init__(self, action: str, path: Path, *words: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.stores.sqlite.child", action, str(path), *words],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    async def ready(self) -> None:
        assert self._process.stdout is not None
        line = await asyncio.to_thread(self._process.stdout.readline)
        assert line == "ready\n", f"the child said {line!r}"

    def go(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()

    async def end(self) -> str:
        """What it said after that; it must have ended well."""
        said, _ = await asyncio.to_thread(self._process.communicate, timeout=30)
        assert self._process.returncode == 0, said
        return said

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()


async def run_children(*children: Child) -> list[str]:
    """Let them all go at once; what each said."""
    try:
        for child in children:
            await child.ready()
        for child in children:
            child.go()
        return [await child.end() for child in children]
    finally:
        for child in children:
            child.kill()
