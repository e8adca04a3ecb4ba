"""streaQ, its defaults. Started by `run_sync`, without its command's two log lines per job."""

import logging

import command
from bodies import COROUTINES
from streaq import Worker

worker = Worker(redis_url=command.URL, concurrency=command.concurrency())
TASKS = {name: worker.task(name=name)(body) for name, body in COROUTINES.items()}


class Driver:
    async def open(self):
        self.opened = worker.__asynccontextmanager__() if hasattr(worker, "__asynccontextmanager__") else worker
        await self.opened.__aenter__()

    async def close(self):
        await self.opened.__aexit__(None, None, None)

    async def enqueue(self, task, n, payload):
        await (TASKS[task].enqueue(n, payload) if payload else TASKS[task].enqueue(n))

    async def bulk(self, task, numbers, payload):
        make = TASKS[task].enqueue
        await worker.enqueue_many([make(n, payload) if payload else make(n) for n in numbers])

    def worker(self, concurrency, processes):
        if processes > 1:
            return command.replicate(processes)
        logging.getLogger("streaq").setLevel(logging.WARNING)
        worker.concurrency = concurrency
        worker.prefetch = 2 * concurrency
        return worker.run_sync()


if __name__ == "__main__":
    command.main(Driver())
