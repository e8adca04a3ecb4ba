"""Celery on Redis with results; `acks_late` and `reject_on_worker_lost`, without which a crash loses jobs.

Worker processes at a concurrency of up to ten (prefork, its default), threads beyond.
"""

import os

import command
from bodies import FUNCTIONS
from celery import Celery

MOST_PROCESSES = 10

app = Celery("peers", broker=command.URL, backend=command.URL)
app.conf.update(
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_hijack_root_logger=False,
    broker_connection_retry_on_startup=True,
)
TASKS = {name: app.task(name=name)(body) for name, body in FUNCTIONS.items()}


class Driver:
    def open(self):
        app.connection_for_write().ensure_connection(max_retries=3)

    def close(self):
        app.close()

    def enqueue(self, task, n, payload):
        TASKS[task].delay(n, payload) if payload else TASKS[task].delay(n)

    def worker(self, concurrency, processes):
        if processes > 1:
            return command.replicate(processes)
        pool = "prefork" if concurrency <= MOST_PROCESSES else "threads"
        options = [
            "--concurrency",
            concurrency,
            "--pool",
            pool,
            "--loglevel",
            "WARNING",
            "--hostname",
            f"w{os.getpid()}",
        ]
        return command.replace("celery", "-A", "celery_driver", "worker", *options)


if __name__ == "__main__":
    command.main(Driver())
