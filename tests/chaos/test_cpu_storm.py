"""10,000 jobs of cpu handlers that segfault, exit, leak, raise and loop for ever: all end as promised, and their worker
neither grows nor keeps anything open."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.chaos.fleet import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1_200)]

JOBS = 10_000
GROWTH = 8_000_000
"""Bytes that a process may differ in between two looks without having grown."""


def test_the_worker_stays_as_it_was(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.chaos.cpu_storm", f"sqlite:///{tmp_path}/storm.db", str(JOBS)],
        cwd=ROOT, capture_output=True, text=True, timeout=1_150, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4_000:]
    told = json.loads(done.stdout.splitlines()[-1])
    tenth, hundredth = JOBS // 10, JOBS // 100
    assert told["states"] == {
        "good completed": 4 * tenth - hundredth,
        "leaks completed": 2 * tenth,
        "beside completed": tenth,
        "raises dead": tenth,
        "exits dead": tenth,
        "segfaults dead": tenth,
        "loops dead": hundredth,
    }
    memory, files = zip(*told["after"], strict=True)
    print(f"1,000 and {JOBS:,} jobs: resident {memory[1]:,} and {memory[-1]:,}, open files {files[1]} and {files[-1]}")
    assert memory[-1] - memory[1] < GROWTH
    assert files[-1] <= files[1] + 8
