"""What a handler prints and logs, as lines of its job's log, beside where it went before.

Which run a `print` belongs to is told by a context variable: it follows the tasks that a handler starts and is carried
into the handler's thread, so that many runs at once do not mix. The hooks are in place while a capturing run is under
way, and no longer: a worker that captures nothing never touches `sys.stdout`.

Records are taken at `Logger.callHandlers`, not by a handler of the root logger. A handler there would turn
`logging.basicConfig()` into a no-op for the whole process and silence the last resort, which prints the warnings of a
program that has configured nothing.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from contextvars import ContextVar, Token
from types import TracebackType
from typing import Any

from mainspring.worker.context import LINE_LIMIT
from mainspring.worker.text import storable

STREAMS = {"stdout": "info", "stderr": "warning"}
"""The level of what is printed there."""
LOWEST = logging.INFO
TRACE_LIMIT = 4_000
"""Of the traceback of a logged exception, the end: there it says which."""

Say = Callable[[str, str], object]
CallHandlers = Callable[[logging.Logger, logging.LogRecord], None]

_current: ContextVar[Capture | None] = ContextVar("mainspring_output", default=None)


class Capture:
    """The output of one run: `with Capture(say, keep): …`. Safe from any thread; lets go of the run at its end.

    `say(text, level)` takes a line and cuts it; `keep` is how many lines anybody will ever see.
    """

    __slots__ = ("_keep", "_lock", "_partial", "_say", "_token")

    def __init__(self, say: Say, keep: int) -> None:
        self._say: Say | None = say
        self._keep = keep
        self._partial: dict[str, str] = {}
        """Per level, the line that has no end yet; no more of it than will be shown."""
        self._lock = threading.RLock()  # a finaliser may print while a line is taken

    def __enter__(self) -> None:
        _HOOKS.put_on()
        self._token: Token[Capture | None] = _current.set(self)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _HOOKS.take_off()
        with suppress(ValueError):  # another context: the loop was left, and the run is being collected
            _current.reset(self._token)
        with self._lock:
            for level, line in self._partial.items():
                if line and self._say is not None:
                    self._say(_shown(line), level)
            self._partial.clear()
            self._say = None  # what the handler has left behind may go on printing

    def printed(self, level: str, text: str) -> None:
        """Take what was written to a stream: lines, and perhaps the beginning of one."""
        with self._lock:
            if self._say is None:
                return
            *ended, rest = text.rsplit("\n", self._keep + 1)
            if len(ended) > self._keep:  # a huge text: only the lines that would be kept
                del ended[0]
                self._partial.pop(level, None)
            for line in ended:
                self._say(_shown(self._partial.pop(level, "") + line), level)
            begun = self._partial.get(level, "")
            if rest and (len(begun) <= LINE_LIMIT or "\r" in rest):
                self._partial[level] = _begun_anew(begun + rest)[: LINE_LIMIT + 1]

    def logged(self, record: logging.LogRecord) -> None:
        """Take a record, whatever its level, as one line."""
        text = _text_of(record)
        with self._lock:
            if self._say is not None:
                self._say(text, _level_of(record.levelno))


class Tee:
    """A text stream that passes everything on, and shows the run under way what is written. All else is `target`'s."""

    def __init__(self, target: Any, level: str) -> None:
        self.target = target
        self._level = level

    def write(self, text: str) -> Any:
        capture = _current.get()
        if capture is None:
            return self.target.write(text)
        if isinstance(text, str):
            capture.printed(self._level, text)
        token = _current.set(None)  # the target may be a wrapper of another Tee
        try:
            return self.target.write(text)
        finally:
            _current.reset(token)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.target, name)

    def __enter__(self) -> Tee:
        return self

    def __exit__(self, *error: object) -> None:
        self.target.__exit__(*error)

    def __iter__(self) -> Any:
        return iter(self.target)


class Hooks:
    """The hooks of this process: on while a run captures. What somebody else puts over them is left in place."""

    def __init__(self) -> None:
        self._lock = threading.RLock()  # a run that nobody waits for ends whenever it is collected, here too
        self._wanted = 0
        self._hook: Any = None
        self._original: Any = logging.Logger.callHandlers

    def put_on(self) -> None:
        """For one run more. Where a stream was replaced meanwhile, its successor is hooked."""
        with self._lock:
            self._wanted += 1
            for name, level in STREAMS.items():
                stream = getattr(sys, name)
                if stream is not None and not isinstance(stream, Tee):
                    setattr(sys, name, Tee(stream, level))
            if logging.Logger.callHandlers is not self._hook:
                self._original = logging.Logger.callHandlers
                self._hook = _seeing(self._original)
                logging.Logger.callHandlers = self._hook  # type: ignore[method-assign]

    def take_off(self) -> None:
        with self._lock:
            self._wanted -= 1
            if self._wanted:
                return
            for name in STREAMS:
                stream = getattr(sys, name)
                if isinstance(stream, Tee):
                    setattr(sys, name, stream.target)
            if logging.Logger.callHandlers is self._hook:
                logging.Logger.callHandlers = self._original  # type: ignore[method-assign]


_HOOKS = Hooks()


def _seeing(original: CallHandlers) -> CallHandlers:
    """`original`, which shows the run under way its records. What it prints is not captured again."""

    def call_handlers(logger: logging.Logger, record: logging.LogRecord) -> None:
        capture = _current.get()
        if capture is None:
            original(logger, record)
            return
        if record.levelno >= LOWEST and record.name.partition(".")[0] != "mainspring":
            capture.logged(record)
        token = _current.set(None)
        try:
            original(logger, record)
        finally:
            _current.reset(token)

    return call_handlers


def _begun_anew(line: str) -> str:
    """A line as a terminal shows it: a carriage return begins it anew, as progress bars do. One at its end may belong
    to a line break."""
    return line[line.rfind("\r", 0, len(line) - 1) + 1 :]


def _shown(line: str) -> str:
    return _begun_anew(line).removesuffix("\r")


def _level_of(number: int) -> str:
    if number < logging.INFO:
        return "debug"
    if number < logging.WARNING:
        return "info"
    if number < logging.ERROR:
        return "warning"
    return "error" if number < logging.CRITICAL else "critical"


def _text_of(record: logging.LogRecord) -> str:
    """The message, and the exception where one was logged. Never fails: the arguments are the user's."""
    try:
        message, trace = record.getMessage(), ""
        if record.exc_info and record.exc_info[0] is not None:
            trace = "\n" + logging.Formatter().formatException(record.exc_info)[-TRACE_LIMIT:]
        return storable(message, LINE_LIMIT - len(trace)) + trace
    except Exception:
        return storable(record.msg, LINE_LIMIT)
