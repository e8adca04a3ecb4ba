"""Log lines in colours, for who develops and looks on. Only on a terminal, and not where `NO_COLOR` is set."""

from __future__ import annotations

import logging
import os

from mainspring.logs import TextFormatter

_RESET, _DIM = "\x1b[0m", "\x1b[2m"
FORMAT = (
    f"{_DIM}%(asctime)s{_RESET} %(colour)s%(levelname)-7s{_RESET} {_DIM}%(process)d{_RESET} "
    f"%(bright)s%(message)s{_RESET}"
)
COLOURS = {
    logging.DEBUG: _DIM,
    logging.INFO: "\x1b[32m",
    logging.WARNING: "\x1b[33m",
    logging.ERROR: "\x1b[31m",
    logging.CRITICAL: "\x1b[1;31m",
}
"""By level; a level between two has the colour of the lower one."""


class ColourFormatter(TextFormatter):
    def __init__(self) -> None:
        super().__init__(FORMAT)

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  the name is Python's
        level = max((level for level in COLOURS if level <= record.levelno), default=logging.DEBUG)
        record.__dict__["colour"] = COLOURS[level]
        record.__dict__["bright"] = COLOURS[level] if level != logging.INFO else ""
        return super().formatMessage(record)


def colour_logs() -> None:
    """Give colours to the text lines that this process writes to a terminal."""
    if os.environ.get("NO_COLOR"):
        return
    for handler in logging.getLogger().handlers:
        if (
            isinstance(handler, logging.StreamHandler)
            and isinstance(handler.formatter, TextFormatter)
            and handler.stream.isatty()
        ):
            handler.setFormatter(ColourFormatter())
