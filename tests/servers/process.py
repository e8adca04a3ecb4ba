"""A server process under test: on a free loopback port, in a temporary folder, and never left behind."""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import weakref
from pathlib import Path
from random import SystemRandom
from types import TracebackType
from typing import Self

from tests.servers.binaries import find

_random = SystemRandom()  # the seeded one gives the same ports to every process of a parallel test run
_alive: weakref.WeakSet[ServerProcess] = weakref.WeakSet()


def free_port() -> int:
    """A port that nobody listens on, below those that the kernel gives to outgoing connections: it stays free."""
    while True:
        port = _random.randrange(12_000, 32_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return port


class ServerProcess:
    """One program with one configuration file, which can be started, ended, frozen and started again.

    It ends with the test process, however that ends: where `setpriv` is there, also after a SIGKILL. For that it must
    be started by a thread that stays, as the main thread does.
    """

    def __init__(self, kind: str, *arguments: str) -> None:
        self.kind = kind
        self.port = free_port()
        self.folder = self._make_folder()
        self.configuration = self.folder / "server.conf"
        self.arguments = arguments
        self.frozen = False
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            print(self.log()[-4_000:])
        self.close()

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        assert self._process is not None, "not started"
        return self._process.pid

    def launch(self) -> None:
        """Start the program; whether it answers is for the caller to find out."""
        assert not self.running, "runs already"
        guard = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*guard, str(find(self.kind)), *self._command_line()],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        _alive.add(self)

    def log(self) -> str:
        path = self.folder / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    def kill(self) -> None:
        """SIGKILL: nothing is written any more."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """SIGTERM, as an administrator would; waits until it has ended."""
        self._end(signal.SIGTERM)

    def freeze(self) -> None:
        """SIGSTOP: connections stay open, nothing is answered from here on."""
        os.kill(self.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, self.pid, os.WSTOPPED)  # its threads stop one after another, and one may still answer
        self.frozen = True

    def thaw(self) -> None:
        os.kill(self.pid, signal.SIGCONT)
        self.frozen = False

    def close(self) -> None:
        """End it and remove its folder."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _make_folder(self) -> Path:
        return Path(tempfile.mkdtemp(prefix=f"{self.kind}-"))

    def _command_line(self) -> list[str]:
        return [str(self.configuration), *self.arguments]

    def _end(self, number: int) -> None:
        process, self._process = self._process, None
        self.frozen = False
        if process is None:
            return
        process.send_signal(number)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@atexit.register
def _close_all() -> None:
    for server in list(_alive):
        server.close()
