"""The process dies at its k-th store call, for every k: everything ends all the same, and adds up."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.chaos.fleet import ROOT


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("part", [1, 2])
def test_every_crash_point_is_recovered_from(tmp_path: Path, part: int) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.chaos.crash_points", str(tmp_path), str(part), "2"],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=390,
    )
    assert done.returncode == 0, done.stdout[-2_000:] + done.stderr[-4_000:]
    lines = done.stdout.splitlines()
    assert sum("recovered" in line for line in lines) >= 20, lines
    assert sum("ran through" in line for line in lines) == 2, lines
