"""The processes of a run: each in a session of its own with all that it starts, and none of them outlives its block."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.processes import TICKS, family


class Failed(Exception):
    """A system did not do what was asked within its time. What it said last is in the text."""


@contextmanager
def running(command: list[str], environment: Mapping[str, str], output: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process with all its descendants, killed at the end of the block."""
    with output.open("ab") as file:
        process = subprocess.Popen(
            command,
            env=os.environ | environment,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        kill(process)


def kill(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL to the process, its group and its descendants, who may have left the group. Twice is once."""
    if process.returncode is not None:
        return
    for pid in reversed(family(process.pid)):
        _send(os.kill, pid)
    _send(os.killpg, process.pid)
    process.wait()


def _send(by: Any, pid: int) -> None:
    try:
        by(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def answer(command: list[str], environment: Mapping[str, str], output: Path, seconds: float) -> dict[str, Any]:
    """The JSON object that a program prints last. Raises `Failed` when it fails or takes longer."""
    with running(command, environment, output) as process:
        try:
            code = process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Failed(f"no answer in {seconds:.0f} s: {last_line(output)}") from None
    said = last_line(output)
    if said.startswith("{"):  # whatever happened at exit: the work was done, and the answer is the last thing it said
        return json.loads(said)  # type: ignore[no-any-return]
    raise Failed(f"it ended with {code}: {said}")


def last_line(output: Path) -> str:
    lines = [line for line in output.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1].strip()[:300] if lines else "it said nothing"


def memory_mb(pids: list[int]) -> float:
    """Of all these processes, what they share counted once (PSS)."""
    return sum(_pss(pid) for pid in pids) / 1024


def _pss(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)


def cpu_of(process: subprocess.Popen[bytes]) -> float:
    """CPU seconds that a process and its descendants have used; those that have ended count once they are buried."""
    return sum(_cpu(pid) for pid in family(process.pid)) / TICKS


def _cpu(pid: int) -> int:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return sum(int(field) for field in fields[11:15])


def wait_for(
    condition: Any, seconds: float, process: subprocess.Popen[bytes] | None = None, look: float = 0.01
) -> bool:
    """Look until it is so; False when the time is over or the process has ended."""
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until or (process is not None and process.poll() is not None):
            return False
        time.sleep(look)
    return True
