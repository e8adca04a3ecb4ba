"""An exception as a record: type, message, and the end of its traceback without our own frames."""

from __future__ import annotations

import traceback

from mainspring.core.job import Error
from mainspring.core.outcome import Steer
from mainspring.errors import MainspringError
from mainspring.worker.text import storable

TEXT_LIMIT = 2_000
TRACEBACK_LIMIT = 4_000
OURS = ("mainspring.worker.", "mainspring.process.")


def describe(error: BaseException) -> Error:
    """Never fails: the exception is the user's."""
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_globals.get("__name__", "").startswith(OURS):
        frames = frames.tb_next
    try:
        text = "".join(traceback.format_exception(type(error), error, frames))[-TRACEBACK_LIMIT:]
    except Exception:  # an exception of the user's, in which anything may be
        text = ""
    name = type(error).__qualname__ if isinstance(error, MainspringError | Steer) else _name(type(error))
    limit = 2 * TRACEBACK_LIMIT  # what cannot be stored grows as it is shown
    return Error(type=name, message=storable(error, TEXT_LIMIT), traceback=storable(text, limit))


def _name(kind: type[BaseException]) -> str:
    """In a handler's process the program's main module goes by another name."""
    if kind.__module__ in ("builtins", "__main__", "__mp_main__"):
        return kind.__qualname__
    return f"{kind.__module__}.{kind.__qualname__}"
