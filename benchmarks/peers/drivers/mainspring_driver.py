"""Mainspring: the public API, all defaults (results, history, leases)."""

import os
import sys
from pathlib import Path

import command
from bodies import COROUTINES

from mainspring import Mainspring

app = Mainspring(command.URL)
TASKS = {name: app.task(name=name)(body) for name, body in COROUTINES.items()}


class Driver:
    async def open(self):
        await app.open()

    async def close(self):
        await app.close()

    async def enqueue(self, task, n, payload):
        await TASKS[task].enqueue(n, payload) if payload else await TASKS[task].enqueue(n)

    async def bulk(self, task, numbers, payload):
        job = TASKS[task].job
        await app.enqueue_many([job(n, payload) if payload else job(n) for n in numbers])

    def worker(self, concurrency, processes):
        os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parents[3] / "src"), str(command.HERE)])
        os.chdir(command.HERE)
        options = ["--concurrency", str(concurrency), "--processes", str(processes), "--log-level", "warning"]
        python = sys.executable
        os.execv(python, [python, "-m", "mainspring.cli", "worker", "mainspring_driver:app", *options])


if __name__ == "__main__":
    command.main(Driver())
