"""Celery on MongoDB, no result backend; `acks_late`. The variant: `pool,prefetch per slot,polling interval`.

kombu takes a message off with `findAndModify`, one at a time, and sleeps for the polling interval when it found none
or may not take more for now: with its defaults (4 and 1 s) that sleep is what bounds a drain. The pool `default` leaves
everything else at its defaults too; the others go without remote control, gossip and mingle, which cost polls.
"""

import os

import command
from bodies import FUNCTIONS
from celery import Celery

POOL, PREFETCH, POLLING = os.environ["PEERS_VARIANT"].split(",")
TUNED = POOL != "default"
MOST_PROCESSES = 10

app = Celery("peers", broker=command.URL)
app.conf.update(
    task_acks_late=True,
    task_ignore_result=True,
    worker_enable_remote_control=not TUNED,
    worker_hijack_root_logger=False,
    worker_prefetch_multiplier=int(PREFETCH),
    broker_transport_options={"polling_interval": float(POLLING)},
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
        pool = POOL if TUNED else ("prefork" if concurrency <= MOST_PROCESSES else "threads")
        options = ["--concurrency", concurrency, "--pool", pool, "--loglevel", "WARNING"]
        quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat"] if TUNED else []
        name = ["--hostname", f"w{os.getpid()}"]
        return command.replace("celery", "-A", "celery_mongo_driver", "worker", *options, *quiet, *name)


if __name__ == "__main__":
    command.main(Driver())
