"""The app of the demo and its tasks."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from mainspring import Context, Debounce, Mainspring, Retry
from mainspring.demo.library import Docstrings, docstrings_of, hash_of, lines_of, unlucky

STORE = "MAINSPRING_DEMO_STORE"
"""The variable that names the store; the demo sets it for its workers."""

app = Mainspring(os.environ.get(STORE) or f"sqlite:///{Path(tempfile.gettempdir()) / 'mainspring-demo.db'}")
quickly = Retry(max_attempts=3, backoff="fixed", initial_delay="300ms", jitter=0.5)


@app.task(retry=quickly)
def hash_file(ctx: Context, path: str) -> str:
    """The SHA-256 of a file. Some first attempts fail."""
    if ctx.attempt == 1 and unlucky(path):
        raise ConnectionError("made up: the network drive did not answer")
    return hash_of(path)


@app.task(retry=quickly)
def count_lines(path: str) -> int:
    """The lines of a file. What does not exist cannot be counted, however often it is tried."""
    return lines_of(path)


@app.task(retry=Retry(max_attempts=10, backoff="fixed", initial_delay="100ms"))
def extract_docstrings(path: str) -> Docstrings:
    """What the docstrings of a file say.

    Some failures here are not made up: in some releases of Python 3.11 and 3.12 two threads that parse at once (and to
    format a traceback is to parse) now and then end in a SystemError (python/cpython#106905). Retries are for that.
    """
    return docstrings_of(path)


@app.task(priority=90)
async def remind(text: str) -> str:
    """Started at a time of its own, before whatever else waits."""
    return text


@app.task(priority=90, debounce=Debounce("700ms", max_wait="10s"))
async def publish(version: int) -> int:
    """Called a hundred times, run once, with the newest version."""
    return version
