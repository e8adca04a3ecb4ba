"""The bench: one Redis server, a proxy that adds latency, and a system between them with a folder for each run."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self

from tests.servers.redis import RedisServer

from benchmarks.peers import observed
from benchmarks.peers.environments import Environment
from benchmarks.peers.processes import Failed, answer, last_line, running, wait_for
from benchmarks.processes import ROOT

ROUND_TRIP_MS = 1.0
START = 40.0
"""Seconds in which a worker must have run its first job."""
CALL = 90.0
"""Seconds in which a client must have enqueued its jobs."""


@dataclass(frozen=True)
class Usage:
    """What the server has done so far. A command within a script counts as one; `requests` are what clients sent."""

    commands: int
    requests: int
    cpu: float
    memory: int


class Place(Protocol):
    """What a stand needs of the server that it stands on; the benchmarks of the MongoDB store have one too."""

    def url(self, far: bool) -> str: ...
    def flush(self) -> None: ...
    def usage(self) -> Usage: ...


class Bench:
    """The server and the proxy. `far` in the methods below means: over the proxy."""

    def __init__(self, kind: str) -> None:
        self._stack = ExitStack()
        self.server = self._stack.enter_context(RedisServer.started(kind))
        self._port = self._proxy()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def version(self) -> str:
        about = self.server.info("server")
        return f"{about.get('server_name', 'redis').capitalize()} {about.get('valkey_version', about['redis_version'])}"

    def url(self, far: bool) -> str:
        return f"redis://127.0.0.1:{self._port if far else self.server.port}/0"

    def flush(self) -> None:
        self.server.command("FLUSHALL", "SYNC")
        self.server.command("FUNCTION", "FLUSH")

    def usage(self) -> Usage:
        everything = self.server.info()
        commands = (value for key, value in everything.items() if key.startswith("cmdstat_"))
        return Usage(
            sum(int(command["calls"]) for command in commands),
            int(everything["total_reads_processed"]),
            float(everything["used_cpu_user"]) + float(everything["used_cpu_sys"]),
            int(everything["used_memory"]),
        )

    def _proxy(self) -> int:
        """A process of its own; it holds every chunk back for half a round trip in each direction."""
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "tests.servers.proxy", "--to", f"127.0.0.1:{self.server.port}"),
                *("--latency-ms", str(ROUND_TRIP_MS / 2)),
            ],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._stack.callback(process.wait)
        self._stack.callback(process.kill)
        assert process.stdout is not None
        return int(process.stdout.readline())


class Stand:
    """One run of one system: a flushed server, a fresh folder, its driver. Use it as a context manager."""

    def __init__(self, bench: Place, environment: Environment, far: bool) -> None:
        self.bench = bench
        self.system = environment.system
        self.far = far
        self._python = environment.python
        self._temporary = tempfile.TemporaryDirectory(prefix="peers-")
        self.folder = Path(self._temporary.name)
        self._calls = 0

    def __enter__(self) -> Self:
        self.bench.flush()
        return self

    def __exit__(self, *_: object) -> None:
        self._temporary.cleanup()

    def client(self, command: str, jobs: int, *options: Any, far: bool | None = None, seconds: float = CALL) -> Any:
        """What the driver answers: `seconds` and `cpu` that it took, or None where the system has no such thing."""
        words = [command, str(jobs), *map(str, options)]
        return answer(self._command(*words), self._environment(far), self._output(command), seconds)

    def fill(self, jobs: int, task: str = "noop", payload: int = 0) -> None:
        """Enqueue so many jobs by the system's fastest way, past the proxy."""
        self.client("fill", jobs, "--task", task, "--payload", payload, far=False)

    @contextmanager
    def worker(self, concurrency: int, processes: int = 1) -> Iterator[subprocess.Popen[bytes]]:
        words = ["worker", "--concurrency", str(concurrency), "--processes", str(processes)]
        self.output = self._output("worker")
        with running(self._command(*words), self._environment(None, concurrency), self.output) as process:
            yield process

    def ticks(self) -> observed.Ticks:
        return observed.ticks(self.folder)

    def wait_for_jobs(self, jobs: int, process: subprocess.Popen[bytes], seconds: float = START) -> None:
        """Until so many no-op jobs have run. Raises `Failed`."""
        if not wait_for(lambda: self.ticks().jobs >= jobs, seconds, process):
            state = "its worker ended" if process.poll() is not None else f"not within {seconds:.0f} s"
            raise Failed(f"{self.ticks().jobs} of {jobs} jobs ran, {state}: {last_line(self.output)}")

    def _command(self, *words: str) -> list[str]:
        return [str(self._python), str(self.system.driver), *words]

    def _output(self, name: str) -> Path:
        self._calls += 1
        return self.folder / f"{name}.{self._calls}.out"

    def _environment(self, far: bool | None, concurrency: int = 10) -> dict[str, str]:
        own = os.pathsep.join([str(ROOT / "src")]) if not self.system.packages else ""
        return {
            "PEERS_URL": self.bench.url(self.far if far is None else far),
            "PEERS_FOLDER": str(self.folder),
            "PEERS_VARIANT": self.system.variant,
            "PEERS_CONCURRENCY": str(concurrency),
            "PYTHONPATH": own,
        }
