"""Log lines that say which run wrote them, as text or as JSON.

A context variable tells the run: it follows the tasks that a handler starts and is carried into its thread. So a line
that a library writes while a handler runs belongs to the run too. A filter puts the run into the records, so that
nothing of Python's logging is replaced: `mainspring worker` sets it up by `configure_logging`, any other program as it
likes.
"""

from __future__ import annotations

import json
import logging
import sys
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Literal, Protocol, TextIO

from mainspring.errors import DefinitionError

TEXT = "%(asctime)s %(levelname)-7s %(process)d %(message)s"
FIELDS = ("job_id", "task", "attempt", "queue")
_USUAL = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "event", "fields", *FIELDS}


class Running(Protocol):
    """A run, as far as a log line names it."""

    @property
    def job_id(self) -> str: ...

    @property
    def task(self) -> str: ...

    @property
    def queue(self) -> str: ...

    @property
    def attempt(self) -> int: ...


running: ContextVar[Running | None] = ContextVar("mainspring_run", default=None)
"""The run that the code under way belongs to. Set by whoever calls a handler."""


class JobFilter(logging.Filter):
    """Gives every record `job_id`, `task`, `attempt` and `queue`: of the run that wrote it, else empty text.

    To be added to a handler, not to a logger, which would not ask it for the records of others. A field that a
    record brings itself is left as it is. Lets every record pass.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        run = running.get()
        for field in FIELDS:
            if field not in record.__dict__:
                record.__dict__[field] = "" if run is None else getattr(run, field)
        return True


class TextFormatter(logging.Formatter):
    """Lines for people, with the run at their end: `... charged [send-invoice 0193... attempt=1 queue=default]`."""

    def __init__(self, format: str = TEXT) -> None:
        super().__init__(format)

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  the name is Python's
        text = super().formatMessage(record)
        run = record.__dict__
        if not run.get("job_id") or "job_id" in run.get("fields", ()):
            return text
        return f"{text} [{run['task']} {run['job_id']} attempt={run['attempt']} queue={run['queue']}]"


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, process, the run, what came as `extra`, the exception.

    Of Mainspring's own lines also `event` and its fields. What JSON cannot carry is written as its text.
    """

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC)
        line: dict[str, object] = {
            "time": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "process": record.process,
        }
        more = record.__dict__
        line |= {field: more[field] for field in FIELDS if more.get(field) not in (None, "")}
        if "event" in more:
            line["event"] = more["event"]
        if isinstance(fields := more.get("fields"), dict):
            line |= {str(name): value for name, value in fields.items() if name not in line or name in FIELDS}
        line |= {name: value for name, value in more.items() if name not in _USUAL and name not in line}
        if record.exc_info and record.exc_info[0] is not None:
            line["exception"] = self.formatException(record.exc_info)
        if record.stack_info:
            line["stack"] = self.formatStack(record.stack_info)
        try:
            return json.dumps(line, default=str)
        except (TypeError, ValueError):  # keys that are no text, a circle
            return json.dumps({name: value if isinstance(value, int) else str(value) for name, value in line.items()})


configured: tuple[int | str, str] | None = None
"""Level and format, where `configure_logging` was called in this process: those that it starts do the same."""
FORMATTERS: dict[str, type[TextFormatter] | type[JsonFormatter]] = {"text": TextFormatter, "json": JsonFormatter}


def configure_logging(
    level: int | str = "INFO", format: Literal["text", "json"] = "text", stream: TextIO | None = None
) -> None:
    """Write what is logged in this process to `stream` (default: stderr), each line with its run.

    In place of the handlers that the root logger has. Raises `DefinitionError`.
    """
    if format not in FORMATTERS:
        raise DefinitionError(f"bad log format: {format!r}. Expected one of: {', '.join(FORMATTERS)}.")
    global configured
    handler = logging.StreamHandler(sys.stderr if stream is None else stream)
    handler.addFilter(JobFilter())
    handler.setFormatter(FORMATTERS[format]())
    try:
        logging.basicConfig(level=level.upper() if isinstance(level, str) else level, handlers=[handler], force=True)
    except (ValueError, TypeError) as e:
        raise DefinitionError(f"bad log level: {level!r}. Expected debug, info, warning, error or critical.") from e
    configured = (level, format)
