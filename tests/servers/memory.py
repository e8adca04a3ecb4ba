"""Folders in memory for servers that write much, and their removal once nobody has them any more.

A test process that is killed leaves its folder behind, and there that is memory: the next one clears it away. A folder
is in use for as long as the process lives that holds a lock on it; the kernel lets go of that lock at any end.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from pathlib import Path
from time import time

PLACE = Path("/dev/shm")
ENOUGH = 2 * 1024**3
"""Bytes that must be free there; a container often has 64 MB."""
PREFIX = "mainspring-test-"
_YOUNG = 60.0
"""Seconds in which a folder may have no lock yet."""

_locks: dict[Path, int] = {}


def new_folder(name: str) -> Path | None:
    """A folder in memory, until `release`; None if this machine has no room for one."""
    if not os.access(PLACE, os.W_OK):
        return None
    _clear()
    if shutil.disk_usage(PLACE).free < ENOUGH:
        return None
    folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{name}-", dir=PLACE))
    _locks[folder] = os.open(folder, os.O_RDONLY)
    fcntl.flock(_locks[folder], fcntl.LOCK_SH)
    return folder


def release(folder: Path) -> None:
    """Let go of a folder that has been removed; any other is none of ours."""
    if (lock := _locks.pop(folder, None)) is not None:
        os.close(lock)


def _clear() -> None:
    """Remove the folders of processes that have ended."""
    for folder in PLACE.glob(f"{PREFIX}*"):
        try:
            if time() - folder.stat().st_mtime > _YOUNG and _abandoned(folder):
                shutil.rmtree(folder, ignore_errors=True)
        except OSError:  # another process has just removed it, or it is somebody else's
            continue


def _abandoned(folder: Path) -> bool:
    lock = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(lock)
    return True
