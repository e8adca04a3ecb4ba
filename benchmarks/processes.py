"""Worker processes of both systems as the benchmarks see them: started, measured from outside, stopped."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[1]
TICKS = os.sysconf("SC_CLK_TCK")


def environment(**more: str) -> dict[str, str]:
    return os.environ | {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"} | more


@contextmanager
def running(command: list[str], **more: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process in this folder, ended at the end of the block."""
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment(**more),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def mainspring_worker(processes: int, concurrency: int) -> list[str]:
    worker = ["worker", "benchmarks.bench_app:app", "--processes", str(processes), "--concurrency", str(concurrency)]
    return [sys.executable, "-m", "mainspring.cli", *worker, "--log-level", "error"]


def huey_worker(workers: int) -> list[str]:
    script = Path(sys.executable).with_name("huey_consumer")
    return [sys.executable, str(script), "benchmarks.huey_app.huey", "-w", str(workers), "-k", "process", "-q"]


def family(pid: int) -> list[int]:
    """The process and its descendants."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [pid, *(member for child in children for member in family(int(child)))]


def cpu_seconds(pids: list[int]) -> float:
    total = 0
    for pid in pids:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        total += int(fields[11]) + int(fields[12])
    return total / TICKS


def rss_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return 0.0
