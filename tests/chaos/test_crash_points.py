"""The process dies at its k-th store call, for every k: everything ends all the same, and adds up."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.chaos.fleet import ROOT
from tests.chaos.places import Place, places
from tests.stores.redis.audit import audit


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("first", [1, 2])
def test_every_crash_point_is_recovered_from(tmp_path: Path, first: int) -> None:
    assert recovered(tmp_path, str(first), "2") >= 20


@pytest.mark.slow
@pytest.mark.timeout(400)
@places("redis7", "cluster")
def test_crash_points_are_recovered_from_on_a_server(place: Place, tmp_path: Path) -> None:
    assert recovered(tmp_path, "1", "3", place.url.partition("?")[0]) >= 12
    if place.server is not None:
        for folder in tmp_path.iterdir():
            audit(place.server.url, folder.name)


def recovered(folder: Path, *arguments: str) -> int:
    """How many crash points were recovered from; the first that is beyond the scenario runs through."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.chaos.crash_points", str(folder), *arguments],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=390,
    )
    assert done.returncode == 0, done.stdout[-2_000:] + done.stderr[-4_000:]
    lines = done.stdout.splitlines()
    assert sum("ran through" in line for line in lines) == 2, lines
    return sum("recovered" in line for line in lines)
