"""What a worker tells of itself in its record, for operators, queues and schedules."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mainspring.worker.worker import Worker


def told_by(worker: Worker, asked: object) -> dict[str, Any]:
    """`asked`: what `app.workers` asks of it, "pause" or "resume"; it is about to do so."""
    stats = worker.stats()
    return {
        "status": {"pause": "paused", "resume": "running"}.get(str(asked), stats.status),
        "active": stats.active,
        "processed": stats.processed,
        "failed": stats.failed,
        "uptime": stats.uptime,
        "loop_lag": stats.loop_lag,
        "queues": worker.queues,
        "tasks": sorted(worker.tasks),
        "schedules": {name: declared.definition for name, declared in worker.app.declared.items()},
        "concurrency": worker.settings.concurrency,
        "host": socket.gethostname(),
        "pid": os.getpid(),
    }
