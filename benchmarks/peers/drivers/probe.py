"""What every handler does beside its work: it says that it ran, in memory that the harness reads.

Standard library only. Nothing is sent to Redis, and it is the same for every system. A tick costs about a microsecond
(0.8 to 1.4 measured, with other work beside): one slot per process in a mapped file holds a count and the times of its
first and its latest run. Clocks are CLOCK_MONOTONIC, which all processes of a machine share.
"""

import mmap
import os
import struct
import threading
import time
from pathlib import Path

FOLDER = Path(os.environ["PEERS_FOLDER"])
"""Where this run's slots, delays and logs lie."""

_lock = threading.Lock()
_slot = None
_delays = -1
_log = -1


def _open_slot():
    global _slot
    with open(FOLDER / f"slot.{os.getpid()}", "w+b") as file:
        file.write(bytes(24))
        file.flush()
        _slot = memoryview(mmap.mmap(file.fileno(), 24)).cast("q")
    return _slot


def share():
    """Keep this process's slot in its children too: for a system that forks one process per job, one at a time."""
    _open_slot()
    os.environ["PEERS_SHARED_SLOT"] = str(os.getpid())


def _forked():
    global _slot, _lock, _delays, _log
    _lock = threading.Lock()
    _delays = _log = -1
    if "PEERS_SHARED_SLOT" not in os.environ:
        _slot = None


os.register_at_fork(after_in_child=_forked)


def tick():
    """One no-op job has run."""
    with _lock:
        slot = _slot or _open_slot()
        now = time.monotonic_ns()
        if not slot[0]:
            slot[1] = now
        slot[0] += 1
        slot[2] = now


def delay(sent):
    """A job that was sent at this time has just begun."""
    global _delays
    now = time.monotonic_ns()
    if _delays < 0:
        _delays = os.open(FOLDER / f"delays.{os.getpid()}", os.O_CREAT | os.O_APPEND | os.O_WRONLY)
    os.write(_delays, struct.pack("q", now - sent))
    tick()


def log(word, n):
    """A line in the log that all processes share: `begin 17 123456789`."""
    global _log
    if _log < 0:
        _log = os.open(FOLDER / "log", os.O_CREAT | os.O_APPEND | os.O_WRONLY)
    os.write(_log, f"{word} {n} {time.monotonic_ns()}\n".encode())
