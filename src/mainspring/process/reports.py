"""What a cpu handler says while it runs: log lines and progress, on their way to its worker.

The first one goes at once, so that what is said just before a crash is seen; what follows within moments goes together,
so that a handler that says a lot does not keep its worker busy.
"""

from __future__ import annotations

import os
import socket
import threading
from collections import deque

from mainspring.worker.wire import Message, Report, frame

AT_ONCE = 500
"""Lines of a message: of 8 KB each, at the most."""
TOGETHER = 0.05
"""Seconds in which what is said goes together."""


class Reports:
    """The line of one run. Safe from any thread of the handler; a fork that it makes is not heard."""

    def __init__(self, line: socket.socket, keep: int) -> None:
        self._line = line
        self._own = os.getpid()
        self._changed = threading.Condition()
        self._lines: deque[tuple[str, str, int]] = deque(maxlen=keep)
        self._progress: str | None = None
        self._sender: threading.Thread | None = None
        self._waiting = False
        """Something is to be said, when the moment is over."""
        self._ended = False

    def say(self, text: str, level: str, at: int) -> None:
        """A line of the job's log; `at` in ms."""
        if os.getpid() != self._own:  # two that write on one line could not be told apart, and it may outlive the job
            return
        with self._changed:
            self._lines.append((text, level, at))
            self._soon()

    def progress(self, text: str) -> None:
        """The progress, as JSON. Only the newest counts."""
        if os.getpid() != self._own:
            return
        with self._changed:
            self._progress = text
            self._soon()

    def end(self, answer: Message) -> None:
        """Say the last things, and the answer. What comes later, from a thread left behind, is said to nobody."""
        with self._changed:
            self._send()
            self._ended = True
            self._changed.notify()
            self._line.sendall(frame(answer))

    def _soon(self) -> None:
        """Now, where nothing was said a moment ago; else with what was."""
        if self._ended:
            return
        if self._sender is None:
            self._send()
            self._sender = threading.Thread(target=self._send_on, name="mainspring-reports", daemon=True)
            self._sender.start()
        elif not self._waiting:
            self._waiting = True
            self._changed.notify()

    def _send_on(self) -> None:
        with self._changed:
            while not self._ended:
                self._changed.wait_for(lambda: self._ended, TOGETHER)
                if self._ended:
                    return
                self._send()
                self._waiting = False
                self._changed.wait_for(lambda: self._waiting or self._ended)

    def _send(self) -> None:
        while self._lines or self._progress is not None:
            lines = [self._lines.popleft() for _ in range(min(len(self._lines), AT_ONCE))]
            report, self._progress = Report(lines=lines, progress=self._progress), None
            self._line.sendall(frame(report))
