"""Rows of processes that were forked from one."""

from __future__ import annotations

import subprocess
import sys

import pytest

FORK = """
import os
from mainspring.stores.mongo.rows import next_seq
parent = next_seq()
ends = {parent % 1024}
for _ in range(5):
    to_read, to_write = os.pipe()
    if not os.fork():
        os.write(to_write, str(next_seq() % 1024).encode())
        os._exit(0)
    ends.add(int(os.read(to_read, 10)))
    os.wait()
print(len(ends))
"""


@pytest.mark.slow
def test_forked_processes_do_not_number_their_jobs_alike() -> None:
    """Two jobs with one number would share their log. Of six ends in 1,024 two may be the same, by chance."""
    done = subprocess.run([sys.executable, "-c", FORK], capture_output=True, text=True, check=True)
    assert int(done.stdout) >= 4, "ends of the numbers of six processes"
