"""Waiting for what a server does by itself. A server tells nobody that it is ready, so this asks it again and again."""

from __future__ import annotations

import threading
from collections.abc import Callable
from time import monotonic
from typing import TypeVar

T = TypeVar("T")

_NEVER = threading.Event()


PATIENCE = 120.0
"""Seconds after which a test gives up on what it waits for. They measure nothing: a machine may stand still for longer
than anybody thinks, and who does not wait in vain loses nothing by waiting long."""


def until(answer: Callable[[], T], what: str, seconds: float = PATIENCE, every: float = 0.01) -> T:
    """Call `answer` until it is true, and answer that. Raises `AssertionError` after `seconds`."""
    end = monotonic() + seconds
    while not (found := answer()):
        if monotonic() > end:
            raise AssertionError(f"waited {seconds} s in vain for: {what}")
        _NEVER.wait(every)
    return found
