"""taskiq on MongoDB by taskiq-mongodb: claimed by `findAndModify`, one at a time, deleted when acknowledged."""

import command
from bodies import COROUTINES
from taskiq_mongodb import MongoBroker

broker = MongoBroker(command.URL, "bench")
TASKS = {name: broker.register_task(body, task_name=name) for name, body in COROUTINES.items()}


class Driver:
    async def open(self):
        await broker.startup()

    async def close(self):
        await broker.shutdown()

    async def enqueue(self, task, n, payload):
        await (TASKS[task].kiq(n, payload) if payload else TASKS[task].kiq(n))

    def worker(self, concurrency, processes):
        options = ["--workers", processes, "--max-async-tasks", concurrency, "--log-level", "WARNING"]
        return command.replace("taskiq", "worker", "taskiq_mongo_driver:broker", *options)


if __name__ == "__main__":
    command.main(Driver())
