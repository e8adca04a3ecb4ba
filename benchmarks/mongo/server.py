"""A mongod for the benchmarks: the tests' own, but laid out as a server in earnest, and on disk unless asked otherwise.

A majority write on a set of one member waits for the journal: what is measured contains the flush of the disk below.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from tests.servers.mongo import MongoServer

DISK, MEMORY = "disk", "memory"
FOLDERS = {DISK: None, MEMORY: "/dev/shm"}
CACHE_GB = 1.0


class BenchServer(MongoServer):
    """A replica set of one member. The medium is chosen by its subclass."""

    medium = DISK

    def close(self) -> None:
        super().close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _make_folder(self) -> Path:
        return Path(tempfile.mkdtemp(prefix="bench-mongo-", dir=FOLDERS[self.medium]))

    def _write(self, cache: float, parameters: dict[str, Any]) -> None:
        """Without the small journal, the small oplog and the test commands of the tests' servers."""
        super()._write(cache, parameters | {"enableTestCommands": False})
        options = json.loads(self.configuration.read_text())
        del options["storage"]["wiredTiger"]["engineConfig"]["configString"]
        options["setParameter"].pop("testingDiagnosticsEnabled", None)
        options["replication"]["oplogSizeMB"] = 2_048
        self.configuration.write_text(json.dumps(options, indent=2))


class MemoryServer(BenchServer):
    """The same with its files in memory."""

    medium = MEMORY


def started(medium: str) -> BenchServer:
    """A server that takes writes already. With its default settings, but for 1 GB of cache."""
    return (MemoryServer if medium == MEMORY else BenchServer).started(cache=CACHE_GB)
