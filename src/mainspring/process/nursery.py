"""The parent of the processes that run cpu handlers: it imports the tasks once, and forks a child per slot.

A fork of a process that has everything imported takes milliseconds, where a new interpreter takes a second, so that a
handler that crashes in each run costs little. The nursery has one thread and no event loop, which is what makes forking
safe; the worker, which has both, never forks. It lives as long as the line to its worker: at the end of that line it
kills its children and ends. Children have a process group each, so that what a handler has started dies with it, unless
it has left the group.

The line, in JSON: `{"fork": n}` (beside it the child's own line) is answered by `{"forked": n, "pid": p}` or
`{"failed": n, "error": …}`; `{"kill": p}` kills; `{"ended": p, "status": s}` tells of every end, as waitpid does.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import selectors
import signal
import socket
import sys
import threading
import traceback
from collections import deque
from typing import Any, NoReturn

from mainspring.events import emit
from mainspring.logs import configure_logging
from mainspring.process.handler import Handlers, flush, serve
from mainspring.process.loading import load
from mainspring.worker.wire import HEADER, Setup, decode_setup, length_of

EXIT_NOT_READY = 1
PR_SET_PDEATHSIG = 1
FDS = 16
"""The most file descriptors that are taken in at once."""


class Nursery:
    """Forks and buries children until the line ends."""

    def __init__(self, line: socket.socket, handlers: Handlers) -> None:
        self._line = line
        self._handlers = handlers
        self._pid = os.getpid()
        self._children: set[int] = set()
        self._fds: deque[int] = deque()
        self._partial = b""
        self._woken, self._waker = socket.socketpair()
        for end in (self._woken, self._waker):
            end.setblocking(False)

    def run(self) -> None:
        """Serve the line until it ends; then nobody is left."""
        signal.signal(signal.SIGCHLD, _nothing)
        signal.signal(signal.SIGTERM, self._terminated)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal: whoever stops the worker ends this too
        signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)
        try:
            with selectors.DefaultSelector() as selector:
                selector.register(self._line, selectors.EVENT_READ)
                selector.register(self._woken, selectors.EVENT_READ)
                while True:
                    ready = {key.fileobj for key, _ in selector.select()}
                    if self._woken in ready:
                        self._drain_wakeups()
                        self._bury()
                    if self._line in ready and not self._listen():
                        return
        except OSError:
            return  # the worker has gone while we spoke
        finally:
            self._kill_all()
            signal.set_wakeup_fd(-1)
            self._close()

    def _close(self) -> None:
        for end in (self._line, self._woken, self._waker):
            end.close()

    def _terminated(self, *_: object) -> None:
        self._kill_all()
        os._exit(128 + signal.SIGTERM)

    def _kill_all(self) -> None:
        if os.getpid() == self._pid:  # a fork that fails between its birth and its work is not to kill its siblings
            for pid in self._children:
                _kill_group(pid)
            for pid in self._children:
                _wait(pid)  # or the system's first process is to bury it, which in a container may never do that
            self._children.clear()

    def _drain_wakeups(self) -> None:
        try:
            while self._woken.recv(4_096):
                pass
        except BlockingIOError:
            pass

    # -- the line ------------------------------------------------------------------------------------------------------

    def _listen(self) -> bool:
        """Take in what the worker says. False: it says nothing more."""
        data, fds, _, _ = socket.recv_fds(self._line, 65_536, FDS)
        self._fds.extend(fds)
        if not data:
            return False
        *lines, self._partial = (self._partial + data).split(b"\n")
        for line in lines:
            self._obey(json.loads(line))
        return True

    def _obey(self, order: dict[str, Any]) -> None:
        if "fork" in order:
            self._fork(order["fork"], socket.socket(fileno=self._fds.popleft()))
        elif order["kill"] in self._children:
            _kill_group(order["kill"])

    def _say(self, **words: Any) -> None:
        self._line.sendall(json.dumps(words).encode() + b"\n")

    # -- children ------------------------------------------------------------------------------------------------------

    def _fork(self, number: int, line: socket.socket) -> None:
        if threading.active_count() > 1:
            emit("nursery.threads", 30, threads=", ".join(t.name for t in threading.enumerate()))
        try:
            pid = os.fork()
        except OSError as error:
            line.close()
            self._say(failed=number, error=str(error))
            return
        if not pid:
            self._become_child(line)
        line.close()
        _own_group(pid)
        self._children.add(pid)
        self._say(forked=number, pid=pid)

    def _become_child(self, line: socket.socket) -> NoReturn:
        status = 1
        try:
            _own_group(0)
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
                signal.signal(number, signal.SIG_DFL)
            self._close()
            _die_with_parent(self._pid)
            serve(line, self._handlers)
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            flush()
            os._exit(status)

    def _bury(self) -> None:
        """Tell of the children that have ended. One that is killed here and now stays a zombie until then, so no
        signal ever reaches a stranger that got its number."""
        while self._children:
            try:
                pid, status = _reap(self._children)
            except ChildProcessError:
                return
            if not pid:
                return
            if pid in self._children:
                self._children.discard(pid)
                self._say(ended=pid, status=status)


def _reap(own: set[int]) -> tuple[int, int | None]:
    """Bury one that has ended, and kill what the handler of an own child has started and left behind: before its
    number is free, where the system can tell (macOS can since Python 3.13). 0: none has ended."""
    if not hasattr(os, "waitid"):
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid in own:
            _kill_group(pid)
        return pid, os.waitstatus_to_exitcode(status)
    found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    if found is None:
        return 0, None
    if found.si_pid in own:
        _kill_group(found.si_pid)
    return found.si_pid, _wait(found.si_pid)


def _wait(pid: int) -> int | None:
    """Bury a child, once it has ended; its status as a process sees it."""
    try:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    except ChildProcessError:
        return None


def _nothing(*_: object) -> None:
    """A handler for SIGCHLD, so that the wake-up is written."""


def _own_group(pid: int) -> None:
    try:
        os.setpgid(pid, pid)
    except OSError:
        pass  # both sides do it, so that it is done whoever comes first


def _kill_group(pid: int) -> None:
    for kill in (os.killpg, os.kill):
        try:
            kill(pid, signal.SIGKILL)
        except OSError:
            pass  # it has ended, or its group has


def _die_with_parent(parent: int) -> None:
    """Linux kills this process when the nursery dies, even by SIGKILL. Elsewhere its worker does."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _read_setup(line: socket.socket) -> Setup:
    with line.makefile("rb", buffering=0) as stream:
        body = b""
        length = length_of(stream.read(HEADER.size) or b"")
        while len(body) < length:
            more = stream.read(length - len(body))
            if not more:
                raise EOFError("the worker has gone")
            body += more
    return decode_setup(body)


def main() -> None:
    """`python -m mainspring.process.nursery FD`: the worker's way to start one."""
    line = socket.socket(fileno=int(sys.argv[1]))
    setup = _read_setup(line)
    if setup.logging is not None:
        configure_logging(setup.logging[0], "json" if setup.logging[1] == "json" else "text")
    try:
        handlers = Handlers(load(setup), setup)
    except BaseException as error:
        text = "".join(traceback.format_exception(error)) if not str(error) else str(error)
        line.sendall(json.dumps({"unready": text[-4_000:]}).encode() + b"\n")
        sys.exit(EXIT_NOT_READY)
    line.sendall(json.dumps({"ready": os.getpid()}).encode() + b"\n")
    gc.collect()
    gc.freeze()  # so that the collector of a child does not touch, and so copy, the pages that all share
    Nursery(line, handlers).run()


if __name__ == "__main__":
    main()
